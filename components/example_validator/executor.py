"""TFX's ExampleValidator, except that an anomaly is an error.

TFX records anomalies as a property of an artifact and goes on training. Here the
windows are our own product: a missing field or a code out of range is a defect
of the run, and nothing may be learned from it. The schema is structural, holds
for every catalogue, and lies beside this file.
"""

from __future__ import annotations

import importlib.resources
import os
import tempfile
from typing import Any

from tensorflow_metadata.proto.v0 import anomalies_pb2
from tfx.components.example_validator import executor as tfx_executor
from tfx.types import artifact_utils, standard_artifacts, standard_component_specs
from tfx.utils import io_utils

from music.errors import SegueError

SCHEMA = "schema_name"


class Executor(tfx_executor.Executor):
    """Validates against `schemas/<schema_name>.pbtxt`."""

    def Do(self, input_dict, output_dict, exec_properties: dict[str, Any]):
        """Raises SegueError with the first anomalies of the first split that has any."""
        name = exec_properties[SCHEMA]
        source = importlib.resources.files("components.example_validator") / "schemas"
        text = (source / f"{name}.pbtxt").read_text()
        with tempfile.TemporaryDirectory() as folder:
            io_utils.write_string_file(os.path.join(folder, "schema.pbtxt"), text)
            schema = standard_artifacts.Schema()
            schema.uri = folder
            inputs = {**input_dict, standard_component_specs.SCHEMA_KEY: [schema]}
            result = super().Do(inputs, output_dict, exec_properties)
        self._raise_on_anomalies(output_dict)
        return result

    def _raise_on_anomalies(self, output_dict) -> None:
        artifact = artifact_utils.get_single_instance(
            output_dict[standard_component_specs.ANOMALIES_KEY]
        )
        for split in artifact_utils.decode_split_names(artifact.split_names):
            uri = artifact_utils.get_split_uri([artifact], split)
            anomalies = anomalies_pb2.Anomalies()
            path = os.path.join(uri, tfx_executor.DEFAULT_FILE_NAME)
            anomalies.ParseFromString(io_utils.read_bytes_file(path))
            found = [
                f"{feature}: {info.description}"
                for feature, info in sorted(anomalies.anomaly_info.items())
            ]
            if anomalies.HasField("dataset_anomaly_info"):
                found.append(anomalies.dataset_anomaly_info.description)
            if found:
                raise SegueError(
                    f"the {split} windows are not what they must be: {'; '.join(found[:3])} "
                    f"({len(found)} anomalies in all, see {path})"
                )
