"""The bounds of the gate, as a configuration holds them."""

from __future__ import annotations

import dataclasses
import math

from music.errors import SegueError


@dataclasses.dataclass(frozen=True)
class GateSettings:
    """The bounds of the gate, nats an event.

    Attributes:
      max_nats: absolute bound on the held-out likelihood.
      max_nats_over_ngram: bound on the difference to the n-gram; 0 asks the model
        to be at least as good, a negative number to be better by that much.
      max_nats_over_service: how much worse than the model in service it may be.
    """

    max_nats: float = 8.0
    max_nats_over_ngram: float = 0.0
    max_nats_over_service: float = 0.0

    def __post_init__(self) -> None:
        for name, value in dataclasses.asdict(self).items():
            if not math.isfinite(value):
                raise SegueError(f"{name} {value!r} is not allowed; it must be a finite number")
