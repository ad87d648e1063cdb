"""Nats a frame: distributions over frames, and the product's own figures behind them."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from benchmarks import _frames
from benchmarks._frames import (
    ChordBigram,
    MarkovChain,
    NetworkRolls,
    NGramRolls,
    frames_of,
    nats_a_frame,
)
from benchmarks._poly import FOLDER, FRAME, prepare, read_rolls, to_codes
from components.trainer.inference import InferenceModel
from components.trainer.network import build_network, extract_weights
from components.trainer.settings import ModelSettings
from music.codec import BOUNDARY
from music.errors import SegueError
from music.windows import WindowSpec

KEYS = 3
SETTINGS = ModelSettings(units=(5, 6, 5), dense=7, embedding=4)


def pieces(count, seed, keys=KEYS):
    """Rolls that have silence at the begin, inside and at the end."""
    rng = np.random.default_rng(seed)
    return [rng.random((rng.integers(3, 15), keys)) < 0.3 for _ in range(count)]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    rolls = {"train": pieces(30, 1), "valid": pieces(6, 2), "test": pieces(5, 3)}
    return prepare("made", tmp_path_factory.mktemp("poly"), WindowSpec(8), rolls=rolls)


@pytest.fixture(scope="module")
def weights(prepared):
    """Of an untrained network that makes notes and steps of frames likely enough."""
    keras.utils.set_random_seed(3)
    network = build_network(SETTINGS, prepared.window, prepared.vocabulary)
    rng = np.random.default_rng(4)
    network.set_weights([w + 0.4 * rng.standard_normal(w.shape) for w in network.get_weights()])
    kernel, bias = network.get_layer("head_1").get_weights()
    bias[21 : 21 + KEYS] += 5.0
    network.get_layer("head_1").set_weights([kernel, bias])
    return extract_weights(network, SETTINGS)


@pytest.fixture(scope="module")
def model(prepared, weights):
    return InferenceModel(weights, SETTINGS, prepared.window, prepared.vocabulary)


@pytest.fixture(scope="module")
def scorer(model):
    return NetworkRolls(model)


def all_after(first, frames):
    """Every roll of so many frames that begins with one."""
    for rest in itertools.product((False, True), repeat=KEYS * (frames - 1)):
        yield np.concatenate([[first], np.reshape(rest, (frames - 1, KEYS))]).astype(bool)


FIRST = [(0, 0, 0), (1, 0, 0), (1, 0, 1), (0, 0, 1)]


@pytest.mark.parametrize(
    ("first", "frames"), [*((first, 2) for first in FIRST), (FIRST[0], 3), (FIRST[2], 3)], ids=str
)
def test_what_a_network_pays_is_a_distribution_over_all_continuations(scorer, first, frames):
    paid = scorer.paid(list(all_after(first, frames)))
    assert sum(np.exp(-one.renormalised) for one in paid) == pytest.approx(1.0, abs=1e-5)
    # The model's own figure loses what it spends on spellings of no frame, and the
    # first frame's end mark: at most one, and for no roll cheaper.
    assert 0.01 < sum(np.exp(-one.model) for one in paid) < 1.0
    assert all(one.model > one.renormalised for one in paid)


@pytest.mark.parametrize("first", FIRST, ids=str)
def test_what_the_ngram_pays_is_no_more_than_a_distribution(prepared, first):
    rolls = list(all_after(first, 3))
    assert 0.1 < np.exp(-np.array(NGramRolls(prepared.ngram).nats(rolls))).sum() <= 1.0


@pytest.mark.parametrize("kind", [MarkovChain, ChordBigram])
def test_the_baselines_are_distributions_over_all_frames(prepared, kind):
    baseline = kind(prepared.rolls["train"])
    for first in FIRST:
        nats = baseline.nats(list(all_after(first, 2)))
        assert np.exp(-np.array(nats)).sum() == pytest.approx(1.0)


def test_the_chain_and_the_bigram_are_those_worked_out_by_hand():
    # One key: off on on off. From off: on once; from on: on once, off once.
    roll = np.array([[0], [1], [1], [0]], bool)
    chain = {(0, 1): 1.5 / 2, (0, 0): 0.5 / 2, (1, 1): 1.5 / 3, (1, 0): 1.5 / 3}
    for (before, now), probability in chain.items():
        piece = np.array([[before], [now]], bool)
        assert MarkovChain([roll]).nats([piece]) == pytest.approx([-np.log(probability)])
    # Frames: off twice, on twice, two kinds; behind off came on, once.
    once = (2 + 2 * chain[0, 1]) / (4 + 2)
    expected = (1 + 1 * once) / (1 + 1)
    piece = np.array([[0], [1]], bool)
    assert ChordBigram([roll]).nats([piece]) == pytest.approx([-np.log(expected)])


def test_a_chord_that_training_never_had_is_paid_for(prepared):
    train = [roll & np.array([1, 1, 0], bool) for roll in prepared.rolls["train"]]
    strange = np.array([[0, 0, 1], [1, 1, 1], [0, 1, 1]], bool)
    bigram = ChordBigram(train)
    assert 5 < bigram.nats([strange])[0] < 50
    assert bigram.nats_a_frame([strange]) == pytest.approx(bigram.nats([strange])[0] / 2)


def carried(model, events):
    """The model's hidden vector before each event but the first, one by one."""
    ones = tf.ones([2, 1])
    state = model.zero_state(tf.constant(2))
    for row in model.to_indices(tf.constant(events)).numpy():
        state = model.consume([tf.fill([2], int(index)) for index in row], state, ones)
        yield model.read(state)


