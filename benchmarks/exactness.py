"""Every note against music21's own converter: how many, which pitches, when.

The peer is `converter.parse(path, quantizePost=False, forceSource=True)`. It builds
a score: it splits notes at bar lines and ties the pieces. A tie's later pieces are
not counted here, so that tied notes are one note, as in the file. What differs is
listed file by file with its cause, as music21's own record of a note's tick tells
it:

- gathered: music21 makes one chord of notes that begin within a sixteenth of a
  quarter of each other, at the time of the first (rolled chords, grace notes);
- moved: the score has a note elsewhere than the tick at which music21 itself says
  that it began (where a note crosses the end of a bar with several voices, the
  score takes that bar or the next for longer than it is, and moves all that follows);
- unexplained: neither.

The second peer is the list of notes that `converter.parse` starts from, before it
builds chords and bars: onsets, ends and pitches by its own pairing of events. The
third is mido, which shares no code with either: it reads the events, and they are
paired here as the standard says.
"""

from __future__ import annotations

import dataclasses
import tempfile
import time
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

from music.corpus import export
from music.midi import PERCUSSION_CHANNEL, read_midi
from music.song import DURATION, ONSET, PITCH, TICKS_PER_QUARTER

LIEDER = Path(__file__).parents[2] / "shared/data/openscore-lieder"
SONGS = 112
# A sixteenth of a quarter is 1.5 ticks; both ends may be rounded.
GATHERED_TICKS = 2


@dataclasses.dataclass(frozen=True)
class Comparison:
    """One file by both readers.

    Attributes:
      file: its name.
      notes, peer_notes: how many each of them finds.
      same_pitches: whether the pitches are the same, counted one by one.
      agreed: notes of one pitch that begin at the same time, on the grid of 24 ticks.
      gathered, moved, unexplained: notes that do not, by cause.
      in_list: notes whose onset, end and pitch are in the peer's list of notes.
      in_mido: the same for the notes that mido's events make.
      left_tied: notes by which `stripTies` would leave the peer's score too many:
        it does not join a chord of which only some notes are tied.
      seconds, peer_seconds: of this process's own time, for reading alone.
    """

    file: str
    notes: int
    peer_notes: int
    same_pitches: bool
    agreed: int
    gathered: int
    moved: int
    unexplained: int
    in_list: int
    in_mido: int
    left_tied: int
    seconds: float
    peer_seconds: float

    @property
    def differs(self) -> bool:
        """Whether anything is not the same."""
        return not self.same_pitches or self.agreed != self.notes or self.notes != self.peer_notes


class _Begun(NamedTuple):
    """A note of the peer's: where its score has it, and where it says it began."""

    onset: int
    pitch: int
    began: int


def compare(path: Path) -> Comparison:
    """Reads a file in both ways."""
    from music21 import converter

    data = path.read_bytes()
    began = time.process_time()
    song = read_midi(data)
    seconds = time.process_time() - began
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about what it makes of a file's lyrics and clefs
        began = time.process_time()
        score = converter.parse(path, format="midi", quantizePost=False, forceSource=True)
        peer_seconds = time.process_time() - began
    begun = list(_begun(score, int.from_bytes(data[12:14], "big")))
    ours = Counter(map(tuple, song.notes[:, [ONSET, PITCH]].tolist()))
    causes = _causes(ours, begun)
    spans = Counter(map(tuple, song.notes[:, [ONSET, DURATION, PITCH]].tolist()))
    stripped = sum(len(element.pitches) for element in score.stripTies().flatten().notes)
    return Comparison(
        file=path.name,
        notes=len(song),
        peer_notes=len(begun),
        same_pitches=Counter(song.notes[:, PITCH].tolist()) == Counter(n.pitch for n in begun),
        agreed=causes["agreed"],
        gathered=causes["gathered"],
        moved=causes["moved"],
        unexplained=len(song) - causes.total(),
        in_list=(spans & _listed(data)).total(),
        in_mido=(spans & _by_mido(path)).total(),
        left_tied=stripped - len(begun),
        seconds=seconds,
        peer_seconds=peer_seconds,
    )


def _causes(ours: Counter, begun: list[_Begun]) -> Counter:
    """Finds each of the peer's notes among ours, by its own tick, and says how they differ."""
    missed, causes = ours.copy(), Counter[str]()
    # Those that begin at that very tick first: a gathered note may be taken for one.
    for late in range(GATHERED_TICKS + 1):
        rest = []
        for note in begun:
            found = (note.began + late, note.pitch)
            if not missed[found]:
                rest.append(note)
                continue
            missed[found] -= 1
            if note.onset == found[0]:
                causes["agreed"] += 1
            else:
                causes["gathered" if late else "moved"] += 1
        begun = rest
    return causes


