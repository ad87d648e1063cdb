"""A song as a score, in MusicXML, for MuseScore, Finale, Sibelius, Dorico and verovio.

music21 knows the format; what goes into it is decided here. Its own notation, made
from bare notes (`makeNotation`, `quantize`, `partitionByInstrument`), would take
seconds a song and write what nobody wants to read. So each bar is built as it shall
look, voices, ties, beams and accidentals included, and music21 only writes it down.

The same song gives the same bytes: what music21 would put in of the day and of chance
is taken out.
"""

from __future__ import annotations

import dataclasses
import xml.etree.ElementTree as ET
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from client.rendering.meter import QUARTER, TRIPLET, meter_of
from client.rendering.provenance import SOFTWARE, Provenance, plain
from client.rendering.reading import Reading, bars_of, read_song
from client.rendering.settings import DEFAULT, RenderSettings
from client.rendering.signs import Sign, signs_of
from client.rendering.spelling import Accidentals, ScoreKey, key_of, spell, speller
from client.rendering.staves import Layout, Staff, lay_out, stands_by_part
from client.rendering.voices import Voice, voices_by_bar
from music.errors import SegueError
from music.song import Song

if TYPE_CHECKING:
    from music21 import stream

DEFAULT_TEMPO = 120.0

_HEAD = (
    '<?xml version="1.0" encoding="UTF-8"?>\n'
    '<!DOCTYPE score-partwise PUBLIC "-//Recordare//DTD MusicXML 4.0 Partwise//EN" '
    '"http://www.musicxml.org/dtds/partwise.dtd">\n'
)


@dataclasses.dataclass(frozen=True)
class Score:
    """A song, ready to be written down.

    Attributes:
      reading: its notes on the grid.
      layout: its staves.
      key: what it is spelled in.
      tempo: quarters a minute.
    """

    reading: Reading
    layout: Layout
    key: ScoreKey
    tempo: float


def score_of(song: Song, settings: RenderSettings = DEFAULT) -> Score:
    """Decides how a song is written.

    Raises:
      SegueError: it has no notes, or more notes or bars than a score may have.
    """
    name = plain(song.title) or "the song"
    if not len(song):
        raise SegueError(f"{name} has no notes; a score needs one at least")
    if len(song) > settings.notes:
        raise SegueError(
            f"{name} has {len(song):,} notes; a score may have {settings.notes:,}: "
            "ask for midi or wav, or for fewer steps"
        )
    meter = meter_of(song.time_signature)
    bars = bars_of(song, meter)
    if bars > settings.bars:
        raise SegueError(
            f"{name} has {bars:,} bars of {meter.signature}; a score may have {settings.bars:,}: "
            "ask for midi or wav, or for fewer steps"
        )
    by_part = stands_by_part(song)
    reading = read_song(song, meter, by_part)
    return Score(reading, lay_out(reading, by_part), key_of(song), song.tempo or DEFAULT_TEMPO)


def musicxml(score: Score, provenance: Provenance) -> bytes:
    """The score as MusicXML 4.0, not compressed."""
    from music21.musicxml.m21ToXml import ScoreExporter

    built = _built(score)
    # Given a copy of the score, it would look for what is missing; nothing is.
    exporter = ScoreExporter(built, makeNotation=False)
    root = exporter.parse()
    _identify(root, score, provenance)
    ET.indent(root)
    return (_HEAD + ET.tostring(root, encoding="unicode") + "\n").encode()


# ---- what music21 is told ---------------------------------------------------


def _built(score: Score) -> stream.Score:
    from music21 import bar, layout, stream

    built = stream.Score()
    names = speller(score.key)
    parts = []
    for index, staff in enumerate(score.layout.staves):
        kind = stream.PartStaff if score.layout.piano else stream.Part
        part = kind(id=f"staff{index + 1}")
        bars = voices_by_bar(score.reading, staff.rows)
        accidentals = Accidentals(score.key)
        for number, voices in enumerate(bars):
            accidentals.begin_bar()
            measure = _measure(score.reading, number, voices, names, accidentals)
            if number == 0:
                _head(measure, score, staff, first=index == 0)
            part.coreInsert(number * score.reading.meter.bar / QUARTER, measure)
        measure.rightBarline = bar.Barline("final")
        part.coreElementsChanged()
        built.insert(0, part)
        parts.append(part)
    if score.layout.piano:
        built.insert(0, layout.StaffGroup(parts, symbol="brace"))
    elif len(parts) > 1:
        built.insert(0, layout.StaffGroup(parts, symbol="bracket"))
    return built


def _head(measure: stream.Measure, score: Score, staff: Staff, first: bool) -> None:
    """Clef, key, time and, above the uppermost staff, tempo."""
    from music21 import clef, duration, key, meter, tempo

    clefs = {"treble": clef.TrebleClef, "treble8vb": clef.Treble8vbClef, "bass": clef.BassClef}
    written = score.reading.meter
    measure.insert(0, clefs[staff.clef]())
    measure.insert(0, key.KeySignature(score.key.sharps))
    measure.insert(0, meter.TimeSignature(written.signature))
    if first:
        beat = duration.Duration(1.5 if written.compound and written.unit == 8 else 1)
        number = round(score.tempo / beat.quarterLength)
        measure.insert(0, tempo.MetronomeMark(number=max(number, 1), referent=beat))


