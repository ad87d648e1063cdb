"""The score says what was played: every pitch once, bars that add up, ties that meet."""

import json
import os
import shutil
import subprocess
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import Phase, given, settings

from client.rendering.meter import TRIPLET
from client.rendering.provenance import Provenance
from client.rendering.reading import KEY, LINE, LOWEST, START
from client.rendering.score import musicxml, score_of
from client.rendering.settings import RenderSettings
from music.errors import SegueError
from music.midi import read_midi
from music.song import ONSET, PITCH, Song

from .conftest import PROVENANCE, four_parts, read_musicxml, scale, songs, triplets, varied

# To shrink a song takes minutes, and to read it as it is found not much longer.
QUICK = (Phase.explicit, Phase.reuse, Phase.generate)


def written(song, provenance=PROVENANCE):
    return musicxml(score_of(song), provenance)


def expected(score):
    """(start, pitch) of the reading's notes, sorted."""
    return sorted(map(tuple, score.reading.notes[:, [START, KEY]].tolist()))


@settings(max_examples=40, deadline=None, phases=QUICK)
@given(songs())
def test_every_pitch_of_the_quantised_song_stands_in_the_score_once(song):
    score = score_of(song)
    read = read_musicxml(musicxml(score, PROVENANCE))
    assert read.wrong == []
    assert sorted((onset, pitch) for onset, pitch, _ in read.notes) == expected(score)
    for sums in read.sums:
        # The upper voice of each staff fills its bar; the lower one may rest unseen.
        upper = {staff: max(sums[at] for at in sums if at[0] == staff) for staff, _ in sums}
        assert set(upper.values()) == {read.bar}
    assert max(map(len, read.voices.values())) <= 2


@settings(max_examples=100, deadline=None)
@given(songs())
def test_onsets_move_by_half_a_step_at_most(song):
    reading = score_of(song).reading
    by_pitch = {}
    for row in reading.notes:
        by_pitch.setdefault(int(row[KEY]), []).append(int(row[START]) + reading.offset)
    for onset, pitch in song.notes[:, [ONSET, PITCH]].tolist():
        step = reading.step_at(onset - reading.offset)
        nearest = min(abs(start - onset) for start in by_pitch[pitch + 12 * (pitch < LOWEST)])
        assert nearest <= step / 2


def test_notes_on_the_grid_keep_their_durations():
    for song in (scale(), four_parts(), triplets()):
        read = read_musicxml(written(song))
        ends = sorted(end for end in read.ends.values())
        assert ends == sorted((song.notes[:, 0] + song.notes[:, 1]).tolist())


def test_parts_that_fit_a_staff_get_one_each():
    score = score_of(four_parts())
    read = read_musicxml(musicxml(score, PROVENANCE))
    parts = {(int(row[START]), int(row[KEY])): int(row[LINE]) for row in score.reading.notes}
    assert {(onset, pitch): staff - 1 for onset, pitch, staff in read.notes} == parts
    root = ET.fromstring(written(four_parts()))
    clefs = [
        (clef.findtext("sign"), clef.findtext("clef-octave-change")) for clef in root.iter("clef")
    ]
    assert clefs == [("G", None), ("G", None), ("G", "-1"), ("F", None)]
    assert root.findtext("part-list/part-group/group-symbol") == "bracket"


def test_a_song_of_one_part_is_written_for_piano():
    root = ET.fromstring(written(scale(key="D major", tempo=96.0, time_signature="3/4")))
    assert [part.findtext("part-name") for part in root.iter("score-part")] == ["Piano"]
    attributes = root.find("part/measure/attributes")
    assert attributes.findtext("staves") == "2"
    assert [clef.findtext("sign") for clef in attributes.findall("clef")] == ["G", "F"]
    assert attributes.findtext("key/fifths") == "2"
    assert attributes.findtext("time/beats") == "3"
    assert root.find("part/measure/direction/sound").get("tempo") == "96"
    assert root.find("part/measure/direction/direction-type/metronome") is not None


