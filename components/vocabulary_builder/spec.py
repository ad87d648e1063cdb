"""The contract of VocabularyBuilder."""

from __future__ import annotations

from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components.artifacts import MusicVocabulary, Songs

SONGS = "songs"
VOCABULARY = "vocabulary"
CODEC = "codec"
MIN_COUNT = "min_count"
CLOSED = "closed"
MAX_SIZE = "max_size"
START = "start"
SERVING_DIR = "serving_dir"
CODE = "code"


class VocabularyBuilderSpec(ComponentSpec):
    """Songs in, a vocabulary out; `codec` is JSON, `closed` 0 or 1, `start` mostly empty."""

    PARAMETERS = {
        CODEC: ExecutionParameter(type=str),
        MIN_COUNT: ExecutionParameter(type=int),
        CLOSED: ExecutionParameter(type=int),
        MAX_SIZE: ExecutionParameter(type=int),
        START: ExecutionParameter(type=str),
        SERVING_DIR: ExecutionParameter(type=str),
        CODE: ExecutionParameter(type=str),
    }
    INPUTS = {SONGS: ChannelParameter(type=Songs)}
    OUTPUTS = {VOCABULARY: ChannelParameter(type=MusicVocabulary)}
