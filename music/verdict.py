"""What became of a file: kept, repaired or rejected, and why.

Whoever gives a folder of files wants to know what was made of every one of them.
A `Verdict` is that answer in a form that can be counted, kept in a table and read
by a person. The pipeline's parser and `segue inspect` judge by the same function,
so they never disagree.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable
from typing import Any

from music.errors import MidiError
from music.midi import Limits, Reading, parse_midi

KEPT, REPAIRED, REJECTED = "kept", "repaired", "rejected"


@dataclasses.dataclass(frozen=True)
class Verdict:
    """One file's lot.

    Attributes:
      file: its name, for people.
      verdict: `kept`, `repaired` (learned from, after mending) or `rejected`.
      reason: the fixed name of a rejection's cause (`not-midi`, `duplicate`, ...).
      detail: for people: why it was rejected, or what was mended.
      repairs: the fixed names of what was mended.
      song: the song's id (SHA-256 of the file's bytes); empty when it was not read.
      notes, parts: of the song.
      percussion: notes of channel 10, which are left out.
      rounding_mean, rounding_max: how far onsets and ends were moved to the grid,
        in grid ticks (at most 0.5).
    """

    file: str
    verdict: str
    reason: str = ""
    detail: str = ""
    repairs: tuple[str, ...] = ()
    song: str = ""
    notes: int = 0
    parts: int = 0
    percussion: int = 0
    rounding_mean: float = 0.0
    rounding_max: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """As JSON types."""
        return {**dataclasses.asdict(self), "repairs": list(self.repairs)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Verdict:
        """What `as_dict` made, back."""
        return cls(**{**values, "repairs": tuple(values["repairs"])})


def accepted(file: str, reading: Reading) -> Verdict:
    """The verdict of a file that became a song."""
    song = reading.song
    return Verdict(
        file,
        REPAIRED if reading.repairs else KEPT,
        detail="; ".join(repair.detail for repair in reading.repairs),
        repairs=tuple(dict.fromkeys(repair.name for repair in reading.repairs)),
        song=song.id,
        notes=len(song),
        parts=len(song.parts),
        percussion=song.percussion,
        rounding_mean=reading.rounding.mean,
        rounding_max=reading.rounding.largest,
    )


def rejected(file: str, error: MidiError) -> Verdict:
    """The verdict of a file that did not."""
    return Verdict(file, REJECTED, reason=error.reason, detail=error.detail)


def as_duplicate(verdict: Verdict, of: str) -> Verdict:
    """The verdict of a file whose music another one, `of`, has already."""
    return dataclasses.replace(
        verdict, verdict=REJECTED, reason="duplicate", detail=f"the same music as {of}"
    )


def read_bytes(path: str | bytes | os.PathLike, limits: Limits) -> bytes:
    """A file's bytes, at most one more than the limits allow.

    Raises:
      MidiError: `unreadable`, when it cannot be read or is no regular file.
    """
    try:
        if not os.path.isfile(path):
            raise MidiError("unreadable", "not a regular file")
        with open(path, "rb") as handle:
            # One byte more than is allowed tells a longer file from a whole one.
            return handle.read(limits.bytes + 1)
    except OSError as error:
        raise MidiError("unreadable", error.strerror or type(error).__name__) from None


def judge(file: str, data: bytes, limits: Limits) -> tuple[Verdict, Reading | None]:
    """Reads a file's bytes; never raises for what is in them.

    Args:
      file: its name, relative to its folder; without the suffix it is the title.
      data: as `read_bytes` gave them.
      limits: what the file may ask of us.
    """
    try:
        reading = parse_midi(data, os.path.splitext(file)[0], limits)
    except MidiError as error:
        return rejected(file, error), None
    return accepted(file, reading), reading


def summary(verdicts: Iterable[Verdict], where: str = "") -> str:
    """One line for a person: how many files, and what became of them.

    Args:
      verdicts: of all files.
      where: the table with all of them; named when anything was not simply kept.
    """
    counts = {KEPT: 0, REPAIRED: 0, REJECTED: 0}
    for verdict in verdicts:
        counts[verdict.verdict] += 1
    line = f"{sum(counts.values()):,} files: " + ", ".join(
        f"{number:,} {kind}" for kind, number in counts.items()
    )
    return f"{line}; see {where}" if where and counts[KEPT] != sum(counts.values()) else line
