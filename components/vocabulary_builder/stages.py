"""The Beam stages of VocabularyBuilder.

Workers import this module and not the executor's, which brings TFX and TensorFlow.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import apache_beam as beam
import numpy as np

from music.codec import Codec
from music.song import Song


def count_codes(song: Song, codec: Codec) -> Iterator[tuple[tuple[int, int], int]]:
    """((field, code), how often) for every code of a song."""
    events = codec.encode(song)
    for field in range(events.shape[1]):
        codes, counts = np.unique(events[:, field], return_counts=True)
        for code, count in zip(codes.tolist(), counts.tolist(), strict=True):
            yield (field, code), count


def to_json(pairs: list[tuple[tuple[int, int], int]]) -> str:
    """The counts as one line, ascending by field and code."""
    return json.dumps(sorted(pairs))


class CountCodes(beam.PTransform):
    """PCollection[Song] -> ((field, code), count).

    Args:
      codec: writes the songs.
    """

    def __init__(self, codec: Codec):
        super().__init__()
        self.codec = codec

    def expand(self, songs):
        return (
            songs
            | "Count" >> beam.FlatMap(count_codes, self.codec)
            | "Sum" >> beam.CombinePerKey(sum)
        )
