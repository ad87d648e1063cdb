"""Evaluator as a pipeline sees it."""

from __future__ import annotations

from tensorflow_model_analysis.proto import config_pb2
from tfx import types
from tfx.dsl.components.base.base_beam_component import BaseBeamComponent
from tfx.dsl.components.base.executor_spec import BeamExecutorSpec
from tfx.types import standard_artifacts
from tfx.types.component_spec import ExecutionParameter
from tfx.types.standard_component_specs import EvaluatorSpec

from components.evaluator.executor import SERVING_DIR, Executor


class GateSpec(EvaluatorSpec):
    """TFX's contract, and where the model in service lies."""

    PARAMETERS = {**EvaluatorSpec.PARAMETERS, SERVING_DIR: ExecutionParameter(type=str)}


class Evaluator(BaseBeamComponent):
    """TFMA on the held-out windows, against bounds and the model in service.

    Args:
      examples: channel of Examples; the eval split is used.
      model: channel of Model.
      eval_config: of `components.evaluator.gate.build_eval_config`.
      serving_dir: folder of the pushed versions.
    """

    SPEC_CLASS = GateSpec
    EXECUTOR_SPEC = BeamExecutorSpec(Executor)

    def __init__(
        self,
        examples: types.BaseChannel,
        model: types.BaseChannel,
        eval_config: config_pb2.EvalConfig,
        serving_dir: str,
    ):
        super().__init__(
            GateSpec(
                examples=examples,
                model=model,
                eval_config=eval_config,
                serving_dir=serving_dir,
                example_splits='["eval"]',
                fairness_indicator_thresholds="null",
                evaluation=types.Channel(type=standard_artifacts.ModelEvaluation),
                blessing=types.Channel(type=standard_artifacts.ModelBlessing),
            )
        )
