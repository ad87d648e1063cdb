"""The count of a step's matrix products, against every product that TensorFlow runs."""

import numpy as np
import pytest

from benchmarks._flops import Multiplier, Product, operations, products
from components.trainer.settings import ModelSettings
from music.windows import WindowSpec

ROWS, STEPS = 3, 5


@pytest.fixture
def counted():
    """counted(call): operations of all matmuls that a call runs, one by one."""
    from tensorflow.python.framework import op_callbacks

    def counted(call):
        total = 0

        def watch(op_type, inputs, attrs, outputs, op_name=None, graph=None):
            nonlocal total
            kind = op_type.decode() if isinstance(op_type, bytes) else op_type
            if "MatMul" in kind:
                asked = dict(zip(attrs[::2], attrs[1::2], strict=True))
                transposed = asked.get("transpose_a") or asked.get("adj_x")
                inner = inputs[0].shape[-2 if transposed else -1]
                total += 2 * int(inner) * int(np.prod(outputs[0].shape))

        op_callbacks.add_op_callback(watch)
        try:
            call()
        finally:
            op_callbacks.remove_op_callback(watch)
        return total

    return counted


@pytest.mark.parametrize(("kind", "profile"), [("chain", 0), ("chain", 5), ("paper", 0)])
def test_the_count_is_that_of_the_products_a_step_runs(kind, profile, counted, vocabulary):
    import tensorflow as tf

    from components.trainer.network import build_network

    settings = ModelSettings(
        kind, units=(6, 10, 7), dense=9, embedding=4, dropout=0.0, profile=profile
    )
    window = WindowSpec(STEPS, "last" if kind == "paper" else "every")
    known = vocabulary("paper" if kind == "paper" else "notes")
    network = build_network(settings, window, known)
    if kind == "paper":
        x = tf.zeros((ROWS, STEPS, 1))
    else:
        index = tf.zeros((ROWS, STEPS, len(known.sizes)), tf.int32)
        x = (index, index)

    def step():
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(network(x, training=True))
        gradients = tape.gradient(loss, network.trainable_variables)
        assert all(np.isfinite(g.numpy()).all() for g in gradients if hasattr(g, "numpy"))

    made = products(settings, known, ROWS, STEPS)
    # The shapes are small: nothing but the exact count can pass.
    assert counted(step) == operations(made)


def test_a_rate_is_of_the_product_that_was_asked_for():
    multiplier = Multiplier()
    large = multiplier.rate(Product("", 256, 256, 256), 0.05)
    # One row at a time moves the whole matrix for each: far slower than the peak.
    row = multiplier.rate(Product("", 1, 2048, 2048), 0.05)
    assert 0 < row.wall < large.wall
    floor = multiplier.floor([Product("a", 64, 64, 64, 10), Product("b", 64, 64, 64, 20)], 0.02)
    assert floor["b"] == pytest.approx((2 * floor["a"].wall, 2 * floor["a"].cpu))
