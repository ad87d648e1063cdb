"""`segue listen`: a blind test of a model, and what came of it."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from music.errors import MidiError, SegueError, printable
from pipeline.options import AS_JSON

if TYPE_CHECKING:
    from music.song import Song
    from music.vocabulary import Vocabulary

_FOLDER = "listen"
# A test takes a dozen.
_MOST_SONGS = 1_000


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
@click.option(
    "--root",
    type=click.Path(path_type=Path),
    help="With --data: of the pipeline that made the model. The composer's songs go through its "
    "codec and vocabulary then, so that no rhythm gives them away.",
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
    root: Path | None,
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
    from music.measures import as_heard
    from pipeline.listen.pairs import make_pairs
    from pipeline.listen.publish import KEY_FILE, PAGE_FILE, publish

    if not math.isfinite(seconds):  # which click lets pass
        raise SegueError(f"--seconds {seconds} is not allowed; it must be 3..120")
    if data is None:
        real, new = _of_root(folder)
    else:
        real, new = _songs(data), _songs(folder)
        if root is not None:
            vocabulary = _vocabulary(_outputs(root))
            real = [as_heard(song, vocabulary).song for song in real]
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
        if data is not None and root is None:
            click.echo(
                "the composer's songs are played as they are written; with --root as the model "
                "hears them"
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


def _outputs(root: Path) -> dict[tuple[str, str], Path]:
    from pipeline.history import last_run

    if not (root / "metadata.sqlite").exists():
        raise SegueError(
            f"{root} is no root of a pipeline; where it holds a model's songs, name the "
            "composer's with --data"
        )
    outputs = last_run(root / "metadata.sqlite").outputs
    for node, output in (
        ("MidiParser", "songs"),
        ("VocabularyBuilder", "vocabulary"),
        ("ServingValidator", "panel"),
    ):
        if (node, output) not in outputs:
            raise SegueError(f"the last run under {root} did not come to its {node}")
    return {key: Path(uri) for key, uri in outputs.items()}


def _vocabulary(outputs: dict[tuple[str, str], Path]) -> Vocabulary:
    from components.files import VOCABULARY_FILE
    from music.vocabulary import Vocabulary

    path = outputs["VocabularyBuilder", "vocabulary"] / VOCABULARY_FILE
    return Vocabulary.from_json(path.read_text("utf-8"))


def _of_root(root: Path) -> tuple[list[Song], list[Song]]:
    """(the composer's held-out songs as the model hears them, what it played for the gate)."""
    import pyarrow.parquet as pq

    from components.files import PANEL_FILE
    from components.records import batch_to_songs
    from music.measures import as_heard
    from music.split import EVAL

    outputs = _outputs(root)
    vocabulary = _vocabulary(outputs)
    real: list[Song] = []
    for path in sorted((outputs["MidiParser", "songs"] / f"Split-{EVAL}").glob("songs-*.parquet")):
        for batch in pq.ParquetFile(path).iter_batches(64):
            real += [as_heard(song, vocabulary).song for song in batch_to_songs(batch)]
            if len(real) >= _MOST_SONGS:
                break
    panel = outputs["ServingValidator", "panel"]
    told = json.loads((panel / PANEL_FILE).read_text("utf-8"))
    sources = [one["id"] for one in told.get("sections", ())]
    played = _read(sorted(panel.glob("song-*.mid")), panel)
    # A song is not held against the one that it goes on from.
    new = [
        dataclasses.replace(song, id=sources[int(song.title.rpartition("-")[2]) - 1])
        for song in played
    ]
    return real, new


def _songs(folder: Path) -> list[Song]:
    from music.folder import midi_files

    files = midi_files(folder)
    if len(files) > _MOST_SONGS:
        click.echo(f"segue: of {len(files):,} files the first {_MOST_SONGS:,} are taken", err=True)
    found = _read(files[:_MOST_SONGS], folder)
    if not found:
        raise SegueError(f"no MIDI file in {folder} can be read")
    return found


def _read(files: Sequence[Path], folder: Path) -> list[Song]:
    """What can be read of some files; what cannot is told."""
    from music.midi import Limits, parse_midi
    from music.verdict import read_bytes

    found, limits = [], Limits()
    for path in files:
        try:
            found.append(parse_midi(read_bytes(path, limits), path.stem, limits).song)
        except MidiError as error:
            name = printable(str(path.relative_to(folder)))
            click.echo(f"segue: {name} is passed over ({error.reason})", err=True)
    return found