def test_the_figure_is_what_the_served_model_itself_says(prepared, weights, model):
    """Its scores of whole songs, less the first frame's notes and what an end costs."""
    whole = InferenceModel(weights, SETTINGS, WindowSpec(60), prepared.vocabulary)
    total = 0.0
    for roll in prepared.rolls["valid"]:
        events = to_codes(roll)
        count = np.array([len(events)], np.int32)
        nats = whole.score(events[None], count, count - 1).numpy()[0, : len(events) - 1]
        frame = np.cumsum(events[:, 0]) // FRAME
        total += nats[(frame[1:] > 0) & (events[1:, 1] != BOUNDARY)].sum()
        *_, last = carried(model, events[:-1])
        ones = tf.ones([2, 1])
        logits = model.logits(model.before_heads(last, ones), 0, [], ones)
        step = int(events[-1, 0])
        index = prepared.vocabulary.tables[0][step]
        total -= float(tf.nn.log_softmax(logits)[0, index])
        total += float(prepared.vocabulary.share_nll[0][step])
    rolls = prepared.rolls["valid"]
    assert nats_a_frame(model, rolls) == pytest.approx(total / frames_of(rolls), rel=1e-5)
    assert frames_of(rolls) == sum(map(len, rolls)) - len(rolls)


def test_the_ngram_pays_field_by_field(prepared):
    for roll in prepared.rolls["valid"]:
        events = to_codes(roll)
        tokens, nats = events.ravel().tolist(), 0.0
        for place in np.flatnonzero(np.cumsum(events[:, 0]) >= FRAME):
            for field in range(1 if events[place, 1] == BOUNDARY else 3):
                at = 3 * place + field
                nats -= np.log(prepared.ngram.probability(field, tokens[:at], tokens[at]))
        assert NGramRolls(prepared.ngram).nats([roll]) == pytest.approx([nats])


def test_neither_batches_nor_stretches_change_what_a_piece_pays(prepared, model, monkeypatch):
    rolls = prepared.rolls["train"][:7]
    one = NetworkRolls(model).paid(rolls)
    monkeypatch.setattr(_frames, "_STRETCH", 5)
    monkeypatch.setattr(_frames, "_ROWS", 3)
    other = NetworkRolls(model).paid(rolls)
    for mine, theirs in zip(one, other, strict=True):
        assert mine.model == pytest.approx(theirs.model, rel=1e-5)
        assert mine.renormalised == pytest.approx(theirs.renormalised, rel=1e-5)


def test_a_model_of_sliding_windows_is_refused(prepared, weights):
    window = WindowSpec(8, "last")
    with pytest.raises(SegueError, match="train a chain"):
        NetworkRolls(InferenceModel(weights, SETTINGS, window, prepared.vocabulary))


@pytest.mark.skipif(not FOLDER.is_dir(), reason="the data sets are not beside the project")
@pytest.mark.parametrize(
    ("name", "markov", "bigram"),
    [
        ("JSB", 10.49, 6.13),
        ("Nottingham", 5.15, 2.56),
        ("MuseData", 8.56, 8.09),
        ("Piano-midi", 8.26, 9.03),
    ],
)
def test_the_published_measure_is_met_to_the_second_decimal(name, markov, bigram):
    rolls = read_rolls(name)
    train, test = rolls["train"], rolls["test"]
    assert round(MarkovChain(train).nats_a_frame(test), 2) == markov
    assert round(ChordBigram(train).nats_a_frame(test), 2) == bigram
