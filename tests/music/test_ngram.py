"""The baseline, worked out by hand and held to the laws of probability."""

import collections
import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from music import ngram
from music.codec import ChordsCodec, NotesCodec
from music.ngram import (
    MAX_FIELDS,
    MAX_TOKEN,
    NGramCounts,
    NGramModel,
    merge_tables,
    part_bounds,
    part_cuts,
    stretch_table,
    table_entries,
)

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
    model = NGramCounts(2).add(song_of([0, 1, 0, 2])).model([4])
    assert [model.probability(0, context, token) for token in range(4)] == pytest.approx(
        EXPECTED[context]
    )


def test_the_nats_of_a_song_are_those_worked_out_by_hand():
    model = NGramCounts(2).add(song_of([0, 1, 0, 2])).model([4])
    nll = model.nll(song_of([0, 1, 0, 2]))
    assert nll.dtype == np.float64
    assert nll == pytest.approx(-np.log([11 / 28, 3 / 8, 39 / 56, 3 / 8]))


def test_a_context_is_cut_to_the_order():
    model = NGramCounts(2).add(song_of([0, 1, 0, 2])).model([4])
    assert model.probability(0, (3, 2, 1, 0), 1) == model.probability(0, (0,), 1)


def test_a_longer_context_tells_what_a_shorter_one_cannot():
    model = NGramCounts(3).add(song_of([0, 1, 2, 3, 1, 0] * 10)).model([4])
    assert model.probability(0, (0, 1), 2) > 0.9
    assert model.probability(0, (3, 1), 0) > 0.9


@given(songs(), orders)
def test_every_token_is_counted_once_for_each_length_of_context_that_it_has(events, order):
    """No longer than the order reads, and not over the beginning of the song."""
    table = NGramCounts(order).add(events).table()
    assert table[1, -1] == sum(min(index, order - 1) + 1 for index in range(events.size))


def test_no_context_reaches_over_the_beginning_of_a_song():
    apart = NGramCounts(2).add(song_of([0])).add(song_of([1]))
    assert np.array_equal(apart.table(), NGramCounts(1).add(song_of([0, 1])).table())
    assert table_entries(NGramCounts(2).add(song_of([0, 1])).table()) == 3


def test_fields_are_not_mixed_up():
    # The same token follows in each field; only the first field ever saw a 1.
    model = NGramCounts(1).add(np.array([[1, 0], [1, 0]])).model([2, 2])
    assert model.probability(0, (), 1) > 0.5 > model.probability(1, (), 1)


def test_a_field_sees_the_fields_before_it_in_its_event():
    events = np.array([[0, 1], [1, 0]] * 20)
    model = NGramCounts(2).add(events).model([2, 2])
    assert model.probability(1, (0,), 1) > 0.9
    assert model.probability(1, (1,), 0) > 0.9


@settings(max_examples=60)
@given(catalogues, orders, contexts)
def test_every_conditional_sums_to_one(catalogue, order, context):
    model = counted(catalogue, order).model(ALPHABETS)
    for field, size in enumerate(ALPHABETS):
        probabilities = [model.probability(field, context, token) for token in range(size)]
        assert sum(probabilities) == pytest.approx(1)
        assert min(probabilities) > 0


@settings(max_examples=60)
@given(songs().filter(len), orders, st.data())
def test_conditionals_of_seen_contexts_sum_to_one(events, order, data):
    tokens = events.ravel().tolist()
    end = data.draw(st.integers(0, len(tokens) - 1))
    model = NGramCounts(order).add(events).model(ALPHABETS)
    field = end % len(ALPHABETS)
    probabilities = [
        model.probability(field, tokens[:end], token) for token in range(ALPHABETS[field])
    ]
    assert sum(probabilities) == pytest.approx(1)


@pytest.mark.parametrize("codec", [NotesCodec(), ChordsCodec()], ids=lambda codec: codec.name)
def test_conditionals_sum_to_one_over_a_whole_codec(codec):
    """All codes of a field, seen or not, in contexts that were seen and that were not."""
    sizes = [field.size for field in codec.fields]
    song = random_song(3, 40)[:, : len(sizes)]
    model = counted([song], 7).model(sizes)
    tokens = song.ravel().tolist()
    for field, size in enumerate(sizes):
        place = len(sizes) * 20 + field
        for context in (tokens[:place], [*tokens[: place - 2], 77, 5]):
            total = sum(model.probability(field, context, token) for token in range(size))
            assert total == pytest.approx(1)


