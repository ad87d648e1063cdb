"""The versions of a served model, as TensorFlow Serving sees a folder of them.

A version is a child folder whose name is a number; the largest is in service.
Anything else (a copy under way, a note) is no version.
"""

from __future__ import annotations

import os

from tfx.dsl.io import fileio


def versions(serving_dir: str) -> list[int]:
    """The version numbers below a folder, ascending; empty when it does not exist."""
    if not fileio.exists(serving_dir):
        return []
    names = (name.rstrip("/") for name in fileio.listdir(serving_dir))
    # As servers do: a positive int64, and spelled as it is printed.
    numbers = [int(name) for name in names if name.isascii() and name.isdigit()]
    numbers = [number for number in numbers if 0 < number < 2**63]
    paths = {number: os.path.join(serving_dir, str(number)) for number in numbers}
    return sorted(
        number
        for number, path in paths.items()
        if fileio.exists(os.path.join(path, "saved_model.pb"))
    )


def newest_version(serving_dir: str) -> str | None:
    """The folder of the version in service; None when nothing is served."""
    known = versions(serving_dir)
    return os.path.join(serving_dir, str(known[-1])) if known else None
