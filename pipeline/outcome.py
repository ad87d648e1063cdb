"""What a run of the pipeline came to, for the command that started it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from components.evaluator.verdict import Verdict, as_json
from components.files import PANEL_FILE
from components.serving_validator.outcome import panel_line
from components.versions import parked_versions, versions
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
    """
    gate = Verdict.read(history.outputs["Evaluator", "evaluation"])
    panel = json.loads(
        Path(history.outputs["ServingValidator", "panel"], PANEL_FILE).read_text(encoding="utf-8")
    )
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
