"""What a training runs on: which devices, and in which arithmetic.

Several GPUs share every batch (`MirroredStrategy`); one GPU or the processor needs
no strategy. Arithmetic is chosen by name and holds for the network that is built
inside `precision` alone: its variables, heads and loss stay float32, and the
process's own policy is what it was before.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import keras
import tensorflow as tf

# Tensor cores came with compute capability 7.0 (Volta).
_TENSOR_CORES = (7, 0)
# As Linux spells them on x86.
_BFLOAT16 = frozenset({"avx512_bf16", "amx_bf16"})


def accelerators() -> list[str]:
    """The names of the GPUs that TensorFlow can use."""
    return [device.name for device in tf.config.list_logical_devices("GPU")]


def choose_strategy() -> tf.distribute.Strategy:
    """All GPUs when there are several; otherwise whatever TensorFlow picks."""
    names = accelerators()
    if len(names) > 1:
        return tf.distribute.MirroredStrategy(names)
    return tf.distribute.get_strategy()


def policy_name(precision: str) -> str:
    """Keras's dtype policy for `TrainingSettings.precision`.

    `auto` is half precision where the device multiplies it faster: float16 where
    every GPU has tensor cores (cuDNN's LSTM takes it, and Keras scales the loss),
    bfloat16 on a processor with instructions for it, float32 elsewhere.
    """
    if precision == "auto":
        gpus = tf.config.list_physical_devices("GPU")
        found = [
            tf.config.experimental.get_device_details(gpu).get("compute_capability", (0, 0))
            for gpu in gpus
        ]
        if gpus:
            precision = "float16" if min(found) >= _TENSOR_CORES else "float32"
        else:
            precision = "bfloat16" if _multiplies_bfloat16() else "float32"
    return precision if precision == "float32" else f"mixed_{precision}"


def _multiplies_bfloat16(told: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether the processor's own matmul instructions take bfloat16.

    Without them TensorFlow takes it apart, which is slower than float32. Only Linux
    tells; elsewhere the answer is no.
    """
    try:
        words = told.read_text(encoding="ascii", errors="replace").split()
    except OSError:
        return False
    return not _BFLOAT16.isdisjoint(words)


@contextlib.contextmanager
def building(precision: str) -> Iterator[tf.distribute.Strategy]:
    """Where a network is built and compiled.

    Args:
      precision: as in `TrainingSettings`.

    Yields:
      The strategy whose scope the block runs in.
    """
    before = keras.config.dtype_policy()
    strategy = choose_strategy()
    keras.config.set_dtype_policy(policy_name(precision))
    try:
        with strategy.scope():
            yield strategy
    finally:
        keras.config.set_dtype_policy(before)


def machine(precision: str) -> dict[str, object]:
    """What of the devices a training's last bits depend on, JSON types."""
    return {
        "kind": "gpu" if accelerators() else "cpu",
        "replicas": max(1, len(accelerators())),
        "policy": policy_name(precision),
    }


class _ClipsTogether:
    """Clips the gradient of the whole batch.

    Keras clips what each replica brings, before the sum: with several GPUs another,
    weaker rule than on one.
    """

    global_clipnorm: float | None

    def apply_gradients(self, grads_and_vars):
        replica = tf.distribute.get_replica_context()
        if self.global_clipnorm and replica is not None and replica.num_replicas_in_sync > 1:
            grads, variables = zip(*grads_and_vars, strict=True)
            dense = [tf.convert_to_tensor(grad) for grad in grads]
            whole = replica.all_reduce(tf.distribute.ReduceOp.SUM, dense)
            whole, _ = tf.clip_by_global_norm(whole, self.global_clipnorm)
            # Keras adds up the replicas' gradients after this.
            share = 1.0 / replica.num_replicas_in_sync
            grads_and_vars = zip([grad * share for grad in whole], variables, strict=True)
        return super().apply_gradients(grads_and_vars)  # type: ignore[misc]


class Adam(_ClipsTogether, keras.optimizers.Adam):
    """Keras's Adam, alike on one device and on several."""


class AdamW(_ClipsTogether, keras.optimizers.AdamW):
    """Keras's AdamW, alike on one device and on several."""
