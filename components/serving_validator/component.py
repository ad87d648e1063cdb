"""ServingValidator as a pipeline sees it."""

from __future__ import annotations

import dataclasses
import json

from tfx import types
from tfx.dsl.components.base.base_component import BaseComponent
from tfx.dsl.components.base.executor_spec import ExecutorClassSpec
from tfx.types import standard_artifacts

from components.artifacts import MusicPanel
from components.kept import NO_REQUEST, Request
from components.model_card import CardSettings
from components.serving_validator.executor import Executor
from components.serving_validator.settings import PanelSettings
from components.serving_validator.spec import ServingValidatorSpec


class ServingValidator(BaseComponent):
    """Serves a candidate for real, asks it for a panel of songs, and judges them.

    Whatever the Evaluator said: who looks for the reason of a refusal wants to hear it.
    What is blessed is a copy of the model as it is to be pushed, with the requests that
    warm it up and its model card.

    Args:
      model: channel of Model.
      evaluation: channel of the Evaluator's ModelEvaluation, which the model card tells.
      songs: channel of Songs; the held-out ones begin the panel's songs.
      verdicts: channel of Verdicts, what became of the files.
      vocabulary: channel of the model's MusicVocabulary.
      reference: channel of the MusicReference of the training songs.
      settings: the panel, and its bounds.
      card: what only people know of the model.
      request: what the run was asked for, for runs to come; its music is put in here.
      code: fingerprint of the source code.
    """

    SPEC_CLASS = ServingValidatorSpec
    EXECUTOR_SPEC = ExecutorClassSpec(Executor)

    def __init__(
        self,
        model: types.BaseChannel,
        evaluation: types.BaseChannel,
        songs: types.BaseChannel,
        verdicts: types.BaseChannel,
        vocabulary: types.BaseChannel,
        reference: types.BaseChannel,
        settings: PanelSettings,
        card: CardSettings,
        request: Request = NO_REQUEST,
        code: str = "",
    ):
        super().__init__(
            ServingValidatorSpec(
                model=model,
                evaluation=evaluation,
                songs=songs,
                verdicts=verdicts,
                vocabulary=vocabulary,
                reference=reference,
                settings=json.dumps(settings.to_dict(), sort_keys=True),
                card=json.dumps(dataclasses.asdict(card), sort_keys=True),
                request=request.to_json(),
                code=code,
                blessing=types.Channel(type=standard_artifacts.InfraBlessing),
                panel=types.Channel(type=MusicPanel),
            )
        )
