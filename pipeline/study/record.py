"""What a study found, as JSON types: the one thing that its page is drawn from."""

from __future__ import annotations

import dataclasses
import json
import math
import statistics
from typing import Any

from components.trainer.history import History
from components.trainer.trials import Trial
from music.vocabulary import Vocabulary
from pipeline.configuration import Configuration
from pipeline.study.arms import Arm, Size, questions


def record(
    config: Configuration,
    size: Size,
    planned: tuple[Arm, ...],
    done: dict[str, Trial],
    songs: dict[str, int],
    vocabulary: Vocabulary,
) -> dict[str, Any]:
    """The study so far.

    Args:
      config: of its windows.
      size: of the study.
      planned: all arms.
      done: those that there are, by name.
      songs: how many there are, a split.
      vocabulary: of the windows.
    """
    histories = [trial.history for trial in done.values() if trial.history is not None]
    some = histories[0] if histories else None
    ngram = some.ngram_nats if some else math.nan
    value = {
        "study": "paper",
        "size": size.name,
        "size_words": size.words,
        "arms_planned": len(planned),
        "data": {
            "folder": config.data.name,
            "songs": songs,
            "windows": some.windows if some else None,
            "held_out": some.held_out if some else None,
            "window_length": config.window.length,
            "vocabulary": list(vocabulary.sizes),
            "min_count": config.vocabulary.min_count,
        },
        "network": {"units": list(config.model.units), "dense": config.model.dense},
        "ngram": {
            "order": config.ngram_order,
            "nats": ngram if math.isfinite(ngram) else None,
        },
        "questions": [dataclasses.asdict(question) for question in questions(size.brief)],
        "arms": [_arm(arm, done[arm.name]) for arm in planned if arm.name in done],
        "versions": some.versions if some else {},
    }
    found: dict[str, Any] = json.loads(json.dumps(value, allow_nan=False))  # tuples to lists
    return found


def _arm(arm: Arm, trial: Trial) -> dict[str, Any]:
    settings = arm.settings.to_dict()
    value: dict[str, Any] = {
        "name": arm.name,
        "title": arm.title,
        "key": trial.key,
        "model": settings["model"],
        "training": settings["training"],
        "broke_down": trial.reason or None,
    }
    return value if trial.history is None else {**value, **_figures(trial.history)}


def _figures(history: History) -> dict[str, Any]:
    """The figures of a training; nats a token, seconds of wall time."""
    best, last = history.epochs[history.best - 1], history.epochs[-1]
    return {
        "parameters": history.parameters,
        "best_epoch": history.best,
        "best_nats": best.nats,
        "loss_at_best": best.loss,
        # Training nats are measured with dropout, held-out ones without.
        "gap_at_best": best.nats - best.loss,
        "last_nats": last.nats,
        "last_loss": last.loss,
        # The first epoch builds the graph: it stands for others only where there are none.
        "seconds_an_epoch": statistics.median(
            epoch.seconds for epoch in history.epochs[1:] or history.epochs
        ),
        "seconds_to_best": sum(epoch.seconds for epoch in history.epochs[: history.best]),
        "epochs": [dataclasses.asdict(epoch) for epoch in history.epochs],
    }
