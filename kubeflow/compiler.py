"""The pipeline as a Kubeflow Pipelines (KFP v2) specification.

TFX's `--engine kubeflow` imports modules that no longer exist; its KFP v2 runner
works. The open-source backend reads schema version 2.1.0 as YAML, and the pipeline
root is given when a run is submitted. What TFX leaves out, kubeflow/spec.py puts in.

This module imports TFX: import it where something is compiled, not before.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from tfx.orchestration.kubeflow.v2.kubeflow_v2_dag_runner import (
    KubeflowV2DagRunner,
    KubeflowV2DagRunnerConfig,
)
from tfx.orchestration.pipeline import Pipeline

from kubeflow.parameters import Parameters
from kubeflow.settings import KubeflowSettings
from kubeflow.spec import finish
from music.errors import SegueError
from pipeline.configuration import Configuration
from pipeline.graph import create_pipeline

# Found by the run, since nobody can look into the folder from here.
UNKNOWN_CONTENT = ""


class Runner(KubeflowV2DagRunner):
    """TFX's runner for KFP v2, whose specification a cluster can run.

    Args:
      parameters: what a run takes when it is given nothing else.
      settings: of the cluster.
      out: a .yaml file (.json: the PipelineJob that Vertex AI takes).
    """

    def __init__(self, parameters: Parameters, settings: KubeflowSettings, out: Path):
        super().__init__(
            config=_config(settings.image),
            output_dir=os.fspath(out.absolute().parent),
            output_filename=out.name,
        )
        self._parameters = parameters
        self._settings = settings

    def run(
        self,
        pipeline: Pipeline,
        parameter_values: dict[str, Any] | None = None,
        write_out: bool | None = True,
    ) -> dict[str, Any]:
        """Compiles the pipeline; the PipelineJob, as JSON types."""
        job = super().run(pipeline, parameter_values, write_out=False)
        spec, platform = finish(job["pipelineSpec"], self._settings, self._parameters)
        job = {**job, "pipelineSpec": spec, "displayName": self._settings.name}
        if write_out:
            # TFX's own command moves the file by these attributes.
            path = Path(self._output_dir, self._output_filename)
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix == ".json":
                path.write_text(json.dumps(job, indent=1, sort_keys=True) + "\n")
            else:
                path.write_text(to_yaml(spec, platform), encoding="utf-8")
        return job


def _config(image: str) -> KubeflowV2DagRunnerConfig:
    return KubeflowV2DagRunnerConfig(default_image=image, use_pipeline_spec_2_1=True)


def compile_pipeline(
    parameters: Parameters, settings: KubeflowSettings, out: Path, cache: bool = True
) -> None:
    """Writes the specification of the one pipeline.

    Args:
      parameters: what a run takes when it is given nothing else. Whether there is a
        Tuner is decided by them.
      settings: of the cluster.
      out: a .yaml file.
      cache: whether the backend may reuse tasks whose properties and inputs are the same.

    Raises:
      SegueError: a setting is not allowed, or the file cannot be written.
    """
    config = parameters.configuration(cache=cache)
    try:
        Runner(parameters, settings, out).run(create_pipeline(config, UNKNOWN_CONTENT))
    except OSError as error:
        raise SegueError(f"cannot write {out}: {error.strerror}") from error


def to_yaml(spec: dict[str, Any], platform: dict[str, Any]) -> str:
    """The file that KFP takes: one document, and a second one for Kubernetes."""
    import yaml

    inputs = spec["root"]["inputDefinitions"]["parameters"]
    lines = [
        "# PIPELINE DEFINITION",
        f"# Name: {spec['pipelineInfo']['name']}",
        "# Inputs:",
        *(
            f"#    {name}: {one['description']} [Default: {one['defaultValue']!r}]"
            for name, one in inputs.items()
        ),
    ]
    documents = [spec, *([platform] if platform else [])]
    return "\n".join(lines) + "\n" + yaml.safe_dump_all(documents, sort_keys=True)


def node_properties(
    config: Configuration, content: str | None = None, start: str = ""
) -> dict[str, str]:
    """What each node's executor is given, as one JSON text a node.

    These are the values that TFX's compiler would write into the specification, taken
    where the data folder can be seen.

    Args:
      config: of the run.
      content, start: as `pipeline.graph.create_pipeline` takes them.

    Returns:
      By the node's name: `exec_properties`, and Beam's arguments for those that use it.

    Raises:
      SegueError: the data folder holds no MIDI file.
    """
    pipeline = create_pipeline(config, content, start)
    job = KubeflowV2DagRunner(config=_config("unused")).run(pipeline, write_out=False)
    spec = job["pipelineSpec"]
    found = {}
    for name, task in spec["root"]["dag"]["tasks"].items():
        types = spec["components"][name].get("inputDefinitions", {}).get("parameters", {})
        properties = {
            key: _typed(given["runtimeValue"]["constant"], types[key]["parameterType"])
            for key, given in task.get("inputs", {}).get("parameters", {}).items()
        }
        value = {"exec_properties": properties, "beam": list(pipeline.beam_pipeline_args)}
        found[name] = json.dumps(value, sort_keys=True)
    return found


def _typed(value: Any, kind: str) -> Any:
    return int(value) if kind == "NUMBER_INTEGER" else value
