"""From a line of the manifest to what the page knows of a song.

A song has two entries. The one of the list is small, for all of them are read when the page
opens. The one of its own view holds notes, hashes and settings, and is read when somebody
asks for it. Nothing is copied over that is not named here, so that a manifest may say more
(how long a call took, say) and the page stays the same.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

from client.gallery.notes import read_track, stamp
from music.errors import MidiError, SegueError, printable
from music.midi import LIMITS
from music.verdict import read_bytes

KEY_LENGTH = 12  # hex digits of an identity in a link; more where two songs share them

_TOLD = ("identity", "source_sha256", "model", "seed", "settings", "prime", "unchecked")
_COPIED = ("run", "bound", "percentile", "is_copy", "title", "bar", "source_bar")
_OUTPUT = ("role", "format", "sha256", "bytes")


def keys_of(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """A name for each song that a link can hold, the same whatever stands around it.

    The beginning of its identity, as long as it takes to tell all songs apart; what is in
    the manifest twice is numbered.
    """
    identities = [str(record.get("identity") or "song") for record in records]
    length, longest = KEY_LENGTH, max(map(len, identities), default=0)
    while length < longest and len({name[:length] for name in identities}) < len(set(identities)):
        length += 1
    seen: dict[str, int] = {}
    keys = []
    for identity in identities:
        count = seen[identity] = seen.get(identity, 0) + 1
        keys.append(identity[:length] + (f"-{count}" if count > 1 else ""))
    return keys


def list_entry(record: Mapping[str, Any], key: str, measures: Sequence[str]) -> dict[str, Any]:
    """What the list shows of a song.

    Args:
      record: its line of the manifest.
      key: its name in links.
      measures: names, in the order of the values.
    """
    values = record.get("measures") or {}
    found = record.get("originality") or {}
    return {
        "key": key,
        "title": _text(record.get("title")) or PurePosixPath(_text(record.get("source"))).stem,
        "source": _text(record.get("source")),
        "composer": _text(record.get("composer")),
        "verdict": verdict(record),
        "error": _text(record.get("error")),
        "run": number_or_none(found.get("run")),
        "flags": [_text(flag) for flag in record.get("flags") or ()],
        "notes": number_or_none(record.get("notes")),
        "seconds": number_or_none(record.get("seconds")),
        "bars": number_or_none(record.get("bars")),
        "measures": [number_or_none(values.get(name)) for name in measures],
    }


def verdict(record: Mapping[str, Any]) -> str:
    """`failed`, `unchecked`, `copy`, `unjudged` (no bound to judge by) or `original`."""
    found = record.get("originality")
    if record.get("status") != "made":
        return "failed"
    if not found:
        return "unchecked"
    if found.get("is_copy"):
        return "copy"
    return "unjudged" if found.get("bound") is None else "original"


def song_entry(folder: Path, record: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """What a song's own view shows.

    Args:
      folder: that the outputs' paths are in.
      record: its line of the manifest.

    Returns:
      The entry, with `song` and `original` as `notes.read_track` gives them or None, and
      the new song's stamp, empty without a MIDI file.

    Raises:
      SegueError: an output is not in the folder, or is not what the manifest says.
    """
    listed = record.get("outputs") or () if record.get("status") == "made" else ()
    outputs = [_output(folder, record, output) for output in listed]
    found = record.get("originality")
    entry = {
        **{name: _plain(record.get(name)) for name in _TOLD},
        "originality": {name: _plain(found.get(name)) for name in _COPIED} if found else None,
        "outputs": outputs,
        "song": None,
        "original": None,
    }
    small = ""
    for output in listed:
        role = output.get("role")
        if output.get("format") == "midi" and role in ("song", "original") and not entry[role]:
            song, entry[role] = _read(folder, record, output)
            small = stamp(song) if role == "song" else small
    return entry, small


def _output(folder: Path, record: Mapping[str, Any], output: Mapping[str, Any]) -> dict[str, Any]:
    path = _inside(record, output)
    if not (folder / path).is_file():
        raise _wrong(record, path, "is missing")
    return {
        **{name: _plain(output.get(name)) for name in _OUTPUT},
        "name": path.name,
        # Escaped to the byte: a name may hold what a URL takes for something else.
        "href": "/".join(quote(os.fsencode(part), safe="") for part in path.parts),
    }


def _inside(record: Mapping[str, Any], output: Mapping[str, Any]) -> PurePosixPath:
    text = _text(output.get("path"))
    path = PurePosixPath(text)
    if not path.parts or path.is_absolute() or ".." in path.parts or "\0" in text:
        raise _wrong(record, text, "is no path inside the gallery's folder")
    return path


def _read(folder: Path, record: Mapping[str, Any], output: Mapping[str, Any]) -> tuple:
    path = _inside(record, output)
    try:
        data = read_bytes(folder / path, LIMITS)
        if hashlib.sha256(data).hexdigest() != output.get("sha256"):
            raise _wrong(record, path, "is not the file that was made: its SHA-256 is another")
        return read_track(data)
    except MidiError as error:
        raise _wrong(record, path, f"cannot be read ({error.detail})") from error


def _wrong(record: Mapping[str, Any], path: object, what: str) -> SegueError:
    return SegueError(
        printable(
            f"{path} {what}; it belongs to {_text(record.get('source'))}, "
            "which has to be made again before there can be a gallery"
        )
    )


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def number_or_none(value: Any) -> float | int | None:
    """A finite number, or None: JSON has no other."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return value


def _plain(value: Any) -> Any:
    """A value of the manifest without numbers that JSON lacks."""
    if isinstance(value, Mapping):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if isinstance(value, float):
        return number_or_none(value)
    return value
