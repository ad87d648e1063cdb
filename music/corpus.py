"""The data set that is always there: music21's own corpus, as MIDI files.

music21 ships scores of many composers in notation formats. Segue learns from
MIDI, so a composer's scores are read, put on the grid, and written as `.mid`
files that go the same way as anybody's. The composers and their rights are
listed in music21's own documentation; the demo uses J. S. Bach's chorales.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable
from pathlib import Path

from music.errors import SegueError
from music.midi import write_midi
from music.processes import MOST, mapper
from music.score import song_of_parts

# Somebody's analysis of a piece in Roman numerals; the corpus keeps it beside the score.
ANALYSIS = ".rntxt"
SONGS_WORTH_A_PROCESS = 6  # a process imports music21 first, and a score takes 0.3 s


def composers() -> list[str]:
    """The composers that music21's corpus holds, as `export` takes them."""
    return sorted(_pieces())


def scores(composer: str) -> list[Path]:
    """The corpus's scores of one composer, in the order of their names.

    Raises:
      SegueError: the corpus has none; the message lists some that it has.
    """
    pieces = _pieces()
    if composer not in pieces:
        raise SegueError(
            f"music21's corpus has no composer {composer!r}; it has: {', '.join(sorted(pieces))}"
        )
    return sorted(
        pieces[composer].values(), key=lambda path: _natural(path.relative_to(_root()).as_posix())
    )


def _pieces() -> dict[str, dict[str, Path]]:
    """For each composer the scores by name; of a piece in several formats, one."""
    from music21.corpus.corpora import CoreCorpus

    pieces: dict[str, dict[str, Path]] = {}
    for path in sorted(map(Path, CoreCorpus().getPaths())):
        if path.suffix != ANALYSIS:
            composer = path.relative_to(_root()).parts[0]
            # MusicXML sorts after Humdrum, and is what music21 reads best.
            pieces.setdefault(composer, {})[_name(path)] = path
    return pieces


@functools.cache
def _root() -> Path:
    from music21 import common

    return Path(common.getCorpusFilePath())


def _name(path: Path) -> str:
    """What a score is called under its composer: opus18no1_movement1, bwv1.6."""
    inside = path.relative_to(_root()).with_suffix("").parts[1:]
    return re.sub(r"[^A-Za-z0-9.-]+", "_", "_".join(inside))


def _natural(name: str) -> list[tuple[int, str]]:
    """A sort key under which bwv2 stands before bwv10."""
    return [
        (int(piece), "") if piece.isdigit() else (-1, piece) for piece in re.split(r"(\d+)", name)
    ]


def export(
    composer: str,
    folder: Path,
    limit: int | None = None,
    parts: int | None = None,
    on_song: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Writes a composer's scores as MIDI files; what is already there stays.

    Args:
      composer: as the corpus spells it, e.g. `bach`.
      folder: where to; made when missing.
      limit: at most this many songs.
      parts: only scores with this many parts.
      on_song: called with (done, of) as songs are finished.

    Returns:
      The files, in the order of the scores' names.

    Raises:
      SegueError: no such composer, nothing to write, or a folder that cannot be
        written.
    """
    paths = scores(composer)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SegueError(f"cannot make the folder {folder}: {error.strerror}") from None
    written: list[Path] = []
    wanted = len(paths) if limit is None else min(limit, len(paths))
    workers = min(os.cpu_count() or 1, MOST)
    with mapper(wanted, SONGS_WORTH_A_PROCESS) as each:
        # A few scores ahead of what is needed keep all workers busy without
        # reading a whole composer for a handful of songs.
        for start in range(0, len(paths), 4 * workers):
            batch = paths[start : start + 4 * workers]
            jobs = [(path, folder / f"{_name(path)}.mid", parts) for path in batch]
            there = {target for _, target, _ in jobs if target.exists()}
            for target in each(_export_one, *zip(*jobs, strict=True)):
                if target is not None and len(written) < wanted:
                    written.append(target)
                    if on_song is not None:
                        on_song(len(written), wanted)
                elif target is not None and target not in there:
                    target.unlink()
            if len(written) >= wanted:
                break
    if not written:
        raise SegueError(f"none of {composer}'s {len(paths)} scores could be written as MIDI")
    return written


def _export_one(path: Path, target: Path, parts: int | None) -> Path | None:
    """One score to one file; None when it has other parts or no notes."""
    from music21 import converter

    if target.exists():
        return target
    try:
        score = converter.parse(path, forceSource=True)
    except Exception:  # a score that music21 itself cannot read is no song
        return None
    voices = list(getattr(score, "parts", ()))
    if not voices or (parts is not None and len(voices) != parts):
        return None
    song = song_of_parts(voices, title=target.stem)
    if not len(song):
        return None
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        temporary.write_bytes(write_midi(song))
        temporary.replace(target)
    except OSError as error:
        raise SegueError(f"cannot write {target}: {error.strerror}") from None
    return target
