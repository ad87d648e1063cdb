"""ExampleValidator as a pipeline sees it."""

from __future__ import annotations

from tfx import types
from tfx.dsl.components.base.base_component import BaseComponent
from tfx.dsl.components.base.executor_spec import ExecutorClassSpec
from tfx.types import standard_artifacts, standard_component_specs
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components.example_validator.executor import SCHEMA, Executor


class ExampleValidatorSpec(ComponentSpec):
    """TFX's, with the name of a schema of ours in place of a schema channel."""

    PARAMETERS = {
        SCHEMA: ExecutionParameter(type=str),
        standard_component_specs.EXCLUDE_SPLITS_KEY: ExecutionParameter(type=str, optional=True),
    }
    INPUTS = {
        standard_component_specs.STATISTICS_KEY: ChannelParameter(
            type=standard_artifacts.ExampleStatistics
        )
    }
    OUTPUTS = {
        standard_component_specs.ANOMALIES_KEY: ChannelParameter(
            type=standard_artifacts.ExampleAnomalies
        )
    }


class ExampleValidator(BaseComponent):
    """Holds the windows' statistics against a structural schema; an anomaly ends the run.

    Args:
      statistics: channel of StatisticsGen's output.
      schema: which of the schemas beside this file, by the codec's name.
    """

    SPEC_CLASS = ExampleValidatorSpec
    EXECUTOR_SPEC = ExecutorClassSpec(Executor)

    def __init__(self, statistics: types.BaseChannel, schema: str):
        super().__init__(
            ExampleValidatorSpec(
                statistics=statistics,
                schema_name=schema,
                exclude_splits="[]",
                anomalies=types.Channel(type=standard_artifacts.ExampleAnomalies),
            )
        )
