"""What listeners' answers say: how often was the model taken for the composer?

Half is what guessing gives, so a model that nobody can tell from the composer comes to
a half. The interval is the exact one of Clopper and Pearson (1934) for independent
answers; those of one listener are not quite, so each listener is told by themselves, too.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from music.errors import SegueError

CONFIDENCE = 0.95
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
        verdict = (
            "they could not tell"
            if self.low <= 0.5 <= self.high
            else (
                "they could tell" if self.high < 0.5 else "they preferred it to the composer's own"
            )
        )
        return (
            f"the model was taken for the composer {self.taken} times of {self.answers}: "
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

    known = _read(key, "the key of a listening test")
    try:
        name, pairs = known["test"], known["pairs"]
        composer = [one["composer"] for one in pairs]
    except (KeyError, TypeError):
        raise SegueError(f"{key} is not the key of a listening test") from None
    counts = [[0, 0] for _ in pairs]
    listeners, seen = [], set()
    for path in answers:
        value = _read(path, "answers of a listening test")
        told = _answers(path, value, name, len(pairs))
        if json.dumps(value, sort_keys=True) in seen:
            raise SegueError(f"{path} has the same answers as another file; give each once")
        seen.add(json.dumps(value, sort_keys=True))
        for place, answer in told.items():
            counts[place][0] += 1
            counts[place][1] += answer != composer[place]
        taken = sum(answer != composer[place] for place, answer in told.items())
        listeners.append((str(value.get("listener") or path.stem)[:_NAME_LIMIT], len(told), taken))
    total, taken = (sum(column) for column in zip(*counts, strict=True))
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
        tuple((one["real"], one["new"], *count) for one, count in zip(pairs, counts, strict=True)),
    )


def _read(path: Path, what: str) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            data = file.read(_LIMIT + 1)
    except OSError as error:
        raise SegueError(f"cannot read {path}: {error.strerror}") from None
    try:
        value = json.loads(data) if len(data) <= _LIMIT else None
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise SegueError(f"{path} has no {what}")
    return value


def _answers(path: Path, value: dict[str, Any], test: str, pairs: int) -> dict[int, str]:
    if value.get("test") != test:
        raise SegueError(f"{path} answers another test than this key's")
    told = value.get("answers")
    if (
        not isinstance(told, list)
        or len(told) != pairs
        or not all(one in ("a", "b", None) for one in told)
    ):
        raise SegueError(f"{path} has no answers to {pairs} pairs")
    return {place: answer for place, answer in enumerate(told) if answer is not None}
