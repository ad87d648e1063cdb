"""The page of a study: a table, and a plot of each question."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from client.output import write_atomically
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
    fitted = [arm for arm in study["arms"] if arm["broke_down"] is None]
    ngram = study["ngram"]["nats"]
    sections = [
        {
            "title": question["title"],
            "paper": question["paper"],
            "found": _found(answers),
            "plot": loss_curves(
                [_curve(label, arm) for label, arm in answers],
                ngram,
                name=question["name"],
                unit="nats a token",
            ),
        }
        for question in study["questions"]
        if (answers := _answers(question, fitted))
    ]
    ranked = sorted(fitted, key=lambda arm: arm["best_nats"])
    rows: list[dict[str, Any] | None] = [*ranked]
    if ngram is not None:  # where it stands among them
        rows.insert(sum(arm["best_nats"] < ngram for arm in fitted), None)
    seconds = [(arm["title"], arm["seconds_an_epoch"]) for arm in fitted]
    return page(
        "study.html",
        title="The paper's experiment, section 4.2",
        study=study,
        rows=rows,
        best=ranked[0] if ranked else None,
        broken=[arm for arm in study["arms"] if arm["broke_down"] is not None],
        sections=sections,
        seconds_plot=bars(seconds, "seconds an epoch", name="seconds") if seconds else None,
    )


def _answers(
    question: dict[str, Any], fitted: list[dict[str, Any]]
) -> list[tuple[str, dict[str, Any]]]:
    """(label, arm) of the answers that there are."""
    arms = {arm["name"]: arm for arm in fitted}
    return [(label, arms[name]) for label, name in question["answers"] if name in arms]


def _found(answers: list[tuple[str, dict[str, Any]]]) -> str:
    """Which answer is best, as a sentence."""
    if len(answers) < 2:
        return ""
    figures = {label: round(arm["best_nats"], 3) for label, arm in answers}
    least = min(figures.values())
    first = [label for label, nats in figures.items() if nats == least]
    if len(first) == len(figures):
        return f"No difference here: {least:.3f} nats each."
    return f"Best here: {' and '.join(first)}, with {least:.3f} nats."


def _curve(label: str, arm: dict[str, Any]) -> Curve:
    return Curve(
        label,
        tuple(epoch["loss"] for epoch in arm["epochs"]),
        tuple(epoch["nats"] for epoch in arm["epochs"]),
        arm["best_epoch"],
    )
