"""What became of a file: kept, repaired or rejected, and why.

Whoever gives a folder of files wants to know what was made of every one of them.
A `Verdict` is that answer in a form that can be counted, kept in a table and read
by a person. The pipeline's parser and `segue inspect` judge by the same function,
so they never disagree.
"""

from __future__ import annotations

import dataclasses
import os
from collections import Counter
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
        if os.path.isdir(path):
            if os.path.islink(path):
                raise MidiError("unreadable", "a link to a folder, not a file")
            if not os.access(path, os.R_OK | os.X_OK):
                raise MidiError("unreadable", "a folder that may not be looked into")
            raise MidiError("unreadable", "a folder, not a file")
        if not os.path.isfile(path):
            gone = not os.path.exists(path)
            raise MidiError("unreadable", "nothing is there" if gone else "not a regular file")
        with open(path, "rb") as handle:
            # One byte more than is allowed tells a longer file from a whole one.
            return handle.read(limits.bytes + 1)
    except OSError as error:
        raise MidiError("unreadable", error.strerror or type(error).__name__) from None


def judge(file: str, data: bytes, limits: Limits) -> tuple[Verdict, Reading | None]:
    """Reads a file's bytes; never raises, whatever is in them.

    Args:
      file: its name, relative to its folder; without the suffix it is the title.
      data: as `read_bytes` gave them.
      limits: what the file may ask of us.
    """
    try:
        reading = parse_midi(data, os.path.splitext(file)[0], limits)
    except MidiError as error:
        return rejected(file, error), None
    except Exception as error:  # a defect of ours must not cost the other files
        return rejected(file, MidiError("failed", f"{type(error).__name__}: {error}")), None
    return accepted(file, reading), reading


class Tally:
    """Verdicts counted: small whatever the number of files, and mergeable in any order."""

    EXAMPLES = 3

    def __init__(self) -> None:
        self.verdicts: Counter[str] = Counter({KEPT: 0, REPAIRED: 0, REJECTED: 0})
        self.reasons: Counter[str] = Counter()
        self.repairs: Counter[str] = Counter()
        self.notes = 0
        self.percussion = 0
        self.rounding_largest = 0.0
        self._rounded = 0.0
        self._examples: dict[str, list[tuple[str, str]]] = {}

    def add(self, verdict: Verdict) -> Tally:
        """Counts one more."""
        self.verdicts[verdict.verdict] += 1
        if verdict.verdict == REJECTED:
            self.reasons[verdict.reason] += 1
            self._remember({verdict.reason: [(verdict.file, verdict.detail)]})
            return self
        self.repairs.update(verdict.repairs)
        for name in verdict.repairs:
            self._remember({name: [(verdict.file, verdict.detail)]})
        self.notes += verdict.notes
        self.percussion += verdict.percussion
        self.rounding_largest = max(self.rounding_largest, verdict.rounding_max)
        # Weighted by notes, so that the mean of a catalogue is that of its notes.
        self._rounded += verdict.rounding_mean * verdict.notes
        return self

    def merge(self, other: Tally) -> Tally:
        """Counts what another one has counted."""
        self.verdicts.update(other.verdicts)
        self.reasons.update(other.reasons)
        self.repairs.update(other.repairs)
        self._remember(other._examples)
        self.notes += other.notes
        self.percussion += other.percussion
        self.rounding_largest = max(self.rounding_largest, other.rounding_largest)
        self._rounded += other._rounded
        return self

    def _remember(self, examples: dict[str, list[tuple[str, str]]]) -> None:
        for cause, files in examples.items():
            known = self._examples.get(cause, [])
            self._examples[cause] = sorted([*known, *files])[: self.EXAMPLES]

    @property
    def files(self) -> int:
        """How many verdicts were counted."""
        return sum(self.verdicts.values())

    @property
    def songs(self) -> int:
        """How many files became songs."""
        return self.verdicts[KEPT] + self.verdicts[REPAIRED]

    @property
    def rounding_mean(self) -> float:
        """How far onsets and ends were moved to the grid on average, in grid ticks."""
        return self._rounded / self.notes if self.notes else 0.0

    def examples(self, cause: str) -> list[tuple[str, str]]:
        """(file, detail) of the first few files, by name, with a reason or a repair."""
        return list(self._examples.get(cause, ()))

    def line(self, where: str = "") -> str:
        """One line for a person: how many files, and what became of them.

        Args:
          where: the table of all verdicts; named when anything was not simply kept.
        """
        parts = [f"{self.verdicts[KEPT]:,} kept"]
        for kind, causes in ((REPAIRED, self.repairs), (REJECTED, self.reasons)):
            part = f"{self.verdicts[kind]:,} {kind}"
            named = sorted(causes.items(), key=lambda pair: (-pair[1], pair[0]))
            if named:
                part += f" ({', '.join(f'{count:,} {cause}' for cause, count in named)})"
            parts.append(part)
        line = f"{self.files:,} file{'s' * (self.files != 1)}: {', '.join(parts)}"
        return f"{line}; see {where}" if where and self.verdicts[KEPT] != self.files else line

    def as_dict(self) -> dict[str, Any]:
        """The numbers, as JSON types."""
        return {
            "files": self.files,
            **{kind: self.verdicts[kind] for kind in (KEPT, REPAIRED, REJECTED)},
            "reasons": dict(sorted(self.reasons.items())),
            "repairs": dict(sorted(self.repairs.items())),
            "notes": self.notes,
            "percussion": self.percussion,
            "rounding_mean": round(self.rounding_mean, 6),
            "rounding_max": round(self.rounding_largest, 6),
            "examples": {
                cause: [list(pair) for pair in files]
                for cause, files in sorted(self._examples.items())
            },
        }


def summary(verdicts: Iterable[Verdict], where: str = "") -> str:
    """`Tally.line` of all of them."""
    tally = Tally()
    for verdict in verdicts:
        tally.add(verdict)
    return tally.line(where)
