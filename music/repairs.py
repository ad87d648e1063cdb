"""What was wrong with a file and was mended, so that nothing is mended in silence."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Repair:
    """Something that was mended, as players do.

    Attributes:
      name: short and fixed, the same on every machine, so that repairs can be counted.
      detail: for a person.
    """

    name: str
    detail: str


class Repairs:
    """What was mended so far: each kind once, with the first place and a count."""

    def __init__(self) -> None:
        self._first: dict[str, str] = {}
        self._more: dict[str, int] = {}

    def note(self, name: str, detail: str) -> None:
        """Records one mending."""
        if name in self._first:
            self._more[name] = self._more.get(name, 0) + 1
        else:
            self._first[name] = detail

    def __contains__(self, name: str) -> bool:
        return name in self._first

    def listed(self) -> tuple[Repair, ...]:
        """In the order in which they were first met."""
        return tuple(
            Repair(name, f"{detail} (and {more:,} more)" if more else detail)
            for name, detail in self._first.items()
            for more in (self._more.get(name, 0),)
        )
