"""`segue inspect`: what ingest sees in a file or a folder, before any run."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from music.errors import SegueError
from pipeline.options import AS_JSON, DEFAULT_ROOT

if TYPE_CHECKING:
    from music.song import Song
    from pipeline.configuration import Configuration


@click.command()
@click.argument("path", metavar="FILE_OR_DIR", type=click.Path(path_type=Path))
@click.option(
    "--roll",
    type=click.Path(path_type=Path),
    help="Draw the file's piano roll here: a name that ends in .svg or .png.",
)
@click.option("--all", "show_all", is_flag=True, help="Every file, part and name, however many.")
@click.option(
    "--jobs",
    type=click.IntRange(1),
    help="Processes that read a folder (default: one a core where there are many files).",
)
@click.option(
    "--preset",
    default="default",
    show_default=True,
    help="Whose split says which songs are held out: a name, or a YAML file.",
)
@click.option("--set", "overrides", multiple=True, help="One setting: split.eval_share=0.2, say.")
@click.option(
    "--root",
    type=click.Path(path_type=Path),
    default=DEFAULT_ROOT,
    show_default=True,
    help="Whose runs, if there were any, say which songs stay held out.",
)
@AS_JSON
def inspect(
    path: Path,
    roll: Path | None,
    show_all: bool,
    jobs: int | None,
    preset: str,
    overrides: tuple[str, ...],
    root: Path,
    as_json: bool,
) -> None:
    """Show what the pipeline would learn from a MIDI file, or from a folder of them.

    Of a file: the verdict, its parts, their rhythm and range, what each codec makes of it,
    and a picture. Of a folder: every file's verdict, duplicates, and what the music adds up
    to. Nothing is written but --roll.

    The exit code is 0 when there is something to learn from, and 1 when the file, or every
    file of the folder, is rejected.
    """
    from pipeline.configuration import load_configuration

    config = load_configuration(path, root, preset, overrides)
    if path.is_dir():
        if roll is not None:
            raise SegueError(f"--roll draws one file, and {path} is a folder; name a file in it")
        _inspect_folder(path, config, jobs, show_all, as_json)
    else:
        _inspect_file(path, roll, show_all, as_json)


# ---- a file -----------------------------------------------------------------


def _inspect_file(path: Path, roll: Path | None, show_all: bool, as_json: bool) -> None:
    import os

    from music.catalogue import DEFAULT_LIMITS, inspect_file
    from music.folder import File, shown
    from music.midi import MIDI_SUFFIXES, SUFFIXES
    from pipeline.inspect_text import file_lines

    _check_there(path)
    _check_roll(path, roll)
    # As in its own folder, so that the title is the same as the pipeline's there.
    file = File(os.fsencode(path), shown(Path(path.name)))
    inspected, reading = inspect_file(file, DEFAULT_LIMITS)
    if reading is not None and roll is not None:
        _draw(reading.song, roll)
    passed_over = not path.name.lower().endswith(MIDI_SUFFIXES)
    if as_json:
        answer: dict[str, Any] = {
            "file": shown(path),
            "verdict": inspected.verdict.as_dict(),
            "song": None if inspected.facts is None else inspected.facts.as_dict(),
            "off_grid": inspected.off_grid,
            "passed_over": passed_over,
            "roll": None if reading is None or roll is None else shown(roll),
        }
        click.echo(json.dumps(answer, sort_keys=True))
    if reading is None:
        raise SegueError(
            f"{shown(path)} is rejected: {inspected.verdict.reason}: {inspected.verdict.detail}"
        )
    if as_json:
        return
    for line in file_lines(inspected, show_all):
        click.echo(line)
    if passed_over:
        click.echo(
            f"note: in a folder this file would be passed over; names must end in {SUFFIXES}"
        )
    if sys.stdout.isatty():
        from pipeline.terminal_roll import print_roll

        click.echo()
        print_roll(reading.song)
    if roll is not None:
        click.echo(f"piano roll: {shown(roll)}")


def _check_there(path: Path) -> None:
    try:
        path.lstat()
    except OSError as error:
        raise SegueError(
            f"cannot look at {path}: {error.strerror or error}; "
            "name a MIDI file or a folder that holds some"
        ) from None


def _check_roll(path: Path, roll: Path | None) -> None:
    """Finds out before any work whether the picture can be drawn and written."""
    if roll is None:
        return
    from client.output import check_writable
    from music.roll import check_suffix

    check_suffix(roll)
    check_writable(roll, "--roll", "song.svg")
    if roll.resolve() == path.resolve():
        raise SegueError(f"--roll names the file that is inspected, {path}; choose another")


def _draw(song: Song, roll: Path) -> None:
    from client.output import write_atomically
    from music.roll import piano_roll

    write_atomically(roll, piano_roll(song, roll.suffix), "--roll")


# ---- a folder ---------------------------------------------------------------


def _inspect_folder(
    path: Path, config: Configuration, jobs: int | None, show_all: bool, as_json: bool
) -> None:
    from components.midi_parser.held_out import read_held_out
    from music.catalogue import DEFAULT_LIMITS, inspect_folder
    from music.folder import shown
    from music.split import Splitter
    from pipeline.inspect_text import folder_lines, summary_line

    share, salt = config.split.eval_share, config.split.salt
    # A root remembers what it once had to hold out beyond the share.
    splitter = Splitter(share, salt, read_held_out(str(config.readings_dir), salt))
    with _counting() as count:
        catalogue = inspect_folder(path, splitter, DEFAULT_LIMITS, jobs, count)
    if as_json:
        answer = {
            "folder": shown(path),
            "summary": summary_line(catalogue),
            "split": {"preset": config.preset, "eval_share": share, "salt": salt},
            **catalogue.as_dict(),
        }
        click.echo(json.dumps(answer, sort_keys=True))
    else:
        for line in folder_lines(catalogue, share, config.preset, show_all):
            click.echo(line)
    if not catalogue.totals.songs:
        raise SegueError(
            f"none of the {len(catalogue.verdicts):,} MIDI files in {shown(path)} "
            "can be learned from"
        )


@contextlib.contextmanager
def _counting() -> Iterator[Callable[[int, int], None] | None]:
    """A line on a terminal that counts up, ten times a second, and is gone in the end."""
    if not sys.stderr.isatty():
        yield None
        return
    told = 0.0

    def count(done: int, of: int) -> None:
        nonlocal told
        if (now := time.monotonic()) - told > 0.1:
            told = now
            sys.stderr.write(f"\r{done:,} of {of:,} files")
            sys.stderr.flush()

    try:
        yield count
    finally:
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()
