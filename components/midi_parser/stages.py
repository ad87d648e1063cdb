"""The Beam stages of MidiParser: files to songs and verdicts, duplicates once.

What a file holds never travels between stages. The first stage reads a file into
the store (`components.midi_parser.store`) and sends on a `Parsed`, some hundred
bytes; duplicates and the split are decided on those; the last stage fetches the
songs that stay from the store, a few at a time, and writes them. So memory does
not grow with the music, whatever a runner keeps in memory.

Workers import this module and not the executor: no TensorFlow, no TFX.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import apache_beam as beam
import pyarrow.parquet as pq
from apache_beam import pvalue
from apache_beam.io.filesystems import FileSystems
from apache_beam.metrics import Metrics

from components.midi_parser.store import PASSING, Entry, Store, reader_version
from components.records import SONG_SCHEMA, songs_to_table
from components.stages import put_in_place, song_shard
from music.errors import MidiError
from music.folder import File
from music.midi import Limits
from music.song import Song
from music.split import SPLITS, Extremes, Splitter
from music.verdict import REJECTED, Tally, Verdict, as_duplicate, judge, read_bytes, rejected

ROWS_AT_A_TIME = 64  # songs in memory while a shard is written


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

    def read(self, file: File) -> tuple[Entry, bool]:
        """What a file holds, and whether the store knew it."""
        try:
            data = read_bytes(file.path, self.limits)
        except MidiError as error:
            return Entry(rejected("", error)), False
        content = hashlib.sha256(data).hexdigest()
        # What is longer than the limit was not read to its end, so it has no name.
        whole = len(data) <= self.limits.bytes
        known = self.store.get(content) if whole else None
        if known is not None:
            return known, True
        verdict, reading = judge("", data, self.limits)
        entry = Entry(verdict)
        if reading is not None:
            entry = Entry(verdict, reading.song.fingerprint(), reading.song)
        if whole and verdict.reason not in PASSING:
            self.store.put(content, entry)
        return entry, False

    def song(self, parsed: Parsed) -> Song:
        """The song of a file that was read before, from the store or once more.

        Raises:
          MidiError: the file has changed in between.
        """
        entry = self.store.get(parsed.verdict.song) or self.read(parsed.file)[0]
        if entry.song is None or entry.song.id != parsed.verdict.song:
            raise MidiError("unreadable", f"{parsed.file.name} has changed while it was read")
        return dataclasses.replace(entry.song, title=os.path.splitext(parsed.file.name)[0])


def _hashed(text: str, buckets: int) -> int:
    return int(hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:8], 16) % buckets


class _Read(beam.DoFn):
    def __init__(self, reader: Reader):
        self.reader = reader

    def process(self, file: File) -> Iterator[Parsed]:
        entry, known = self.reader.read(file)
        Metrics.counter("segue", "files").inc()
        Metrics.counter("segue", "known").inc(int(known))
        yield Parsed(file, dataclasses.replace(entry.verdict, file=file.name), entry.fingerprint)


def _keep_one(group: tuple[str, Iterable[Parsed]]) -> Iterator[Parsed]:
    """Of files with the same music, the first by name is kept."""
    first, *others = sorted(group[1], key=lambda parsed: parsed.file)
    yield first
    for other in others:
        verdict = as_duplicate(other.verdict, first.file.name)
        yield other._replace(verdict=verdict)


class ParseFiles(beam.PTransform):
    """PCollection[File] -> PCollection[Parsed], one for every file.

    Args:
      reader: reads the files.
    """

    def __init__(self, reader: Reader):
        super().__init__()
        self.reader = reader

    def expand(self, files):
        parsed = files | "Spread" >> beam.Reshuffle() | "Read" >> beam.ParDo(_Read(self.reader))
        rejects = parsed | "Rejected" >> beam.Filter(lambda one: one.verdict.verdict == REJECTED)
        once = (
            parsed
            | "Accepted" >> beam.Filter(lambda one: one.verdict.verdict != REJECTED)
            | "ByMusic" >> beam.Map(lambda one: (one.fingerprint, one))
            | "SameMusic" >> beam.GroupByKey()
            | "KeepOne" >> beam.FlatMap(_keep_one)
        )
        return (rejects, once) | "Everyone" >> beam.Flatten()


class _FindExtremes(beam.CombineFn):
    def create_accumulator(self):
        return Extremes()

    def add_input(self, accumulator, rank):
        return accumulator.add([rank])

    def merge_accumulators(self, accumulators):
        whole = Extremes()
        for one in accumulators:
            whole = whole.add(one.ranks)
        return whole

    def extract_output(self, accumulator):
        return accumulator


class _Count(beam.CombineFn):
    def create_accumulator(self):
        return Tally()

    def add_input(self, accumulator, verdict):
        return accumulator.add(verdict)

    def merge_accumulators(self, accumulators):
        whole = Tally()
        for one in accumulators:
            whole.merge(one)
        return whole

    def extract_output(self, accumulator):
        return accumulator


def _to_json(tally: Tally, where: str) -> str:
    return json.dumps({**tally.as_dict(), "line": tally.line(where)}, sort_keys=True)


class CountVerdicts(beam.PTransform):
    """PCollection[Parsed] -> one text: the JSON of a `Tally`, with its line.

    Args:
      where: what the line names as the table of all verdicts.
    """

    def __init__(self, where: str):
        super().__init__()
        self.where = where

    def expand(self, parsed):
        return (
            parsed
            | "Verdict" >> beam.Map(lambda one: one.verdict)
            | "Count" >> beam.CombineGlobally(_Count())
            | "ToJson" >> beam.Map(_to_json, self.where)
        )


class Placed(NamedTuple):
    """A song with its place.

    Attributes:
      side: `train` or `eval`.
      parsed: where it comes from.
      beyond_share: whether it is held out though its rank is not under the share.
    """

    side: str
    parsed: Parsed
    beyond_share: bool


class SplitSongs(beam.PTransform):
    """PCollection[Parsed] -> PCollection[Placed] of those that became songs.

    Args:
      splitter: decides.
    """

    def __init__(self, splitter: Splitter):
        super().__init__()
        self.splitter = splitter

    def expand(self, parsed):
        splitter = self.splitter
        songs = parsed | "Songs" >> beam.Filter(lambda one: one.verdict.verdict != REJECTED)
        extremes = (
            songs
            | "Rank" >> beam.Map(lambda one: splitter.rank(one.fingerprint))
            | "Extremes" >> beam.CombineGlobally(_FindExtremes())
        )
        return songs | "Place" >> beam.Map(
            lambda one, bounds: Placed(
                splitter.side(one.fingerprint, bounds),
                one,
                splitter.beyond_share(one.fingerprint, bounds),
            ),
            pvalue.AsSingleton(extremes),
        )


class BeyondShare(beam.PTransform):
    """PCollection[Placed] -> fingerprints of what is held out beyond the share."""

    def expand(self, placed):
        return (
            placed
            | "Only" >> beam.Filter(lambda one: one.beyond_share)
            | "Fingerprint" >> beam.Map(lambda one: one.parsed.fingerprint)
        )


def write_songs(
    group: tuple[tuple[str, int], Iterable[Parsed | None]], uri: str, shards: int, reader: Reader
) -> None:
    """Writes one Parquet file of a split, its songs in the order of their ids."""
    (side, shard), rows = group
    target = song_shard(uri, side, shard, shards)
    # Readers take every file of a split's folder, so what is not finished yet
    # lies one folder up.
    beside = FileSystems.join(uri, f".{side}-{shard:05d}.parquet")
    todo = sorted((row for row in rows if row is not None), key=lambda row: row.verdict.song)
    with FileSystems.create(beside) as file, pq.ParquetWriter(file, SONG_SCHEMA) as writer:
        for start in range(0, len(todo), ROWS_AT_A_TIME):
            songs = [reader.song(row) for row in todo[start : start + ROWS_AT_A_TIME]]
            writer.write_table(songs_to_table(songs))
    put_in_place(beside, target)


def write_verdicts(group: tuple[int, Iterable[Verdict | None]], pattern: str, shards: int) -> None:
    """Writes one JSON-lines file of verdicts, by the files' names."""
    shard, rows = group
    target = pattern.format(shard=shard, shards=shards)
    beside = FileSystems.join(os.path.dirname(target), f".{shard:05d}.jsonl")
    known = sorted((row for row in rows if row is not None), key=lambda row: row.file)
    with FileSystems.create(beside) as file:
        for row in known:
            file.write(json.dumps(row.as_dict(), sort_keys=True).encode() + b"\n")
    put_in_place(beside, target)


