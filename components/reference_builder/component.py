"""ReferenceBuilder as a pipeline sees it."""

from __future__ import annotations

from tfx import types
from tfx.dsl.components.base.base_beam_component import BaseBeamComponent
from tfx.dsl.components.base.executor_spec import BeamExecutorSpec

from components.artifacts import MusicReference
from components.reference_builder.executor import Executor
from components.reference_builder.spec import ReferenceBuilderSpec


class ReferenceBuilder(BaseBeamComponent):
    """Indexes the training songs, and measures each of them against all others.

    Args:
      songs: channel of Songs.
      vocabulary: channel of the MusicVocabulary through which a model hears them.
      code: fingerprint of the source code.
    """

    SPEC_CLASS = ReferenceBuilderSpec
    EXECUTOR_SPEC = BeamExecutorSpec(Executor)

    def __init__(self, songs: types.BaseChannel, vocabulary: types.BaseChannel, code: str = ""):
        super().__init__(
            ReferenceBuilderSpec(
                songs=songs,
                vocabulary=vocabulary,
                code=code,
                reference=types.Channel(type=MusicReference),
            )
        )
