"""Where a new song begins: the events that a model is primed with.

A model plays on from what it has heard. That may be a file of the user's, a
random section of a catalogue (as in the paper), or nothing at all: for codecs
with a boundary event, a song's opening alone.

Random sections are drawn by hashes of what the files hold, never by their
order or their names: the same catalogue gives the same section on every
machine, and files that are added or renamed disturb as little as can be.
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from music.codec import Codec
from music.errors import MidiError, SegueError
from music.folder import list_midi_files
from music.midi import MAX_FILE_BYTES, SUFFIXES, read_midi
from music.musicxml import MAX_FILE_BYTES as MAX_SCORE_BYTES
from music.musicxml import MUSICXML_SUFFIXES, read_musicxml
from music.song import Song


@dataclasses.dataclass(frozen=True, eq=False)
class Prime:
    """Events to go on from, and where they come from.

    Attributes:
      events: int32[T, F] codes.
      kind: `file`, `section` or `nothing`.
      song: the song they are of; None for `nothing`.
      path: its file; None for `nothing`.
      offset: the index in the song of the first event.
      skipped: files that were passed over on the way, by reason.
    """

    events: np.ndarray
    kind: str
    song: Song | None = None
    path: Path | None = None
    offset: int = 0
    skipped: dict[str, int] = dataclasses.field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.events)

    def as_dict(self) -> dict[str, Any]:
        """Where the prime comes from, as JSON types."""
        return {
            "kind": self.kind,
            "path": None if self.path is None else str(self.path),
            "id": None if self.song is None else self.song.id,
            "title": None if self.song is None else self.song.title,
            "offset": self.offset,
            "length": len(self),
            "skipped": dict(self.skipped),
        }


def prime_from_file(path: Path | str, codec: Codec, length: int | None = None) -> Prime:
    """A song's beginning, or the whole of it without the end.

    Args:
      path: a MIDI or MusicXML file.
      codec: the model's.
      length: how many events from the beginning; None is all of them.

    Returns:
      The events without a closing boundary, so that the model plays on.

    Raises:
      SegueError: no such file, one that is no MIDI file or has no notes, or one
        with fewer than `length` events.
    """
    path = Path(path)
    _check_length(length)
    song = read_song(path)
    events = codec.continuation_of(codec.encode(song))
    if length is not None and len(events) < length:
        raise SegueError(
            f"{path} has {len(events):,} events, fewer than --prime-length {length:,}; "
            "ask for less, or choose a longer song"
        )
    return Prime(events[:length], "file", song, path)


def random_section(
    source: Path | str | Iterable[Path | str], codec: Codec, length: int, seed: int = 0
) -> Prime:
    """A random piece of a random song, as the paper begins.

    Songs are ranked by a hash of the seed and the file's bytes, and the first
    that can be read and is long enough is taken; a hash of the same chooses the
    offset. Files with the same bytes count once.

    Args:
      source: a folder, searched through all its levels for .mid and .midi
        files, or the files themselves.
      codec: the model's.
      length: how many events.
      seed: another seed draws another section.

    Raises:
      SegueError: there is no such folder, no file in it will do, or a file changed
        or went between its ranking and its reading.
    """
    _check_length(length)
    files, name = _list_files(source)
    # Not the bytes themselves, which a folder may have any amount of.
    ranked: dict[str, tuple[Path, str]] = {}
    skipped: Counter[str] = Counter()
    for path in files:
        try:
            digest = hashlib.sha256(_read_bytes(path)).hexdigest()
        except OSError:
            skipped["unreadable"] += 1
            continue
        ranked.setdefault(_draw(seed, digest, "song"), (path, digest))
    for _, (path, digest) in sorted(ranked.items()):
        try:
            song = read_midi(_read_again(path, digest), path.stem)
        except MidiError as error:
            skipped[error.reason] += 1
            continue
        events = codec.continuation_of(codec.encode(song))
        if len(events) < length:
            skipped["too-short"] += 1
            continue
        offset = _offset(seed, digest, len(events), length)
        section = events[offset : offset + length]
        return Prime(section, "section", song, path, offset, dict(skipped))
    counts = ", ".join(f"{count} {reason}" for reason, count in sorted(skipped.items()))
    raise SegueError(
        f"no song in {name} has a section of {length:,} events: of {len(files):,} MIDI files, "
        f"{counts}; add longer songs, or ask for fewer events with --prime-length"
    )


def section_of(song: Song, codec: Codec, length: int, seed: int = 0) -> Prime:
    """A random section of one song; the whole of it where it is not longer.

    Args:
      song: with the `id` of its file, of which a hash with the seed draws the section.
      codec: the model's.
      length: how many events, at most.
      seed: another seed draws another section.
    """
    _check_length(length)
    events = codec.continuation_of(codec.encode(song))
    length = min(length, len(events))
    offset = _offset(seed, song.id, len(events), length)
    return Prime(events[offset : offset + length], "section", song, None, offset)


def song_named(folder: Path | str, name: str) -> Path:
    """The song of a folder that goes by a name: all of it, else a part that no other has.

    Args:
      folder: searched as by `random_section`.
      name: of the file without its ending, or a part of it; letters' case plays no role.

    Raises:
      SegueError: there is no such song, or several.
    """
    files, where = _list_files(folder)
    asked = name.casefold().strip()
    named = {path: path.stem.casefold() for path in files}
    found = [path for path, stem in named.items() if stem == asked]
    found = found or [path for path, stem in named.items() if asked and asked in stem]
    if len(found) == 1:
        return found[0]
    if not found:
        close = difflib.get_close_matches(asked, set(named.values()), 3)
        hint = f"; there are {', '.join(close)}" if close else ""
        raise SegueError(f"no song in {where} goes by the name {name!r}{hint}")
    listed = ", ".join(path.stem for path in found[:3]) + (" ..." if len(found) > 3 else "")
    raise SegueError(f"{len(found)} songs in {where} go by the name {name!r}: {listed}; say more")


def prime_from_nothing(codec: Codec) -> Prime:
    """A song's opening boundary alone, int32[1, F].

    Raises:
      SegueError: the codec has no boundary, so a song has no beginning.
    """
    if codec.boundary is None:
        raise SegueError(
            f"a model of codec {codec.name!r} cannot begin from nothing; give it a song with "
            "--prime FILE.mid, or a folder of songs with --data DIR"
        )
    field, code = codec.boundary
    event = np.zeros((1, len(codec.fields)), np.int32)
    event[0, field] = code
    return Prime(event, "nothing")


def read_song(path: Path) -> Song:
    """The song in a MIDI or a MusicXML file.

    Raises:
      SegueError: there is no such file, or none that holds a song.
    """
    try:
        if path.is_dir():
            raise SegueError(
                f"{path} is a folder, not a MIDI file; name one file with --prime, "
                "or give the folder as --data"
            )
        if path.exists() and not path.is_file():
            raise SegueError(f"{path} is no regular file; name a MIDI file with --prime")
        data = _read_bytes(path)
    except FileNotFoundError:
        raise SegueError(f"{path} does not exist; name a MIDI file with --prime") from None
    except OSError as error:
        raise SegueError(f"{path} cannot be read: {error.strerror or error}") from error
    read = read_musicxml if path.suffix.lower() in MUSICXML_SUFFIXES else read_midi
    try:
        return read(data, path.stem)
    except MidiError as error:
        raise SegueError(f"{path} cannot be a prime: {error.detail} ({error.reason})") from error


def _read_bytes(path: Path) -> bytes:
    """What is ever read of a file, and one byte more that tells a longer one from it."""
    with path.open("rb") as file:
        return file.read(max(MAX_FILE_BYTES, MAX_SCORE_BYTES) + 1)


def _read_again(path: Path, digest: str) -> bytes:
    """What a file held when it was ranked; another file in its place would be another draw."""
    try:
        data = _read_bytes(path)
    except OSError as error:
        problem = f"can no longer be read: {error.strerror or error}"
    else:
        if hashlib.sha256(data).hexdigest() == digest:
            return data
        problem = "holds something else now"
    raise SegueError(
        f"{path} {problem}; it changed while a section was being drawn, so draw again "
        "when the folder is at rest"
    )


def _list_files(source: Path | str | Iterable[Path | str]) -> tuple[list[Path], str]:
    """The files of a folder or a list, and what to call them together."""
    if not isinstance(source, (str, Path)):
        files = [Path(path) for path in source]
        if not files:
            raise SegueError("no songs were given to take a section from")
        return files, f"the {len(files):,} given"
    folder = Path(source)
    if folder.is_file():
        return [folder], str(folder)
    if not folder.is_dir():
        raise SegueError(f"{folder} does not exist; name a folder of MIDI files with --data")
    # The files that the pipeline would learn from, and no others.
    files = [path for path in list_midi_files(folder) if path.is_file()]
    if not files:
        raise SegueError(f"{folder} holds no {SUFFIXES} files; name a folder that does with --data")
    return files, str(folder)


def _offset(seed: int, digest: str, events: int, length: int) -> int:
    return int(_draw(seed, digest, "offset"), 16) % (events - length + 1)


def _draw(seed: int, digest: str, purpose: str) -> str:
    """64 hex digits that depend on the seed, the SHA-256 of a file's bytes and the purpose."""
    return hashlib.sha256(f"{seed} {purpose} {digest}".encode()).hexdigest()


def _check_length(length: int | None) -> None:
    if length is not None and length < 1:
        raise SegueError(f"prime length {length} is outside 1 or greater")
