"""The contract of ReferenceBuilder."""

from __future__ import annotations

from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components.artifacts import MusicReference, MusicVocabulary, Songs

SONGS = "songs"
VOCABULARY = "vocabulary"
REFERENCE = "reference"
CODE = "code"


class ReferenceBuilderSpec(ComponentSpec):
    """Songs and the model's vocabulary in, a reference out."""

    PARAMETERS = {CODE: ExecutionParameter(type=str)}
    INPUTS = {
        SONGS: ChannelParameter(type=Songs),
        VOCABULARY: ChannelParameter(type=MusicVocabulary),
    }
    OUTPUTS = {REFERENCE: ChannelParameter(type=MusicReference)}
