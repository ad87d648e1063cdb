"""The paper's layers to the parameter, and the chain rule worked out by hand."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from components.trainer.inference import InferenceModel
from components.trainer.network import build_network, extract_weights
from components.trainer.settings import ModelSettings
from music.windows import WindowSpec

TINY = {"units": (5, 7, 6), "dense": 8, "embedding": 3}


def jittered(network, seed=1):
    """No weight left at zero, so that every term counts."""
    rng = np.random.default_rng(seed)
    network.set_weights([w + 0.3 * rng.standard_normal(w.shape) for w in network.get_weights()])
    return network


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def lstm(x, kernel, recurrent, bias):
    """An LSTM layer in numpy, float64[T, D] -> float64[T, u]."""
    h, c, out = np.zeros(len(recurrent)), np.zeros(len(recurrent)), []
    for row in x:
        i, f, g, o = np.split(row @ kernel + h @ recurrent + bias, 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        out.append(h)
    return np.array(out)


def cross_entropy(logits, index):
    top = logits.max(axis=-1, keepdims=True)
    log_sum = np.log(np.exp(logits - top).sum(axis=-1)) + top[..., 0]
    return log_sum - np.take_along_axis(logits, index[..., None], axis=-1)[..., 0]


def test_the_paper_has_the_layers_of_the_paper(vocabulary):
    network = build_network(ModelSettings("paper"), WindowSpec(75, "last"), vocabulary("paper"))
    rows = [
        # Ours is Keras's in everything but speed (test_trainer_lstm.py).
        (
            type(layer).__name__.removeprefix("Sequence"),
            layer.output.shape,
            layer.count_params(),
        )
        for layer in network.layers
    ]
    assert rows == [
        ("LSTM", (None, 75, 256), 264_192),
        ("Dropout", (None, 75, 256), 0),
        ("LSTM", (None, 75, 512), 1_574_912),
        ("Dropout", (None, 75, 512), 0),
        ("LSTM", (None, 256), 787_456),
        ("Dense", (None, 256), 65_792),
        ("Dropout", (None, 256), 0),
        ("Dense", (None, 175), 44_975),
    ]
    assert network.count_params() == 2_737_327
    assert network.input_shape == (None, 75, 1)


def test_the_paper_gives_probabilities(vocabulary):
    settings = ModelSettings("paper", **TINY)
    network = jittered(build_network(settings, WindowSpec(5, "last"), vocabulary("paper")))
    out = network(np.random.default_rng(0).random((4, 5, 1))).numpy()
    assert out.shape == (4, 175)
    np.testing.assert_allclose(out.sum(axis=1), 1, atol=1e-5)


def test_dropout_and_penalties_stand_where_they_were_asked_for(vocabulary):
    window, known = WindowSpec(5, "last"), vocabulary("paper")
    plain = build_network(ModelSettings("paper", **TINY, dropout=0.4), window, known)
    assert [layer.rate for layer in plain.layers if "dropout" in layer.name] == [0.4] * 3
    assert not plain.losses
    for kind, kind_window in (("paper", window), ("chain", WindowSpec(5))):
        settings = ModelSettings(kind, **TINY, l1=0.25, l2=0.5)
        network = jittered(build_network(settings, kind_window, known))
        dense = [w for name in ("dense_0", "head_0") for w in network.get_layer(name).weights[:1]]
        wanted = sum(0.25 * np.abs(w.numpy()).sum() + 0.5 * (w.numpy() ** 2).sum() for w in dense)
        assert float(sum(network.losses)) == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu", "sigmoid", "linear"])
def test_the_chain_is_the_sum_of_cross_entropies_worked_out_by_hand(vocabulary, activation):
    settings = ModelSettings(**TINY, dropout=0.5, activation=activation)
    known = vocabulary("notes")
    network = jittered(build_network(settings, WindowSpec(6), known))
    rng = np.random.default_rng(2)
    events = np.stack([rng.integers(0, size, (3, 8)) for size in known.sizes], axis=2)
    heard, coming = events[:, :-1], events[:, 1:]

    w = {f"{v.path}": v.numpy().astype(np.float64) for v in network.weights}
    act = {
        "relu": lambda x: np.maximum(x, 0),
        "tanh": np.tanh,
        "gelu": lambda x: keras.activations.gelu(tf.constant(x), approximate=False).numpy(),
        "sigmoid": sigmoid,
        "linear": lambda x: x,
    }[activation]
    wanted = np.zeros((3, 7))
    for row in range(3):
        signal = np.concatenate(
            [w[f"embedding_{f}/embeddings"][heard[row, :, f]] for f in range(3)], axis=1
        )
        for layer in (1, 2, 3):
            names = ("kernel", "recurrent_kernel", "bias")
            signal = lstm(signal, *(w[f"lstm_{layer}/{name}"] for name in names))
        for f in range(3):
            before = signal @ w[f"dense_{f}/kernel"] + w[f"dense_{f}/bias"]
            for g in range(f):
                before = before + w[f"condition_{f}_{g}/embeddings"][coming[row, :, g]]
            logits = act(before) @ w[f"head_{f}/kernel"] + w[f"head_{f}/bias"]
            wanted[row] += cross_entropy(logits, coming[row, :, f])
    made = network([heard, coming], training=False).numpy()
    assert made.shape == (3, 7)
    np.testing.assert_allclose(made, wanted, rtol=1e-4, atol=1e-4)
    # Dropout belongs to training alone.
    assert not np.allclose(network([heard, coming], training=True), wanted, atol=1e-3)


def test_what_an_event_is_said_to_be_changes_only_its_own_later_fields(vocabulary):
    settings = ModelSettings(**TINY, dropout=0.0)
    known = vocabulary("notes")
    network = jittered(build_network(settings, WindowSpec(6), known))
    model = InferenceModel(extract_weights(network, settings), settings, WindowSpec(6), known)
    ones = tf.ones([2, 1])
    sums = model.before_heads(tf.random.stateless_normal([2, 6], [1, 2]), ones)
    index = [tf.constant([1, 2]), tf.constant([60, 61])]
    for field in range(3):
        logits = model.logits(sums, field, index[:field], ones)
        assert np.isfinite(logits).sum(axis=1).tolist() == [known.sizes[field]] * 2
        np.testing.assert_allclose(tf.reduce_sum(tf.nn.softmax(logits), axis=1), 1, atol=1e-5)
        for earlier in range(field):
            other = list(index[:field])
            other[earlier] = other[earlier] + 1
            changed = model.logits(sums, field, other, ones)
            assert not np.allclose(changed, logits, atol=1e-3)


def test_the_likelihoods_of_all_events_sum_to_one(vocabulary):
    """Over every code of an open vocabulary, kept or snapped."""
    settings = ModelSettings(**TINY)
    known = vocabulary("chords")
    network = jittered(build_network(settings, WindowSpec(3), known))
    model = InferenceModel(extract_weights(network, settings), settings, WindowSpec(3), known)
    size = 128 + 4096
    assert known.sizes[0] < size
    codes = np.zeros((size, 3, 1), np.int32)
    codes[:, :2] = [[60], [64]]
    codes[:, 2, 0] = np.arange(size)
    nll = model.score(tf.constant(codes), tf.fill([size], 3), tf.fill([size], 1)).numpy()
    assert np.exp(-nll[:, 0].astype(np.float64)).sum() == pytest.approx(1.0, abs=1e-4)


def test_the_same_seed_gives_the_same_network(vocabulary):
    made = []
    for seed in (4, 4, 5):
        keras.utils.set_random_seed(seed)
        network = build_network(ModelSettings(**TINY), WindowSpec(6), vocabulary("notes"))
        made.append(network.get_layer("lstm_2").get_weights()[0])
    assert np.array_equal(made[0], made[1])
    assert not np.array_equal(made[0], made[2])


def dropouts(network):
    return {
        layer.name: layer.noise_shape
        for layer in network.layers
        if isinstance(layer, keras.layers.Dropout)
    }


def test_a_variational_network_drops_the_same_units_at_every_event(vocabulary):
    known = vocabulary("notes")
    shape = {**TINY, "dropout": 0.5, "variational": True}
    network = build_network(ModelSettings(**shape), WindowSpec(9), known)
    assert dropouts(network) == {
        "dropout_1": (None, 1, 5),
        "dropout_2": (None, 1, 7),
        "dropout_3": (None, 1, 6),
    }
    signal = network.get_layer("dropout_2")(np.ones((2, 9, 7), np.float32), training=True).numpy()
    assert set(np.unique(signal)) == {0.0, 2.0}
    assert np.array_equal(signal[:, 0], signal[:, 8])


def test_event_dropout_silences_a_field_of_an_event_as_a_whole(vocabulary):
    known = vocabulary("notes")
    shape = {**TINY, "dropout": 0.0, "event_dropout": 0.5}
    network = build_network(ModelSettings(**shape), WindowSpec(9), known)
    layer = network.get_layer("event_dropout_1")
    signal = layer(np.ones((4, 50, 3), np.float32), training=True).numpy()
    heard = signal[:, :, 0]
    assert np.array_equal(signal, np.repeat(heard[:, :, None], 3, axis=2))
    assert 0.3 < (heard == 0).mean() < 0.7
    rng = np.random.default_rng(0)
    events = np.stack([rng.integers(0, size, (2, 9)) for size in known.sizes], axis=-1)
    # Nothing is dropped when a model is judged.
    assert np.array_equal(network([events, events]), network([events, events]))


@pytest.mark.parametrize("kind", ["paper", "notes"])
def test_in_half_precision_heads_and_nats_are_float32(vocabulary, kind):
    known = vocabulary(kind)
    settings = ModelSettings("paper" if kind == "paper" else "chain", **TINY)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        network = build_network(
            settings, WindowSpec(9, "last" if kind == "paper" else "every"), known
        )
    finally:
        keras.config.set_dtype_policy(before)
    assert {w.dtype for w in network.trainable_weights} == {"float32"}
    assert network.get_layer("lstm_2").compute_dtype == "bfloat16"
    assert network.get_layer("head_0").compute_dtype == "float32"
    assert network.outputs[0].dtype == "float32"
