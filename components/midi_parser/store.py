"""What files gave, kept by their content, so that no file is parsed twice.

A catalogue grows by a few files at a time, and a run can be stopped anywhere.
What reading a file's bytes gave (the verdict, and the song when there is one) is
kept under the SHA-256 of those bytes, one small file each, written beside and
renamed: a killed run leaves whole entries, and two runs cannot harm each other.
Names and titles are not part of an entry, since many files may have one content.

Entries of another reader (another version of the code or of music21, other
limits) lie in another folder, so an upgrade reads everything anew; the folders
of readers that are no longer in use are removed after a successful run.

An entry is a line of JSON behind its checksum, then the notes as little-endian
int32, compressed with theirs. The line alone tells the verdict, so that a file that
is known costs a line, and its notes are read once, when the song is written.
Whatever is damaged counts as absent.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import importlib.resources
import json
import os
import shutil
import uuid
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from music.midi import Limits
from music.song import COLUMNS, Song
from music.verdict import Verdict

# What depends on the machine or on the moment is tried again the next time.
PASSING = frozenset({"unreadable", "time-out", "failed"})

# What reading an entry that is damaged, or not an entry at all, may raise.
_DAMAGE = (OSError, ValueError, KeyError, TypeError, AttributeError, zlib.error)

_FACTS = ("tempo", "key", "time_signature", "percussion")


@functools.cache
def reader_version(limits: Limits) -> str:
    """Hex of everything that decides what reading a file gives: code, music21, limits."""
    digest = hashlib.sha256(repr(limits).encode())
    digest.update(importlib.metadata.version("music21").encode())
    sources = [*importlib.resources.files("music").iterdir(), Path(__file__)]
    for source in sorted(sources, key=lambda item: item.name):
        if source.name.endswith(".py"):
            digest.update(source.name.encode() + b"\0" + source.read_bytes())
    return digest.hexdigest()[:16]


class Head(NamedTuple):
    """What a content gave, but for its notes.

    Attributes:
      verdict: without the file's name.
      fingerprint: of the song's music; empty when there is no song.
    """

    verdict: Verdict
    fingerprint: str = ""


def to_bytes(head: Head, song: Song | None) -> bytes:
    """An entry as the store keeps it."""
    facts: dict[str, Any] = {"verdict": head.verdict.as_dict(), "fingerprint": head.fingerprint}
    notes = b""
    if song is not None:
        facts["song"] = {name: getattr(song, name) for name in _FACTS}
        notes = zlib.compress(np.ascontiguousarray(song.notes, "<i4").tobytes(), 1)
    line = json.dumps(facts, sort_keys=True).encode()
    return b"%08x %b\n%b" % (zlib.crc32(line), line, notes)


def _facts_of(line: bytes) -> dict[str, Any]:
    checksum, _, text = line.rstrip(b"\n").partition(b" ")
    if int(checksum, 16) != zlib.crc32(text):
        raise ValueError("a damaged entry")
    return json.loads(text)


class Store:
    """Entries of one reader.

    Args:
      folder: of all readers' entries; made when the first entry is kept.
      version: of the reader.
    """

    def __init__(self, folder: str, version: str):
        self.folder = folder
        self.version = version

    def _path(self, content: str) -> str:
        # Two levels of 256 folders keep a million entries findable.
        return os.path.join(self.folder, self.version, content[:2], content[2:4], content)

    def known(self, content: str) -> bool:
        """Whether there is an entry; it may turn out to be damaged."""
        return os.path.exists(self._path(content))

    def head(self, content: str) -> Head | None:
        """What a content, by its SHA-256 (hex), gave; None when there is no entry."""
        try:
            with open(self._path(content), "rb") as file:
                facts = _facts_of(file.readline())
            return Head(Verdict.from_dict(facts["verdict"]), str(facts["fingerprint"]))
        except _DAMAGE:
            return None

    def song(self, content: str, title: str = "") -> Song | None:
        """The song of a content; None when there is no entry, or none with a song."""
        try:
            with open(self._path(content), "rb") as file:
                facts = _facts_of(file.readline())
                if "song" not in facts:
                    return None
                notes = zlib.decompress(file.read())
            matrix = np.frombuffer(notes, "<i4").reshape(-1, len(COLUMNS))
            return Song(matrix, id=content, title=title, **facts["song"])
        except _DAMAGE:
            return None

    def put(self, content: str, head: Head, song: Song | None) -> None:
        """Keeps an entry."""
        path = self._path(content)
        # Not by process alone: two threads, or two machines, may have the same number.
        beside = f"{path}.{uuid.uuid4().hex}"
        data = to_bytes(head, song)
        try:
            file = open(beside, "wb")  # noqa: SIM115 - the folder may have to be made first
        except FileNotFoundError:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            file = open(beside, "wb")  # noqa: SIM115
        with file:
            file.write(data)
        os.replace(beside, path)

    def remove_other_readers(self) -> None:
        """Removes the entries of readers that are no longer in use."""
        for folder in Path(self.folder).glob("*/"):
            if folder.name != self.version:
                shutil.rmtree(folder, ignore_errors=True)
