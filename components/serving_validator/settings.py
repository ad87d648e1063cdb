"""What a candidate has to do before it is pushed, as a configuration holds it."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from music.errors import SegueError
from music.measures import PanelBounds

_DAY = 86_400


@dataclasses.dataclass(frozen=True)
class PanelSettings:
    """The panel of songs that a candidate is asked for, and its bounds.

    Attributes:
      songs: in the panel.
      steps: events of each.
      temperature, top_p: of the draw.
      seed: of the draw, and of the sections of held-out songs that it begins with.
      max_seconds: that one song may take, over gRPC, on the machine of the run.
      server_seconds: that the server may take to come up.
      bounds: of the measures.
    """

    songs: int = 12
    steps: int = 250
    temperature: float = 1.0
    top_p: float = 1.0
    seed: int = 7
    max_seconds: float = 10.0
    server_seconds: float = 120.0
    bounds: PanelBounds = PanelBounds()

    def __post_init__(self) -> None:
        for name, low, high in (
            ("songs", 1, 256),
            ("steps", 16, 4096),
            ("seed", 0, 2**31 - 1),
            ("temperature", 0.0, 100.0),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise SegueError(f"{name} {value!r} is not allowed; it must be {low}..{high}")
        # Models read float32, in which the smallest numbers are zero.
        if not 0 < np.float32(self.top_p) <= 1:
            raise SegueError(f"top_p {self.top_p!r} is not allowed; it must be 0 < top_p <= 1")
        for name in ("max_seconds", "server_seconds"):
            value = getattr(self, name)
            if not 0 < value <= _DAY:
                raise SegueError(
                    f"{name} {value!r} is not allowed; it must be 0 < {name} <= {_DAY}"
                )

    def to_dict(self) -> dict[str, Any]:
        """As JSON types."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> PanelSettings:
        """What `to_dict` gave, back."""
        return cls(**{**value, "bounds": PanelBounds(**value["bounds"])})
