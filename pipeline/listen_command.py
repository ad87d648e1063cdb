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
    from pipeline.artifacts import read_vocabulary
    from pipeline.listen.pairs import make_pairs
    from pipeline.listen.publish import KEY_FILE, PAGE_FILE, publish

    if root is not None and data is None:
        raise SegueError(
            f"--root {root} goes with --data alone: leave it out, or name the folder of the "
            "composer's songs with --data"
        )
    if not math.isfinite(seconds):  # which click lets pass
        raise SegueError(f"--seconds {seconds} is not allowed; it must be 3..120")
    if data is None:
        real, new = _of_root(folder)
    else:
        real, new = _songs(data), _songs(folder)
        if root is not None:
            vocabulary = read_vocabulary(_outputs(root)["VocabularyBuilder", "vocabulary"])
            real = [as_heard(song, vocabulary).song for song in real]
    made = make_pairs(real, new, seconds, pairs, seed)
    target = out or folder / _FOLDER
    publish(made, target, composer)
    if len(made) < pairs:
        more = "" if len(made) == min(len(real), len(new)) else "; fewer --seconds may give more"
        click.echo(
            f"segue: {_count(len(made), 'pair')}, not {pairs}: a song is in one at most, and there "
            f"are {len(real):,} of the composer's and {len(new):,} of the model's{more}",
            err=True,
        )
    if as_json:
        found = {"page": str(target / PAGE_FILE), "key": str(target / KEY_FILE), "pairs": len(made)}
        click.echo(json.dumps(found, sort_keys=True))
    else:
        told = _count(len(made), "pair")
        click.echo(f"{told} in {target / PAGE_FILE}; keep {target / KEY_FILE} to yourself")
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


def _of_root(root: Path) -> tuple[list[Song], list[Song]]:
    """(the composer's held-out songs as the model hears them, what it played for the gate)."""
    from components.files import panel_song
    from music.measures import as_heard
    from pipeline.artifacts import held_out_songs, read_panel, read_vocabulary

    outputs = _outputs(root)
    panel = outputs["ServingValidator", "panel"]
    told = read_panel(panel)
    if "sections" not in told:
        raise SegueError(
            f"the model of the last run under {root} played nothing: {'; '.join(told['reasons'])}"
        )
    vocabulary = read_vocabulary(outputs["VocabularyBuilder", "vocabulary"])
    real: list[Song] = []
    for songs in held_out_songs(outputs["MidiParser", "songs"]):
        real += [as_heard(song, vocabulary).song for song in songs]
        if len(real) >= _MOST_SONGS:
            break
    # A song is not held against the one that it goes on from.
    sources = {
        panel_song(number): one["id"] for number, one in enumerate(told["sections"], start=1)
    }
    played = _read([panel / name for name in sources], panel)
    new = [dataclasses.replace(song, id=sources[f"{song.title}.mid"]) for song in played]
    return real, new


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


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
