"""What a training step multiplies: every matrix product with its shape.

Only products are counted, two operations (multiply, add) for each of m k n; the
element-wise work of gates, dropout and optimizer comes on top and is what keeps a
step from its floor. With N rows, T steps, I inputs and u units a layer of ours does

    forward    projection of all steps   [N T, I] [I, 4u]      once
               recurrence                [N, u] [u, 4u]        T times
    backward   recurrence                [N, 4u] [4u, u]       T times
               gradient of the input     [N T, 4u] [4u, I]     once
               gradient of the kernel    [I, N T] [N T, 4u]    once
               gradient of the recurrent [u, N T] [N T, 4u]    once

so 3 x 2 N T 4u (I + u) operations, and a dense layer over R rows 3 x 2 R I O.
Keras's own layer (the paper's recipe) does the same with T small projections and
gradients in place of one large; it has no gradient of an input that is no variable,
and its recurrence goes back one time less, since the zero state is none either.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable, Sequence

from components.trainer.settings import ModelSettings


@dataclasses.dataclass(frozen=True)
class Product:
    """[m, k] times [k, n], some times a step.

    Attributes:
      part: `projection`, `recurrence`, `weight gradient` or `heads`.
      m, k, n: the shape.
      times: a step.
      left, right: whether the first or second matrix lies transposed.
    """

    part: str
    m: int
    k: int
    n: int
    times: int = 1
    left: bool = False
    right: bool = False

    @property
    def operations(self) -> int:
        """Of a step."""
        return 2 * self.m * self.k * self.n * self.times


def products(settings: ModelSettings, sizes: Sequence[int], rows: int, steps: int) -> list[Product]:
    """Those of one training step.

    Args:
      settings: the network's shape.
      sizes: of the vocabulary, a field each.
      rows: N, the batch.
      steps: T, the window's length.
    """
    chain = settings.kind == "chain"
    made, wide = [], settings.embedding * len(sizes) if chain else 1
    for layer, units in enumerate(settings.units):
        lstm = _ours if chain else _keras
        made += lstm(rows, steps, wide, units, input_gradient=chain or layer > 0)
        wide = units
    positions = rows * steps if chain else rows
    for size in sizes:
        made += _dense(positions, wide, settings.dense)
        made += _dense(positions, settings.dense, size)
    return made


def operations(made: Iterable[Product]) -> int:
    """Of all of them."""
    return sum(product.operations for product in made)


def _ours(rows: int, steps: int, wide: int, units: int, input_gradient: bool) -> list[Product]:
    every, gates = rows * steps, 4 * units
    return [
        Product("projection", every, wide, gates),
        Product("recurrence", rows, units, gates, steps),
        Product("recurrence", rows, gates, units, steps),
        Product("projection", every, gates, wide, int(input_gradient), right=True),
        Product("weight gradient", wide, every, gates, left=True),
        Product("weight gradient", units, every, gates, left=True),
    ]


def _keras(rows: int, steps: int, wide: int, units: int, input_gradient: bool) -> list[Product]:
    gates = 4 * units
    return [
        Product("projection", rows, wide, gates, steps),
        Product("recurrence", rows, units, gates, steps),
        Product("recurrence", rows, gates, units, steps - 1, right=True),
        Product("projection", rows, gates, wide, steps * input_gradient, right=True),
        Product("weight gradient", wide, rows, gates, steps, left=True),
        Product("weight gradient", units, rows, gates, steps, left=True),
    ]


def _dense(rows: int, wide: int, out: int) -> list[Product]:
    return [
        Product("heads", rows, wide, out),
        Product("heads", rows, out, wide, right=True),
        Product("heads", wide, rows, out, left=True),
    ]


# ---- the machine -----------------------------------------------------------

# Large enough that memory does not matter; the best of them is the peak.
LARGE = ((1024, 1024, 1024), (2048, 2048, 2048), (4096, 1024, 2048), (1200, 1024, 2048))


class Multiplier:
    """float32 matmuls of TensorFlow's, timed on all cores."""

    def __init__(self) -> None:
        import tensorflow as tf

        self._tf = tf
        self._functions: dict[tuple, tuple] = {}

    def rate(self, product: Product, seconds: float = 0.1) -> float:
        """Operations a second of a product of this shape, the best of some stretches.

        The product's output feeds nothing and its inputs stay the same: a small
        kernel lies in the cache as it does inside a loop over time.
        """
        one = dataclasses.replace(product, times=1)
        inner = max(1, int(5e8 // one.operations))
        call = self._function(one, inner)
        call()
        best, stop = float("inf"), time.perf_counter() + seconds
        while time.perf_counter() < stop or best == float("inf"):
            began = time.perf_counter()
            call()
            best = min(best, time.perf_counter() - began)
        return inner * one.operations / best

    def peak(self, seconds: float = 0.5) -> float:
        """The best rate over large shapes, operations a second."""
        return max(self.rate(Product("", *shape), seconds) for shape in LARGE)

    def floor(self, made: Sequence[Product], seconds: float = 0.1) -> dict[str, float]:
        """Seconds that a step's products take by themselves, by part."""
        floor: dict[str, float] = {}
        rates: dict[tuple, float] = {}
        for product in made:
            shape = (product.m, product.k, product.n, product.left, product.right)
            if product.operations and shape not in rates:
                rates[shape] = self.rate(product, seconds)
            if product.operations:
                took = product.operations / rates[shape]
                floor[product.part] = floor.get(product.part, 0.0) + took
        return floor

    def _function(self, product: Product, inner: int):
        tf = self._tf
        a = tf.random.normal((product.k, product.m) if product.left else (product.m, product.k))
        b = tf.random.normal((product.n, product.k) if product.right else (product.k, product.n))

        @tf.function
        def call():
            # One after the other, as in a loop over time; none is dropped.
            def body(i, total):
                made = tf.matmul(a, b, transpose_a=product.left, transpose_b=product.right)
                return i + 1, made

            first = tf.zeros((product.m, product.n))
            _, last = tf.while_loop(lambda i, _: i < inner, body, (0, first), parallel_iterations=1)
            return last[0, 0]

        return lambda: float(call())
