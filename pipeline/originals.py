"""The training songs' index of a served model, found again under its root."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from client.generation import ModelFacts
from client.originality import OriginalityCheck
from components.files import REFERENCE_FILE
from components.model_card import CARD_JSON
from components.versions import version_path
from music.errors import SegueError
from pipeline.configuration import MODEL_NAME


def find_check(root: Path, facts: ModelFacts) -> OriginalityCheck:
    """The check of a version, by its model card and the references of the root.

    Args:
      root: of the pipeline that made it.
      facts: of the model that is served.

    Raises:
      SegueError: the root knows no such version, or no reference of it is left.
    """
    serving = root / "serving" / MODEL_NAME
    if facts.version is None:
        raise SegueError("the server does not tell the model's version")
    known = [
        Path(version_path(str(serving), facts.version, parked), CARD_JSON)
        for parked in (False, True)
    ]
    card = next((path for path in known if path.exists()), None)
    if card is None:
        raise SegueError(
            f"there is no version {facts.version} with a model card under {serving}; "
            "--root names the pipeline's folder"
        )
    try:
        wanted = json.loads(card.read_text("utf-8"))["originality"]["reference"]
    except (OSError, ValueError, KeyError, TypeError):
        raise SegueError(f"the model card {card} is damaged") from None
    # Newest first: runs on the same songs leave the same reference.
    found = (root / "pipeline" / "ReferenceBuilder" / "reference").glob(f"*/{REFERENCE_FILE}")
    for path in sorted(found, key=lambda path: path.parent.name.zfill(12), reverse=True):
        if hashlib.sha256(path.read_bytes()).hexdigest() == wanted:
            return OriginalityCheck.open(path.parent)
    raise SegueError(
        f"the training songs' index of version {facts.version} is no longer under {root}"
    )
