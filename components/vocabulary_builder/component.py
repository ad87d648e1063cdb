"""VocabularyBuilder as a pipeline sees it."""

from __future__ import annotations

import json
from typing import Any

from tfx import types
from tfx.dsl.components.base.base_beam_component import BaseBeamComponent
from tfx.dsl.components.base.executor_spec import BeamExecutorSpec

from components.artifacts import MusicVocabulary
from components.vocabulary_builder.executor import Executor
from components.vocabulary_builder.spec import VocabularyBuilderSpec


class VocabularyBuilder(BaseBeamComponent):
    """Counts the codes of the training songs and keeps the frequent ones.

    Where a training begins from a version's weights, its vocabulary is taken as it is, to
    the byte, and the songs are counted to tell what it does not hold.

    Args:
      songs: channel of Songs.
      codec: as `music.build_codec` takes it.
      min_count: how often a code must be seen to be kept.
      closed: whether rare codes are dropped from the music (the paper) instead of
        snapped to the nearest kept one.
      max_size: the most codes that a field may keep.
      start: the version whose vocabulary is taken (`components.kept`); empty makes one.
      serving_dir: folder of the versions, of use with a `start` alone.
      code: fingerprint of the source code.
    """

    SPEC_CLASS = VocabularyBuilderSpec
    EXECUTOR_SPEC = BeamExecutorSpec(Executor)

    def __init__(
        self,
        songs: types.BaseChannel,
        codec: dict[str, Any],
        min_count: int,
        closed: bool,
        max_size: int,
        start: str = "",
        serving_dir: str = "",
        code: str = "",
    ):
        super().__init__(
            VocabularyBuilderSpec(
                songs=songs,
                codec=json.dumps(codec, sort_keys=True),
                min_count=min_count,
                closed=int(closed),
                max_size=max_size,
                start=start,
                serving_dir=serving_dir,
                code=code,
                vocabulary=types.Channel(type=MusicVocabulary),
            )
        )
