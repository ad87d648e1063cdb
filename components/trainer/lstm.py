"""An LSTM layer that trains fast on a processor.

Keras's LSTM, on TensorFlow without cuDNN, multiplies the input's projection at
every time step and, going back, adds a full-sized weight gradient at every time
step: with small batches most of its time goes into moving weights. Here the
projection of all steps is one matmul, the backward pass is written out, and the
weight gradients of all steps are one matmul each. The loops keep only what must
be sequential: one product with the recurrent kernel a step, in each direction.

The arithmetic is that of Keras (gates in the order input, forget, candidate,
output; sigmoid and tanh; forget bias 1), so are the weights' names, shapes and
initial values, and the backward pass is backpropagation through time as in
Graves (2012), "Supervised Sequence Labelling", section 4.6.
"""

from __future__ import annotations

import keras
import tensorflow as tf
from keras import layers


@keras.saving.register_keras_serializable("segue")
class SequenceLSTM(layers.Layer):
    """float32[N, T, D] -> float32[N, T, units] or [N, units], from a zero state.

    Weights: kernel [D, 4 units], recurrent_kernel [units, 4 units], bias [4 units].

    Args:
      units: of h and c.
      weight_drop: share of the recurrent kernel that a training step leaves out, the
        same for all time steps and rows (DropConnect, as in Merity et al. 2018).
      return_sequences: whether h of every step comes out, or the last one's alone.
    """

    def __init__(
        self,
        units: int,
        weight_drop: float = 0.0,
        return_sequences: bool = True,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.units = units
        self.weight_drop = weight_drop
        self.return_sequences = return_sequences
        # Its state is a weight: a layer that draws nothing has Keras's three.
        self.seed_generator = keras.random.SeedGenerator() if weight_drop else None

    def build(self, shape):
        wide = 4 * self.units
        self.kernel = self.add_weight(
            shape=(shape[-1], wide), initializer="glorot_uniform", name="kernel"
        )
        self.recurrent_kernel = self.add_weight(
            shape=(self.units, wide), initializer="orthogonal", name="recurrent_kernel"
        )
        self.bias = self.add_weight(shape=(wide,), initializer=_forget_bias, name="bias")

    def call(self, inputs, training=False):
        recurrent = tf.convert_to_tensor(self.recurrent_kernel)
        if training and self.weight_drop:
            recurrent = keras.random.dropout(recurrent, self.weight_drop, seed=self.seed_generator)
        hidden = lstm_sequence(
            tf.convert_to_tensor(inputs),
            tf.convert_to_tensor(self.kernel),
            recurrent,
            tf.convert_to_tensor(self.bias),
        )
        return hidden if self.return_sequences else hidden[:, -1]

    def compute_output_shape(self, shape):
        return (*shape[:-1], self.units) if self.return_sequences else (shape[0], self.units)

    def get_config(self):
        return {
            **super().get_config(),
            "units": self.units,
            "weight_drop": self.weight_drop,
            "return_sequences": self.return_sequences,
        }


def _forget_bias(shape, dtype=None):
    """Zeros, with ones for the forget gate (Jozefowicz et al. 2015), as in Keras."""
    units = shape[0] // 4
    return tf.concat(
        [tf.zeros([units], dtype), tf.ones([units], dtype), tf.zeros([2 * units], dtype)], axis=0
    )


@tf.custom_gradient
def lstm_sequence(x, kernel, recurrent, bias):
    """h of every step, with its gradient.

    In half precision only the matmuls' factors are halved. The carry is a sum over
    all steps and the gates decide by small differences: both stay float32.

    Args:
      x: float[N, T, D].
      kernel: float[D, 4u].
      recurrent: float[u, 4u].
      bias: float[4u]; all of one dtype.

    Returns:
      float[N, T, u], of the same dtype.
    """
    units = recurrent.shape[0]
    dtype = x.dtype
    exact = tf.float32 if dtype.size < 4 else dtype
    rows, steps = tf.shape(x)[0], tf.shape(x)[1]

    def product(a, b, **transposed):
        return tf.cast(tf.matmul(tf.cast(a, dtype), b, **transposed), exact)

    flat = tf.reshape(tf.transpose(x, [1, 0, 2]), [-1, x.shape[2]])
    projected = product(flat, kernel) + tf.cast(bias, exact)
    projected = tf.reshape(projected, [steps, rows, 4 * units])
    zeros = tf.zeros([rows, units], exact)

    def forward(t, h, c, gates, carries, outputs):
        z = projected[t] + product(h, recurrent)
        i, f, g, o = tf.split(z, 4, axis=1)
        i, f, g, o = tf.sigmoid(i), tf.sigmoid(f), tf.tanh(g), tf.sigmoid(o)
        c = f * c + i * g
        h = o * tf.tanh(c)
        gates = gates.write(t, tf.concat([i, f, g, o], axis=1))
        return t + 1, h, c, gates, carries.write(t, c), outputs.write(t, h)

    def array(width):
        return tf.TensorArray(exact, size=steps, element_shape=[None, width])

    _, _, _, gates, carries, outputs = tf.while_loop(
        lambda t, *_: t < steps,
        forward,
        (0, zeros, zeros, array(4 * units), array(units), array(units)),
        maximum_iterations=steps,
    )
    gates, carries, hidden = gates.stack(), carries.stack(), outputs.stack()

    def gradient(upstream):
        upstream = tf.cast(tf.transpose(upstream, [1, 0, 2]), exact)
        transposed = tf.transpose(recurrent)
        before = tf.concat([zeros[None], carries[:-1]], axis=0)

        def backward(t, dh, dc, deltas):
            i, f, g, o = tf.split(gates[t], 4, axis=1)
            squashed = tf.tanh(carries[t])
            dh += upstream[t]
            dc += dh * o * (1 - squashed * squashed)
            delta = tf.concat(
                [
                    dc * g * i * (1 - i),
                    dc * before[t] * f * (1 - f),
                    dc * i * (1 - g * g),
                    dh * squashed * o * (1 - o),
                ],
                axis=1,
            )
            return t - 1, product(delta, transposed), dc * f, deltas.write(t, delta)

        _, _, _, deltas = tf.while_loop(
            lambda t, *_: t >= 0,
            backward,
            (steps - 1, zeros, zeros, array(4 * units)),
            maximum_iterations=steps,
        )
        delta = tf.reshape(deltas.stack(), [-1, 4 * units])
        halved = tf.cast(delta, dtype)
        previous = tf.reshape(tf.concat([zeros[None], hidden[:-1]], axis=0), [-1, units])
        dx = tf.reshape(tf.matmul(halved, kernel, transpose_b=True), [steps, rows, -1])
        return (
            tf.transpose(dx, [1, 0, 2]),
            tf.matmul(flat, halved, transpose_a=True),
            tf.matmul(tf.cast(previous, dtype), halved, transpose_a=True),
            tf.cast(tf.reduce_sum(delta, axis=0), dtype),
        )

    return tf.cast(tf.transpose(hidden, [1, 0, 2]), dtype), gradient
