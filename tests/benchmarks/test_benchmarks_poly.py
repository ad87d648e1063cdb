"""Piano rolls as windows: nothing lost, spelled as the codec spells, cut as in a run."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from benchmarks._poly import (
    FILES,
    FOLDER,
    FRAME,
    LOWEST,
    MAX_FRAMES,
    prepare,
    read_rolls,
    to_codes,
    to_roll,
    to_song,
)
from components.trainer.data import WindowData
from components.trainer.settings import ModelSettings, TrainerSettings, TrainingSettings
from music.codec import BOUNDARY, NotesCodec
from music.errors import SegueError
from music.windows import WindowSpec

rolls = arrays.arrays(
    bool,
    st.tuples(st.integers(1, 12), st.just(88)),
    elements=st.booleans(),
    fill=st.just(False),
)


def roll_of(*frames):
    """A roll from the keys of each frame."""
    roll = np.zeros((len(frames), 88), bool)
    for frame, keys in enumerate(frames):
        roll[frame, list(keys)] = True
    return roll


def test_a_roll_is_spelled_as_worked_out_by_hand():
    codes = to_codes(roll_of([], [40, 3], [], [], [7], []))
    assert codes.tolist() == [
        [0, BOUNDARY, 0],
        [FRAME, LOWEST + 3, FRAME],
        [0, LOWEST + 40, FRAME],
        [3 * FRAME, LOWEST + 7, FRAME],
        [2 * FRAME, BOUNDARY, 0],  # behind a silent frame
    ]
    assert codes.dtype == np.int32


@settings(max_examples=100)
@given(rolls)
def test_codes_spell_the_roll_they_were_made_of(roll):
    assert np.array_equal(to_roll(to_codes(roll)), roll)


@settings(max_examples=50)
@given(rolls)
def test_the_spelling_is_the_codecs_own(roll):
    """But for the silence that a song does not end with."""
    codes, song = to_codes(roll), to_song(roll)
    assert np.array_equal(NotesCodec().decode(codes).notes, song.notes)
    if roll[-1].any():
        assert np.array_equal(codes, NotesCodec().encode(song))


@settings(max_examples=50)
@given(rolls)
def test_pitches_ascend_in_a_frame_and_only_its_first_note_steps(roll):
    codes = to_codes(roll)
    assert not (codes[:, 0] % FRAME).any()
    together = (codes[1:, 0] == 0) & (codes[:-1, 1] != BOUNDARY)
    assert (codes[1:, 1] > codes[:-1, 1])[together].all()


def test_more_silence_than_a_step_can_say_is_refused():
    longest = np.zeros((MAX_FRAMES + 1, 88), bool)
    longest[0, 0] = True
    with pytest.raises(SegueError, match=f"{MAX_FRAMES + 1} silent frames .* {MAX_FRAMES} at most"):
        to_codes(np.concatenate([np.zeros((1, 88), bool), longest[1:], longest[:1]]))
    # As long as can be said: at the begin, and behind the last note.
    longest = longest[:-1]
    for roll in (longest, longest[::-1]):
        assert np.array_equal(to_roll(to_codes(roll)), roll)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A small data set, prepared with windows of 6."""
    rng = np.random.default_rng(1)

    def pieces(count):
        return [rng.random((rng.integers(8, 20), 88)) < 0.02 for _ in range(count)]

    rolls = {"train": pieces(9), "valid": pieces(4), "test": pieces(3)}
    return prepare("made", tmp_path_factory.mktemp("poly"), WindowSpec(6), rolls=rolls)


def test_the_vocabulary_is_counted_in_the_training_split_alone(made):
    together = np.concatenate([to_codes(roll) for roll in made.rolls["train"]])
    steps, pitches, durations = made.vocabulary.fields
    assert steps.kept == tuple(np.unique(together[:, 0]))
    assert durations.kept == (0, FRAME)
    values, counts = np.unique(together[:, 1], return_counts=True)
    assert pitches.counts == tuple(zip(values, counts, strict=True))


def test_every_event_of_the_validation_split_is_scored_once_with_the_ngrams_nats(made):
    trainer = TrainerSettings(
        ModelSettings(units=(4, 4, 4)), TrainingSettings(batch_size=4), made.window
    )
    data = WindowData(trainer, made.vocabulary)
    scored = sum(float(weight.numpy().sum()) for *_, weight in data.evaluation(made.eval_files))
    songs = [to_codes(roll) for roll in made.rolls["valid"]]
    assert scored == sum(len(events) - 1 for events in songs)
    nats = np.concatenate([made.ngram.nll(events)[1:] for events in songs])
    assert data.ngram_nats(made.eval_files) == pytest.approx(nats.mean(), rel=1e-5)
    assert math.isnan(data.ngram_nats(made.train_files))
    windows = sum(-(-(len(to_codes(roll)) - 1) // 6) for roll in made.rolls["train"])
    assert data.count(made.train_files, "train") == windows


def test_what_is_no_data_set_is_one_line(tmp_path):
    with pytest.raises(SegueError, match="'Bach' does not exist; choose one of: JSB, Nottingham"):
        read_rolls("Bach")
    with pytest.raises(SegueError, match=r"JSB_Chorales.mat does not exist"):
        read_rolls("JSB", tmp_path)


def test_a_file_of_another_shape_is_refused(tmp_path):
    from scipy.io import savemat

    pieces = np.empty((1, 1), object)
    pieces[0, 0] = np.zeros((5, 12), np.uint8)
    savemat(tmp_path / FILES["JSB"], {f"{s}data": pieces for s in ("train", "valid", "test")})
    with pytest.raises(SegueError, match=r"shape \(5, 12\), not \[frames, 88\]"):
        read_rolls("JSB", tmp_path)


@pytest.mark.skipif(not FOLDER.is_dir(), reason="the data sets are not beside the project")
@pytest.mark.parametrize(
    ("name", "pieces"), [("JSB", (229, 76, 77)), ("Nottingham", (694, 173, 170))]
)
def test_the_published_splits_are_read_and_nothing_of_them_is_lost(name, pieces):
    found = read_rolls(name)
    assert tuple(len(found[split]) for split in ("train", "valid", "test")) == pieces
    for roll in found["valid"]:
        assert np.array_equal(to_roll(to_codes(roll)), roll)
