"""VocabularyBuilder's executor."""

from __future__ import annotations

import json
import os
from typing import Any

import apache_beam as beam
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.types import artifact_utils
from tfx.utils import io_utils

from components.engine import make_pipeline
from components.files import VOCABULARY_FILE
from components.progress import report
from components.stages import ReadSongs, song_bytes
from components.vocabulary_builder import spec
from components.vocabulary_builder.stages import CountCodes, to_json
from music.codec import Codec, build_codec
from music.split import TRAIN
from music.vocabulary import Vocabulary, build_vocabulary

# Roughly, on one core, to read a byte of songs and count its codes.
SECONDS_A_BYTE = 3e-7


class Executor(BaseBeamExecutor):
    """Counts the codes of `songs` into `vocabulary`."""

    def Do(self, input_dict, output_dict, exec_properties: dict[str, Any]) -> None:
        """Raises SegueError when no code is frequent enough."""
        codec = build_codec(json.loads(exec_properties[spec.CODEC]))
        songs = artifact_utils.get_single_uri(input_dict[spec.SONGS])
        uri = artifact_utils.get_single_uri(output_dict[spec.VOCABULARY])
        counted = os.path.join(uri, "counts.json")
        seconds = SECONDS_A_BYTE * song_bytes(songs, TRAIN)
        with make_pipeline(self, seconds) as pipeline:
            _ = (
                pipeline
                | "Songs" >> ReadSongs(songs, TRAIN)
                | "CountCodes" >> CountCodes(codec)
                | "Gather" >> beam.combiners.ToList()  # as many as there are codes at most
                | "ToJson" >> beam.Map(to_json)
                | "Write" >> beam.io.WriteToText(counted, shard_name_template="")
            )
        pairs = json.loads(io_utils.read_string_file(counted))
        counts: list[dict[int, int]] = [{} for _ in codec.fields]
        for (field, code), count in pairs:
            counts[field][code] = count
        vocabulary = build_vocabulary(
            codec,
            counts,
            int(exec_properties[spec.MIN_COUNT]),
            bool(exec_properties[spec.CLOSED]),
            int(exec_properties[spec.MAX_SIZE]),
        )
        path = os.path.join(uri, VOCABULARY_FILE)
        io_utils.write_string_file(path, vocabulary.to_json())
        _tell(codec, vocabulary, int(exec_properties[spec.MAX_SIZE]))


def _tell(codec: Codec, vocabulary: Vocabulary, max_size: int) -> None:
    fate = "dropped" if vocabulary.closed else "moved to the nearest"
    pieces, moved = [], {}
    for field in vocabulary.fields:
        kept = set(field.kept)
        rare = sum(count for code, count in field.counts if code not in kept)
        most = "the most frequent " if len(field) == max_size else ""
        pieces.append(
            f"{most}{len(field):,} {field.name}" + (f" ({rare:,} {fate})" if rare else "")
        )
        moved[field.name] = rare
    report(
        "VocabularyBuilder",
        f"codec {codec.name}: " + ", ".join(pieces),
        sizes=dict(zip(moved, vocabulary.sizes, strict=True)),
        rare=moved,
    )
