"""Songs to render, and a reader of MusicXML that knows nothing of music21."""

import dataclasses
import xml.etree.ElementTree as ET
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import strategies as st

from client.rendering import Provenance
from music.song import TICKS_PER_QUARTER, Song

STEPS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
VALUES = {"whole": 4, "half": 2, "quarter": 1, "eighth": Fraction(1, 2), "16th": Fraction(1, 4)}

FACTS = (("model", "segue"), ("version", "1795883508"), ("seed", "7"))
REMARK = "made by Segue: model segue version 1795883508; seed 7"
PROVENANCE = Provenance("Song 1", "J. S. Bach", FACTS, REMARK)


def song_of(rows, **facts):
    """A song from (onset, duration, pitch[, part]) rows."""
    notes = [(row[0], row[1], row[2], 80, row[3] if len(row) > 3 else 0) for row in rows]
    return Song(np.array(notes, np.int32), **facts)


def scale(count=32, step=24, **facts):
    """A melody, with a chord under every fourth note."""
    rows = [(index * step, step, 67 + index % 8) for index in range(count)]
    rows += [(index * step, 4 * step, 48 + note) for index in range(0, count, 4) for note in (0, 4)]
    return song_of(rows, **facts)


def four_parts(bars=8, **facts):
    """Four voices, each in its range, with eighths, ties over the bar line and a rest."""
    rows = []
    for bar in range(bars):
        at = 96 * bar
        rows += [(at, 24, 72 + bar % 3, 0), (at + 24, 72, 74, 0)]
        rows += [(at + 12 * n, 12, 64 + n % 5, 1) for n in range(8)]
        rows += [(at + 48, 96, 57 + bar % 4, 2)]
        rows += [(at, 48, 43 + bar % 5, 3)]
    return song_of(rows, **facts)


def triplets(bars=8, **facts):
    rows = [(8 * n, 8, 70 + n % 6) for n in range(12 * bars)]
    rows += [(24 * n, 24, 45 + n % 7) for n in range(4 * bars)]
    return song_of(rows, **facts)


def played(count=120, seed=5, **facts):
    """As a hand plays: nothing on the grid, chords spread, notes overlapping."""
    random = np.random.default_rng(seed)
    onsets = np.cumsum(random.integers(0, 17, count))
    rows = [
        (int(onset), int(random.integers(1, 40)), int(random.integers(36, 90))) for onset in onsets
    ]
    return song_of(rows, **facts)


def varied():
    """Ten songs, by name."""
    return {
        "melody": scale(key="D major", tempo=96.0),
        "waltz": scale(30, time_signature="3/4", key="E- major"),
        "jig": scale(36, 12, time_signature="6/8", key="F# minor", tempo=180.0),
        "four parts": four_parts(key="G minor"),
        "triplets": triplets(tempo=88.5),
        "played": played(),
        "seven": scale(28, 12, time_signature="7/8"),
        "cut time": scale(32, 24, time_signature="2/2", key="A- minor"),
        "one note": song_of([(100, 500, 60)]),
        "extremes": song_of([(0, 24, 0), (0, 24, 127), (24, 96, 21), (30, 60, 108)]),
    }


SIGNATURES = (
    None, "4/4", "3/4", "2/4", "6/8", "9/8", "12/8", "5/4", "7/8", "5/8", "2/2", "3/2", "3/8",
    "6/4", "1/8", "3/16", "5/64", "99/4",
)  # fmt: skip
KEYS = (None, "C major", "F# minor", "A- minor", "C# major", "B- major")


def songs(most=40):
    """Any songs, on the grid or off it."""
    rows = st.tuples(
        st.integers(0, 400), st.integers(1, 130), st.integers(0, 127), st.integers(0, 2)
    )
    exact = st.tuples(
        st.integers(0, 40).map(lambda n: 12 * n),
        st.integers(1, 8).map(lambda n: 12 * n),
        st.integers(55, 79),
        st.integers(0, 1),
    )
    return st.builds(
        song_of,
        st.lists(rows, min_size=1, max_size=most) | st.lists(exact, min_size=1, max_size=most),
        time_signature=st.sampled_from(SIGNATURES),
        key=st.sampled_from(KEYS),
    )


