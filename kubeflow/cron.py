"""When a recurring run comes: the five fields of crontab, as Kubeflow Pipelines takes them.

The backend reads six fields, the seconds first, and a mistake in them ends in a recurring
run that never comes: so every field is checked here, before anything is submitted.
"""

from __future__ import annotations

import re

from music.errors import SegueError

_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
# Name, least, most, and the names that stand for numbers from `least` on.
_FIELDS: tuple[tuple[str, int, int, tuple[str, ...]], ...] = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of the month", 1, 31, ()),
    ("month", 1, 12, _MONTHS),
    ("day of the week", 0, 6, _DAYS),
)
_PART = re.compile(r"(?P<any>\*)|(?P<first>\w+)(?:-(?P<last>\w+))?")
_EXAMPLE = "five fields are wanted (minute hour day month weekday), '0 3 * * *' for 3:00 every day"


def to_six_fields(expression: str) -> str:
    """A cron expression as the backend reads it.

    Args:
      expression: of crontab: minute, hour, day of the month, month, day of the week (0 is
        Sunday); numbers, names of months and days, lists, ranges, steps and `*`.

    Returns:
      The same with the seconds, 0, before it.

    Raises:
      SegueError: it is none.
    """
    fields = expression.split()
    if len(fields) != len(_FIELDS) or len(expression) > 200:
        raise SegueError(f"schedule {expression[:200]!r} is not allowed; {_EXAMPLE}")
    for field, (name, least, most, names) in zip(fields, _FIELDS, strict=True):
        for part in field.split(","):
            if not _is_part(part, least, most, names):
                also = f" or {names[0]}..{names[-1]}" if names else ""
                raise SegueError(
                    f"schedule {expression!r} is not allowed: {part!r} is no {name}, which is "
                    f"{least}..{most}{also}, a range, a step such as */2, or *"
                )
    return " ".join(["0", *(field.upper() for field in fields)])


def _is_part(part: str, least: int, most: int, names: tuple[str, ...]) -> bool:
    span, slash, step = part.partition("/")
    if slash and not (step.isascii() and step.isdigit() and 1 <= int(step) <= most):
        return False
    found = _PART.fullmatch(span)
    if found is None:
        return False
    if found["any"]:
        return True
    first = _number(found["first"], least, most, names)
    last = first if found["last"] is None else _number(found["last"], least, most, names)
    return first is not None and last is not None and first <= last


def _number(text: str, least: int, most: int, names: tuple[str, ...]) -> int | None:
    if text.upper() in names:
        return names.index(text.upper()) + least
    if not (text.isascii() and text.isdigit() and len(text) <= 2):
        return None
    return int(text) if least <= int(text) <= most else None
