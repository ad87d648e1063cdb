"""Which codes a model keeps, where the others go, and what they pay."""

import json
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from music.codec import BOUNDARY, MAX_TICKS, ChordsCodec, NotesCodec
from music.errors import SegueError
from music.vocabulary import FieldVocabulary, Vocabulary, build_vocabulary

NOTES, CHORDS = NotesCodec(), ChordsCodec()


def vocabulary_of(codec, *kept, counts=None, closed=False):
    """A vocabulary that keeps these codes of each field."""
    counts = counts or [{}] * len(kept)
    fields = tuple(
        FieldVocabulary(field.name, tuple(sorted(codes)), tuple(sorted(seen.items())))
        for field, codes, seen in zip(codec.fields, kept, counts, strict=True)
    )
    return Vocabulary(codec.config(), fields, closed)


def goes_to(vocabulary, column, code):
    """The code that stands for a code in the model."""
    return vocabulary.fields[column].kept[vocabulary.tables[column][code]]


ticks = st.integers(0, MAX_TICKS)
counts_of_ticks = st.dictionaries(ticks, st.integers(1, 1000), max_size=30)


# ---- which codes are kept ---------------------------------------------------


def test_codes_seen_often_enough_are_kept():
    counts = [{0: 10, 6: 4, 12: 3}, {60: 1}, {24: 9, 0: 4, 7: 3}]
    vocabulary = build_vocabulary(NOTES, counts, min_count=4)
    step, pitch, duration = vocabulary.fields
    assert (step.name, step.kept) == ("step", (0, 6))
    assert (duration.name, duration.kept) == ("duration", (0, 24))
    assert vocabulary.sizes == (2, 129, 2)
    assert len(pitch) == 129
    # What is not kept is still counted, as it pays its share.
    assert step.counts == ((0, 10), (6, 4), (12, 3))


def test_every_pitch_is_kept_since_a_transposed_song_may_need_it():
    vocabulary = build_vocabulary(NOTES, [{0: 5}, {60: 5}, {6: 5}], min_count=5)
    assert vocabulary.fields[1].kept == tuple(range(BOUNDARY + 1))


def test_a_small_field_keeps_every_code():
    codec = NotesCodec(velocity=True, part=True)
    vocabulary = build_vocabulary(codec, [{0: 1}, {60: 1}, {6: 1}, {3: 1}, {}])
    assert vocabulary.fields[3].kept == vocabulary.fields[4].kept == tuple(range(16))


def test_of_too_many_frequent_codes_the_most_frequent_are_kept():
    counts = [{0: 9, 6: 7, 12: 9, 18: 7, 24: 7, 30: 2}, {60: 1}, {24: 9}]
    step, pitch, duration = build_vocabulary(NOTES, counts, min_count=4, max_size=4).fields
    assert step.kept == (0, 6, 12, 18)  # of three with 7, the smaller two
    assert step.counts[-1] == (30, 2)
    assert len(pitch) == 129  # a transposition may need any of them
    assert duration.kept == (24,)


@settings(max_examples=30)
@given(counts_of_ticks.filter(len), st.integers(1, 40))
def test_a_capped_vocabulary_keeps_no_code_seen_less_than_one_it_does_not(counts, most):
    step = build_vocabulary(NOTES, [counts, {60: 1}, {6: 1}], max_size=most).fields[0]
    assert len(step) == min(most, len(counts))
    left = set(counts) - set(step.kept)
    for code in left:
        assert all((counts[code], -code) < (counts[kept], -kept) for kept in step.kept)


@pytest.mark.parametrize(
    ("counts", "events"), [({60: 4, 62: 3}, "7 events"), ({1: 1001}, "1,001 events"), ({}, "0 ")]
)
def test_a_vocabulary_of_nothing_is_refused(counts, events):
    with pytest.raises(SegueError, match=rf"no token is seen 2000 times in {events}.*min_count"):
        build_vocabulary(CHORDS, [counts], min_count=2000)


# ---- where the others go ----------------------------------------------------


