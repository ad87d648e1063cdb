"""The profile: by hand, in every key, and at no cost where it has nothing to say."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.trainer.inference import InferenceModel
from components.trainer.network import build_network, extract_weights
from components.trainer.profile import REACH, Profile, profiles, views
from components.trainer.settings import (
    CLASS_DECAYS,
    PITCH_DECAYS,
    ModelSettings,
)
from music.codec import ChordsCodec, NotesCodec, build_codec
from music.vocabulary import build_vocabulary
from music.windows import WindowSpec

TINY = {"units": (5, 7, 6), "dense": 8, "embedding": 3}
# Every pitch, so that a transposed one is kept as well, and the boundary.
EVERY_PITCH = build_vocabulary(
    NotesCodec(), [{0: 9, 12: 9}, dict.fromkeys(range(129), 9), {12: 9}], min_count=1
)


CLASSES, PITCHES = 0, 1


def layer_of(vocabulary, view, width=5, dense=8, seed=0):
    """A layer with no weight at zero."""
    layer = Profile(views(vocabulary)[view], width)
    layer.build([(None, None), (None, dense)])
    rng = np.random.default_rng(seed)
    layer.set_weights([rng.standard_normal(w.shape) for w in layer.get_weights()])
    return layer


def test_a_profile_is_what_was_sounded_and_falls_with_every_later_event():
    rng = np.random.default_rng(0)
    sounded = rng.integers(0, 2, (2, 9, 12)).astype(np.float32)
    made = profiles(sounded, CLASS_DECAYS).numpy()
    assert made.shape == (2, 9, 3, 12)
    wanted = np.zeros((2, 3, 12))
    for event in range(9):
        for pace, decay in enumerate(CLASS_DECAYS):
            wanted[:, pace] = decay * wanted[:, pace] + (1 - decay) * sounded[:, event]
        np.testing.assert_allclose(made[:, event], wanted, atol=1e-6)


def sounds(code, view, within):
    """The tones of a code of `chords`, whose first 128 are those of `notes`."""
    pitches = ChordsCodec().pitches(code) if code != 128 else []
    if view == CLASSES:
        return sorted({pitch % 12 for pitch in pitches})
    return [code] if code in within else []


@pytest.mark.parametrize("view", [CLASSES, PITCHES])
@pytest.mark.parametrize("name", ["notes", "chords"])
def test_what_a_code_gains_is_worked_out_by_hand(vocabulary, name, view):
    known = vocabulary(name)
    layer = layer_of(known, view)
    kernel, signal_kernel, bias, readout = (w.astype(np.float64) for w in layer.get_weights())
    rng = np.random.default_rng(1)
    kept = known.fields[build_codec(dict(known.codec)).pitched].kept
    heard = rng.integers(0, len(kept), (2, 6))
    hidden = rng.standard_normal((12, 8))
    # Pitches of 48 to 64 are counted in `notes`, and a crop moves by twelve at most.
    within = range(36, 77) if name == "notes" else range(128)
    decays, tones = ((CLASS_DECAYS, 12), (PITCH_DECAYS, 128))[view]
    wanted = np.zeros((2, 6, len(kept)))
    for song in range(2):
        profile = np.zeros((len(decays), tones))
        for event in range(6):
            profile *= np.array(decays)[:, None]
            for tone in sounds(kept[heard[song, event]], view, within):
                profile[:, tone] += 1 - np.array(decays)
            told = hidden[6 * song + event] @ signal_kernel + bias
            gain = np.zeros(tones)
            for tone in range(tones):
                seen = np.zeros(5)
                for pace in range(len(decays)):
                    if view == CLASSES:
                        for k in range(12):
                            seen += profile[pace, (tone + k) % 12] * kernel[pace, k]
                    else:
                        for k in range(-REACH, REACH + 1):
                            if 0 <= tone + k < 128:
                                seen += profile[pace, tone + k] * kernel[pace, k + REACH]
                gain[tone] = np.maximum(seen + told, 0) @ readout
            for index, code in enumerate(kept):
                wanted[song, event, index] = sum(gain[tone] for tone in sounds(code, view, within))
    made = layer([heard, hidden.astype(np.float32)]).numpy()
    np.testing.assert_allclose(made, wanted.reshape(12, -1), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("view", [CLASSES, PITCHES])
@settings(max_examples=25, deadline=None)
@given(
    pitches=st.lists(st.integers(40, 87), min_size=1, max_size=12), semitones=st.integers(-11, 11)
)
def test_in_another_key_every_pitch_gains_what_it_gained_in_this_one(view, pitches, semitones):
    layer = layer_of(EVERY_PITCH, view)
    hidden = np.random.default_rng(2).standard_normal((len(pitches), 8)).astype(np.float32)
    heard = np.array([pitches])
    here, there = (layer([at, hidden]).numpy() for at in (heard, heard + semitones))
    inner = np.arange(12, 116)
    np.testing.assert_allclose(there[:, inner + semitones], here[:, inner], atol=1e-4)


@pytest.mark.parametrize("view", [CLASSES, PITCHES])
def test_a_boundary_gains_nothing_and_adds_nothing(view):
    layer = layer_of(EVERY_PITCH, view)
    hidden = np.ones((3, 8), np.float32)
    made = layer([np.array([[60, 64, 67]]), hidden]).numpy()
    assert not made[:, 128].any()
    with_one = layer([np.array([[60, 128, 67]]), hidden]).numpy()
    # The second event only forgot some of the first; the third has one note less behind it.
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
    for view in ("classes", "pitches"):
        readout = weights[f"profile_{view}/readout"]
        readout.assign(np.ones(4))
        assert not np.allclose(with_one(inputs), plain(inputs), atol=1e-3)
        readout.assign(np.zeros(4))


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


@pytest.mark.parametrize(("width", "size"), [(0, 36), (4, 36 + 36 + 2 * 41)])
def test_the_state_has_room_for_both_views(vocabulary, width, size):
    known, chosen = vocabulary("notes"), ModelSettings(**TINY, profile=width)
    weights = extract_weights(build_network(chosen, WindowSpec(6), known), chosen)
    # h and c of 5, 7 and 6 units; three times twelve classes, twice the 41 pitches that a
    # song of 48 to 64 can be moved to.
    assert InferenceModel(weights, chosen, WindowSpec(6), known).state_size == size


def test_what_was_sounded_long_ago_is_gone_and_no_smallest_number(vocabulary):
    """Threads differ in what they make of numbers below the smallest normal one."""
    known, chosen = vocabulary("notes"), ModelSettings(**TINY, profile=4)
    weights = extract_weights(build_network(chosen, WindowSpec(6), known), chosen)
    model = InferenceModel(weights, chosen, WindowSpec(6), known)
    view = model.views[PITCHES]
    profile = view.after(np.zeros((1, view.size), np.float32), np.array([60]))
    assert np.count_nonzero(profile) == 2
    for _ in range(300):
        profile = view.after(profile, np.array([48]))
        left = profile.numpy()
        assert left[left > 0].min() > 1e-30
    assert np.count_nonzero(left) == 2