class WriteSongs(beam.PTransform):
    """PCollection[Placed] -> Parquet files under the splits of a Songs artifact.

    Args:
      uri: of the artifact.
      shards: files a split; each is there, even without songs.
      reader: fetches the songs.
    """

    def __init__(self, uri: str, shards: int, reader: Reader):
        super().__init__()
        self.uri = uri
        self.shards = shards
        self.reader = reader

    def expand(self, placed):
        shards = self.shards
        keyed = placed | "Shard" >> beam.Map(
            lambda one: ((one.side, _hashed(one.parsed.verdict.song, shards)), one.parsed)
        )
        every = placed.pipeline | "Shards" >> beam.Create(
            [((side, shard), None) for side in SPLITS for shard in range(shards)]
        )
        return (
            (keyed, every)
            | "WithEmpty" >> beam.Flatten()
            | "ByShard" >> beam.GroupByKey()
            | "Write" >> beam.Map(write_songs, self.uri, shards, self.reader)
        )


class WriteVerdicts(beam.PTransform):
    """PCollection[Parsed] -> JSON-lines files of verdicts.

    Args:
      pattern: their path, with `{shard}` and `{shards}`.
      shards: how many.
    """

    def __init__(self, pattern: str, shards: int):
        super().__init__()
        self.pattern = pattern
        self.shards = shards

    def expand(self, parsed):
        shards = self.shards
        keyed = parsed | "Shard" >> beam.Map(
            lambda one: (_hashed(one.verdict.file, shards), one.verdict)
        )
        every = parsed.pipeline | "Shards" >> beam.Create([(i, None) for i in range(shards)])
        return (
            (keyed, every)
            | "WithEmpty" >> beam.Flatten()
            | "ByShard" >> beam.GroupByKey()
            | "Write" >> beam.Map(write_verdicts, self.pattern, shards)
        )
