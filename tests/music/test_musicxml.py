"""Scores from notation programs, and from people who mean harm."""

import codecs
import contextlib
import hashlib
import io
import random
import zipfile

import numpy as np
import pytest

from music.errors import MidiError
from music.musicxml import MAX_FILE_BYTES, read_musicxml


def note(step="C", octave=4, duration=1, extra="", before=""):
    return (
        f"<note>{before}<pitch><step>{step}</step><octave>{octave}</octave></pitch>"
        f"<duration>{duration}</duration>{extra}</note>"
    )


def score(*parts, doctype="", beats=3, sound=""):
    """A score of parts, a measure each, in quarters."""
    attributes = (
        f"<attributes><divisions>1</divisions><time><beats>{beats}</beats>"
        f"<beat-type>4</beat-type></time></attributes>{sound}"
    )
    names = [f"P{number}" for number in range(len(parts))]
    listed = "".join(f'<score-part id="{name}"><part-name/></score-part>' for name in names)
    played = "".join(
        f'<part id="{name}"><measure number="1">{attributes}{body}</measure></part>'
        for name, body in zip(names, parts, strict=True)
    )
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>{doctype}<score-partwise version="3.1">'
        f"<part-list>{listed}</part-list>{played}</score-partwise>"
    ).encode()


def packed(data, name="score.xml", kind=zipfile.ZIP_DEFLATED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", kind) as archive:
        archive.writestr("META-INF/container.xml", "<container/>")
        if name is not None:
            archive.writestr(name, data)
    return buffer.getvalue()


def reason_of(data):
    with pytest.raises(MidiError) as caught:
        read_musicxml(data)
    assert "\n" not in str(caught.value)
    return caught.value.reason


SONG = score(note("C") + note("E", duration=2), note("G", 3, duration=3))


def test_parts_and_notes_are_read_on_the_grid():
    song = read_musicxml(SONG, "minuet")
    assert song.notes[:, [0, 1, 2, 4]].tolist() == [[0, 72, 55, 1], [0, 24, 60, 0], [24, 48, 64, 0]]
    assert (song.title, song.time_signature) == ("minuet", "3/4")
    assert song.id == hashlib.sha256(SONG).hexdigest()


def test_a_tempo_is_read():
    mark = (
        "<direction><direction-type><metronome><beat-unit>half</beat-unit>"
        "<per-minute>60</per-minute></metronome></direction-type></direction>"
    )
    assert read_musicxml(score(note(), sound=mark)).tempo == 120.0
    assert read_musicxml(score(note())).tempo is None


def test_ties_are_one_note_and_ornaments_none():
    tied = note(extra='<tie type="start"/>') + note(duration=2, extra='<tie type="stop"/>')
    grace = "<note><grace/><pitch><step>D</step><octave>5</octave></pitch></note>"
    drum = "<note><unpitched/><duration>1</duration></note>"
    symbol = "<harmony><root><root-step>C</root-step></root><kind>major</kind></harmony>"
    song = read_musicxml(score(symbol + grace + tied, drum + note("A")))
    assert song.notes[:, [0, 1, 2]].tolist() == [[0, 72, 60], [24, 24, 69]]


def test_a_chord_sounds_together():
    song = read_musicxml(score(note() + note("E", before="<chord/>") + note("D")))
    assert song.notes[:, [0, 2]].tolist() == [[0, 60], [0, 64], [24, 62]]


@pytest.mark.parametrize("kind", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_compressed_score_is_the_same_song(kind):
    song = read_musicxml(packed(SONG, kind=kind))
    assert np.array_equal(song.notes, read_musicxml(SONG).notes)


def test_what_music21_writes_is_read_back(tmp_path):
    from music21 import chord, note, stream

    part = stream.Part()
    part.insert(0, note.Note("C4", quarterLength=1.5))
    part.insert(1.5, chord.Chord(["E4", "G4"], quarterLength=0.5))
    part.insert(2, note.Note("B4", quarterLength=5))
    path = part.write("musicxml", tmp_path / "song.musicxml")
    song = read_musicxml(path.read_bytes())
    assert song.notes[:, [0, 1, 2]].tolist() == [
        [0, 36, 60], [36, 12, 64], [36, 12, 67], [48, 120, 71],
    ]  # fmt: skip


@pytest.mark.parametrize("mark", [codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF8])
def test_byte_order_marks_are_read(mark):
    names = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
    text = SONG.decode().replace("UTF-8", "UTF-16" if mark in names else "UTF-8")
    song = read_musicxml(mark + text.encode(names.get(mark, "utf-8")))
    assert np.array_equal(song.notes, read_musicxml(SONG).notes)


# strangers' files


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not-musicxml"),
        (b"Dear Sebastian,", "not-musicxml"),
        (b"MThd\0\0\0\6", "not-musicxml"),
        (b"<html><body/></html>", "not-musicxml"),
        (SONG[:-30], "damaged"),
        (SONG[: len(SONG) // 2], "damaged"),
        (b"<score-partwise/>", "no-notes"),
        (score("<note><rest/><duration>3</duration></note>"), "no-notes"),
        (packed(SONG, name=None), "not-musicxml"),
        (packed(SONG, name="readme.txt"), "not-musicxml"),
        (packed(SONG)[:60], "damaged"),
        (b"PK", "damaged"),
    ],
    ids=[
        "empty",
        "letter",
        "midi",
        "html",
        "cut-off",
        "half",
        "no-parts",
        "rests",
        "no-score",
        "no-score-by-its-name",
        "archive-cut-off",
        "archive-begun",
    ],
)
def test_what_is_no_score_is_told_with_its_reason(data, reason):
    assert reason_of(data) == reason


LAUGHS = '<!DOCTYPE lolz [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>'


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_entities_are_refused_in_any_encoding(encoding):
    data = score(note(), doctype=LAUGHS).decode().encode(encoding)
    assert reason_of(data) == "damaged"
    assert reason_of(packed(data)) == "damaged"


def test_no_other_file_is_looked_at(tmp_path):
    outside = tmp_path / "outside.dtd"
    outside.write_text("<!ELEMENT broken")
    song = read_musicxml(
        score(note(), doctype=f'<!DOCTYPE score-partwise SYSTEM "file://{outside}">')
    )
    assert len(song) == 1


def test_too_much_is_refused_before_it_is_read():
    assert reason_of(SONG + b" " * MAX_FILE_BYTES) == "too-large"
    # Of a bomb no more is unpacked than is looked at.
    bomb = packed(SONG + b" " * (40 * MAX_FILE_BYTES))
    assert len(bomb) < 2**20
    assert reason_of(bomb) == "too-large"


@pytest.mark.parametrize("duration", [20_001, 2**26, 2**31, 2**32 + 1, 10**12])
def test_a_song_without_an_end_is_too_long(duration):
    assert reason_of(score(note(duration=duration))) == "too-long"
    forward = f"<forward><duration>{duration}</duration></forward>"
    assert reason_of(score(forward + note())) == "too-long"


def test_notes_before_the_beginning_are_damage():
    assert reason_of(score(note(duration=-5) + note())) == "damaged"


@pytest.mark.parametrize("kind", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_no_broken_archive_breaks_the_reader(kind):
    data = packed(SONG, kind=kind)
    for number in range(150):
        rng = random.Random(number)
        broken = bytearray(data)
        for _ in range(3):
            broken[rng.randrange(2, len(broken))] = rng.randrange(256)
        with contextlib.suppress(MidiError):
            read_musicxml(bytes(broken))


def test_no_broken_score_breaks_the_reader():
    for number in range(150):
        rng = random.Random(number)
        broken = bytearray(SONG)
        for _ in range(2):
            broken[rng.randrange(len(broken))] = rng.randrange(32, 127)
        try:
            song = read_musicxml(bytes(broken))
        except MidiError:
            continue
        assert song.notes[:, :2].min() >= 0
