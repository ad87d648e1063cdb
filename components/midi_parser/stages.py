"""The Beam stages of MidiParser: files to songs and verdicts, duplicates once."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam import pvalue
from apache_beam.metrics import Metrics

from music.errors import MidiError
from music.midi import MAX_FILE_BYTES, read_midi
from music.song import Song

SONGS, VERDICTS = "songs", "verdicts"


class MidiFile(NamedTuple):
    """A file to read.

    Attributes:
      path: as the file system has it, in bytes: a name need not be text.
      name: relative to the data folder, for people; what is no text shows as such.
    """

    path: bytes
    name: str


def read_file(file: MidiFile) -> Song:
    """The song of one file.

    Raises:
      MidiError: the file cannot be read, or `read_midi` rejects it.
    """
    try:
        if not os.path.isfile(file.path):
            raise MidiError("unreadable", "not a regular file")
        with open(file.path, "rb") as handle:
            # One byte more than is allowed tells a longer file from a whole one.
            data = handle.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise MidiError("unreadable", error.strerror or type(error).__name__) from None
    return read_midi(data, title=os.path.splitext(file.name)[0])


def kept(name: str, song: Song) -> dict[str, Any]:
    """The verdict of a file that became a song."""
    return {
        "file": name,
        "verdict": "kept",
        "song": song.id,
        "notes": len(song),
        "parts": len(song.parts),
        "percussion": song.percussion,
    }


def rejected(name: str, reason: str, detail: str) -> dict[str, Any]:
    """The verdict of a file that did not."""
    return {"file": name, "verdict": "rejected", "reason": reason, "detail": detail}


class _Read(beam.DoFn):
    def process(self, file: MidiFile):
        Metrics.counter("segue", "files").inc()
        try:
            song = read_file(file)
        except MidiError as error:
            yield pvalue.TaggedOutput(VERDICTS, rejected(file.name, error.reason, error.detail))
        else:
            yield song.fingerprint(), (file.name, song)


class _KeepOne(beam.DoFn):
    """Of files with the same music, the first by name is kept."""

    def process(self, element):
        _, files = element
        (name, song), *others = sorted(files, key=lambda pair: pair[0])
        yield song
        yield pvalue.TaggedOutput(VERDICTS, kept(name, song))
        for other, _ in others:
            detail = f"the same music as {name}"
            yield pvalue.TaggedOutput(VERDICTS, rejected(other, "duplicate", detail))


class ParseMidi(beam.PTransform):
    """PCollection[MidiFile] -> {`songs`: PCollection[Song], `verdicts`: of dicts}."""

    def expand(self, files):
        read = (
            files
            | "Spread" >> beam.Reshuffle()
            | "Read" >> beam.ParDo(_Read()).with_outputs(VERDICTS, main=SONGS)
        )
        once = (
            read[SONGS]
            | "BySameMusic" >> beam.GroupByKey()
            | "KeepOne" >> beam.ParDo(_KeepOne()).with_outputs(VERDICTS, main=SONGS)
        )
        verdicts = (read[VERDICTS], once[VERDICTS]) | "AllVerdicts" >> beam.Flatten()
        return {SONGS: once[SONGS], VERDICTS: verdicts}
