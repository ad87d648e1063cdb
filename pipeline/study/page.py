"""The page of a study: a table, and a plot of each question."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from client.songs import write_atomically
from pipeline.pages.curves import Curve, bars, loss_curves
from pipeline.pages.html import page

PAGE_FILE = "study.html"
RECORD_FILE = "study.json"


def publish(root: Path, study: dict[str, Any]) -> None:
    """Puts `study.json` and `study.html` into the root, each whole.

    Args:
      root: the folder.
      study: of `record`.

    Raises:
      SegueError: it cannot be written.
    """
    text = json.dumps(study, indent=1, sort_keys=True) + "\n"
    write_atomically(root / RECORD_FILE, text.encode(), "--root")
    write_atomically(root / PAGE_FILE, render(study).encode(), "--root")


def render(study: dict[str, Any]) -> str:
    """The page as HTML; the same record gives the same text."""
    arms = {arm["name"]: arm for arm in study["arms"]}
    fitted = [arm for arm in study["arms"] if arm["broke_down"] is None]
    ngram = study["ngram"]["nats"]
    sections = []
    for question in study["questions"]:
        answers = [
            (label, arms[name])
            for label, name in question["answers"]
            if name in arms and arms[name]["broke_down"] is None
        ]
        if answers:
            best = min(answers, key=lambda answer: answer[1]["best_nats"])
            sections.append(
                {
                    "title": question["title"],
                    "paper": question["paper"],
                    "best": best[0] if len(answers) > 1 else None,
                    "best_nats": best[1]["best_nats"],
                    "plot": loss_curves(
                        [_curve(label, arm) for label, arm in answers],
                        ngram,
                        name=question["name"],
                        unit="nats a token",
                    ),
                }
            )
    seconds = [(arm["title"], arm["seconds_an_epoch"]) for arm in fitted]
    return page(
        "study.html",
        title="The paper's experiment, section 4.2",
        study=study,
        fitted=sorted(fitted, key=lambda arm: arm["best_nats"]),
        broken=[arm for arm in study["arms"] if arm["broke_down"] is not None],
        sections=sections,
        seconds_plot=bars(seconds, "seconds an epoch", name="seconds") if seconds else None,
    )


def _curve(label: str, arm: dict[str, Any]) -> Curve:
    return Curve(
        label,
        tuple(epoch["loss"] for epoch in arm["epochs"]),
        tuple(epoch["nats"] for epoch in arm["epochs"]),
        arm["best_epoch"],
    )
