"""Everything that is compared in nats is a distribution: it sums to one over all codes.

Over all raw codes, that is: a class of the vocabulary times a code's share in it. The
n-gram's conditionals are summed in tests/music/test_ngram.py.
"""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from components.trainer.inference import InferenceModel
from components.trainer.network import build_network, extract_weights
from components.trainer.settings import ModelSettings
from components.window_generator.stages import to_example
from music.codec import NotesCodec
from music.vocabulary import build_vocabulary
from music.windows import Window, WindowSpec

TINY = {"units": (5, 7, 6), "dense": 8, "embedding": 3}


def network_of(model_settings, window, known):
    keras.utils.set_random_seed(3)
    network = build_network(model_settings, window, known)
    rng = np.random.default_rng(4)
    network.set_weights([w + 0.5 * rng.standard_normal(w.shape) for w in network.get_weights()])
    return network


def sums_over_codes(logits, known, field):
    """Of probabilities float[..., V], the total of all raw codes of a field."""
    probabilities = tf.nn.softmax(tf.cast(logits, tf.float64)).numpy()
    shares = np.exp(-known.share_nll[field].astype(np.float64))
    return (probabilities[..., known.tables[field]] * shares).sum(axis=-1)


@pytest.mark.parametrize("name", ["notes", "chords", "paper"])
def test_every_head_of_the_network_sums_to_one_over_all_codes(vocabulary, events_of, name):
    known = vocabulary(name)
    network = network_of(ModelSettings(**TINY), WindowSpec(8), known)
    heads = [network.get_layer(f"head_{field}").output for field in range(len(known.sizes))]
    told = keras.Model(network.inputs, heads)
    indices = np.stack([known.indices(events_of(known, 9, seed)) for seed in range(40)])
    logits = told([indices[:, :-1], indices[:, 1:]])
    for field, one in enumerate(logits if isinstance(logits, list) else [logits]):
        total = sums_over_codes(one, known, field)
        assert total.shape == (40 * 8,)
        if known.closed:  # what it does not keep is not in the music at all
            kept = np.array(known.fields[field].kept)
            total = tf.nn.softmax(one).numpy()[..., known.tables[field][kept]].sum(axis=-1)
        np.testing.assert_allclose(total, 1.0, atol=1e-5)


def test_the_papers_softmax_sums_to_one_over_its_tokens(vocabulary, events_of):
    known, window = vocabulary("paper"), WindowSpec(5, "last")
    paper = ModelSettings("paper", **TINY)
    model = InferenceModel(
        extract_weights(network_of(paper, window, known), paper), paper, window, known
    )
    tokens = np.array(known.fields[0].kept, np.int32)
    for seed in range(3):
        windows = np.repeat(events_of(known, 6, seed)[None], len(tokens), axis=0)
        windows[:, -1, 0] = tokens
        rows = np.ones(len(tokens), np.int32)
        nll = model.score(windows, 6 * rows, rows).numpy()[:, 0].astype(np.float64)
        assert np.exp(-nll).sum() == pytest.approx(1.0, abs=1e-5)


ticks = st.dictionaries(st.integers(0, 1536), st.integers(1, 50), min_size=1, max_size=6)


@settings(max_examples=10, deadline=None)
@given(ticks, ticks, st.integers(1, 3), st.integers(0, 99))
def test_the_served_heads_sum_to_one_whatever_the_vocabulary(steps, durations, least, seed):
    counts = [{**steps, 0: 9}, {60: 3}, {**durations, 24: 9}]
    known = build_vocabulary(NotesCodec(), counts, min_count=least)
    rng = np.random.default_rng(seed)
    chain = ModelSettings(**TINY, profile=4)
    network = build_network(chain, WindowSpec(4), known)
    network.set_weights([rng.standard_normal(w.shape) for w in network.get_weights()])
    model = InferenceModel(extract_weights(network, chain), chain, WindowSpec(4), known)
    ones = tf.ones([7, 1])
    sums = model.before_heads(
        tf.constant(rng.standard_normal((7, model.read_size)), tf.float32), ones
    )
    event = [tf.constant(rng.integers(0, size, 7), tf.int32) for size in known.sizes]
    for field in range(3):
        logits = model.logits(sums, field, event[:field], ones)
        np.testing.assert_allclose(sums_over_codes(logits, known, field), 1.0, atol=1e-5)


@pytest.fixture(scope="module")
def ask(exported, served):
    """ask(heard, events): nats of each event [3] behind what was heard, as served."""
    known, names = exported("small").vocabulary, ("step", "pitch", "duration")
    assert [field.name for field in known.fields] == list(names)

    def ask(heard, events):
        nats = []
        for start in range(0, len(events), 4096):
            examples = [
                to_example(
                    Window(np.concatenate([heard, event[None]]), 0, 1), "song", names, None
                ).SerializeToString()
                for event in events[start : start + 4096]
            ]
            nats.append(served("small")("serving_default", examples=examples)["nll"])
        return np.concatenate(nats).astype(np.float64)

    return ask


def test_the_likelihoods_of_all_events_of_the_served_model_sum_to_one(ask, exported, events_of):
    """An event of each class of every field; that classes' shares sum to one is below."""
    known = exported("small").vocabulary
    heard = events_of(known, 4, 1)
    events = np.array(list(itertools.product(*(f.kept for f in known.fields))), np.int32)
    shares = sum(known.share_nll[field][events[:, field]] for field in range(3))
    assert len(events) == np.prod(known.sizes)
    assert np.exp(shares - ask(heard, events)).sum() == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize("field", [0, 2], ids=["step", "duration"])
def test_a_code_that_is_not_kept_takes_its_likelihood_from_its_class(
    ask, exported, events_of, field
):
    """All codes of a field together are as likely as its classes."""
    known = exported("small").vocabulary
    heard = events_of(known, 4, 2)
    every = np.array([[12, 60, 24]] * len(known.tables[field]), np.int32)
    every[:, field] = np.arange(len(every))
    kept = np.array(known.fields[field].kept)
    nats = ask(heard, every)
    classes = np.exp(known.share_nll[field][kept] - nats[kept]).sum()
    assert len(kept) < len(every)
    assert np.exp(-nats).sum() == pytest.approx(classes, rel=1e-4)
