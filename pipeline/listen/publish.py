"""The two files of a listening test: the page that is sent, and the key that is kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from client.output import write_atomically
from pipeline.listen.pairs import Pair
from pipeline.pages.html import page

PAGE_FILE, KEY_FILE = "listen.html", "listen-key.json"


def publish(pairs: Sequence[Pair], folder: Path, composer: str) -> dict[str, Any]:
    """Writes the page, which does not say which is which, and the key, which does.

    Args:
      pairs: of the test.
      folder: where both go.
      composer: as the page names them; empty where nobody does.

    Returns:
      The key, as JSON types.

    Raises:
      SegueError: they cannot be written.
    """
    played = [
        {side: [[round(x, 4) for x in note] for note in getattr(pair, side)] for side in "ab"}
        for pair in pairs
    ]
    # By it answers find their key; it tells nothing of the key itself.
    name = hashlib.sha256(json.dumps(played).encode()).hexdigest()[:16]
    key = {
        "test": name,
        "pairs": [
            {"composer": pair.composer, "real": pair.real, "new": pair.new} for pair in pairs
        ],
    }
    text = page(
        "listen.html",
        title="Who wrote it?",
        composer=composer or "the composer",
        test={"test": name, "pairs": played},
    )
    # The key first: a page without its key is of no use.
    write_atomically(folder / KEY_FILE, (json.dumps(key, indent=1, sort_keys=True) + "\n").encode())
    write_atomically(folder / PAGE_FILE, text.encode())
    return key