@dataclasses.dataclass
class Read:
    """What a MusicXML file says.

    Attributes:
      notes: (onset in ticks, MIDI pitch, staff), tied ones merged, sorted.
      ends: by the same, where each stops.
      sums: for each part and bar, the quarters of each voice.
      bar: quarters that the time signature asks for.
      wrong: what does not fit.
      voices: for each (part, staff, bar) the voices in it.
    """

    notes: list
    ends: dict
    sums: list
    bar: Fraction
    wrong: list
    voices: dict


def read_musicxml(data):
    root = ET.fromstring(data)
    read = Read([], {}, [], Fraction(0), [], {})
    staff_offset = 0
    for part_index, part in enumerate(root.findall("part")):
        _read_part(part, part_index, staff_offset, read)
        staff_offset += int(part.findtext("measure/attributes/staves", "1"))
    read.notes.sort()
    return read


def _read_part(part, part_index, staff_offset, read):
    divisions = int(part.findtext("measure/attributes/divisions"))
    time = part.find("measure/attributes/time")
    read.bar = Fraction(4 * int(time.findtext("beats")), int(time.findtext("beat-type")))
    begun = []
    begin = Fraction(0)
    for number, measure in enumerate(part.findall("measure")):
        now = before = Fraction(0)
        sums = {}
        for element in measure:
            length = Fraction(int(element.findtext("duration", "0")), divisions)
            if element.tag == "backup":
                now -= length
            elif element.tag == "forward":
                now += length
            elif element.tag == "note":
                chord = element.find("chord") is not None
                at = before if chord else now
                voice = element.findtext("voice", "1")
                staff = staff_offset + int(element.findtext("staff", "1"))
                read.voices.setdefault((part_index, staff, number), set()).add(voice)
                if not chord:
                    before, now = now, now + length
                    sums[staff, voice] = max(sums.get((staff, voice), 0), now)
                _check_value(element, length, read)
                if element.find("pitch") is not None:
                    begun.append((begin + at, staff, length, element))
        if now != read.bar:
            read.wrong.append(f"bar {number + 1} ends at {now}")
        read.sums.append(sums)
        begin += read.bar
    # A bar's second voice stands after all of its first.
    open_ties = {}
    for onset, staff, length, element in sorted(begun, key=lambda note: note[0]):
        _read_note(element, onset, length, staff, open_ties, read)
    read.wrong += [f"never ended: {tie}" for tie in open_ties]


def _check_value(element, length, read):
    value = element.findtext("type")
    if value is None:
        if element.find("rest") is None or element.find("rest").get("measure") != "yes":
            read.wrong.append("a note without a value")
        return
    says = VALUES[value] * (Fraction(3, 2) if element.find("dot") is not None else 1)
    change = element.find("time-modification")
    if change is not None:
        says *= Fraction(int(change.findtext("normal-notes")), int(change.findtext("actual-notes")))
    if says != length:
        read.wrong.append(f"a {value} of {length}")


def _read_note(element, onset, length, staff, open_ties, read):
    pitch = element.find("pitch")
    number = STEPS[pitch.findtext("step")] + int(float(pitch.findtext("alter", "0")))
    number += 12 * (int(pitch.findtext("octave")) + 1)
    ties = {tie.get("type") for tie in element.findall("tie")}
    key = (staff, number)
    tick = onset * TICKS_PER_QUARTER
    if tick.denominator != 1:
        read.wrong.append(f"{number} at {tick}")
    if "stop" in ties:
        first, stop = open_ties.pop(key, (None, None))
        if stop != onset:
            read.wrong.append(f"{key} at {onset} is tied to nothing")
            return
    else:
        first = int(tick)
        read.notes.append((first, number, staff))
    read.ends[first, number, staff] = int((onset + length) * TICKS_PER_QUARTER)
    if "start" in ties:
        open_ties[key] = (first, onset + length)


@pytest.fixture(scope="session")
def varied_songs():
    return varied()


@pytest.fixture
def provenance():
    return PROVENANCE
