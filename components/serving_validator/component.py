"""ServingValidator as a pipeline sees it."""

from __future__ import annotations

import json

from tfx import types
from tfx.dsl.components.base.base_component import BaseComponent
from tfx.dsl.components.base.executor_spec import ExecutorClassSpec
from tfx.types import standard_artifacts

from components.artifacts import MusicPanel
from components.serving_validator.executor import Executor
from components.serving_validator.settings import PanelSettings
from components.serving_validator.spec import ServingValidatorSpec


class ServingValidator(BaseComponent):
    """Serves a candidate for real, asks it for a panel of songs, and judges them.

    Args:
      model: channel of Model.
      model_blessing: channel of the Evaluator's ModelBlessing; a model that has not been
        blessed is not served.
      songs: channel of Songs; the held-out ones begin the panel's songs.
      vocabulary: channel of the model's MusicVocabulary.
      reference: channel of the MusicReference of the training songs.
      settings: the panel, and its bounds.
      code: fingerprint of the source code.
    """

    SPEC_CLASS = ServingValidatorSpec
    EXECUTOR_SPEC = ExecutorClassSpec(Executor)

    def __init__(
        self,
        model: types.BaseChannel,
        model_blessing: types.BaseChannel,
        songs: types.BaseChannel,
        vocabulary: types.BaseChannel,
        reference: types.BaseChannel,
        settings: PanelSettings,
        code: str = "",
    ):
        super().__init__(
            ServingValidatorSpec(
                model=model,
                model_blessing=model_blessing,
                songs=songs,
                vocabulary=vocabulary,
                reference=reference,
                settings=json.dumps(settings.to_dict(), sort_keys=True),
                code=code,
                blessing=types.Channel(type=standard_artifacts.InfraBlessing),
                panel=types.Channel(type=MusicPanel),
            )
        )