def _measure(
    reading: Reading, number: int, voices: tuple[Voice, ...], names, accidentals: Accidentals
) -> stream.Measure:
    from music21 import note, stream

    meter = reading.meter
    measure = stream.Measure(number=number + 1)
    if not voices:
        rest = note.Rest(quarterLength=meter.bar / QUARTER)
        rest.fullMeasure = True
        measure.append(rest)
        return measure

    def is_triplet(place: int) -> bool:
        return reading.step_at(number * meter.bar + place) == TRIPLET

    written = [
        signs_of(voice, meter, is_triplet, lower=index == 1) for index, voice in enumerate(voices)
    ]
    shown = _shown(written, names, accidentals)
    for index, signs in enumerate(written):
        lane: Any = measure
        if len(written) > 1:
            lane = stream.Voice(id=str(index + 1))
        for sign in signs:
            lane.coreInsert(_quarters(sign.start), _element(sign, names, shown))
        lane.coreElementsChanged()
        if lane is not measure:
            measure.coreInsert(0, lane)
    measure.coreElementsChanged()
    return measure


def _shown(written: list[list[Sign]], names, accidentals: Accidentals) -> set[tuple[int, int]]:
    """(start, pitch) of the heads that show an accidental, of all voices of a staff's bar."""
    heads = sorted(
        (sign.start, pitch, tied)
        for signs in written
        for sign in signs
        for pitch, tied, _ in sign.heads
    )
    return {
        (start, pitch)
        for start, pitch, tied in heads
        if accidentals.is_shown(spell(names, pitch), tied)
    }


def _quarters(ticks: int) -> float | Fraction:
    return ticks / QUARTER if ticks % 3 == 0 else Fraction(ticks, QUARTER)


def _element(sign: Sign, names, shown: set[tuple[int, int]]):
    from music21 import beam, chord, duration, note

    length = duration.Duration(type=sign.value, dots=sign.dots)
    if sign.triplet:
        triplet = duration.Tuplet(3, 2, "eighth")
        if sign.start % QUARTER == 0:
            triplet.type = "start"
        elif sign.stop % QUARTER == 0:
            triplet.type = "stop"
        length.appendTuplet(triplet)
    if not sign.heads:
        rest = note.Rest(duration=length)
        rest.style.hideObjectOnPrint = sign.hidden
        return rest
    notes = [_note(head, sign, names, shown) for head in sign.heads]
    if len(notes) == 1:
        element: Any = notes[0]
        element.duration = length
    else:
        element = chord.Chord(notes, duration=length)
    for number, kind in enumerate(sign.beams, 1):
        one = beam.Beam("partial", kind) if kind in ("left", "right") else beam.Beam(kind)
        one.number = number
        element.beams.beamsList.append(one)
    return element


def _note(head, sign: Sign, names, shown: set[tuple[int, int]]):
    from music21 import note, pitch, tie

    number, before, after = head
    spelling = spell(names, number)
    written = pitch.Pitch(step=spelling.step, octave=spelling.octave)
    is_shown = (sign.start, number) in shown
    if spelling.alter or is_shown:
        written.accidental = pitch.Accidental(spelling.alter)
        written.accidental.displayStatus = is_shown
    element = note.Note(written)
    if before or after:
        element.tie = tie.Tie("continue" if before and after else "stop" if before else "start")
    return element


# ---- what the file says of itself -------------------------------------------


def _identify(root: ET.Element, score: Score, provenance: Provenance) -> None:
    """Puts in who made the song, and takes out the day, random names and empty titles."""
    for name in ("work", "movement-number", "movement-title", "identification"):
        for element in root.findall(name):
            root.remove(element)
    work = ET.Element("work")
    ET.SubElement(work, "work-title").text = plain(provenance.title)
    identification = ET.Element("identification")
    composer = ET.SubElement(identification, "creator", type="composer")
    composer.text = plain(provenance.byline)
    encoding = ET.SubElement(identification, "encoding")
    ET.SubElement(encoding, "software").text = SOFTWARE
    for supported in ("accidental", "beam"):
        ET.SubElement(encoding, "supports", element=supported, type="yes")
    miscellaneous = ET.SubElement(identification, "miscellaneous")
    facts = (*provenance.facts, ("remark", provenance.described))
    for name, value in facts:
        field = ET.SubElement(miscellaneous, "miscellaneous-field", name=plain(name))
        field.text = plain(value)
    root.insert(0, work)
    root.insert(1, identification)
    _name_parts(root, score)


def _name_parts(root: ET.Element, score: Score) -> None:
    names = {}
    piano = score.layout.piano
    for index, part in enumerate(root.iter("score-part"), 1):
        names[part.get("id")] = f"P{index}"
        part.set("id", f"P{index}")
        for child in list(part):
            part.remove(child)
        ET.SubElement(part, "part-name").text = "Piano" if piano else f"Part {index}"
        # MuseScore complains of parts without an instrument.
        instrument = ET.SubElement(part, "score-instrument", id=f"P{index}-I1")
        ET.SubElement(instrument, "instrument-name").text = "Piano"
        midi = ET.SubElement(part, "midi-instrument", id=f"P{index}-I1")
        ET.SubElement(midi, "midi-channel").text = str(index)
        ET.SubElement(midi, "midi-program").text = "1"
    for part in root.findall("part"):
        part.set("id", names[part.get("id")])
