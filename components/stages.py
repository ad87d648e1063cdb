"""Beam stages that more than one component needs."""

from __future__ import annotations

import apache_beam as beam
from apache_beam import pvalue

from components.records import row_to_song
from music import split


class ReadSongs(beam.PTransform):
    """Songs of a Songs artifact.

    Args:
      uri: of the artifact.
    """

    def __init__(self, uri: str):
        super().__init__()
        self.uri = uri

    def expand(self, pipeline):
        return (
            pipeline
            | "ReadParquet" >> beam.io.ReadFromParquet(f"{self.uri}/songs-*.parquet")
            | "ToSong" >> beam.Map(row_to_song)
        )


class SplitSongs(beam.PTransform):
    """(split, song) for every song, by the rank of its music.

    Args:
      share: of songs to hold out.
      salt: another salt, another split.
    """

    def __init__(self, share: float, salt: str):
        super().__init__()
        self.share = share
        self.salt = salt

    def expand(self, songs):
        salt, share = self.salt, self.share
        ranked = songs | "Rank" >> beam.Map(
            lambda song: (split.rank(song.fingerprint(), salt), song)
        )
        bound = (
            ranked
            | "Ranks" >> beam.Keys()
            | "Gather" >> beam.combiners.ToList()
            | "Bound" >> beam.Map(lambda ranks: split.eval_bound(ranks, share))
        )
        return ranked | "Split" >> beam.Map(
            lambda pair, bound: (split.split_of(pair[0], bound), pair[1]),
            pvalue.AsSingleton(bound),
        )
