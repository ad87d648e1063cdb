"""Beam stages that more than one component needs."""

from __future__ import annotations

import apache_beam as beam
from tfx.dsl.io import fileio

from components.records import row_to_song


def song_shards(uri: str, side: str) -> list[str]:
    """The Parquet files of one split of a Songs artifact, in order.

    Args:
      uri: of the artifact.
      side: `train` or `eval`.
    """
    return sorted(fileio.glob(f"{uri}/Split-{side}/songs-*.parquet"))


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
            | "ReadParquet"
            >> beam.io.ReadFromParquet(f"{self.uri}/Split-{self.side}/songs-*.parquet")
            | "ToSong" >> beam.Map(row_to_song)
        )
