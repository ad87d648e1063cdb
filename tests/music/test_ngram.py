"""The baseline, worked out by hand and held to the laws of probability."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from music.ngram import NGramCounts, NGramModel

ALPHABETS = (3, 5, 4)


def song_of(tokens):
    return np.array(tokens, np.int32).reshape(-1, 1)


@st.composite
def songs(draw):
    """Events of three fields that fit ALPHABETS."""
    event = st.tuples(*(st.integers(0, size - 1) for size in ALPHABETS))
    return np.array(draw(st.lists(event, max_size=12)), np.int32).reshape(-1, len(ALPHABETS))


catalogues = st.lists(songs(), max_size=4)
orders = st.integers(1, 6)
contexts = st.lists(st.integers(0, 4), max_size=8)


def counted(catalogue, order):
    counts = NGramCounts(order)
    for events in catalogue:
        counts.add(events)
    return counts


# Four codes, and one song of bigrams: 0 1 0 2. By p = (c + t p') / (n + t):
#
# no context: 0 twice, 1 and 2 once; n = 4, t = 3, p' = 1/4
#   p(0) = (2 + 3/4) / 7 = 11/28    p(1) = p(2) = (1 + 3/4) / 7 = 7/28
#   p(3) = (0 + 3/4) / 7 = 3/28
# after 0: 1 and 2 once; n = 2, t = 2
#   p(0|0) = (0 + 2 * 11/28) / 4 = 11/56    p(1|0) = (1 + 2 * 7/28) / 4 = 3/8 = p(2|0)
#   p(3|0) = (0 + 2 * 3/28) / 4 = 3/56
# after 1: 0 once; n = 1, t = 1
#   p(0|1) = (1 + 11/28) / 2 = 39/56    p(1|1) = (7/28) / 2 = 1/8 = p(2|1)
#   p(3|1) = (3/28) / 2 = 3/56
# after 2 and 3: nothing ever came, so as without a context
EXPECTED = {
    (): [11 / 28, 7 / 28, 7 / 28, 3 / 28],
    (0,): [11 / 56, 3 / 8, 3 / 8, 3 / 56],
    (1,): [39 / 56, 1 / 8, 1 / 8, 3 / 56],
    (2,): [11 / 28, 7 / 28, 7 / 28, 3 / 28],
    (3,): [11 / 28, 7 / 28, 7 / 28, 3 / 28],
}


@pytest.mark.parametrize("context", EXPECTED, ids=str)
def test_probabilities_are_those_worked_out_by_hand(context):
    model = NGramModel(NGramCounts(2).add(song_of([0, 1, 0, 2])), [4])
    assert [model.probability(0, context, token) for token in range(4)] == pytest.approx(
        EXPECTED[context]
    )


def test_the_nats_of_a_song_are_those_worked_out_by_hand():
    model = NGramModel(NGramCounts(2).add(song_of([0, 1, 0, 2])), [4])
    nll = model.nll(song_of([0, 1, 0, 2]))
    assert nll.dtype == np.float64
    assert nll == pytest.approx(-np.log([11 / 28, 3 / 8, 39 / 56, 3 / 8]))


def test_a_context_is_cut_to_the_order():
    model = NGramModel(NGramCounts(2).add(song_of([0, 1, 0, 2])), [4])
    assert model.probability(0, (3, 2, 1, 0), 1) == model.probability(0, (0,), 1)


def test_a_longer_context_tells_what_a_shorter_one_cannot():
    model = NGramModel(NGramCounts(3).add(song_of([0, 1, 2, 3, 1, 0] * 10)), [4])
    assert model.probability(0, (0, 1), 2) > 0.9
    assert model.probability(0, (3, 1), 0) > 0.9


@given(songs(), orders)
def test_no_context_is_kept_that_is_longer_than_the_order_reads(events, order):
    for table in NGramCounts(order).add(events).tables:
        assert all(len(context) < order for context in table)


def test_no_context_reaches_over_the_beginning_of_a_song():
    counts = NGramCounts(2).add(song_of([0])).add(song_of([1]))
    assert set(counts.tables[0]) == {()}


def test_fields_are_not_mixed_up():
    # The same token follows in each field; only the first field ever saw a 1.
    model = NGramModel(NGramCounts(1).add(np.array([[1, 0], [1, 0]])), [2, 2])
    assert model.probability(0, (), 1) > 0.5 > model.probability(1, (), 1)


def test_a_field_sees_the_fields_before_it_in_its_event():
    events = np.array([[0, 1], [1, 0]] * 20)
    model = NGramModel(NGramCounts(2).add(events), [2, 2])
    assert model.probability(1, (0,), 1) > 0.9
    assert model.probability(1, (1,), 0) > 0.9


@settings(max_examples=60)
@given(catalogues, orders, contexts)
def test_every_conditional_sums_to_one(catalogue, order, context):
    model = NGramModel(counted(catalogue, order), ALPHABETS)
    for field, size in enumerate(ALPHABETS):
        probabilities = [model.probability(field, context, token) for token in range(size)]
        assert sum(probabilities) == pytest.approx(1)
        assert min(probabilities) > 0


@settings(max_examples=60)
@given(songs().filter(len), orders, st.data())
def test_conditionals_of_seen_contexts_sum_to_one(events, order, data):
    tokens = events.ravel().tolist()
    end = data.draw(st.integers(0, len(tokens) - 1))
    model = NGramModel(NGramCounts(order).add(events), ALPHABETS)
    field = end % len(ALPHABETS)
    probabilities = [
        model.probability(field, tokens[:end], token) for token in range(ALPHABETS[field])
    ]
    assert sum(probabilities) == pytest.approx(1)


@settings(max_examples=60)
@given(catalogues, orders, st.integers(0, 4))
def test_merging_is_counting_all_at_once(catalogue, order, cut):
    first, second = counted(catalogue[:cut], order), counted(catalogue[cut:], order)
    together = counted(catalogue, order)
    assert first.merge(second).tables == together.tables
    assert counted(catalogue[cut:], order).merge(counted(catalogue[:cut], order)).tables == (
        together.tables
    )


def test_merging_leaves_the_other_counts_as_they_were():
    other = NGramCounts(2).add(song_of([0, 1]))
    merged = NGramCounts(2).merge(other)
    merged.add(song_of([0, 1, 0]))
    assert other.tables == NGramCounts(2).add(song_of([0, 1])).tables


@settings(max_examples=60)
@given(catalogues, songs(), orders)
def test_the_nats_of_an_event_are_the_sum_over_its_fields(catalogue, events, order):
    model = NGramModel(counted(catalogue, order), ALPHABETS)
    tokens = events.ravel().tolist()
    expected = [
        -sum(
            math.log(model.probability(field, tokens[:at], tokens[at]))
            for field, at in enumerate(range(3 * event, 3 * event + 3))
        )
        for event in range(len(events))
    ]
    nll = model.nll(events)
    assert nll.shape == (len(events),)
    assert nll == pytest.approx(np.array(expected))


def test_a_model_of_nothing_is_uniform():
    model = NGramModel(NGramCounts(3), [8])
    assert model.nll(song_of([1, 2, 3])) == pytest.approx(np.full(3, math.log(8)))


def test_what_repeats_needs_fewer_nats_than_what_does_not():
    random = np.random.default_rng(7)
    repeated, noise = song_of([0, 3, 1, 4] * 50), song_of(random.integers(0, 5, 200))
    nats = {}
    for name, events in (("repeated", repeated), ("noise", noise)):
        model = NGramModel(NGramCounts(4).add(events[:150]), [5])
        nats[name] = model.nll(events)[150:].mean()
    assert nats["repeated"] < 0.2
    assert nats["noise"] > 1.4


@pytest.mark.parametrize("order", [0, -1])
def test_an_order_under_one_is_refused(order):
    with pytest.raises(ValueError, match=f"at least 1, got {order}"):
        NGramCounts(order)
