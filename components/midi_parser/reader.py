"""What a file holds, read once and kept by its content.

MidiParser's workers read files through here, and so does whoever only wants to know
whether a folder holds music that an earlier run has not seen (`pipeline.retrain`): no
Beam, no TFX.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Iterable
from typing import NamedTuple

from components.midi_parser.store import PASSING, Head, Store, reader_version
from music.errors import MidiError
from music.folder import File
from music.midi import Limits
from music.song import Song
from music.verdict import Verdict, judge, read_bytes, rejected


class Parsed(NamedTuple):
    """What is known of a file once it was read.

    Attributes:
      file: the file.
      verdict: its verdict.
      fingerprint: of its music; empty when it was rejected.
    """

    file: File
    verdict: Verdict
    fingerprint: str


@dataclasses.dataclass(frozen=True)
class Reader:
    """Reads files through the store.

    Attributes:
      folder: of the store.
      limits: what a file may ask of us.
    """

    folder: str
    limits: Limits = Limits()

    @property
    def store(self) -> Store:
        """The entries of this reader."""
        return Store(self.folder, reader_version(self.limits))

    def read(self, file: File) -> tuple[Head, bool]:
        """What a file holds, and whether the store knew it."""
        try:
            data = read_bytes(file.path, self.limits)
        except MidiError as error:
            return Head(rejected("", error)), False
        # What is longer than the limit was not read to its end, so it has no name.
        whole = len(data) <= self.limits.bytes
        content = hashlib.sha256(data).hexdigest()
        known = self.store.head(content) if whole else None
        if known is not None:
            return known, True
        return self._parse(content, data, whole)[0], False

    def song(self, parsed: Parsed) -> Song:
        """The song of a file that was read before, from the store or once more.

        Raises:
          MidiError: the file has changed in between.
        """
        content, title = parsed.verdict.song, os.path.splitext(parsed.file.name)[0]
        song = self.store.song(content, title)
        if song is not None:
            return song
        data = read_bytes(parsed.file.path, self.limits)
        again = self._parse(hashlib.sha256(data).hexdigest(), data, whole=True)[1]
        if again is None or again.id != content:
            raise MidiError("unreadable", f"{parsed.file.name} has changed while it was read")
        return dataclasses.replace(again, title=title)

    def _parse(self, content: str, data: bytes, whole: bool) -> tuple[Head, Song | None]:
        verdict, reading = judge("", data, self.limits)
        song = None if reading is None else reading.song
        head = Head(verdict, song.fingerprint() if song is not None else "")
        if whole and verdict.reason not in PASSING:
            self.store.put(content, head, song)
        return head, song


def music_digest(fingerprints: Iterable[str]) -> str:
    """What many songs are together, 64 hexadecimal digits, whatever their order.

    The sum of the fingerprints, which are hashes, modulo 2^256: digests of parts add up
    to that of the whole, so that workers need not gather a catalogue in one place.

    Args:
      fingerprints: `Song.fingerprint()` of each song once, or digests of parts.
    """
    return f"{sum(int(one, 16) for one in fingerprints) % 2**256:064x}"