@settings(max_examples=30)
@given(st.sets(ticks, min_size=1, max_size=20))
def test_every_code_goes_to_the_nearest_kept_one_ties_to_the_smaller(kept):
    vocabulary = vocabulary_of(NOTES, kept, {60}, {6})
    table = vocabulary.tables[0]
    assert table.dtype == np.int32
    assert table.shape == (MAX_TICKS + 1,)
    for code in [0, MAX_TICKS, *kept, *(k + 1 for k in kept if k < MAX_TICKS), 777]:
        assert goes_to(vocabulary, 0, code) == min(kept, key=lambda k: (abs(k - code), k))


@settings(max_examples=30)
@given(st.sets(st.integers(0, 4223), min_size=1, max_size=60))
def test_kept_codes_stand_for_themselves(kept):
    vocabulary = vocabulary_of(CHORDS, kept)
    assert vocabulary.tables[0][sorted(kept)].tolist() == list(range(len(kept)))
    assert [goes_to(vocabulary, 0, code) for code in kept] == list(kept)


@settings(max_examples=30)
@given(st.sets(st.integers(0, 127), min_size=1, max_size=5), st.integers(0, 127))
def test_a_boundary_never_stands_for_a_note_while_a_note_is_kept(kept, note):
    vocabulary = vocabulary_of(NOTES, {0}, {*kept, BOUNDARY}, {6})
    assert goes_to(vocabulary, 1, note) != BOUNDARY
    assert goes_to(vocabulary, 1, BOUNDARY) == BOUNDARY


def test_where_only_the_boundary_or_only_a_note_is_kept_all_go_there():
    assert not vocabulary_of(NOTES, {0}, {BOUNDARY}, {6}).tables[1].any()
    assert not vocabulary_of(NOTES, {0}, {60}, {6}).tables[1].any()


def test_a_rare_chord_goes_to_a_chord_and_a_rare_note_to_a_note():
    c_major, a_minor, c_major_seventh = 0b10010001, 0b1000010001, 0b100010010001
    vocabulary = vocabulary_of(CHORDS, {40, 60, 128 + c_major, 128 + 0b101})
    assert goes_to(vocabulary, 0, 128 + c_major_seventh) == 128 + c_major
    assert goes_to(vocabulary, 0, 128 + a_minor) == 128 + c_major
    assert goes_to(vocabulary, 0, 50) == 40  # as near to 60: the smaller
    assert goes_to(vocabulary, 0, 51) == 60
    assert goes_to(vocabulary, 0, 127) == 60


def test_indices_are_the_places_among_the_kept_codes():
    vocabulary = vocabulary_of(NOTES, {0, 12}, {60, 64, BOUNDARY}, {6, 24})
    events = np.array([[0, BOUNDARY, 0], [12, 60, 24], [5, 65, 23]], np.int32)
    indices = vocabulary.indices(events)
    assert indices.dtype == np.int32
    assert indices.tolist() == [[0, 2, 0], [1, 0, 1], [0, 1, 1]]
    assert vocabulary.indices(events[:0]).shape == (0, 3)


# ---- what they pay ----------------------------------------------------------


@settings(max_examples=30)
@given(st.sets(ticks, min_size=1, max_size=20), counts_of_ticks)
def test_the_shares_of_a_class_sum_to_one(kept, counts):
    vocabulary = vocabulary_of(NOTES, kept, {60}, {6}, counts=[counts, {}, {}])
    shares = np.exp(-vocabulary.share_nll[0].astype(np.float64))
    sums = np.bincount(vocabulary.tables[0], weights=shares, minlength=len(kept))
    assert sums == pytest.approx(np.ones(len(kept)), abs=1e-5)
    assert (shares > 0).all()


def test_a_share_is_worked_out_by_hand():
    # Kept: 0 and 10. Codes 0..5 go to 0 (5 is a tie), the other 1531 to 10.
    counts = [{0: 8, 5: 3, 10: 6}, {}, {}]
    nll = vocabulary_of(NOTES, {0, 10}, {60}, {6}, counts=counts).share_nll[0]
    assert nll.dtype == np.float32
    assert nll.shape == (MAX_TICKS + 1,)
    assert nll[0] == pytest.approx(-math.log((8 + 1 / 6) / 12))
    assert nll[5] == pytest.approx(-math.log((3 + 1 / 6) / 12))
    assert nll[1] == pytest.approx(-math.log((1 / 6) / 12))
    assert nll[10] == pytest.approx(-math.log((6 + 1 / 1531) / 7))
    assert nll[99] == pytest.approx(-math.log((1 / 1531) / 7))


