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
from components.kept import KEPT_VOCABULARY_FILE, REMEDY, find_start
from components.progress import report
from components.read_back import intact
from components.stages import ReadSongs, song_bytes
from components.vocabulary_builder import spec
from components.vocabulary_builder.stages import CountCodes, to_json
from music.codec import Codec, build_codec
from music.errors import SegueError
from music.split import TRAIN
from music.vocabulary import Vocabulary, build_vocabulary

# Roughly, on one core, to read a byte of songs and count its codes.
SECONDS_A_BYTE = 3e-7


class Executor(BaseBeamExecutor):
    """Counts the codes of `songs` into `vocabulary`, or takes that of a version."""

    def Do(self, input_dict, output_dict, exec_properties: dict[str, Any]) -> None:
        """Raises SegueError when no code is frequent enough, or the version is of no use."""
        codec = build_codec(json.loads(exec_properties[spec.CODEC]))
        start = exec_properties[spec.START]
        # Before anything is counted: it may be gone.
        frozen = read_frozen(exec_properties[spec.SERVING_DIR], start, codec) if start else None
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
        path = os.path.join(uri, VOCABULARY_FILE)
        if frozen is not None:
            io_utils.write_string_file(path, frozen)
            _tell_frozen(codec, Vocabulary.from_json(frozen), counts)
            return
        vocabulary = build_vocabulary(
            codec,
            counts,
            int(exec_properties[spec.MIN_COUNT]),
            bool(exec_properties[spec.CLOSED]),
            int(exec_properties[spec.MAX_SIZE]),
        )
        io_utils.write_string_file(path, vocabulary.to_json())
        _tell(codec, vocabulary, int(exec_properties[spec.MAX_SIZE]))


def read_frozen(serving_dir: str, start: str, codec: Codec) -> str:
    """The vocabulary of a version, as the text that it keeps.

    Args:
      serving_dir: folder of the versions.
      start: which of them, as `components.kept.start_of` names it.
      codec: that the songs are to be written in.

    Raises:
      SegueError: the version is gone or damaged, or speaks another codec.
    """
    version = find_start(serving_dir, start)
    path = os.path.join(version, KEPT_VOCABULARY_FILE)
    with intact(path, REMEDY), open(path, encoding="utf-8") as file:
        text = file.read()
        theirs = dict(Vocabulary.from_json(text).codec)
    if theirs != codec.config():
        raise SegueError(
            f"version {os.path.basename(version)} speaks the codec {theirs}, this run "
            f"{codec.config()}: its vocabulary does not fit; {REMEDY}"
        )
    return text


def _tell_frozen(codec: Codec, vocabulary: Vocabulary, counts: list[dict[int, int]]) -> None:
    """What the songs hold that the vocabulary does not, which no later step would say."""
    fate = "dropped" if vocabulary.closed else "moved to the nearest"
    pieces, moved, unseen = [], {}, {}
    for field, seen in zip(vocabulary.fields, counts, strict=True):
        kept, before = set(field.kept), {code for code, _ in field.counts}
        rare = sum(count for code, count in seen.items() if code not in kept)
        new = [code for code in seen if code not in kept and code not in before]
        words = f"{len(field):,} {field.name}"
        if rare:
            more = f", {sum(seen[code] for code in new):,} of them never seen before" if new else ""
            words += f" ({rare:,} {fate}{more})"
        pieces.append(words)
        moved[field.name] = rare
        unseen[field.name] = sum(seen[code] for code in new)
    report(
        "VocabularyBuilder",
        f"codec {codec.name}, the vocabulary of the version in service: " + ", ".join(pieces),
        sizes=dict(zip(moved, vocabulary.sizes, strict=True)),
        rare=moved,
        unseen=unseen,
    )


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
