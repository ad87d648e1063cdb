"""How events are drawn from a model's distribution: checked once, for every caller."""

from __future__ import annotations

import dataclasses
import math
import numbers
from collections.abc import Sequence
from typing import Any

import numpy as np

from music.errors import SegueError

MAX_TEMPERATURE = 100.0
_INT32_MAX = 2**31 - 1


@dataclasses.dataclass(frozen=True)
class Sampling:
    """How events are drawn from a model's distribution.

    Attributes:
      temperature: 0 takes the likeliest event, 1 the model's own distribution;
        greater is bolder; at most `MAX_TEMPERATURE`.
      top_k: draw among the k likeliest values of a field; 0 is off.
      top_p: draw among the likeliest values that make up this share; 1 is off.
      seed: any int64; the same seed, prime and model give the same events.
      may_end: whether the model may end the song before the steps are used up.

    Raises:
      SegueError: a value outside its range.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int = 0
    may_end: bool = False

    def __post_init__(self) -> None:
        if not (_is_real(self.temperature) and 0 <= self.temperature <= MAX_TEMPERATURE):
            raise SegueError(
                f"temperature {self.temperature} is outside 0..{MAX_TEMPERATURE:g} "
                "(0 takes the likeliest, 1 is the model's own)"
            )
        if not (is_whole(self.top_k) and 0 <= self.top_k <= _INT32_MAX):
            raise SegueError(f"top_k {self.top_k} is outside 0..{_INT32_MAX} (0 is off)")
        # Models read float32, in which the smallest doubles are zero.
        if not (_is_real(self.top_p) and 0 < np.float32(self.top_p) <= 1):
            raise SegueError(f"top_p {self.top_p} is outside 0 < top_p <= 1 (1 is off)")
        if not (is_whole(self.seed) and -(2**63) <= self.seed < 2**63):
            raise SegueError(f"seed {self.seed} is outside {-(2**63)}..{2**63 - 1}")
        if not isinstance(self.may_end, (bool, np.bool_)):
            raise SegueError(f"may_end {self.may_end!r} is neither true nor false")

    def as_dict(self) -> dict[str, Any]:
        """The settings as JSON types."""
        return {
            "temperature": float(self.temperature),
            "top_k": int(self.top_k),
            "top_p": float(self.top_p),
            "seed": int(self.seed),
            "may_end": bool(self.may_end),
        }


def sampling_inputs(samplings: Sequence[Sampling], position: int) -> dict[str, np.ndarray]:
    """The sampling inputs of a signature, a value a row.

    Args:
      samplings: one a row.
      position: the index in the song of the first event to be made.
    """
    return {
        "temperature": np.array([s.temperature for s in samplings], np.float32),
        "top_k": np.array([s.top_k for s in samplings], np.int32),
        "top_p": np.array([s.top_p for s in samplings], np.float32),
        "may_end": np.array([s.may_end for s in samplings], bool),
        "seed": np.array([s.seed for s in samplings], np.int64),
        "position": np.full(len(samplings), position, np.int32),
    }


def is_whole(value: Any) -> bool:
    """Whether a value is an integer of any kind, and no truth value."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def _is_real(value: Any) -> bool:
    number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    return number and math.isfinite(value)