@settings(max_examples=60)
@given(catalogues, orders, st.integers(0, 4))
def test_merging_is_counting_all_at_once(catalogue, order, cut):
    first, second = counted(catalogue[:cut], order), counted(catalogue[cut:], order)
    together = counted(catalogue, order).table()
    assert np.array_equal(second.merge(first).table(), together)
    assert np.array_equal(first.merge(counted(catalogue[cut:], order)).table(), together)


def test_merging_leaves_the_other_counts_as_they_were():
    other = NGramCounts(2).add(song_of([0, 1]))
    merged = NGramCounts(2).merge(other)
    merged.add(song_of([0, 1, 0]))
    assert np.array_equal(other.table(), NGramCounts(2).add(song_of([0, 1])).table())


def test_pieces_give_the_same_bytes_in_any_order_and_size(monkeypatch):
    """Batches of a few keys make many small tables, which are merged on the way."""
    album = [random_song(seed) for seed in range(12)]
    whole = counted(album, 5).table().tobytes()
    for batch, seed in itertools.product((1, 100, 1000), (1, 2)):
        monkeypatch.setattr(ngram, "_BATCH", batch)
        shuffled = [album[index] for index in np.random.default_rng(seed).permutation(12)]
        counts = counted(shuffled[:5], 5).merge(counted(shuffled[5:], 5))
        assert len(counts) >= table_entries(counts.table())
        assert counts.table().tobytes() == whole


# ---- as plainly as the formula is written ------------------------------------


class PlainNGram:
    """The same model from dictionaries of tuples, token by token."""

    def __init__(self, catalogue, order, alphabets):
        self.order, self.alphabets = order, alphabets
        self.followers = collections.defaultdict(collections.Counter)
        for events in catalogue:
            tokens = events.ravel().tolist()
            for index, token in enumerate(tokens):
                for length in range(min(index, order - 1) + 1):
                    context = (index % len(alphabets), *tokens[index - length : index])
                    self.followers[context][token] += 1

    def nll(self, events):
        tokens = events.ravel().tolist()
        nats = []
        for index, token in enumerate(tokens):
            field = index % len(self.alphabets)
            probability = 1 / self.alphabets[field]
            for length in range(min(index, self.order - 1) + 1):
                seen = self.followers.get((field, *tokens[index - length : index]))
                if not seen:
                    break
                probability = (seen[token] + len(seen) * probability) / (seen.total() + len(seen))
            nats.append(-math.log(probability))
        return np.array(nats).reshape(events.shape).sum(axis=1)


def random_song(seed, count=200):
    """Events of the default codec, some of them again and again."""
    rng = np.random.default_rng(seed)
    phrase = rng.integers(0, [1537, 129, 1537], (9, 3))
    events = phrase[rng.integers(0, 9, count)]
    strange = rng.random(count) < 0.2
    events[strange] = rng.integers(0, [1537, 129, 1537], (int(strange.sum()), 3))
    return events.astype(np.int32)


@pytest.mark.parametrize("order", [1, 2, 7, 20])
def test_the_nats_are_those_of_the_formula_written_plainly(order):
    album = [random_song(seed) for seed in range(6)]
    alphabets = [field.size for field in NotesCodec().fields]
    plain = PlainNGram(album[:4], order, alphabets)
    model = counted(album[:4], order).model(alphabets)
    halves = [np.concatenate([album[0][:100], album[4]]), album[5], album[1][:0], album[2][:1]]
    for events, nll in zip(halves, model.nlls(halves), strict=True):
        assert np.abs(nll - plain.nll(events)).max(initial=0) < 1e-9
        assert np.array_equal(nll, model.nll(events))


@settings(max_examples=60)
@given(catalogues, songs(), orders)
def test_the_nats_are_those_of_the_formula_on_any_catalogue(catalogue, events, order):
    plain = PlainNGram(catalogue, order, ALPHABETS)
    nll = counted(catalogue, order).model(ALPHABETS).nll(events)
    assert np.abs(nll - plain.nll(events)).max(initial=0) < 1e-9


def test_songs_scored_together_know_nothing_of_each_other():
    """Even where the model has seen the second one follow the first."""
    first, second = random_song(1), random_song(2)
    model = counted([np.concatenate([first, second])], 7).model([1537, 129, 1537])
    together = model.nlls([first, second])
    assert np.array_equal(together[1], model.nll(second))
    assert together[1][0] > model.nll(np.concatenate([first, second]))[len(first)]


def test_no_songs_have_no_nats():
    assert NGramCounts(2).model([3]).nlls([]) == []


# ---- in parts ----------------------------------------------------------------


