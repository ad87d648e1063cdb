"""Beam stages and file names that more than one component needs.

Nothing here brings TFX or TensorFlow, which a worker that only reads songs does
not need.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import apache_beam as beam
from apache_beam.io.filesystem import FileMetadata
from apache_beam.io.filesystems import FileSystems

from components.records import read_batches
from music.song import Song

# Songs that are in memory at a time when a shard is read.
SONGS_A_BATCH = 32


def song_shard(uri: str, side: str, shard: int, shards: int) -> str:
    """The path of one Parquet file of a Songs artifact.

    Args:
      uri: of the artifact.
      side: `train` or `eval`.
      shard, shards: which of how many.
    """
    return FileSystems.join(uri, f"Split-{side}", f"songs-{shard:05d}-of-{shards:05d}.parquet")


def song_shards(uri: str, side: str) -> list[str]:
    """The Parquet files of one split of a Songs artifact, in order."""
    return sorted(metadata.path for metadata in _shards(uri, side))


def song_bytes(uri: str, side: str) -> int:
    """The size of these files together: about 3 bytes a note."""
    return sum(metadata.size_in_bytes for metadata in _shards(uri, side))


def _shards(uri: str, side: str) -> list[FileMetadata]:
    pattern = FileSystems.join(uri, f"Split-{side}", "songs-*.parquet")
    (found,) = FileSystems.match([pattern])
    return found.metadata_list


def put_in_place(beside: str, target: str) -> None:
    """Renames a finished file, into a folder that may not be there yet."""
    folder = os.path.dirname(target)
    if not FileSystems.exists(folder):
        try:
            FileSystems.mkdirs(folder)
        except OSError:
            if not FileSystems.exists(folder):  # else another worker was faster
                raise
    if FileSystems.exists(target):
        FileSystems.delete([target])
    FileSystems.rename([beside], [target])


def read_songs(path: str) -> Iterator[list[Song]]:
    """The songs of one Parquet file, in its order, some at a time."""
    with FileSystems.open(path) as handle:
        yield from read_batches(handle, SONGS_A_BATCH)


class SongShards(beam.PTransform):
    """The paths of `song_shards`, each to be worked on by whoever is free.

    Args:
      uri: of the artifact.
      side: `train` or `eval`.
    """

    def __init__(self, uri: str, side: str):
        super().__init__()
        self.uri = uri
        self.side = side

    def expand(self, pipeline):
        paths = song_shards(self.uri, self.side)
        return pipeline | "Paths" >> beam.Create(paths) | "Spread" >> beam.Reshuffle()


class ReadSongs(beam.PTransform):
    """The songs of one split of a Songs artifact.

    Args:
      uri: of the artifact.
      side: `train` or `eval`.
    """

    def __init__(self, uri: str, side: str):
        super().__init__()
        self.uri = uri
        self.side = side

    def expand(self, pipeline):
        return (
            pipeline
            | "Shards" >> SongShards(self.uri, self.side)
            | "Read" >> beam.FlatMap(read_songs)
            | "OneByOne" >> beam.FlatMap(lambda songs: songs)
        )
