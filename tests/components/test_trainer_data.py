"""What the network is shown: crops, transpositions, weights, and in which order."""

import time

import numpy as np
import pytest

from components.trainer.data import WindowData
from components.trainer.settings import ModelSettings, TrainerSettings, TrainingSettings
from music.codec import BOUNDARY, ChordsCodec, NotesCodec
from music.errors import SegueError
from music.vocabulary import build_vocabulary
from music.windows import WindowSpec

LENGTH = 5
WINDOW = WindowSpec(LENGTH)
# Every code is kept, so that indices are codes and can be read back.
EVERYTHING = build_vocabulary(
    NotesCodec(),
    [dict.fromkeys(range(1537), 9), dict.fromkeys(range(129), 9), dict.fromkeys(range(1537), 9)],
)


def numbered(*counts):
    """Songs whose events can be told apart: `step` counts on through all of them."""
    songs, start = [], 0
    for song, count in enumerate(counts):
        events = np.zeros((count, 3), np.int32)
        events[:, 0] = np.arange(start, start + count)
        events[:, 1] = 50 + (np.arange(count) * 7) % 40
        events[[0, -1], 1] = BOUNDARY
        events[:, 2] = song
        songs.append(events)
        start += count
    return songs


def data(vocabulary=EVERYTHING, window=WINDOW, kind="chain", **training):
    values = {"batch_size": 4, "seed": 3, **training}
    return WindowData(
        TrainerSettings(ModelSettings(kind), TrainingSettings(**values), window), vocabulary
    )


def rows(dataset):
    """(heard, next, share, weight) of every row of a pass."""
    found = []
    for (heard, coming), share, weight in dataset.as_numpy_iterator():
        found += list(zip(heard, coming, share, weight, strict=True))
    return found


def flat(dataset):
    """A pass as bytes, to compare it with another."""
    import tensorflow as tf

    return [
        [np.asarray(part).tobytes() for part in tf.nest.flatten(batch)]
        for batch in dataset.as_numpy_iterator()
    ]


@pytest.fixture
def files(tmp_path, write_windows):
    """files(songs): the pattern of their windows, and the windows."""

    def files(songs, vocabulary=EVERYTHING, window=WINDOW):
        cuts = write_windows(tmp_path / "Split-train" / "w.gz", songs, vocabulary, window)
        return [str(tmp_path / "Split-train" / "*")], [cut for _, cut in cuts]

    return files


# training crops


def test_a_crop_is_a_consecutive_piece_of_one_window(files):
    patterns, cuts = files(numbered(40, 3, 17))
    crops = rows(data().train(patterns).epoch(0))
    assert len(crops) == len(cuts)
    seen = []
    for heard, coming, _share, weight in crops:
        assert heard.shape == coming.shape == (LENGTH, 3)
        count = int(weight.sum())
        assert np.array_equal(weight, np.arange(LENGTH) < count)
        assert np.array_equal(heard[1:], coming[:-1])
        crop = np.concatenate([heard[:1], coming])[: count + 1]
        found = [
            (index, start)
            for index, cut in enumerate(cuts)
            for start in range(len(cut.events) - count)
            if np.array_equal(cut.events[start : start + count + 1], crop)
        ]
        assert found, crop
        seen.append((count, len(crop), found))
    # A window that is shorter than a crop is taken whole.
    assert sorted(count for count, _, _ in seen)[0] == 2


def test_every_window_is_shown_once_a_pass_and_every_offset_in_time(files):
    patterns, cuts = files(numbered(60))
    shown = data(batch_size=3).train(patterns)
    starts = {index: set() for index in range(len(cuts))}
    whole = np.concatenate([cuts[0].events, *(cut.events[-cut.scored :] for cut in cuts[1:])])
    for epoch in range(30):
        crops = rows(shown.epoch(epoch))
        assert len(crops) == len(cuts)
        for heard, *_ in crops:
            assert whole[heard[0, 0], 0] == heard[0, 0]
        first = sorted(int(heard[0, 0]) for heard, *_ in crops)
        for index, cut in enumerate(cuts):
            inside = [s - cut.offset for s in first if 0 <= s - cut.offset <= len(cut.events) - 6]
            starts[index] |= set(inside)
    middle = starts[3]
    assert middle == set(range(2 * LENGTH + 1 - LENGTH))


