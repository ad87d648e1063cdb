"""What listeners' answers say: how often was the model taken for the composer?

Half is what guessing gives, so a model that nobody can tell from the composer comes to
a half. The interval is the exact one of Clopper and Pearson (1934), which takes answers
to be independent; those of one listener, or to one pair, are not quite, so it is a little
too narrow, and each listener is told by themselves, too.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from music.errors import SegueError, printable

CONFIDENCE = 0.95
# An interval that is wider says nothing.
WIDE = 0.4
# Answers come from strangers, and take some hundred bytes.
_LIMIT = 2**20
_NAME_LIMIT = 80


@dataclasses.dataclass(frozen=True)
class Score:
    """Answers counted.

    Attributes:
      answers: how many.
      taken: in how many the model's excerpt was taken for the composer's.
      share: of them; NaN never, as there is an answer at least.
      low, high: the interval of 95%.
      listeners: (name, answers, taken) of each.
      pairs: (the composer's song, the model's song, answers, taken) of each pair.
    """

    answers: int
    taken: int
    share: float
    low: float
    high: float
    listeners: tuple[tuple[str, int, int], ...]
    pairs: tuple[tuple[str, str, int, int], ...]

    def line(self) -> str:
        """For a person."""
        if self.high < 0.5:
            verdict = "they could tell"
        elif self.low > 0.5:
            verdict = "they preferred it to the composer's own"
        elif self.high - self.low > WIDE:
            verdict = "too few answers to say whether they could tell"
        else:
            verdict = "they could not tell"
        return (
            f"the model was taken for the composer {self.taken} "
            f"time{'' if self.taken == 1 else 's'} of {self.answers}: "
            f"{self.share:.0%}, with 95% confidence {self.low:.0%} to {self.high:.0%} "
            f"(guessing: 50%); {verdict}"
        )


def score(key: Path, answers: Sequence[Path]) -> Score:
    """Counts answers.

    Args:
      key: the file beside the page.
      answers: files of listeners, as the page saves them.

    Raises:
      SegueError: a file is no such file, or belongs to another test.
    """
    from scipy.stats import binomtest

    test, pairs = _key(key)
    # Of one page the file with most answers, the last of them: people save twice.
    pages: dict[str, tuple[str, dict[int, str]]] = {}
    for path in answers:
        page, listener, told = _answers(path, test, len(pairs))
        if page not in pages or len(told) >= len(pages[page][1]):
            pages[page] = (listener, told)
    counts = [[0, 0] for _ in pairs]
    listeners = []
    for listener, told in pages.values():
        wrong = [answer != pairs[place]["composer"] for place, answer in told.items()]
        for place, is_wrong in zip(told, wrong, strict=True):
            counts[place][0] += 1
            counts[place][1] += is_wrong
        listeners.append((listener, len(told), sum(wrong)))
    total = sum(count for count, _ in counts)
    taken = sum(wrong for _, wrong in counts)
    if not total:
        raise SegueError("there is no answer in these files")
    interval = binomtest(taken, total).proportion_ci(CONFIDENCE, "exact")
    return Score(
        total,
        taken,
        taken / total,
        float(interval.low),
        float(interval.high),
        tuple(listeners),
        tuple(
            (one["real"], one["new"], count, wrong)
            for one, (count, wrong) in zip(pairs, counts, strict=True)
        ),
    )


def _key(path: Path) -> tuple[str, list[dict[str, str]]]:
    """(the test, its pairs)."""
    value = _read(path)
    pairs = value.get("pairs")
    good = isinstance(value.get("test"), str) and isinstance(pairs, list) and len(pairs) > 0
    if not good or not all(
        isinstance(one, dict)
        and one.get("composer") in ("a", "b")
        and isinstance(one.get("real"), str)
        and isinstance(one.get("new"), str)
        for one in pairs or ()
    ):
        raise SegueError(f"{path} is no key of a listening test")
    return value["test"], value["pairs"]


def _read(path: Path) -> dict[str, Any]:
    """A file's object; an empty one where it is none."""
    try:
        if path.exists() and not path.is_file():
            raise SegueError(f"{path} is no regular file")
        with path.open("rb") as file:
            data = file.read(_LIMIT + 1)
    except OSError as error:
        raise SegueError(f"cannot read {path}: {error.strerror}") from None
    try:
        value = json.loads(data) if len(data) <= _LIMIT else None
    except (ValueError, RecursionError):
        value = None
    return value if isinstance(value, dict) else {}


def _answers(path: Path, test: str, pairs: int) -> tuple[str, str, dict[int, str]]:
    """(the page, the listener, answers by pair)."""
    value = _read(path)
    page, listener, told = (value.get(name) for name in ("page", "listener", "answers"))
    if not isinstance(page, str) or not isinstance(listener, str) or not isinstance(told, list):
        raise SegueError(f"{path} holds no answers of a listening test")
    if value.get("test") != test:
        raise SegueError(f"{path} answers another test than this key's")
    if len(told) != pairs or not all(one in ("a", "b", None) for one in told):
        raise SegueError(f"{path} holds no answers to {pairs} pairs")
    found = {place: answer for place, answer in enumerate(told) if answer is not None}
    return page, printable(listener[:_NAME_LIMIT].strip() or path.stem), found
