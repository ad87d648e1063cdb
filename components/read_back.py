"""Files that a step left, read back: whole and of the form they must have, or one line.

Artifacts lie on disks for years; they are copied, cut off and edited. Whoever reads one
again reads it through here, so that a damaged file is told by its name, with what to do,
and never passed for an empty one. A shape says what a reader relies on, and no more: what
a newer version writes beside it does no harm.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from music.errors import SegueError

T = TypeVar("T")
REMEDY = "run the pipeline again, with --no-cache"


class Odd(ValueError):
    """What a file lacks, in words for a person."""


@contextlib.contextmanager
def intact(path: Path | str, remedy: str = REMEDY) -> Iterator[None]:
    """Around the reading of a file, makes one line of whatever damage makes its readers say.

    Args:
      path: of the file.
      remedy: what to do where it is damaged or gone.

    Raises:
      SegueError: the file, what is the matter with it, and the remedy.
    """
    try:
        yield
    except MemoryError:
        raise
    except FileNotFoundError as error:
        raise SegueError(f"{path} is missing; {remedy}") from error
    except Exception as error:
        reason = f"{path} is damaged, or of another version"
        if isinstance(error, Odd | SegueError):
            reason += f" ({error})"
        elif isinstance(error, OSError) and error.strerror:
            reason = f"cannot read {path}: {error.strerror}"
        raise SegueError(f"{reason}; {remedy}") from error


def read(path: Path, parse: Callable[[str], T]) -> T:
    """What a file's text says, by whatever reads it; errors as `intact`."""
    with intact(path):
        return parse(path.read_text(encoding="utf-8"))


def read_json(path: Path, shape: Any, also: Callable[[Any], object] = lambda value: None) -> Any:
    """A file of JSON.

    Args:
      path: of the file.
      shape: as `check` takes it.
      also: looks at the value once it has the shape, and raises what it likes.

    Raises:
      SegueError: as `intact`.
    """

    def parse(text: str) -> Any:
        value = json.loads(text)
        check(value, shape)
        also(value)
        return value

    return read(path, parse)


def read_lines(path: Path, shape: Any) -> list[Any]:
    """A file of JSON, a value of one shape a line, one line at least; errors as `intact`."""

    def parse(text: str) -> list[Any]:
        found = [json.loads(line) for line in text.splitlines()]
        check(found, [shape])
        return found

    return read(path, parse)


def song_files(songs: Path, side: str) -> list[Path]:
    """The Parquet files of one split of a Songs artifact, every one of them.

    Raises:
      SegueError: one is missing.
    """
    folder = songs / f"Split-{side}"
    found = sorted(folder.glob("songs-*.parquet"))
    told = re.search(r"-of-(\d+)$", found[0].stem) if found else None
    if not found or (told and len(found) != int(told[1])):
        of = f"some of its {int(told[1]):,} files" if told else "songs-*.parquet"
        raise SegueError(f"{folder} lacks {of}; {REMEDY}")
    return found


def check(value: Any, shape: Any, where: str = "it") -> None:
    """Raises where a value has not the shape that its reader relies on.

    Args:
      value: as JSON gives it.
      shape: a type (int is no bool, float takes int); a tuple, any of these shapes; a list
        of one, of which there is one value or more; a dict of what a table has, or with
        the key `str`, of what all its values are; or a function that raises.
      where: what the value is called.

    Raises:
      Odd: what is the matter.
    """
    if isinstance(shape, dict):
        if not isinstance(value, Mapping):
            raise Odd(f"{where} is no table")
        for name in value if str in shape else shape:
            if name not in value:
                raise Odd(f"{name} is missing" if where == "it" else f"{where}.{name} is missing")
            inside = name if where == "it" else f"{where}.{name}"
            check(value[name], shape.get(str, shape.get(name)), inside)
    elif isinstance(shape, list):
        if not isinstance(value, list) or not value:
            raise Odd(f"{where} is no list" if not isinstance(value, list) else f"{where} is empty")
        for number, one in enumerate(value):
            check(one, shape[0], f"{where}[{number}]")
    elif isinstance(shape, tuple):
        for one in shape:
            with contextlib.suppress(Odd):
                return check(value, one, where)
        raise Odd(f"{where} is not what it must be")
    elif isinstance(shape, type):
        kinds = (int, float) if shape is float else shape
        if not isinstance(value, kinds) or (isinstance(value, bool) and shape is not bool):
            raise Odd(f"{where} is not of type {shape.__name__}")
    else:
        shape(value, where)


def empty(value: Any, where: str) -> None:
    """The shape of a list without a value."""
    if value != []:
        raise Odd(f"{where} is not empty")


def figure(value: Any, where: str) -> None:
    """The shape of a number that strict JSON may not know: "nan" and "inf" are text there."""
    try:
        good = not isinstance(value, bool) and isinstance(float(value), float)
    except (ValueError, TypeError):
        good = False
    if not good:
        raise Odd(f"{where} is no number")
