"""What files gave, kept by their content, so that no file is parsed twice.

A catalogue grows by a few files at a time, and a run can be stopped anywhere.
What reading a file's bytes gave (the verdict, and the song when there is one) is
kept under the SHA-256 of those bytes, one small file each, written beside and
renamed: a killed run leaves whole entries, and two runs cannot harm each other.
Names and titles are not part of an entry, since many files may have one content.

Entries of another reader (another version of the code or of music21, other
limits) lie in another folder, so an upgrade reads everything anew; the folders
of readers that are no longer in use are removed after a successful run.

An entry is a line of JSON, then the notes as little-endian int32, all of it
compressed with a checksum. Whatever is damaged counts as absent.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import importlib.metadata
import importlib.resources
import json
import os
import shutil
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from music.midi import Limits
from music.song import COLUMNS, Song
from music.verdict import Verdict

# What depends on the machine or on the moment is tried again the next time.
PASSING = frozenset({"unreadable", "time-out", "failed"})


@functools.cache
def reader_version(limits: Limits) -> str:
    """Hex of everything that decides what reading a file gives: code, music21, limits."""
    digest = hashlib.sha256(repr(limits).encode())
    digest.update(importlib.metadata.version("music21").encode())
    sources = (item for item in importlib.resources.files("music").iterdir())
    for source in sorted(sources, key=lambda item: item.name):
        if source.name.endswith(".py"):
            digest.update(source.name.encode() + b"\0" + source.read_bytes())
    return digest.hexdigest()[:16]


@dataclasses.dataclass(frozen=True)
class Entry:
    """What a content gave.

    Attributes:
      verdict: without the file's name.
      fingerprint: of the song's music; empty when there is no song.
      song: without a title; None when the file was rejected.
    """

    verdict: Verdict
    fingerprint: str = ""
    song: Song | None = None

    def to_bytes(self) -> bytes:
        """As the store keeps it."""
        head: dict[str, Any] = {
            "verdict": self.verdict.as_dict(),
            "fingerprint": self.fingerprint,
        }
        notes = b""
        if self.song is not None:
            song = self.song
            head["song"] = {
                "tempo": song.tempo,
                "key": song.key,
                "time_signature": song.time_signature,
            }
            notes = np.ascontiguousarray(song.notes, "<i4").tobytes()
        line = json.dumps(head, sort_keys=True).encode()
        return zlib.compress(line + b"\n" + notes, 1)

    @classmethod
    def from_bytes(cls, data: bytes) -> Entry:
        """What `to_bytes` made, back.

        Raises:
          ValueError: the bytes are damaged.
        """
        try:
            line, _, notes = zlib.decompress(data).partition(b"\n")
            head = json.loads(line)
            verdict = Verdict.from_dict(head["verdict"])
            song = None
            if "song" in head:
                matrix = np.frombuffer(notes, "<i4").reshape(-1, len(COLUMNS))
                song = Song(matrix, id=verdict.song, percussion=verdict.percussion, **head["song"])
            return cls(verdict, head["fingerprint"], song)
        except (zlib.error, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"a damaged entry ({type(error).__name__})") from error


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

    def get(self, content: str) -> Entry | None:
        """The entry of a content, by its SHA-256 (hex); None when there is none."""
        try:
            with open(self._path(content), "rb") as file:
                return Entry.from_bytes(file.read())
        except (OSError, ValueError):
            return None

    def put(self, content: str, entry: Entry) -> None:
        """Keeps an entry."""
        path = self._path(content)
        beside = f"{path}.{os.getpid()}"
        data = entry.to_bytes()
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