def parts_of(table, parts):
    cuts = part_cuts(table, parts)
    return [stretch_table(table[:, a : b + 1]) for a, b in itertools.pairwise(cuts)]


@pytest.mark.parametrize("parts", [1, 2, 3, 7, 64])
def test_a_model_in_parts_is_the_same_model(parts):
    album = [random_song(seed) for seed in range(5)]
    table = counted(album[:4], 4).table()
    cut = parts_of(table, parts)
    assert sum(map(table_entries, cut)) == table_entries(table)
    alphabets = [field.size for field in NotesCodec().fields]
    whole, model = NGramModel(4, [table], alphabets), NGramModel(4, cut, alphabets)
    assert np.array_equal(model.nll(album[4]), whole.nll(album[4]))
    assert np.array_equal(model.nll(album[3]), whole.nll(album[3]))
    assert whole.nll(album[3]).sum() < whole.nll(album[4]).sum()


def test_parts_are_of_about_one_size_and_none_shares_a_context():
    table = counted([random_song(seed) for seed in range(20)], 7).table()
    sizes = [table_entries(part) for part in parts_of(table, 8)]
    assert min(sizes) > 0.7 * max(sizes)  # what follows no context is in one of them
    bounds = part_bounds(8)
    assert bounds[0] == 0
    assert not (bounds % (1 << 16)).any()  # the bits of field and token


@settings(max_examples=30)
@given(catalogues, st.integers(1, 5))
def test_parts_merged_apart_are_the_parts_of_the_whole(catalogue, parts):
    pieces = [parts_of(counted([events], 3).table(), parts) for events in catalogue]
    whole = parts_of(counted(catalogue, 3).table(), parts)
    for part in range(parts):
        assert np.array_equal(merge_tables([piece[part] for piece in pieces]), whole[part])


@pytest.mark.parametrize("token", [-1, MAX_TOKEN + 1])
def test_a_code_that_no_key_can_hold_is_refused(token):
    with pytest.raises(ValueError, match=rf"takes codes of 0..{MAX_TOKEN}, got {token}"):
        NGramCounts(2).add(song_of([3, token, 4]))
    with pytest.raises(ValueError, match=str(token)):
        NGramCounts(2).model([8]).nll(song_of([token]))


def test_the_largest_codes_and_the_most_fields_are_counted():
    events = np.full((3, MAX_FIELDS), MAX_TOKEN, np.int32)
    model = NGramCounts(2).add(events).model([MAX_TOKEN + 1] * MAX_FIELDS)
    assert model.nll(events)[-1] < model.nll(events - 1)[-1]
    with pytest.raises(ValueError, match=f"up to {MAX_FIELDS} fields, got {MAX_FIELDS + 1}"):
        NGramCounts(2).add(np.zeros((1, MAX_FIELDS + 1), np.int32))


def test_contexts_of_one_hash_still_make_a_distribution(monkeypatch):
    """Two bits of hash instead of 48: nearly all contexts fall on one another."""
    monkeypatch.setattr(ngram, "_HASH", np.uint64(3 << 62))
    rng = np.random.default_rng(5)
    model = NGramCounts(4).add(rng.integers(0, ALPHABETS, (50, 3))).model(ALPHABETS)
    for context in rng.integers(0, 3, (20, 5)).tolist():
        for field, size in enumerate(ALPHABETS):
            total = sum(model.probability(field, context, token) for token in range(size))
            assert total == pytest.approx(1)


@settings(max_examples=60)
@given(catalogues, songs(), orders)
def test_the_nats_of_an_event_are_the_sum_over_its_fields(catalogue, events, order):
    model = counted(catalogue, order).model(ALPHABETS)
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
    model = NGramCounts(3).model([8])
    assert model.nll(song_of([1, 2, 3])) == pytest.approx(np.full(3, math.log(8)))


def test_what_repeats_needs_fewer_nats_than_what_does_not():
    random = np.random.default_rng(7)
    repeated, noise = song_of([0, 3, 1, 4] * 50), song_of(random.integers(0, 5, 200))
    nats = {}
    for name, events in (("repeated", repeated), ("noise", noise)):
        model = NGramCounts(4).add(events[:150]).model([5])
        nats[name] = model.nll(events)[150:].mean()
    assert nats["repeated"] < 0.2
    assert nats["noise"] > 1.4


@pytest.mark.parametrize("order", [0, -1])
def test_an_order_under_one_is_refused(order):
    with pytest.raises(ValueError, match=f"at least 1, got {order}"):
        NGramCounts(order)
