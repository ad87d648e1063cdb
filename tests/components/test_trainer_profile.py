"""The pitch-class profile: by hand, in every key, and at no cost where it has nothing to say."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.trainer.inference import InferenceModel
from components.trainer.network import build_network, extract_weights
from components.trainer.profile import PitchClassProfile, classes_of, profiles
from components.trainer.settings import PROFILE_DECAYS, ModelSettings
from music.codec import NotesCodec
from music.vocabulary import build_vocabulary
from music.windows import WindowSpec

TINY = {"units": (5, 7, 6), "dense": 8, "embedding": 3}
# Every pitch, so that a transposed one is kept as well, and the boundary.
EVERY_PITCH = build_vocabulary(
    NotesCodec(), [{0: 9, 12: 9}, dict.fromkeys(range(129), 9), {12: 9}], min_count=1
)


def layer_of(vocabulary, width=5, dense=8, seed=0):
    """A layer with no weight at zero."""
    layer = PitchClassProfile(classes_of(vocabulary), width)
    layer.build([(None, None), (None, dense)])
    rng = np.random.default_rng(seed)
    layer.set_weights([rng.standard_normal(w.shape) for w in layer.get_weights()])
    return layer


def test_a_profile_is_what_was_sounded_and_falls_with_every_later_event():
    rng = np.random.default_rng(0)
    sounded = rng.integers(0, 2, (2, 9, 12)).astype(np.float32)
    made = profiles(sounded).numpy()
    assert made.shape == (2, 9, len(PROFILE_DECAYS), 12)
    wanted = np.zeros((2, len(PROFILE_DECAYS), 12))
    for event in range(9):
        for pace, decay in enumerate(PROFILE_DECAYS):
            wanted[:, pace] = decay * wanted[:, pace] + (1 - decay) * sounded[:, event]
        np.testing.assert_allclose(made[:, event], wanted, atol=1e-6)


@pytest.mark.parametrize("name", ["notes", "chords"])
def test_what_a_code_gains_is_worked_out_by_hand(vocabulary, name):
    known = vocabulary(name)
    layer = layer_of(known)
    kernel, signal_kernel, bias, readout = (w.astype(np.float64) for w in layer.get_weights())
    rng = np.random.default_rng(1)
    classes = classes_of(known)
    heard = rng.integers(0, len(classes), (2, 6))
    hidden = rng.standard_normal((12, 8))
    profile = profiles(classes[heard]).numpy().reshape(12, len(PROFILE_DECAYS), 12)
    wanted = np.zeros((12, len(classes)))
    for row in range(12):
        told = hidden[row] @ signal_kernel + bias
        gain = np.zeros(12)
        for c in range(12):
            seen = sum(
                profile[row, pace, (c + k) % 12] * kernel[pace, k]
                for pace in range(len(PROFILE_DECAYS))
                for k in range(12)
            )
            gain[c] = np.maximum(seen + told, 0) @ readout
        wanted[row] = classes @ gain
    made = layer([heard, hidden.astype(np.float32)]).numpy()
    np.testing.assert_allclose(made, wanted, rtol=1e-4, atol=1e-4)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(24, 100), min_size=1, max_size=12), st.integers(-11, 11))
def test_in_another_key_every_pitch_gains_what_it_gained_in_this_one(pitches, semitones):
    layer = layer_of(EVERY_PITCH)
    hidden = np.random.default_rng(2).standard_normal((len(pitches), 8)).astype(np.float32)
    heard = np.array([pitches])
    here, there = (layer([at, hidden]).numpy() for at in (heard, heard + semitones))
    inner = np.arange(12, 116)
    np.testing.assert_allclose(there[:, inner + semitones], here[:, inner], atol=1e-4)


def test_a_boundary_gains_nothing_and_adds_nothing():
    layer = layer_of(EVERY_PITCH)
    hidden = np.ones((3, 8), np.float32)
    made = layer([np.array([[60, 64, 67]]), hidden]).numpy()
    assert not made[:, 128].any()
    with_one = layer([np.array([[60, 128, 67]]), hidden]).numpy()
    # The third event has two notes behind it, not three; the second forgot some of one.
    assert not np.allclose(with_one[1], made[0])
    assert not np.allclose(with_one[2], made[2])
    alone = layer([np.array([[128, 128, 128]]), hidden]).numpy()
    assert np.ptp(alone[:, :128], axis=1).max() == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("name", ["notes", "chords", "paper"])
def test_a_network_begins_as_if_it_had_none(vocabulary, name):
    known = vocabulary(name)
    rng = np.random.default_rng(3)
    events = np.stack([rng.integers(0, size, (2, 7)) for size in known.sizes], axis=2)
    plain, with_one = (
        build_network(ModelSettings(**TINY, profile=width), WindowSpec(6), known)
        for width in (0, 4)
    )
    weights = {weight.path: weight for weight in with_one.weights}
    for weight in plain.weights:
        weights[weight.path].assign(weight)
    inputs = [events[:, :-1], events[:, 1:]]
    np.testing.assert_allclose(with_one(inputs), plain(inputs), atol=1e-6)
    weights["profile/readout"].assign(np.ones(4))
    assert not np.allclose(with_one(inputs), plain(inputs), atol=1e-3)


@pytest.mark.parametrize("name", ["notes", "chords", "paper"])
def test_what_is_served_scores_as_the_network_does(vocabulary, name):
    known = vocabulary(name)
    chosen = ModelSettings(**TINY, profile=4)
    network = build_network(chosen, WindowSpec(6), known)
    rng = np.random.default_rng(4)
    network.set_weights([w + 0.5 * rng.standard_normal(w.shape) for w in network.get_weights()])
    model = InferenceModel(extract_weights(network, chosen), chosen, WindowSpec(6), known)
    indices = np.stack([rng.integers(0, size, (5, 7)) for size in known.sizes], axis=2)
    codes = np.stack([np.array(f.kept)[indices[..., i]] for i, f in enumerate(known.fields)], -1)
    wanted = network([indices[:, :-1], indices[:, 1:]]).numpy()
    wanted += sum(known.share_nll[i][codes[:, 1:, i]] for i in range(len(known.fields)))
    rows = np.ones(5, np.int32)
    made = model.score(codes.astype(np.int32), 7 * rows, 6 * rows).numpy()
    np.testing.assert_allclose(made, wanted, rtol=1e-4, atol=1e-4)


def test_the_profile_is_learned(vocabulary):
    """Songs of one scale each: the class that is not in it becomes the unlikely one."""
    chosen = ModelSettings(units=(2, 2, 2), dense=4, embedding=2, dropout=0.0, profile=8)
    keras.utils.set_random_seed(6)
    network = build_network(chosen, WindowSpec(40), EVERY_PITCH)
    network.compile(keras.optimizers.Adam(0.02), loss=lambda _, nats: nats)
    rng = np.random.default_rng(7)

    def songs(keys):
        scale = np.array([0, 2, 4, 5, 7, 9, 11])
        pitch = 60 + (rng.choice(scale, (len(keys), 41)) + keys[:, None]) % 12
        return np.stack([np.ones_like(pitch), pitch, np.zeros_like(pitch)], axis=2)

    taught = songs(rng.integers(0, 6, 128))
    network.fit([taught[:, :-1], taught[:, 1:]], np.zeros((128, 40)), epochs=60, verbose=0)
    # In keys that it was never shown. Seven equal tones are log 7 = 1.95 nats, twelve 2.48.
    asked = songs(rng.integers(6, 12, 64))
    nats = network([asked[:, :-1], asked[:, 1:]]).numpy()[:, -10:].mean()
    assert nats < 2.2
