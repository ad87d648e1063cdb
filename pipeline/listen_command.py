"""`segue listen`: a blind test of a model, and what came of it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from music.errors import MidiError, SegueError
from pipeline.options import AS_JSON

if TYPE_CHECKING:
    from music.song import Song

_FOLDER = "listen"


class _Group(click.Group):
    """`segue listen DIR` makes a test; `segue listen score ...` counts answers."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        named = args and args[0] in (*self.commands, *ctx.help_option_names)
        return super().parse_args(ctx, args if named or not args else ["make", *args])


@click.group(cls=_Group)
def listen() -> None:
    """Composer or model? A blind listening test.

    `segue listen DIR` makes the page (see `segue listen make --help`), which can be sent
    to anybody; it saves answers as a file, and `segue listen score DIR FILES` counts them.
    """


@listen.command("make")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Folder of the composer's MIDI files, where DIR holds songs and is no pipeline's root.",
)
@click.option("--pairs", type=click.IntRange(1, 100), default=12, show_default=True)
@click.option(
    "--seconds", type=click.FloatRange(3, 120), default=15, show_default=True, help="An excerpt."
)
@click.option("--seed", type=int, default=7, show_default=True, help="Another seed, another test.")
@click.option("--composer", default="", help="As the page names them.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder (default: DIR/listen).")
@AS_JSON
def make(
    folder: Path,
    data: Path | None,
    pairs: int,
    seconds: float,
    seed: int,
    composer: str,
    out: Path | None,
    as_json: bool,
) -> None:
    """Make a test of DIR: a pipeline's root, or a folder of the model's songs with --data.

    Of a root, the songs are those that the gate heard, held against the composer's
    held-out ones.
    """
    from pipeline.listen.pairs import make_pairs
    from pipeline.listen.publish import KEY_FILE, PAGE_FILE, publish

    if data is None:
        real, new = _of_root(folder)
    else:
        real, new = _songs(data), _songs(folder)
    made = make_pairs(real, new, seconds, pairs, seed)
    target = out or folder / _FOLDER
    publish(made, target, composer)
    if as_json:
        found = {"page": str(target / PAGE_FILE), "key": str(target / KEY_FILE), "pairs": len(made)}
        click.echo(json.dumps(found, sort_keys=True))
    else:
        click.echo(
            f"{len(made)} pairs in {target / PAGE_FILE}; keep {target / KEY_FILE} to yourself"
        )


@listen.command("score")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.argument("answers", nargs=-1, required=True, type=click.Path(path_type=Path))
@AS_JSON
def score_command(folder: Path, answers: tuple[Path, ...], as_json: bool) -> None:
    """Count the ANSWERS to the test that was made of DIR."""
    from pipeline.listen.publish import KEY_FILE
    from pipeline.listen.score import score

    keys = [folder / KEY_FILE, folder / _FOLDER / KEY_FILE]
    key = next((path for path in keys if path.exists()), None)
    if key is None:
        raise SegueError(f"there is no test in {folder}; make one: segue listen {folder}")
    found = score(key, answers)
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(found), sort_keys=True))
        return
    for name, count, taken in found.listeners:
        click.echo(f"{name}: {taken} of {count}")
    click.echo(found.line())


def _of_root(root: Path) -> tuple[list[Song], list[Song]]:
    """(the composer's held-out songs as the model hears them, what it played for the gate)."""
    import pyarrow.parquet as pq

    from components.files import VOCABULARY_FILE
    from components.records import batch_to_songs
    from music.measures import as_heard
    from music.midi import read_midi
    from music.split import EVAL
    from music.vocabulary import Vocabulary
    from pipeline.history import last_run

    if not (root / "metadata.sqlite").exists():
        raise SegueError(
            f"{root} is no root of a pipeline; where it holds a model's songs, name the "
            "composer's with --data"
        )
    outputs = last_run(root / "metadata.sqlite").outputs
    needed = {
        "songs": ("MidiParser", "songs"),
        "vocabulary": ("VocabularyBuilder", "vocabulary"),
        "panel": ("ServingValidator", "panel"),
    }
    missing = [node for node, output in needed.values() if (node, output) not in outputs]
    if missing:
        raise SegueError(f"the last run under {root} did not come to its {missing[0]}")
    folders = {name: Path(outputs[key]) for name, key in needed.items()}
    vocabulary = Vocabulary.from_json((folders["vocabulary"] / VOCABULARY_FILE).read_text("utf-8"))
    real = [
        as_heard(song, vocabulary).song
        for path in sorted((folders["songs"] / f"Split-{EVAL}").glob("songs-*.parquet"))
        for batch in pq.ParquetFile(path).iter_batches()
        for song in batch_to_songs(batch)
    ]
    new = [
        read_midi(path.read_bytes(), path.stem) for path in sorted(folders["panel"].glob("*.mid"))
    ]
    return real, new


def _songs(folder: Path) -> list[Song]:
    from music.folder import midi_files
    from music.midi import MAX_FILE_BYTES, read_midi

    found: list[Any] = []
    for path in midi_files(folder):
        try:
            with path.open("rb") as file:
                found.append(read_midi(file.read(MAX_FILE_BYTES + 1), path.stem))
        except (OSError, MidiError) as error:
            reason = getattr(error, "strerror", None) or getattr(error, "reason", "")
            click.echo(f"segue: {path} is passed over ({reason})", err=True)
    return found
