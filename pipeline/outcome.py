"""What a run of the pipeline came to, for the command that started it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from components.evaluator.verdict import Verdict, as_json
from components.serving_validator.outcome import panel_line
from components.versions import parked_versions, versions
from pipeline.artifacts import read_gate, read_panel
from pipeline.configuration import Configuration
from pipeline.history import RunHistory


def read_outcome(config: Configuration, history: RunHistory) -> dict[str, Any]:
    """What a run came to, as JSON types.

    Args:
      config: of the run.
      history: what it did.

    Returns:
      `run`, `executed`, `cached`: its name, and its steps; `blessed`: whether both
      gates let the model pass; `gate` and `panel`: what each of them said; `nats` and
      `ngram_nats`; `version`: the one that was pushed, `present` and `parked` where it
      is; `report`: the page; `root`.

    Raises:
      SegueError: what a gate left is damaged.
    """
    evaluation = Path(history.outputs["Evaluator", "evaluation"])
    read_gate(evaluation)
    gate = Verdict.read(str(evaluation))
    panel = read_panel(Path(history.outputs["ServingValidator", "panel"]))
    parked = parked_versions(str(config.serving_dir))
    known = [*versions(str(config.serving_dir)), *parked]
    return {
        "run": history.run,
        "executed": list(history.executed),
        "cached": list(history.cached),
        "blessed": gate.blessed and not panel["reasons"],
        "gate": gate.line(),
        "panel": panel_line(panel),
        "nats": as_json(gate.nats),
        "ngram_nats": as_json(gate.nats - gate.nats_minus_ngram),
        "version": history.pushed_version,
        "present": history.pushed_version in known,
        "parked": history.pushed_version in parked,
        "report": str(config.report_path) if config.report_path.exists() else None,
        "root": str(config.root),
    }
