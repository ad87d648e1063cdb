"""The layer against Keras's own, and its gradient against differences."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from components.trainer.lstm import SequenceLSTM, lstm_sequence


def pair(units, inputs):
    """Our layer and Keras's with the same weights, none of them as initialised."""
    ours = SequenceLSTM(units)
    theirs = keras.layers.LSTM(units, return_sequences=True, use_cudnn=False)
    ours.build((None, None, inputs))
    theirs.build((None, None, inputs))
    rng = np.random.default_rng(units)
    weights = [0.4 * rng.standard_normal(w.shape).astype(np.float32) for w in theirs.weights]
    ours.set_weights(weights)
    theirs.set_weights(weights)
    return ours, theirs


@pytest.mark.parametrize("steps", [1, 2, 9])
@pytest.mark.parametrize("rows", [1, 4])
def test_output_and_every_gradient_are_those_of_keras(rows, steps):
    ours, theirs = pair(units=6, inputs=5)
    rng = np.random.default_rng(steps)
    x = tf.constant(rng.standard_normal((rows, steps, 5)).astype(np.float32))
    upstream = tf.constant(rng.standard_normal((rows, steps, 6)).astype(np.float32))
    outputs, gradients = [], []
    for layer in (ours, theirs):
        with tf.GradientTape() as tape:
            tape.watch(x)
            out = layer(x)
            loss = tf.reduce_sum(out * upstream)
        outputs.append(out.numpy())
        gradients.append(tape.gradient(loss, [x, *(w.value for w in layer.trainable_weights)]))
    assert outputs[0].shape == (rows, steps, 6)
    np.testing.assert_allclose(outputs[0], outputs[1], atol=2e-6)
    for ours_by, theirs_by in zip(*gradients, strict=True):
        assert ours_by.shape == theirs_by.shape
        np.testing.assert_allclose(ours_by, theirs_by, rtol=1e-4, atol=2e-5)


def test_the_gradient_is_that_of_differences():
    rng = np.random.default_rng(3)
    shapes = ((2, 3, 2), (2, 12), (3, 12), (12,))
    arguments = [tf.constant(rng.standard_normal(shape) * 0.7) for shape in shapes]
    analytic, numeric = tf.test.compute_gradient(lstm_sequence, arguments, delta=1e-5)
    for ours, differences in zip(analytic, numeric, strict=True):
        assert np.abs(ours).max() > 0.01
        np.testing.assert_allclose(ours, differences, atol=1e-8)


def test_weights_start_as_those_of_keras():
    both = [SequenceLSTM(40), keras.layers.LSTM(40, return_sequences=True)]
    for layer in both:
        layer.build((None, None, 30))
    ours, theirs = both
    assert [(w.name, w.shape, w.dtype) for w in ours.weights] == [
        (w.name, w.shape, w.dtype) for w in theirs.weights
    ]
    kernel, recurrent, bias = ours.get_weights()
    assert np.array_equal(bias, theirs.get_weights()[2])
    np.testing.assert_allclose(recurrent @ recurrent.T, np.eye(40), atol=1e-5)  # orthogonal
    limit = np.sqrt(6 / (30 + 160))  # Glorot & Bengio's uniform distribution
    assert np.abs(kernel).max() <= limit
    assert kernel.std() == pytest.approx(limit / np.sqrt(3), rel=0.03)


def test_one_layer_serves_every_length_and_its_model_can_be_saved(tmp_path):
    ours, theirs = pair(units=6, inputs=5)
    inputs = keras.Input((None, 5))
    model = keras.Model(inputs, ours(inputs))
    assert model.output_shape == (None, None, 6)
    for steps in (1, 4, 13):
        x = np.random.default_rng(steps).standard_normal((3, steps, 5)).astype(np.float32)
        np.testing.assert_allclose(model(x), theirs(x), atol=2e-6)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert np.array_equal(again(x), model(x))


def test_half_precision_stays_close_over_many_steps():
    rng = np.random.default_rng(5)
    shapes = ((2, 200, 6), (6, 32), (8, 32), (32,))
    exact = [tf.constant(0.4 * rng.standard_normal(s).astype(np.float32)) for s in shapes]
    halved = [tf.cast(value, tf.bfloat16) for value in exact]
    found = []
    for arguments in ([tf.cast(value, tf.float32) for value in halved], halved):
        with tf.GradientTape() as tape:
            tape.watch(arguments)
            hidden = lstm_sequence(*arguments)
            loss = tf.reduce_mean(tf.cast(hidden, tf.float32) ** 2)
        assert hidden.dtype == arguments[0].dtype
        gradients = tape.gradient(loss, arguments)
        found.append([tf.cast(value, tf.float32).numpy() for value in (hidden, *gradients)])
    for float32, bfloat16 in zip(*found, strict=True):
        np.testing.assert_allclose(bfloat16, float32, atol=0.02 * np.abs(float32).max())


def test_the_last_step_alone_is_that_of_the_sequence():
    ours, theirs = pair(units=6, inputs=5)
    last = SequenceLSTM(6, return_sequences=False)
    inputs = keras.Input((None, 5))
    assert keras.Model(inputs, last(inputs)).output_shape == (None, 6)
    last.set_weights(theirs.get_weights())
    x = np.random.default_rng(2).standard_normal((3, 7, 5)).astype(np.float32)
    np.testing.assert_allclose(last(x), theirs(x)[:, -1], atol=2e-6)
    assert np.array_equal(last(x), ours(x)[:, -1])


def test_weight_drop_leaves_out_recurrent_weights_in_training_alone():
    x = np.random.default_rng(2).standard_normal((3, 7, 5)).astype(np.float32)
    ours, theirs = pair(units=6, inputs=5)
    dropping = SequenceLSTM(6, weight_drop=0.5)
    dropping.build((None, None, 5))
    for mine, given in zip(dropping.trainable_weights, theirs.get_weights(), strict=True):
        mine.assign(given)
    assert np.array_equal(dropping(x), ours(x))
    first, second = dropping(x, training=True).numpy(), dropping(x, training=True).numpy()
    assert np.array_equal(first[:, 0], second[:, 0])  # nothing recurs in the first step
    assert not np.allclose(first[:, 1:], second[:, 1:])
    # All rows and steps of one call lose the same weights: equal rows stay equal.
    alike = dropping(np.repeat(x[:1], 3, axis=0), training=True).numpy()
    np.testing.assert_allclose(alike[1], alike[0], atol=1e-6)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(dropping(x, training=True) ** 2)
    gradient = tape.gradient(loss, dropping.recurrent_kernel.value).numpy()
    # What was left out learns nothing.
    assert 0.25 < (gradient == 0).mean() < 0.75


def test_a_step_learns_nothing_from_the_steps_behind_it():
    ours, _ = pair(units=4, inputs=3)
    x = np.random.default_rng(0).standard_normal((2, 8, 3)).astype(np.float32)
    other = x.copy()
    other[:, 5:] += 1.0
    assert np.array_equal(ours(x)[:, :5], ours(other)[:, :5])
    assert not np.allclose(ours(x)[:, 5:], ours(other)[:, 5:])
