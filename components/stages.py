"""Beam stages and file names that more than one component needs."""

from __future__ import annotations

import apache_beam as beam
from apache_beam.io.filesystems import FileSystems

from components.records import row_to_song


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
    pattern = FileSystems.join(uri, f"Split-{side}", "songs-*.parquet")
    (found,) = FileSystems.match([pattern])
    return sorted(metadata.path for metadata in found.metadata_list)


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
        pattern = FileSystems.join(self.uri, f"Split-{self.side}", "songs-*.parquet")
        return (
            pipeline
            | "ReadParquet" >> beam.io.ReadFromParquet(pattern)
            | "ToSong" >> beam.Map(row_to_song)
        )
