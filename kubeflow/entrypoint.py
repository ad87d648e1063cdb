"""What runs in a task's container: one executor, between KFP and TFX.

Kubeflow's launcher starts it with an ExecutorInput: URIs of artifacts, which it has
put into folders (kubeflow/mounts.py), and the node's properties (kubeflow/spec.py).
TFX's own entrypoint takes the URIs for paths and wants types that the open backend
does not give; this one fills the types from the specification, maps URIs to folders
and back, and ends a user's mistake with one line and exit code 1.

    python -m kubeflow.entrypoint --executor_class_path CLASS \\
        --json_serialized_invocation_args EXECUTOR_INPUT \\
        --component COMPONENT_SPEC
    python -m kubeflow.entrypoint --configure \\
        --json_serialized_invocation_args EXECUTOR_INPUT
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from kubeflow.mounts import to_path
from kubeflow.spec import PROPERTIES
from music.errors import SegueError, find_segue_error, printable

# Where in an Evaluator's blessing TFX keeps which models it is about.
_MODEL_IDS = ("current_model_id", "baseline_model_id")
_MODEL_URI = "current_model"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one task; 0, or 1 after one line about what the user can mend."""
    parser = argparse.ArgumentParser(prog="python -m kubeflow.entrypoint", allow_abbrev=False)
    parser.add_argument("--configure", action="store_true")
    parser.add_argument("--executor_class_path")
    parser.add_argument("--json_serialized_invocation_args", required=True)
    parser.add_argument("--component", default="{}")
    given = parser.parse_args(arguments)
    if given.configure == bool(given.executor_class_path):
        parser.error("give one of --configure and --executor_class_path")
    _show_progress()
    try:
        _run(given)
    except Exception as error:
        cause = find_segue_error(error)
        if cause is None:
            raise
        print(f"segue: {printable(str(cause))}", file=sys.stderr)
        return 1
    return 0


def _show_progress() -> None:
    """A container's log has what a local run shows on the terminal."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    logger = logging.getLogger("segue.progress")
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False


def _run(given: argparse.Namespace) -> None:
    from google.protobuf import json_format
    from kfp.pipeline_spec import pipeline_spec_pb2

    executor_input = pipeline_spec_pb2.ExecutorInput()
    json_format.Parse(
        given.json_serialized_invocation_args, executor_input, ignore_unknown_fields=True
    )
    if given.configure:
        from kubeflow.configure import configure

        configure(executor_input)
        return
    component = pipeline_spec_pb2.ComponentSpec()
    json_format.Parse(given.component, component, ignore_unknown_fields=True)
    output = execute(given.executor_class_path, executor_input, component)
    path = executor_input.outputs.output_file
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(json_format.MessageToJson(output, sort_keys=True))


def execute(executor_class: str, executor_input: Any, component: Any) -> Any:
    """Runs an executor of TFX.

    Args:
      executor_class: `module.Class`.
      executor_input: KFP's ExecutorInput; it is changed.
      component: KFP's ComponentSpec: the inputs and outputs that the executor has.

    Returns:
      KFP's ExecutorOutput: the artifacts under the URIs that they were given.
    """
    from kfp.pipeline_spec import pipeline_spec_pb2
    from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
    from tfx.dsl.components.base.base_executor import BaseExecutor
    from tfx.orchestration.kubeflow.v2.container import kubeflow_v2_entrypoint_utils as utils
    from tfx.orchestration.portable.outputs_utils import tag_output_artifacts_with_version
    from tfx.utils import import_utils

    declare(executor_input.inputs.artifacts, component.input_definitions.artifacts)
    declare(executor_input.outputs.artifacts, component.output_definitions.artifacts)
    names: dict[int, str] = {}
    inputs = utils.parse_raw_artifact_dict(executor_input.inputs.artifacts, names)
    outputs = utils.parse_raw_artifact_dict(executor_input.outputs.artifacts, names)
    uris = _to_paths(inputs)
    made = _to_paths(outputs)
    for path in made:
        if "://" not in path:
            os.makedirs(path, exist_ok=True)
    text = executor_input.inputs.parameter_values[PROPERTIES].string_value
    if not text:
        raise SegueError(
            f"the task was not given its {PROPERTIES}; compile the pipeline with this version"
        )
    told = json.loads(text)
    task_folder = os.path.dirname(executor_input.outputs.output_file)
    common = {
        "unique_id": os.path.basename(task_folder),
        "tmp_dir": os.path.join(task_folder, ".temp"),
    }
    cls = import_utils.import_class_by_path(executor_class)
    if issubclass(cls, BaseBeamExecutor):
        context: Any = BaseBeamExecutor.Context(beam_pipeline_args=told["beam"], **common)
    else:
        context = BaseExecutor.Context(extra_flags=told["beam"], **common)
    cls(context).Do(inputs, outputs, told["exec_properties"])
    tag_output_artifacts_with_version(outputs)
    for artifacts in outputs.values():
        for artifact in artifacts:
            artifact.uri = made.get(artifact.uri, artifact.uri)
            _name_models(artifact, names, uris)
    output = pipeline_spec_pb2.ExecutorOutput()
    for name, listed in utils.translate_executor_output(outputs, names).items():
        output.artifacts[name].CopyFrom(listed)
    return output


def declare(artifacts: Any, declared: Mapping[str, Any]) -> None:
    """Leaves the artifacts that a component declares, with the types that it declares.

    The open backend hands on what its metadata store holds: a type without a schema,
    or a general one; and where it keeps logs, it adds an output for them. The
    specification was compiled from the components, so it knows.

    Args:
      artifacts: KFP's ArtifactList by the name of the input or output; changed.
      declared: KFP's ArtifactSpec by the same names.
    """
    for name in list(artifacts):
        if name not in declared:
            del artifacts[name]
            continue
        for artifact in artifacts[name].artifacts:
            artifact.type.CopyFrom(declared[name].artifact_type)


def _to_paths(artifacts: Mapping[str, Sequence[Any]]) -> dict[str, str]:
    """Maps URIs to folders; the URI of each folder."""
    uris = {}
    for listed in artifacts.values():
        for artifact in listed:
            uri, artifact.uri = artifact.uri, to_path(artifact.uri)
            uris[artifact.uri] = uri
    return uris


def _name_models(artifact: Any, names: Mapping[int, str], uris: Mapping[str, str]) -> None:
    """Models by the names and URIs that KFP has for them; it knows no others.

    The model in service, which the Evaluator finds by itself, has no name.
    """
    path = artifact.get_string_custom_property(_MODEL_URI)
    if path in uris:
        artifact.set_string_custom_property(_MODEL_URI, uris[path])
    for key in _MODEL_IDS:
        if artifact.has_custom_property(key):
            name = names.get(artifact.get_int_custom_property(key))
            if name is None:
                del artifact.mlmd_artifact.custom_properties[key]
            else:
                artifact.set_string_custom_property(key, name)


if __name__ == "__main__":
    sys.exit(main())
