"""The profile as it is served: plain TensorFlow, with every turn of the kernel written out.

Training looks at the profile from every tone with one small kernel (`profile.py`). Here
the kernel is laid out for all tones beforehand, so that looking is one matmul an event.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from components.trainer.profile import View, written_out

# What is left of an event falls to nothing here. Without it, it would fall to the smallest
# numbers there are, which some threads take for zero and others do not: a song would
# depend on the thread that makes it.
_NOTHING = 1e-12


class ServedView(tf.Module):
    """What one view carries along, and what it adds to the next pitch.

    Args:
      view: what is looked at.
      kernel, signal_kernel, bias, readout: of the trained layer.
    """

    def __init__(
        self,
        view: View,
        kernel: np.ndarray,
        signal_kernel: np.ndarray,
        bias: np.ndarray,
        readout: np.ndarray,
    ):
        super().__init__(name=f"profile_{view.name}")
        self.size, self.tones, self.width = view.size, view.tones, len(bias)
        decays = np.repeat(np.array(view.decays, np.float32), view.tones)
        # Adding what the head says to every tone is left to the matmul as well: to
        # spread it out first takes longer.
        everywhere = np.tile(np.eye(self.width, dtype=np.float32), view.tones)
        self._decays = _constant(decays)
        self._sounded = _constant(np.tile(view.sounded, len(view.decays)) * (1 - decays))
        self._turned = _constant(np.concatenate([written_out(kernel, view), everywhere]))
        self._told = _constant(np.concatenate([signal_kernel, bias[None, :]]))
        self._readout = _constant(readout)

    def after(self, profile: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
        """The profile float32[N, size] after the events whose pitched field is int32[N]."""
        left = tf.nn.relu(profile * self._decays - _NOTHING)
        # Read first, as in inference.py.
        return left + tf.gather(self._sounded.read_value(), index)

    def gains(self, profile: tf.Tensor, signal: tf.Tensor) -> tf.Tensor:
        """What every tone gains.

        Args:
          profile: float32[N, size].
          signal: float32[N, dense + 1], the head's hidden layer and a one.

        Returns:
          float32[N, tones].
        """
        told = tf.matmul(signal, self._told)
        seen = tf.nn.relu(tf.matmul(tf.concat([profile, told], axis=1), self._turned))
        gain = tf.reduce_sum(tf.reshape(seen, [-1, self.width]) * self._readout, axis=1)
        return tf.reshape(gain, [-1, self.tones])


def _constant(value: np.ndarray) -> tf.Variable:
    return tf.Variable(value.astype(np.float32), trainable=False)
