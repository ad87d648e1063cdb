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

so 3 x 2 N T 4u (I + u) operations, and a dense layer over R rows, that of a layer's
output, 3 x 2 R I O. R is N T where every event is learnt from, and N where a window's
last one is. A view of the profile (components/trainer/profile.py) with p paces, n tones
and w units sums up what was sounded, [p T, T] [T, n] a row, looks at it from each tone,
[R, p n] [p n, n w], both without a gradient of what was sounded, reads what it sees,
[R n, w] [w, 1], and hands it to the codes, [R, n] [n, V].
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from components.trainer.settings import ModelSettings
from music.vocabulary import Vocabulary

if TYPE_CHECKING:
    from components.trainer.profile import View


@dataclasses.dataclass(frozen=True)
class Product:
    """[m, k] times [k, n], some times a step.

    Attributes:
      part: `projection`, `recurrence`, `weight gradient`, `heads` or `profile`.
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


def products(
    settings: ModelSettings, vocabulary: Vocabulary, rows: int, steps: int
) -> list[Product]:
    """Those of one training step.

    Args:
      settings: the network's shape.
      vocabulary: what its indices mean.
      rows: N, the batch.
      steps: T, the window's length.
    """
    chain, sizes = settings.kind == "chain", vocabulary.sizes
    made, wide = [], settings.embedding * len(sizes) if chain else 1
    for units in settings.units:
        made += _recurrent(rows, steps, wide, units)
        wide = units
    positions = rows * steps if chain else rows
    for size in sizes:
        made += _dense(positions, wide, settings.dense)
        made += _dense(positions, settings.dense, size)
    if settings.profile:
        from components.trainer.profile import views

        for view in views(vocabulary):
            made += _looks(view, settings, rows, steps)
    return made


def _looks(view: View, settings: ModelSettings, rows: int, steps: int) -> list[Product]:
    paces, tones, codes = len(view.decays), view.tones, len(view.sounded)
    every, width = rows * steps, settings.profile
    return [
        Product("profile", paces * steps, steps, tones, rows),
        Product("profile", every, view.size, tones * width),
        Product("profile", view.size, every, tones * width, left=True),
        *_dense(every, settings.dense, width, "profile"),
        *_dense(every * tones, width, 1, "profile"),
        Product("profile", every, tones, codes),
        Product("profile", every, codes, tones, right=True),
    ]


def operations(made: Iterable[Product]) -> int:
    """Of all of them."""
    return sum(product.operations for product in made)


def _recurrent(rows: int, steps: int, wide: int, units: int) -> list[Product]:
    every, gates = rows * steps, 4 * units
    return [
        Product("projection", every, wide, gates),
        Product("recurrence", rows, units, gates, steps),
        Product("recurrence", rows, gates, units, steps),
        Product("projection", every, gates, wide, right=True),
        Product("weight gradient", wide, every, gates, left=True),
        Product("weight gradient", units, every, gates, left=True),
    ]


def _dense(rows: int, wide: int, out: int, part: str = "heads") -> list[Product]:
    return [
        Product(part, rows, wide, out),
        Product(part, rows, out, wide, right=True),
        Product(part, wide, rows, out, left=True),
    ]


# ---- the machine -----------------------------------------------------------

# Large enough that memory does not matter; the best of them is the peak.
LARGE = ((1024, 1024, 1024), (2048, 2048, 2048), (4096, 1024, 2048), (1200, 1024, 2048))


class Taken(NamedTuple):
    """Seconds by the wall, and of this process's threads on the processors together.

    Where other work shares the cores the second is the steadier one, though not
    untouched: caches and memory are shared as well.
    """

    wall: float
    cpu: float

    def least(self, other: Taken) -> Taken:
        """The lesser of each."""
        return Taken(min(self.wall, other.wall), min(self.cpu, other.cpu))


class Speed(NamedTuple):
    """Operations a second, by the wall and by a processor's second."""

    wall: float
    cpu: float

    @classmethod
    def of(cls, count: float, took: Taken) -> Speed:
        """Of so many operations in that time."""
        return cls(count / took.wall, count / max(took.cpu, 1e-9))

    def most(self, other: Speed) -> Speed:
        """The greater of each."""
        return Speed(max(self.wall, other.wall), max(self.cpu, other.cpu))


def taken(call: Callable[[], object]) -> Taken:
    """What a call takes."""
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    return Taken(time.perf_counter() - wall, time.process_time() - cpu)


class Multiplier:
    """Matmuls of TensorFlow's, timed on all cores.

    Args:
      dtype: of the factors, as TensorFlow calls it.
    """

    def __init__(self, dtype: str = "float32") -> None:
        import tensorflow as tf

        self.dtype = dtype
        self._tf = tf
        self._functions: dict[tuple[Product, int], Callable[[], float]] = {}

    def rate(self, product: Product, seconds: float = 0.1) -> Speed:
        """The best of some stretches of a product of this shape.

        The product's output feeds nothing and its inputs stay the same: a small
        kernel lies in the cache as it does inside a loop over time.
        """
        one = dataclasses.replace(product, times=1)
        inner = max(1, int(5e8 // one.operations))
        if (one, inner) not in self._functions:
            self._functions[one, inner] = self._function(one, inner)
        call = self._functions[one, inner]
        call()
        best, stop = Taken(float("inf"), float("inf")), time.perf_counter() + seconds
        while time.perf_counter() < stop or best.wall == float("inf"):
            best = best.least(taken(call))
        return Speed.of(inner * one.operations, best)

    def peak(self, seconds: float = 0.5) -> Speed:
        """The best over large shapes."""
        peak = Speed(0.0, 0.0)
        for shape in LARGE:
            peak = peak.most(self.rate(Product("", *shape), seconds))
        return peak

    def floor(self, made: Sequence[Product], seconds: float = 0.1) -> dict[str, Taken]:
        """What a step's products take by themselves, by part."""
        floor: dict[str, Taken] = {}
        speeds: dict[tuple, Speed] = {}
        for product in made:
            shape = (product.m, product.k, product.n, product.left, product.right)
            if shape not in speeds:
                speeds[shape] = self.rate(product, seconds)
            wall, cpu = floor.get(product.part, Taken(0.0, 0.0))
            wall += product.operations / speeds[shape].wall
            floor[product.part] = Taken(wall, cpu + product.operations / speeds[shape].cpu)
        return floor

    def _function(self, product: Product, inner: int) -> Callable[[], float]:
        tf = self._tf
        left = (product.k, product.m) if product.left else (product.m, product.k)
        right = (product.n, product.k) if product.right else (product.k, product.n)
        a, b = (tf.cast(tf.random.normal(shape), self.dtype) for shape in (left, right))

        @tf.function
        def call():
            # One after the other, as in a loop over time.
            def body(i, total):
                made = tf.matmul(a, b, transpose_a=product.left, transpose_b=product.right)
                return i + 1, made

            first = tf.zeros((product.m, product.n), self.dtype)
            _, last = tf.while_loop(lambda i, _: i < inner, body, (0, first), parallel_iterations=1)
            return last[0, 0]

        compiled = call.get_concrete_function()
        return lambda: float(compiled())
