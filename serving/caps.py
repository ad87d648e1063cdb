"""How much one request may ask for, where a server allows less than its model does.

A model of Segue has limits of its own, which its graph enforces and `describe`
tells; they keep a single number in a request from taking all memory. Whoever runs
a server may want to be stricter: `--max_rows`, `--max_prime` and `--max_steps`.
What they count is known by the names of a signature's inputs, so they hold for
every signature that has such inputs, whatever the model.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from serving import errors

# Inputs with one event after the other in their second dimension.
_PRIMES = ("prime", "events")
_STEPS = "steps"


@dataclasses.dataclass(frozen=True)
class Caps:
    """The most that one request may ask for; 0 is as much as the model allows.

    Attributes:
      rows: the first dimension of any input.
      prime: the second dimension of `prime` and of `events`.
      steps: the largest of `steps`.
    """

    rows: int = 0
    prime: int = 0
    steps: int = 0

    def check(self, inputs: Mapping[str, np.ndarray]) -> None:
        """Refuses what is too much.

        Args:
          inputs: arrays by the signature's names.

        Raises:
          ServingError: INVALID_ARGUMENT with the number, the limit and its flag.
        """
        if self.rows:
            most = max((len(array) for array in inputs.values() if array.ndim), default=0)
            _demand("rows", most, self.rows)
        if self.prime:
            for name in _PRIMES:
                array = inputs.get(name)
                if array is not None and array.ndim > 1:
                    _demand("prime", array.shape[1], self.prime)
        if self.steps:
            steps = inputs.get(_STEPS)
            if steps is not None and steps.size and steps.dtype.kind in "iu":
                _demand("steps", int(steps.max()), self.steps)


def _demand(what: str, number: int, most: int) -> None:
    if number > most:
        raise errors.invalid_argument(
            f"{what} must be at most {most} on this server (--max_{what}), got {number}"
        )
