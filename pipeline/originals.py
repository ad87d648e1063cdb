"""The training songs' index of a served model, found again under its root."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from client.generation import ModelFacts
from client.originality import OriginalityCheck
from components.files import REFERENCE_FILE
from components.model_card import CARD_JSON
from components.read_back import read
from components.versions import version_path
from music.errors import SegueError
from music.measures import Reference
from pipeline.configuration import MODEL_NAME


@dataclasses.dataclass(frozen=True)
class Original:
    """What a root knows of a served model's training songs.

    Attributes:
      folder: of their index and reference.
      percentile: of their longest shared runs, beyond which a song is a copy.
      sha256: of the reference.
      composer: whose songs they are; None where nobody said.
    """

    folder: Path
    percentile: float
    sha256: str
    composer: str | None

    def open(self) -> OriginalityCheck:
        """The check of new songs against them.

        Raises:
          SegueError: it cannot be read.
        """
        return OriginalityCheck.open(self.folder, self.percentile)


def find_check(root: Path, facts: ModelFacts) -> OriginalityCheck:
    """The check of a version; arguments and errors as `find_original`."""
    return find_original(root, facts).open()


def find_original(root: Path, facts: ModelFacts) -> Original:
    """The training songs of a version, by its model card and the references of the root.

    Args:
      root: of the pipeline that made it.
      facts: of the model that is served.

    Raises:
      SegueError: the root knows no such version, no reference of it is left, or one that
        may be its is damaged.
    """
    if facts.version is None:
        raise SegueError("the server does not tell the model's version")
    try:
        card = _card(root, facts)
        wanted, percentile = card["originality"]["reference"], card["originality"]["percentile"]
        found = (root / "pipeline" / "ReferenceBuilder" / "reference").glob(f"*/{REFERENCE_FILE}")
        # Newest first: runs on the same songs leave the same reference.
        paths = sorted(found, key=lambda path: path.parent.name.zfill(12), reverse=True)
        for path in paths:
            if hashlib.sha256(path.read_bytes()).hexdigest() == wanted:
                composer = card.get("given", {}).get("composer") or None
                return Original(path.parent, percentile, wanted, composer)
    except OSError as error:
        raise SegueError(f"cannot look into {root}: {error.strerror}") from None
    _refuse_damaged(paths)
    raise SegueError(
        f"the training songs' index of version {facts.version} is no longer under {root}"
    )


def _refuse_damaged(paths: Iterable[Path]) -> None:
    """One of the references that cannot be read may be the one that is looked for."""
    for path in paths:
        read(path, Reference.from_json)


def _card(root: Path, facts: ModelFacts) -> dict[str, Any]:
    """The model card of the version that is served."""
    serving = root / "serving" / MODEL_NAME
    assert facts.version is not None
    known = [
        Path(version_path(str(serving), facts.version, parked), CARD_JSON)
        for parked in (False, True)
    ]
    path = next((path for path in known if path.exists()), None)
    if path is None:
        raise SegueError(
            f"there is no version {facts.version} with a model card under {serving}; "
            "--root names the pipeline's folder"
        )
    try:
        card = json.loads(path.read_text("utf-8"))
        learned = (card["model"]["codec"], card["model"]["parameters"])
        _ = card["originality"]["reference"], float(card["originality"]["percentile"])
        _ = card.get("given", {}).get("composer")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise SegueError(f"the model card {path} is damaged") from None
    if learned != (facts.codec.config(), facts.training.get("parameters")):
        raise SegueError(
            f"the version {facts.version} under {serving} is another model than the one that is "
            "served; --root names the pipeline's folder"
        )
    return card