def _listed(data: bytes) -> Counter:
    """(onset, duration, pitch) on the grid of what `converter.parse` starts from."""
    from music21 import midi
    from music21.midi.translate import getNotesFromEvents, getTimeForEvents

    file = midi.MidiFile()
    file.readstr(data)
    spans: Counter = Counter()
    for track in file.tracks:
        for note in getNotesFromEvents(getTimeForEvents(track)):
            if note.event.channel != PERCUSSION_CHANNEL:
                onset, long = _span(note.onTime, note.offTime, file.ticksPerQuarterNote)
                spans[onset, long, note.event.pitch] += 1
    return spans


def _by_mido(path: Path) -> Counter:
    """(onset, duration, pitch) on the grid, from mido's events."""
    import mido

    file = mido.MidiFile(path)
    spans: Counter = Counter()
    for track in file.tracks:
        now, sounding = 0, defaultdict(list)
        for event in track:
            now += event.time
            if event.type not in ("note_on", "note_off") or event.channel == 9:
                continue
            if event.type == "note_on" and event.velocity:
                sounding[event.channel, event.note].append(now)
                continue
            for start in sounding.pop((event.channel, event.note), ()):
                onset, long = _span(start, now, file.ticks_per_beat)
                spans[onset, long, event.note] += 1
    return spans


def _span(start: int, stop: int, division: int) -> tuple[int, int]:
    """Onset and duration on the grid, from ticks of the file."""
    onset, end = (_on_grid(Fraction(tick, division)) for tick in (start, stop))
    return onset, max(end - onset, 1)


def _begun(score: Any, division: int) -> Iterator[_Begun]:
    """The pitched notes that a score begins, and not those that it only ties on."""
    from music21.note import Unpitched

    for element in score.flatten().notes:
        tick = element.editorial.get("midiTickStart")
        for note in getattr(element, "notes", (element,)):
            begins = note.tie is None or note.tie.type == "start"
            if begins and not isinstance(note, Unpitched):
                onset = _on_grid(element.offset)
                began = onset if tick is None else _on_grid(Fraction(tick, division))
                yield _Begun(onset, note.pitch.midi, began)


def _on_grid(quarters: Any) -> int:
    """Quarters as grid ticks, halves rounded up."""
    # What music21 makes of a third is a float or a fraction near it.
    exact = Fraction(quarters).limit_denominator(0x7FFF)
    return int(exact * TICKS_PER_QUARTER + Fraction(1, 2))


def measure() -> list[dict[str, Any]]:
    """Totals over the songs, and every song that differs."""
    with tempfile.TemporaryDirectory() as folder:
        if LIEDER.is_dir():
            paths = sorted(LIEDER.rglob("*.mid"))
            paths = paths[:: max(len(paths) // SONGS, 1)]
        else:
            paths = export("bach", Path(folder), limit=SONGS, parts=4)
        compared = [compare(path) for path in paths]
    total = {
        field.name: sum(getattr(one, field.name) for one in compared)
        for field in dataclasses.fields(Comparison)
        if field.name != "file"
    }
    notes = total["notes"]
    rows = [
        _row("songs", len(compared), "", f"{notes:,} notes"),
        _row(
            "songs with the same number of notes",
            sum(one.notes == one.peer_notes for one in compared),
        ),
        _row("songs with the same pitches", total["same_pitches"]),
        _row("notes that are in its list of notes", 100 * total["in_list"] / notes, "%"),
        _row("notes that mido reads as we do", 100 * total["in_mido"] / notes, "%"),
        _row("notes that its score has at the same time", 100 * total["agreed"] / notes, "%"),
        _row("notes that its score gathers into chords", 100 * total["gathered"] / notes, "%"),
        _row("notes that its score moves", 100 * total["moved"] / notes, "%"),
        _row("notes whose difference is unexplained", total["unexplained"]),
        _row("notes that stripTies would count twice", total["left_tied"]),
        _row("notes a second, segue", round(notes / total["seconds"])),
        _row("notes a second, converter.parse", round(notes / total["peer_seconds"])),
    ]
    for one in compared:
        if one.differs:
            causes = {name: getattr(one, name) for name in ("gathered", "moved", "unexplained")}
            told = ", ".join(f"{count} {name}" for name, count in causes.items() if count)
            rows.append(_row(one.file, one.notes - one.agreed, f"of {one.notes:,}", told))
    return rows


def _row(what: str, value: float, unit: str = "", note: str = "") -> dict[str, Any]:
    shown = f"{value:10.3f}" if isinstance(value, float) else f"{value:10,}"
    print(f"  {what:<52.52} {shown} {unit:<9} {note}".rstrip(), flush=True)
    return {"what": what, "value": value, "unit": unit, "note": note}
