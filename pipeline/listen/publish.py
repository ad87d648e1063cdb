"""The two files of a listening test: the page that is sent, and the key that is kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from client.output import check_writable, write_atomically
from music.errors import SegueError, printable
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
      SegueError: they cannot be written, or would replace another test.
    """
    played = [
        {side: [[round(x, 4) for x in note] for note in getattr(pair, side)] for side in "ab"}
        for pair in pairs
    ]
    # By it answers find their key; it tells nothing of the key itself.
    test = hashlib.sha256(json.dumps(played).encode()).hexdigest()[:16]
    key = {
        "test": test,
        "pairs": [
            {"composer": pair.composer, "real": pair.real, "new": pair.new} for pair in pairs
        ],
    }
    text = page(
        "listen.html",
        title="Who wrote it?",
        composer=printable(composer) or "the composer",
        test={"test": test, "pairs": played},
    )
    data = text.encode()
    for name in (KEY_FILE, PAGE_FILE):
        check_writable(folder / name)
    _check_same(folder / KEY_FILE, key)
    # The key first: a page without its key is of no use.
    told = json.dumps(key, indent=1, sort_keys=True) + "\n"
    write_atomically(folder / KEY_FILE, told.encode())
    write_atomically(folder / PAGE_FILE, data)
    return key


def _check_same(path: Path, key: dict[str, Any]) -> None:
    """Refuses to replace the key of a page that may have been sent to people already."""
    try:
        before = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return
    except (OSError, ValueError, RecursionError):
        before = None
    if before != key:
        raise SegueError(
            f"{path} is the key of another test, without which its answers cannot be counted; "
            "choose another --out, or remove it"
        )
