"""WindowGenerator as a pipeline sees it."""

from __future__ import annotations

from tfx import types
from tfx.dsl.components.base.base_beam_component import BaseBeamComponent
from tfx.dsl.components.base.executor_spec import BeamExecutorSpec
from tfx.types.standard_artifacts import Examples

from components.window_generator.executor import Executor
from components.window_generator.spec import WindowGeneratorSpec


class WindowGenerator(BaseBeamComponent):
    """Cuts songs into windows of tf.train.Examples, a file of them for each of songs.

    Args:
      songs: channel of Songs.
      vocabulary: channel of MusicVocabulary.
      length, form: of the windows (`music.windows.WindowSpec`).
      ngram_order: of the baseline, in tokens.
      code: fingerprint of the source code.
    """

    SPEC_CLASS = WindowGeneratorSpec
    EXECUTOR_SPEC = BeamExecutorSpec(Executor)

    def __init__(
        self,
        songs: types.BaseChannel,
        vocabulary: types.BaseChannel,
        length: int,
        form: str,
        ngram_order: int,
        code: str = "",
    ):
        super().__init__(
            WindowGeneratorSpec(
                songs=songs,
                vocabulary=vocabulary,
                length=length,
                form=form,
                ngram_order=ngram_order,
                code=code,
                examples=types.Channel(type=Examples),
            )
        )
