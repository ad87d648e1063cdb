"""MusicXML files in: what notation programs write, as songs to go on from.

music21 reads the score; files come from strangers, so their size is bounded before it
does, entities (of which a few bytes can become gigabytes) are refused, and of a
compressed file (.mxl) only the score is unpacked, in memory.
"""

from __future__ import annotations

import codecs
import dataclasses
import hashlib
import io
import zipfile

from music.errors import MidiError
from music.score import song_of_parts
from music.smf import LIMITS
from music.song import TICKS_PER_QUARTER, Song

MUSICXML_SUFFIXES = (".musicxml", ".xml", ".mxl")
MAX_FILE_BYTES = 4 * 2**20  # of the score, unpacked; music21 takes about 5 s a megabyte


def read_musicxml(data: bytes, title: str = "") -> Song:
    """The song that a MusicXML file's bytes hold, as written: repeats are not played.

    Args:
      data: the whole file, plain or compressed.
      title: what to call the song.

    Raises:
      MidiError: with one of these reasons: `not-musicxml`, `damaged`, `no-notes`,
        `too-large` (bytes, notes), `too-long` (quarters).
    """
    from music21 import converter

    text = _decoded(_unpacked(data))
    if "<!ENTITY" in text:
        raise MidiError("damaged", "it defines entities, which no score needs")
    if "<score-partwise" not in text and "<score-timewise" not in text:
        raise MidiError("not-musicxml", "there is no score in it")
    try:
        score = converter.parseData(text, format="musicxml")
        song = song_of_parts(list(getattr(score, "parts", ())), title)
    except MidiError:
        raise
    except Exception as error:  # whatever a damaged score makes music21 say
        raise MidiError("damaged", f"music21 cannot read it ({type(error).__name__})") from error
    if not len(song):
        raise MidiError("no-notes", "there are no notes")
    if len(song) > LIMITS.notes:
        raise MidiError("too-large", f"{len(song):,} notes; at most {LIMITS.notes:,} are read")
    if song.end > LIMITS.quarters * TICKS_PER_QUARTER:
        raise MidiError("too-long", f"at most {LIMITS.quarters:,} quarters are read")
    return dataclasses.replace(song, id=hashlib.sha256(data).hexdigest())


def _unpacked(data: bytes) -> bytes:
    """The score itself."""
    if not data.startswith(b"PK"):
        return _bounded(data)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = [
                entry.filename
                for entry in archive.infolist()
                if entry.filename.lower().endswith((".xml", ".musicxml"))
                and not entry.filename.startswith("META-INF")
            ]
            if not names:
                raise MidiError("not-musicxml", "there is no score in the archive")
            with archive.open(names[0]) as file:
                # What the archive says of its size may be a lie.
                return _bounded(file.read(MAX_FILE_BYTES + 1))
    except MidiError:
        raise
    except Exception as error:  # whatever a damaged archive makes zipfile and its packers say
        raise MidiError("damaged", "the archive cannot be unpacked") from error


def _decoded(text: bytes) -> str:
    """As its first bytes tell; some programs write UTF-16."""
    sixteen = text.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return text.decode("utf-16" if sixteen else "utf-8-sig", "replace")


def _bounded(text: bytes) -> bytes:
    if len(text) > MAX_FILE_BYTES:
        raise MidiError("too-large", f"at most {MAX_FILE_BYTES // 2**20} MiB of score are read")
    return text
