"""Note for note against music21's converter, on our own exports and on the hard cases."""

import pytest

from benchmarks.exactness import compare
from benchmarks.paper_tokens import our_tokens, paper_tokens
from music.corpus import export
from tests.music.smf_bytes import END, file_of, meta, off, on

CHORALES = 3


@pytest.fixture(scope="module")
def chorales(tmp_path_factory):
    return export("bach", tmp_path_factory.mktemp("bach"), limit=CHORALES, parts=4)


@pytest.mark.parametrize("index", range(CHORALES))
def test_a_chorale_is_the_same_for_both_readers(chorales, index):
    comparison = compare(chorales[index])
    assert comparison.notes > 100
    assert comparison.agreed == comparison.in_list == comparison.notes == comparison.peer_notes
    assert comparison.in_mido == comparison.notes
    assert comparison.same_pitches
    assert not comparison.differs


def scale(*pitches, channel=1):
    return [
        event
        for pitch in pitches
        for event in ((0, on(pitch, channel=channel)), (24, off(pitch, channel=channel)))
    ]


BAR = (0, meta(0x58, 4, 2, 24, 8))
HARD = {
    "velocity 0": [[(0, on(60)), (24, on(60, 0)), (0, on(62)), (24, on(62, 0)), END]],
    "running status": [[(0, on(60)), (24, bytes([60, 0])), (0, bytes([64, 80])),
                        (24, bytes([64, 0])), END]],
    "one pitch begun twice": [[(0, on(60)), (24, on(60)), (24, off(60)), (48, off(60)), END]],
    "one pitch begun three times": [[(0, on(60, 70)), (12, on(60)), (12, on(60)), (24, off(60)),
                                     (24, on(60)), (24, off(60)), END]],
    "one pitch in two channels": [[(0, on(60)), (24, on(60, channel=2)), (24, off(60)),
                                   (24, off(60, channel=2)), END]],
    "a note begun as another ends": [[(0, on(60)), (24, on(60)), (0, off(60)), (24, off(60)), END]],
    "chords": [[(0, on(60)), (0, on(64)), (0, on(67)),
                (24, off(60)), (0, off(64)), (0, off(67)), END]],
    "two tracks": [[BAR, *scale(60, 62, 64), END], [*scale(48, 50, 52), END]],
    "over the bar line": [[BAR, (36, on(60)), (192, off(60)), *scale(62), END]],
    "percussion": [[*scale(60, 62), *scale(36, channel=10), *scale(64), END]],
    "triplets": [[event for pitch in (60, 62, 64) for event in ((0, on(pitch)), (8, off(pitch)))]
                 + [END]],
    "a tempo in the middle": [[*scale(60), (0, meta(0x51, 7, 161, 32)), *scale(62), END]],
}  # fmt: skip


@pytest.mark.parametrize("kind", [0, 1])
@pytest.mark.parametrize("name", HARD)
def test_a_hard_case_is_the_same_for_both_readers(tmp_path, name, kind):
    path = tmp_path / "hard.mid"
    tracks = HARD[name]
    path.write_bytes(file_of(*tracks, kind=kind if len(tracks) == 1 else 1))
    comparison = compare(path)
    assert comparison.same_pitches
    assert (comparison.notes, comparison.peer_notes) == (comparison.agreed, comparison.in_list)
    assert comparison.in_mido == comparison.notes
    assert not comparison.differs


def test_rolled_notes_stay_apart_where_music21_gathers_them(tmp_path):
    path = tmp_path / "rolled.mid"
    rolled = [
        (0, on(60)),
        (6, on(64)),
        (6, on(67)),
        (228, off(60)),
        (0, off(64)),
        (0, off(67)),
        END,
    ]
    path.write_bytes(file_of(rolled, division=240))
    comparison = compare(path)
    assert (comparison.notes, comparison.peer_notes, comparison.in_list) == (3, 3, 3)
    assert (comparison.agreed, comparison.gathered, comparison.unexplained) == (1, 2, 0)


def test_a_note_that_is_never_ended_is_ours_alone(tmp_path):
    path = tmp_path / "hanging.mid"
    path.write_bytes(file_of([*scale(60, 62), (0, on(64)), (24, meta(0x2F))]))
    comparison = compare(path)
    assert (comparison.notes, comparison.peer_notes) == (3, 2)
    assert (comparison.agreed, comparison.unexplained) == (2, 1)
    assert comparison.differs


def test_the_papers_recursion_writes_tied_notes_twice_and_the_codec_once(tmp_path):
    path = tmp_path / "tied.mid"
    path.write_bytes(file_of([BAR, (36, on(60)), (120, off(60)), *scale(62), END]))
    assert paper_tokens(path) == [60, 60, 62]
    assert our_tokens(path.read_bytes()) == [60, 62]


def test_the_papers_recursion_writes_a_bar_voice_by_voice_and_the_codec_by_onsets(tmp_path):
    # A long note under two short ones, twice: music21 makes two voices of each bar.
    held = [
        event
        for low in (48, 50)
        for event in (
            (0, on(low)), (0, on(60)), (48, off(60)), (0, on(64)), (48, off(64)), (0, off(low))
        )
    ]  # fmt: skip
    path = tmp_path / "voices.mid"
    path.write_bytes(file_of([BAR, *held, END]))
    theirs, ours = paper_tokens(path), our_tokens(path.read_bytes())
    chord = 128 + 1  # C over C: one class, so the lower note
    assert chord not in theirs
    assert ours == [48, 64, 128 + 0b101, 64]
    assert sorted(theirs) == [48, 50, 60, 60, 64, 64]
    assert theirs != sorted(theirs)
