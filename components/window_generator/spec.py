"""The contract of WindowGenerator."""

from __future__ import annotations

from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter
from tfx.types.standard_artifacts import Examples

from components.artifacts import MusicVocabulary, Songs

SONGS = "songs"
VOCABULARY = "vocabulary"
EXAMPLES = "examples"
LENGTH = "length"
FORM = "form"
NGRAM_ORDER = "ngram_order"
CODE = "code"


class WindowGeneratorSpec(ComponentSpec):
    """Songs and a vocabulary in, Examples out, with vocabulary and n-gram beside the splits."""

    PARAMETERS = {
        LENGTH: ExecutionParameter(type=int),
        FORM: ExecutionParameter(type=str),
        NGRAM_ORDER: ExecutionParameter(type=int),
        CODE: ExecutionParameter(type=str),
    }
    INPUTS = {
        SONGS: ChannelParameter(type=Songs),
        VOCABULARY: ChannelParameter(type=MusicVocabulary),
    }
    OUTPUTS = {EXAMPLES: ChannelParameter(type=Examples)}
