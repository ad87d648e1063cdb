"""Which songs were held out beyond the share, once and for all.

See `music.split`: a tiny catalogue holds a song out although its rank says train.
The fingerprints of such songs are kept beside the readings, by the split's salt,
so that none of them is ever learned from when the catalogue grows.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable

from music.errors import SegueError

FILE = "held-out.json"
_FINGERPRINT = re.compile("[0-9a-f]{64}")


def _read(path: str) -> dict[str, list[str]]:
    try:
        with open(path, encoding="utf-8") as file:
            known = json.load(file)
        for songs in known.values():
            if not isinstance(songs, list) or not all(map(_FINGERPRINT.fullmatch, songs)):
                raise ValueError("no list of fingerprints")
        return known
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        # Not to be taken for empty: songs of the eval split would be learned from.
        raise SegueError(
            f"cannot read {path}, which says what is held out ({type(error).__name__}); "
            "restore it, or remove it to split anew"
        ) from None


def read_held_out(folder: str, salt: str) -> frozenset[str]:
    """Fingerprints of the songs held out beyond the share by earlier runs.

    Raises:
      SegueError: the record is damaged.
    """
    return frozenset(_read(os.path.join(folder, FILE)).get(salt, ()))


def remember(folder: str, salt: str, fingerprints: Iterable[str]) -> None:
    """Adds to the record."""
    path = os.path.join(folder, FILE)
    known = _read(path)
    songs = sorted({*known.get(salt, ()), *fingerprints})
    if songs == known.get(salt, []):
        return
    beside = f"{path}.{os.getpid()}"
    with open(beside, "w", encoding="utf-8") as file:
        json.dump({**known, salt: songs}, file, indent=1, sort_keys=True)
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, path)
