"""Which versions of a model there are in its folder, and which of them are wanted.

A version is a child folder of the model's base path whose name is a number. A
policy picks from those found: the highest (the default), the highest few, all of
them, or the ones that somebody named. They are the three choices of
`model_version_policy` in TensorFlow Serving's ModelServerConfig.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path

_INT64 = range(-(2**63), 2**63)
_VERSION_NAME = re.compile(r"-?[0-9]+", re.ASCII)

Policy = Callable[[Iterable[int]], set[int]]


def latest(count: int) -> Policy:
    """The policy that wants the `count` highest versions there are."""

    def choose(versions: Iterable[int]) -> set[int]:
        return set(sorted(versions)[-count:])

    return choose


def every() -> Policy:
    """The policy that wants all versions there are."""
    return set


def specific(numbers: Iterable[int]) -> Policy:
    """The policy that wants the named versions, those of them that are there."""
    named = frozenset(numbers)

    def choose(versions: Iterable[int]) -> set[int]:
        return set(named.intersection(versions))

    return choose


def find_versions(base_path: Path) -> dict[int, Path]:
    """The version folders in `base_path`, by number.

    Folders with other names, dotted ones among them, are skipped: pushers copy
    under such a name and rename when all is there. Of two folders with the same
    number (`7` and `007`) the last one in the order of names counts.

    Raises:
      OSError: the base path is not there or cannot be listed.
    """
    found = {}
    for child in sorted(base_path.iterdir()):
        if _VERSION_NAME.fullmatch(child.name) and int(child.name) in _INT64 and child.is_dir():
            found[int(child.name)] = child
    return found