def test_a_code_alone_in_its_class_pays_nothing():
    vocabulary = build_vocabulary(NOTES, [{0: 5}, {60: 5}, {6: 5}])
    assert vocabulary.share_nll[1] == pytest.approx(np.zeros(129))


def test_a_coarse_vocabulary_buys_no_likelihood():
    """The best model of each vocabulary needs as many nats, all shares paid."""
    counts = {6: 4000, 12: 3000, 18: 2000, 24: 1000}
    coarse, fine = (
        vocabulary_of(NOTES, kept, {60}, {6}, counts=[counts, {}, {}])
        for kept in ({6}, {6, 12, 18, 24})
    )

    def nats(vocabulary):
        table, share = vocabulary.tables[0], vocabulary.share_nll[0]
        codes, seen = np.array(list(counts)), np.array(list(counts.values()))
        classes = np.bincount(table[codes], weights=seen)
        return (seen * (share[codes] - np.log(classes[table[codes]] / seen.sum()))).sum()

    assert nats(coarse) == pytest.approx(nats(fine), rel=0.001)


# ---- closed -----------------------------------------------------------------


def test_a_closed_vocabulary_drops_what_it_does_not_keep():
    vocabulary = build_vocabulary(CHORDS, [{60: 9, 64: 2, 140: 9}], min_count=3, closed=True)
    events = np.array([[60], [64], [140], [61], [60]], np.int32)
    assert vocabulary.keeps(events).tolist() == [True, False, True, False, True]
    assert vocabulary.admit(events).tolist() == [[60], [140], [60]]


def test_an_event_is_kept_when_all_its_codes_are():
    vocabulary = vocabulary_of(NOTES, {0, 6}, {60}, {12}, closed=True)
    events = np.array([[0, 60, 12], [1, 60, 12], [0, 61, 12], [6, 60, 13]], np.int32)
    assert vocabulary.keeps(events).tolist() == [True, False, False, False]


def test_an_open_vocabulary_admits_everything():
    vocabulary = build_vocabulary(CHORDS, [{60: 9, 64: 2}], min_count=3)
    events = np.array([[60], [64], [61]], np.int32)
    assert vocabulary.admit(events) is events


def test_a_closed_vocabulary_pays_no_share():
    vocabulary = build_vocabulary(CHORDS, [{60: 9, 64: 2}], min_count=3, closed=True)
    (share,) = vocabulary.share_nll
    assert share.dtype == np.float32
    assert share.shape == (4224,)
    assert not share.any()


# ---- as text ----------------------------------------------------------------


@settings(max_examples=30)
@given(
    counts_of_ticks.filter(len),
    counts_of_ticks.filter(len),
    st.sampled_from([NOTES, NotesCodec(velocity=True)]),
    st.booleans(),
)
def test_a_vocabulary_survives_json(steps, durations, codec, closed):
    counts = [steps, {60: 2}, durations, {}][: len(codec.fields)]
    vocabulary = build_vocabulary(codec, counts, closed=closed)
    text = vocabulary.to_json()
    again = Vocabulary.from_json(text)
    assert again == vocabulary
    assert again.to_json() == text
    assert all(map(np.array_equal, again.tables, vocabulary.tables))
    assert all(map(np.array_equal, again.share_nll, vocabulary.share_nll))
    json.loads(text)


def test_the_order_in_which_codes_were_counted_plays_no_role():
    one = build_vocabulary(CHORDS, [{60: 1, 64: 2}])
    other = build_vocabulary(CHORDS, [{np.int32(64): np.int64(2), 60: 1}])
    assert one.to_json() == other.to_json()


@given(st.lists(st.integers(0, 1536), min_size=1, max_size=20))
def test_snapped_events_are_kept_ones_and_stay_as_they_are(steps):
    counts = [Counter({6: 9, 24: 9, 96: 9}), Counter({60: 9}), Counter({12: 9, 48: 9})]
    known = build_vocabulary(NotesCodec(), counts, min_count=2)
    events = np.array([(step, 60, step) for step in steps], np.int32)
    snapped = known.snap(events)
    assert known.keeps(snapped).all()
    assert known.snap(snapped).tolist() == snapped.tolist()
    assert known.indices(snapped).tolist() == known.indices(events).tolist()
