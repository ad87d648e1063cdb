"""What `panel.json` says, for a person, and where it lies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def panel_line(value: Mapping[str, Any]) -> str:
    """One line.

    Args:
      value: the object in `panel.json`.
    """
    if value["reasons"]:
        return "refused: " + "; ".join(value["reasons"])
    findings = [one["words"] for one in value["findings"]]
    return f"blessed: served in {value['seconds']:.2f} s a song; " + "; ".join(findings)
