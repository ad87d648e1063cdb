"""TFX's Evaluator, with the model in service as its baseline.

TFX finds a baseline with a Resolver, which Kubeflow's open backend cannot run,
and takes the last model that was blessed, which need not be the one that is
served: it may have been rolled back. So the executor looks where servers look,
the same on every engine, and runs without a baseline while nothing is served.
"""

from __future__ import annotations

import json
import os
import tempfile
from typing import Any

from tensorflow_model_analysis.proto import config_pb2
from tfx.components.evaluator import executor as tfx_executor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils, standard_artifacts, standard_component_specs
from tfx.utils import io_utils, path_utils, proto_utils

from components.evaluator.contexts import Context, by_context, write_contexts
from components.evaluator.gate import bounds, read_by_song, read_verdict
from components.evaluator.verdict import write_songs
from components.files import FACTS_FILE
from components.progress import report
from components.versions import newest_version
from music.split import EVAL

SERVING_DIR = "serving_dir"
_FORMAT = "Format-Serving"


class Executor(tfx_executor.Executor):
    """Evaluates `model`, leaves the figures beside TFMA's, and tells the gate's."""

    def Do(self, input_dict, output_dict, exec_properties: dict[str, Any]) -> None:
        """As TFX's; the blessing is the gate's answer."""
        in_service = newest_version(exec_properties[SERVING_DIR])
        inputs = dict(input_dict)
        with tempfile.TemporaryDirectory() as folder:
            if in_service is not None:
                # TFX opens a baseline at <uri>/Format-Serving.
                _link(in_service, os.path.join(folder, _FORMAT))
                baseline = standard_artifacts.Model()
                baseline.uri = folder
                inputs[standard_component_specs.BASELINE_MODEL_KEY] = [baseline]
            super().Do(inputs, output_dict, exec_properties)
        config = config_pb2.EvalConfig()
        proto_utils.json_to_proto(exec_properties[standard_component_specs.EVAL_CONFIG_KEY], config)
        evaluation = artifact_utils.get_single_uri(
            output_dict[standard_component_specs.EVALUATION_KEY]
        )
        blessing = artifact_utils.get_single_instance(
            output_dict[standard_component_specs.BLESSING_KEY]
        )
        blessed = blessing.get_int_custom_property("blessed") == 1
        verdict = read_verdict(evaluation, blessed, bounds(config))
        verdict.write(evaluation)
        write_songs(read_by_song(evaluation), evaluation)
        write_contexts(_by_context(input_dict), evaluation)
        report("Evaluator", verdict.line(), blessed=blessed, nats=verdict.nats)


def _by_context(input_dict: dict[str, Any]) -> list[Context]:
    model = artifact_utils.get_single_instance(input_dict[standard_component_specs.MODEL_KEY])
    path = path_utils.serving_model_path(model.uri, path_utils.is_old_model_artifact(model))
    examples = input_dict[standard_component_specs.EXAMPLES_KEY]
    (split,) = artifact_utils.get_split_uris(examples, EVAL)
    facts = json.loads(io_utils.read_string_file(os.path.join(path, "assets", FACTS_FILE)))
    field = facts["vocabulary"]["fields"][0]["name"]
    return by_context(path, [io_utils.all_files_pattern(split)], field)


def _link(source: str, target: str) -> None:
    if os.path.isdir(source):
        os.symlink(os.path.abspath(source), target)
        return
    for parent, _, names in fileio.walk(source):  # a bucket cannot be linked to
        below = os.path.join(target, os.path.relpath(parent, source))
        fileio.makedirs(below)
        for name in names:
            fileio.copy(os.path.join(parent, name), os.path.join(below, name), overwrite=True)