def test_the_same_seed_shows_the_same_crops_in_the_same_order(files):
    patterns, _ = files(numbered(80, 30))
    first, second = (data(transpose=3).train(patterns) for _ in range(2))
    passes = [flat(first.epoch(0)), flat(first.epoch(1))]
    # An epoch is the same whether those before it were seen or not.
    assert flat(second.epoch(1)) == passes[1]
    assert flat(second.epoch(0)) == passes[0]
    assert passes[0] != passes[1]
    assert flat(data(transpose=3, seed=4).train(patterns).epoch(0)) != passes[0]


def test_an_epoch_can_be_entered_at_any_step(files):
    patterns, cuts = files(numbered(80, 30))
    shown = data(transpose=3).train(patterns)
    assert shown.windows == len(cuts)
    assert shown.steps == -(-len(cuts) // 4)
    whole = flat(shown.epoch(5))
    assert len(whole) == shown.steps
    for step in range(shown.steps + 1):
        assert flat(shown.epoch(5, step)) == whole[step:]


def test_an_epoch_of_few_windows_goes_through_them_again_with_other_crops(files):
    patterns, cuts = files(numbered(40, 40, 40, 40))
    a_pass = -(-len(cuts) // 4)
    assert data(least_steps=a_pass).train(patterns).passes == 1
    shown = data(least_steps=2 * a_pass + 1).train(patterns)
    assert (shown.windows, shown.passes) == (len(cuts), 3)
    assert shown.steps == -(-3 * len(cuts) // 4)
    crops = [heard.tobytes() for heard, *_ in rows(shown.epoch(0))]
    assert len(crops) == 3 * len(cuts)
    assert len(set(crops)) > 1.5 * len(cuts)
    # Each pass shows every window: their songs come as often as they must.
    songs = [[heard[0, 2] for heard, *_ in rows(shown.epoch(e))][: len(cuts)] for e in (0, 1)]
    assert sorted(songs[0]) == sorted(songs[1])
    assert songs[0] != songs[1]
    step = shown.steps // 2
    assert flat(shown.epoch(0))[step:] == flat(shown.epoch(0, step))


def test_every_window_comes_at_every_place_equally_often(files, vocabulary):
    known, window = vocabulary("paper"), WindowSpec(LENGTH, "last")
    song = np.array(known.fields[0].kept[:10], np.int32)[:, None]
    patterns, cuts = files([song], known, window)
    assert len(cuts) == 5
    shown = data(known, window, kind="paper", batch_size=5).train(patterns)
    places = np.zeros((5, 5), int)
    for epoch in range(60):
        ((_, coming, _),) = shown.epoch(epoch).as_numpy_iterator()
        places[np.arange(5), coming.argmax(axis=1) - coming.argmax(axis=1).min()] += 1
    # Chi-squared with 16 degrees of freedom: over 60 once in two million.
    assert (places.sum(axis=0) == 60).all()
    assert ((places - 12) ** 2 / 12).sum() < 60


def test_crops_follow_the_data_not_the_names_order_of_the_files(tmp_path, write_windows):
    songs = numbered(30, 25)
    for name, song in zip(("b.gz", "a.gz"), songs, strict=True):
        write_windows(tmp_path / "x" / name, [song], EVERYTHING, WindowSpec(LENGTH))
    one = flat(data().train([str(tmp_path / "x" / "*")]).epoch(0))
    two = flat(data().train([str(tmp_path / "x" / "b*"), str(tmp_path / "x" / "a*")]).epoch(0))
    assert one == two


def test_the_share_is_that_of_the_codes_that_come_next(files, vocabulary, events_of):
    known = vocabulary("notes")
    songs = [events_of(known, 40, seed) for seed in range(3)]
    patterns, cuts = files(songs, known)
    longest = max(len(cut.events) for cut in cuts)
    held_out = rows(data(known).evaluation(patterns))
    for (heard, coming, share, weight), cut in zip(held_out, cuts, strict=True):
        count = len(cut.events)
        assert heard.shape == (2 * LENGTH, 3) and longest <= 2 * LENGTH + 1  # noqa: PT018
        indices = known.indices(cut.events)
        assert np.array_equal(heard[: count - 1], indices[: count - 1])
        assert np.array_equal(coming[: count - 1], indices[1:])
        wanted = sum(known.share_nll[f][cut.events[1:, f]] for f in range(3))
        np.testing.assert_allclose(share[: count - 1], wanted, rtol=1e-6)
        assert weight.sum() == cut.scored
    assert np.concatenate([share for _, _, share, _ in held_out]).max() > 1


def test_evaluation_scores_every_event_but_the_first_once(files):
    songs = numbered(40, 2, 11)
    patterns, cuts = files(songs)
    scored = []
    for (_, coming, _, weight), cut in zip(rows(data().evaluation(patterns)), cuts, strict=True):
        assert weight.sum() == cut.scored
        scored += coming[weight > 0, 0].tolist()
    assert scored == [int(step) for song in songs for step in song[1:, 0]]


def test_the_number_of_batches_is_known_before(files):
    patterns, cuts = files(numbered(40, 17))
    shown = data().train(patterns)
    assert shown.steps == -(-len(cuts) // 4) == len(flat(shown.epoch(0)))
    assert int(data().evaluation(patterns).cardinality()) == 1


# transposition


def test_a_transposition_keeps_intervals_boundaries_and_the_range(files):
    songs = numbered(60)
    for song in songs:  # close to both ends of the keyboard
        inner = song[1:-1, 1]
        inner[:25] = 1 + np.arange(25) % 5
        inner[25:] = 124 + np.arange(len(inner) - 25) % 4
    patterns, _ = files(songs)
    shown = data(transpose=6).train(patterns)
    steps = {int(event[0]): event for song in songs for event in song}
    shifts = set()
    for epoch in range(25):
        for heard, coming, _, weight in rows(shown.epoch(epoch)):
            crop = np.concatenate([heard[:1], coming])[: int(weight.sum()) + 1]
            original = np.stack([steps[int(step)] for step in crop[:, 0]])
            assert np.array_equal(crop[:, [0, 2]], original[:, [0, 2]])
            note = original[:, 1] != BOUNDARY
            assert (crop[~note, 1] == BOUNDARY).all()
            assert (crop[note, 1] <= 127).all()
            assert (crop[note, 1] >= 0).all()
            if note.any():
                (shift,) = set((crop[note, 1] - original[note, 1]).tolist())
                shifts.add(shift)
    assert shifts == set(range(-6, 7))


def test_padding_is_never_transposed_and_never_counts(files):
    patterns, _ = files(numbered(3))
    shown = data(transpose=6).train(patterns)
    for epoch in range(10):
        ((heard, coming, _, weight),) = rows(shown.epoch(epoch))
        assert weight.tolist() == [1, 1, 0, 0, 0]
        assert not heard[3:].any()
        assert not coming[2:].any()


def test_nothing_is_transposed_unless_asked_nor_while_evaluating(files):
    songs = numbered(40)
    patterns, _ = files(songs)
    steps = {int(event[0]): int(event[1]) for song in songs for event in song}
    for dataset in (data().train(patterns).epoch(0), data(transpose=6).evaluation(patterns)):
        for heard, _, _, weight in rows(dataset):
            for step, pitch, _ in heard[: int(weight.sum())]:
                assert steps[int(step)] == pitch


# the paper's windows


def test_the_papers_windows_are_a_scaled_index_and_one_class(files, vocabulary, events_of):
    known, window = vocabulary("paper"), WindowSpec(LENGTH, "last")
    song = events_of(known, 20, 1)
    patterns, cuts = files([song], known, window)
    paper = data(known, window, kind="paper", batch_size=6)
    indices = known.indices(song)[:, 0]
    assert len(cuts) == 15
    batches = list(paper.evaluation(patterns).as_numpy_iterator())
    heard, coming, weight = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    assert heard.shape == (15, LENGTH, 1)
    assert coming.shape == (15, 175)
    assert (weight == 1).all()
    for place in range(15):
        np.testing.assert_allclose(heard[place, :, 0], indices[place : place + 5] / 175, rtol=1e-6)
        assert coming[place].argmax() == indices[place + 5]
        assert coming[place].sum() == 1
    trained = paper.train(patterns).epoch(0)
    shown = np.concatenate([batch[0] for batch in trained.as_numpy_iterator()])
    assert sorted(map(bytes, shown)) == sorted(map(bytes, heard))
    assert not np.array_equal(shown, heard)


# nothing to learn from


@pytest.mark.parametrize(
    ("form", "kind", "least"), [("every", "chain", 2), ("last", "paper", LENGTH + 1)]
)
def test_a_split_without_windows_is_one_line(files, vocabulary, form, kind, least):
    known = vocabulary("paper" if kind == "paper" else "notes")
    window = WindowSpec(LENGTH, form)
    patterns, cuts = files([np.zeros((1, len(known.fields)), np.int32)], known, window)
    assert cuts == []
    empty = data(known, window, kind)
    for split, ask in (("train", empty.train), ("eval", empty.evaluation)):
        with pytest.raises(SegueError) as caught:
            ask(patterns)
        assert str(caught.value) == (
            f"the {split} split has no window: no song in it has {least} events; "
            "give more or longer songs, or lower window.length"
        )


def test_chords_are_transposed_and_what_is_not_kept_there_is_not_learned(files):
    codec = ChordsCodec()
    triad = codec.CHORD + 0b10010001
    moved = [int(code) for code in codec.transpose(np.full(3, triad), 0)[:1]]
    moved.append(int(codec.transpose(np.array([triad]), 2)[0]))
    known = build_vocabulary(codec, [dict.fromkeys([*range(40, 90), *moved], 20)], closed=True)
    song = np.array([50, 54, triad, 57] * 10, np.int32)[:, None]
    patterns, _ = files([song], known)
    chords = {}
    kept = known.fields[0].kept
    for epoch in range(12):
        shown = data(known, transpose=3).train(patterns).epoch(epoch)
        for heard, coming, _, weight in rows(shown):
            codes = np.array([kept[index] for index in coming[:, 0]])
            real = np.arange(len(codes)) < len(codes) - np.argmax(weight[::-1] > 0)
            notes = codes[(codes < codec.CHORD) & real]
            shift = int(notes.min()) - 50
            assert set(notes - shift) <= {50, 54, 57}
            counted = weight[(codes >= codec.CHORD) & real]
            chords.setdefault(shift, set()).update(counted.tolist())
            assert (weight[(codes < codec.CHORD) & real] == 1).all()
            assert heard.shape == coming.shape
    assert set(chords) >= {-3, 0, 2, 3}
    assert {shift for shift, weights in chords.items() if weights == {1.0}} == {0, 2}
    assert all(weights == {0.0} for shift, weights in chords.items() if shift not in (0, 2))


def test_chords_stay_where_they_are_unless_asked(files):
    known = build_vocabulary(ChordsCodec(), [dict.fromkeys(range(40, 90), 20)])
    song = np.arange(40, 80, dtype=np.int32)[:, None]
    patterns, _ = files([song], known)
    for heard, coming, _, weight in rows(data(known).train(patterns).epoch(0)):
        count = int(weight.sum())
        assert (coming[:count] == heard[:count] + 1).all()
        starts = {known.fields[0].kept[index] for index in heard[:1, 0]}
        assert starts <= set(range(40, 80))


def test_thousands_of_passes_begin_as_soon_as_one(files):
    patterns, _ = files(numbered(20))
    began = time.monotonic()
    shown = data(least_steps=4000).train(patterns)
    first = flat(shown.epoch(0).take(1))
    later = flat(shown.epoch(1, 3999).take(1))
    # A shuffle a pass in the graph took minutes.
    assert time.monotonic() - began < 15
    assert len(first) == len(later) == 1