def test_a_compound_meter_counts_dotted_quarters():
    root = ET.fromstring(written(scale(24, 12, time_signature="6/8", tempo=90.0)))
    mark = root.find("part/measure/direction/direction-type/metronome")
    assert (mark.findtext("beat-unit"), mark.findtext("per-minute")) == ("quarter", "60")
    assert mark.find("beat-unit-dot") is not None
    assert root.find("part/measure/direction/sound").get("tempo") == "90"


def test_a_score_says_where_it_came_from():
    root = ET.fromstring(written(scale()))
    assert root.findtext("work/work-title") == "Song 1"
    assert root.findtext("identification/creator[@type='composer']") == "after J. S. Bach, by Segue"
    fields = {
        field.get("name"): field.text
        for field in root.iterfind("identification/miscellaneous/miscellaneous-field")
    }
    assert fields == {
        "model": "segue",
        "version": "1795883508",
        "seed": "7",
        "remark": PROVENANCE.remark,
    }
    assert root.find("identification/encoding/encoding-date") is None


def test_words_from_outside_are_only_words():
    title = 'A <b> & "c"\n\x00\x1b[31m ♯ Ω'
    root = ET.fromstring(written(scale(), Provenance(title, None, (("a<", "b&"),))))
    assert root.findtext("work/work-title") == 'A <b> & "c" [31m ♯ Ω'
    assert root.findtext("identification/creator") == "by Segue"


def test_the_same_song_gives_the_same_bytes():
    for song in varied().values():
        assert written(song) == written(song)


def test_triplets_are_written_as_such():
    root = ET.fromstring(written(triplets()))
    notes = [note for note in root.iter("note") if note.find("time-modification") is not None]
    assert len(notes) == 12 * 8
    starts = root.findall(".//tuplet[@type='start']")
    assert len(starts) == len(root.findall(".//tuplet[@type='stop']")) == 4 * 8
    assert score_of(triplets()).reading.step_at(0) == TRIPLET


def test_a_song_without_notes_is_refused():
    with pytest.raises(SegueError, match="no notes"):
        score_of(Song(np.zeros((0, 5), np.int32), title="nothing"))


def test_bounds_are_told_in_one_line():
    with pytest.raises(SegueError, match=r"has 48 notes; a score may have 47: "):
        score_of(scale(), RenderSettings(notes=47))
    with pytest.raises(SegueError, match=r"has 8 bars of 4/4; a score may have 7: "):
        score_of(scale(), RenderSettings(bars=7))


needs_musescore = pytest.mark.skipif(
    shutil.which("musescore3") is None, reason="MuseScore 3 is not installed"
)


@needs_musescore
def test_musescore_reads_ten_songs_as_they_were_meant(tmp_path, varied_songs):
    jobs, wanted = [], {}
    for index, (name, song) in enumerate(varied_songs.items()):
        score = score_of(song)
        (tmp_path / f"{index}.musicxml").write_bytes(musicxml(score, PROVENANCE))
        wanted[index] = (name, expected(score))
        jobs.append(
            {"in": str(tmp_path / f"{index}.musicxml"), "out": [str(tmp_path / f"{index}.mid")]}
        )
    (tmp_path / "jobs.json").write_text(json.dumps(jobs))
    done = subprocess.run(
        ["musescore3", "-j", str(tmp_path / "jobs.json")],
        env={
            **os.environ,
            "QT_QPA_PLATFORM": "offscreen",
            "HOME": str(tmp_path),
            "XDG_RUNTIME_DIR": str(tmp_path),
        },
        capture_output=True,
        text=True,
        timeout=300,
    )
    said = done.stdout + done.stderr
    assert "Error" not in said
    assert said.count("success!") == len(wanted)
    for index, (name, notes) in wanted.items():
        heard = read_midi((tmp_path / f"{index}.mid").read_bytes())
        pairs = sorted(map(tuple, heard.notes[:, [ONSET, PITCH]].tolist()))
        assert pairs == notes, name
