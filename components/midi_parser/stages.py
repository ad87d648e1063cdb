"""The Beam stages of MidiParser: files to songs and verdicts, duplicates once.

What a file holds never travels between stages. The first stage reads a file into
the store (`components.midi_parser.reader`) and sends on a `Parsed`, some hundred
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
import uuid
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import apache_beam as beam
import pyarrow.parquet as pq
from apache_beam import pvalue
from apache_beam.io.filesystems import FileSystems
from apache_beam.metrics import Metrics
from apache_beam.transforms.combiners import ToListCombineFn

from components.midi_parser.reader import Parsed, Reader, music_digest
from components.records import SONG_SCHEMA, songs_to_table
from components.stages import put_in_place, song_shard
from music.folder import File
from music.split import SPLITS, Extremes, Splitter
from music.verdict import REJECTED, Tally, Verdict, as_duplicate

ROWS_AT_A_TIME = 64  # songs in memory while a shard is written


def _hashed(text: str, buckets: int) -> int:
    return int(hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:8], 16) % buckets


class _Read(beam.DoFn):
    def __init__(self, reader: Reader):
        self.reader = reader

    def process(self, file: File) -> Iterator[Parsed]:
        head, known = self.reader.read(file)
        Metrics.counter("segue", "files").inc()
        Metrics.counter("segue", "known").inc(int(known))
        yield Parsed(file, dataclasses.replace(head.verdict, file=file.name), head.fingerprint)


def _keep_one(group: tuple[str, Iterable[Parsed]]) -> Iterator[Parsed]:
    """Of files with the same music, the first by name is kept."""
    first, *others = sorted(group[1], key=lambda parsed: parsed.file.name)
    yield first
    for other in others:
        if other.verdict.verdict == REJECTED:  # two names that are not text may show as one
            yield other
            continue
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
        return (
            files
            | "Read" >> beam.ParDo(_Read(self.reader))
            | "ByMusic" >> beam.Map(lambda one: (one.fingerprint or f"file {one.file.name}", one))
            | "SameMusic" >> beam.GroupByKey()
            | "KeepOne" >> beam.FlatMap(_keep_one)
        )


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


def _to_json(tally: Tally, where: str, music: str) -> str:
    facts = {**tally.as_dict(), "line": tally.line(where), "music": music}
    return json.dumps(facts, sort_keys=True)


def write_text(text: str, path: str) -> None:
    """Writes a small file whole, beside and renamed."""
    beside = FileSystems.join(
        os.path.dirname(path), f".{uuid.uuid4().hex}-{os.path.basename(path)}"
    )
    with FileSystems.create(beside) as file:
        file.write(text.encode())
    put_in_place(beside, path)


class WriteSummary(beam.PTransform):
    """PCollection[Parsed] -> one file: the JSON of a `Tally`, its line, the digest of its music.

    Args:
      path: of the file.
      where: what the line names as the table of all verdicts.
    """

    def __init__(self, path: str, where: str):
        super().__init__()
        self.path = path
        self.where = where

    def expand(self, parsed):
        music = (
            parsed
            | "Songs" >> beam.Filter(lambda one: one.verdict.verdict != REJECTED)
            | "Fingerprint" >> beam.Map(lambda one: one.fingerprint)
            | "Music" >> beam.CombineGlobally(music_digest)
        )
        return (
            parsed
            | "Verdict" >> beam.Map(lambda one: one.verdict)
            | "Count" >> beam.CombineGlobally(_Count()).without_defaults()
            | "ToJson" >> beam.Map(_to_json, self.where, pvalue.AsSingleton(music))
            | "Write" >> beam.Map(write_text, self.path)
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
            | "Extremes" >> beam.CombineGlobally(_FindExtremes()).without_defaults()
        )
        return songs | "Place" >> beam.Map(
            lambda one, bounds: Placed(
                splitter.side(one.fingerprint, bounds),
                one,
                splitter.beyond_share(one.fingerprint, bounds),
            ),
            pvalue.AsSingleton(extremes, Extremes()),
        )


class WriteBeyondShare(beam.PTransform):
    """PCollection[Placed] -> one file: fingerprints of what is held out beyond the share.

    No file where there are none. There are as many as it takes to give a tiny
    catalogue a side to judge by: one, or a few of the same rank.

    Args:
      path: of the file, a line each.
    """

    def __init__(self, path: str):
        super().__init__()
        self.path = path

    def expand(self, placed):
        return (
            placed
            | "Only"
            >> beam.FlatMap(lambda one: [one.parsed.fingerprint] if one.beyond_share else [])
            | "Gather" >> beam.CombineGlobally(ToListCombineFn()).without_defaults()
            | "Lines" >> beam.Map(lambda songs: "".join(f"{song}\n" for song in sorted(songs)))
            | "Write" >> beam.Map(write_text, self.path)
        )


def write_songs(
    group: tuple[tuple[str, int], Iterable[Parsed | None]], uri: str, shards: int, reader: Reader
) -> None:
    """Writes one Parquet file of a split, its songs in the order of their ids."""
    (side, shard), rows = group
    target = song_shard(uri, side, shard, shards)
    # Readers take every file of a split's folder, so what is not finished yet
    # lies one folder up; a runner may give a shard to two workers at once.
    beside = FileSystems.join(uri, f".{side}-{shard:05d}-{uuid.uuid4().hex}.parquet")
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
    beside = FileSystems.join(os.path.dirname(target), f".{shard:05d}-{uuid.uuid4().hex}.jsonl")
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
            [((side, shard), None) for side in SPLITS for shard in range(shards)],
            reshuffle=False,
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
        every = parsed.pipeline | "Shards" >> beam.Create(
            [(shard, None) for shard in range(shards)], reshuffle=False
        )
        return (
            (keyed, every)
            | "WithEmpty" >> beam.Flatten()
            | "ByShard" >> beam.GroupByKey()
            | "Write" >> beam.Map(write_verdicts, self.pattern, shards)
        )
