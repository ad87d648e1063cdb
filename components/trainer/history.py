"""What a training was: every epoch, beside what it is judged against.

One small JSON file (`history.json`) stands beside TensorBoard's logs of a run, so
that reports, studies and benchmarks draw the same curves from the same numbers,
without TensorFlow.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from typing import Any


@dataclasses.dataclass(frozen=True)
class Epoch:
    """One pass over the training windows.

    Attributes:
      loss: training nats an event, dropout and augmentation included.
      nats: held-out nats an event.
      seconds: wall time of the epoch, judging included.
      learning_rate: of its last step.
    """

    loss: float
    nats: float
    seconds: float
    learning_rate: float


@dataclasses.dataclass(frozen=True)
class History:
    """A training from its first epoch to its last.

    Attributes:
      preset: whose settings they were.
      settings: all of them, as `TrainerSettings.to_dict` gives them.
      parameters: of the network.
      windows, held_out: how many there were to learn from, and to judge by.
      ngram_nats: the n-gram's nats an event on the held-out windows; NaN where they
        carry none.
      epochs: in order.
      versions: of the libraries.
      start_nats: held-out nats an event before the first step, of a training that began
        from a version's weights; None from scratch.
    """

    preset: str
    settings: dict[str, Any]
    parameters: int
    windows: int
    held_out: int
    ngram_nats: float
    epochs: tuple[Epoch, ...]
    versions: dict[str, str]
    start_nats: float | None = None

    @property
    def best(self) -> int:
        """The epoch with the least held-out nats, from 1."""
        return 1 + min(range(len(self.epochs)), key=lambda place: self.epochs[place].nats)

    @property
    def nats(self) -> float:
        """Held-out nats an event of the best epoch."""
        return self.epochs[self.best - 1].nats

    @property
    def seconds(self) -> float:
        """Of all epochs."""
        return sum(epoch.seconds for epoch in self.epochs)

    def to_json(self) -> str:
        """As a file holds it; the best epoch's figures stand there for other readers."""
        value = dataclasses.asdict(self)
        # NaN is no JSON.
        value["ngram_nats"] = self.ngram_nats if math.isfinite(self.ngram_nats) else None
        if self.start_nats is None:
            del value["start_nats"]
        value |= {"best": self.best, "nats": self.nats, "seconds": self.seconds}
        return json.dumps(value, indent=1, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str) -> History:
        """What `to_json` gave, back."""
        return cls.from_json_value(json.loads(text))

    @classmethod
    def from_json_value(cls, read: Mapping[str, Any]) -> History:
        """The same of what is read already."""
        value = {name: read[name] for name in read if name not in ("best", "nats", "seconds")}
        ngram = value["ngram_nats"]
        value["ngram_nats"] = math.nan if ngram is None else ngram
        value["epochs"] = tuple(Epoch(**epoch) for epoch in value["epochs"])
        return cls(**value)
