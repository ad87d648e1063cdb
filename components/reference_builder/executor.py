"""ReferenceBuilder's executor."""

from __future__ import annotations

import os
from typing import Any

from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.types import artifact_utils
from tfx.utils import io_utils

from components.engine import make_pipeline
from components.files import REFERENCE_FILE, VOCABULARY_FILE
from components.progress import report
from components.reference_builder import spec
from components.reference_builder.stages import BuildReference
from components.stages import song_bytes
from music.measures import Reference
from music.split import TRAIN
from music.vocabulary import Vocabulary

# Roughly, on one core, to read a byte of songs, index it and measure it.
SECONDS_A_BYTE = 1e-5


class Executor(BaseBeamExecutor):
    """Indexes and measures the training `songs` into `reference`."""

    def Do(self, input_dict, output_dict, exec_properties: dict[str, Any]) -> None:
        """Raises ValueError when no training song has a note."""
        songs = artifact_utils.get_single_uri(input_dict[spec.SONGS])
        known = artifact_utils.get_single_uri(input_dict[spec.VOCABULARY])
        uri = artifact_utils.get_single_uri(output_dict[spec.REFERENCE])
        text = io_utils.read_string_file(os.path.join(known, VOCABULARY_FILE))
        vocabulary = Vocabulary.from_json(text)
        with make_pipeline(self, SECONDS_A_BYTE * song_bytes(songs, TRAIN)) as pipeline:
            _ = pipeline | BuildReference(songs, uri, vocabulary)
        _tell(Reference.from_json(io_utils.read_string_file(os.path.join(uri, REFERENCE_FILE))))


def _tell(reference: Reference) -> None:
    borrowing = reference.borrowing
    versions = f"; {borrowing.versions} are versions of another" if borrowing.versions else ""
    line = f"{reference.songs:,} songs{versions}"
    bound = borrowing.bound()
    if bound is not None:
        line += f"; 95 of 100 have runs of at most {bound} notes from others"
    report(
        "ReferenceBuilder",
        line,
        songs=reference.songs,
        versions=borrowing.versions,
        longest_run=bound,
    )
