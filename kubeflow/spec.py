"""From what TFX compiles to what a cluster runs.

TFX writes a node's execution properties into the specification, which fixes the
preset and the contents of the data folder for good, and its form for values found
at run time refers to a task that does not exist. So one task more comes first:
`Configure` makes the same pipeline inside the cluster from the run's parameters, and
hands every other task its properties as one text. A task is then reused (cached) by
the backend exactly when a local run would reuse it: its properties, inputs, image and
command are the same. What else the cluster has to know (images, resources, volumes)
is put in here, too.

The specification is PipelineSpec 2.1.0 as JSON types; beside it stands the
PlatformSpec, what only Kubernetes understands.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from kubeflow.parameters import SPEC, Parameters
from kubeflow.settings import KubeflowSettings, TaskSettings
from music.errors import SegueError

CONFIGURE = "Configure"
PROPERTIES = "properties"
_INPUTS_SPEC = "--json_serialized_inputs_spec_args"
_COMPONENT = "--component"


def finish(
    spec: Mapping[str, Any], settings: KubeflowSettings, parameters: Parameters
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The PipelineSpec and the PlatformSpec of the pipeline.

    Args:
      spec: of TFX's compiler; it stays as it is.
      settings: of the cluster.
      parameters: what a run takes when it is given nothing else.

    Raises:
      SegueError: the settings name a task that the pipeline does not have.
    """
    finished = json.loads(json.dumps(spec))
    tasks = finished["root"]["dag"]["tasks"]
    unknown = sorted(set(settings.tasks) - {*tasks, CONFIGURE})
    if unknown:
        raise SegueError(
            f"setting kubeflow.tasks.{unknown[0]} does not exist; the tasks are: "
            f"{', '.join([CONFIGURE, *sorted(tasks)])}"
        )
    nodes = sorted(tasks)
    for name in nodes:
        _take_properties(finished, name, settings)
    _add_configure(finished, nodes, settings)
    for name, task in settings.tasks.items():
        _place(finished, name, task)
    finished["pipelineInfo"]["name"] = settings.name
    finished["root"]["inputDefinitions"] = {"parameters": _inputs(parameters)}
    return finished, _platform(tasks, settings)


def _executor(spec: dict[str, Any], task: str) -> dict[str, Any]:
    label = spec["components"][task]["executorLabel"]
    return spec["deploymentSpec"]["executors"][label]["container"]


def _take_properties(spec: dict[str, Any], name: str, settings: KubeflowSettings) -> None:
    """Replaces a task's own properties by those that Configure finds."""
    task, component = spec["root"]["dag"]["tasks"][name], spec["components"][name]
    task.setdefault("inputs", {})["parameters"] = {
        PROPERTIES: {"taskOutputParameter": {"producerTask": CONFIGURE, "outputParameterKey": name}}
    }
    definitions = component.setdefault("inputDefinitions", {})
    definitions["parameters"] = {PROPERTIES: {"parameterType": "STRING"}}
    task["dependentTasks"] = sorted({*task.get("dependentTasks", ()), CONFIGURE})
    container = _executor(spec, name)
    container["command"], container["image"] = list(settings.command), settings.image
    # TFX's arguments, but Beam's options are among the properties now; and the types of
    # outputs as well as inputs, since the backend adds outputs of its own.
    arguments = container["args"][: container["args"].index(_INPUTS_SPEC)]
    declared = {key: value for key, value in component.items() if key.endswith("Definitions")}
    container["args"] = [*arguments, _COMPONENT, json.dumps(declared, sort_keys=True)]


def _add_configure(spec: dict[str, Any], nodes: Iterable[str], settings: KubeflowSettings) -> None:
    label = f"{CONFIGURE}_executor"
    spec["root"]["dag"]["tasks"][CONFIGURE] = {
        "taskInfo": {"name": CONFIGURE},
        "componentRef": {"name": CONFIGURE},
        # It looks into the data folder, so no earlier answer counts.
        "cachingOptions": {},
        "inputs": {"parameters": {name: {"componentInputParameter": name} for name in SPEC}},
    }
    spec["components"][CONFIGURE] = {
        "executorLabel": label,
        "inputDefinitions": {"parameters": {name: dict(one) for name, one in SPEC.items()}},
        "outputDefinitions": {"parameters": {name: {"parameterType": "STRING"} for name in nodes}},
    }
    spec["deploymentSpec"]["executors"][label] = {
        "container": {
            "image": settings.image,
            "command": list(settings.command),
            "args": ["--configure", "--json_serialized_invocation_args", "{{$}}"],
        }
    }


def _inputs(parameters: Parameters) -> dict[str, Any]:
    values = parameters.values()
    return {
        name: {**one, "defaultValue": values[name], "isOptional": True}
        for name, one in SPEC.items()
    }


def _place(spec: dict[str, Any], name: str, settings: TaskSettings) -> None:
    """Image, resources and retries of a task.

    Resources stand in the fields that every 2.x backend reads; newer ones have others
    beside them, which older ones, and kfp 2.5, refuse.
    """
    container = _executor(spec, name)
    if settings.image:
        container["image"] = settings.image
    resources: dict[str, Any] = {
        "cpuLimit": settings.cpu,
        "cpuRequest": settings.cpu_request,
        "memoryLimit": settings.memory,
        "memoryRequest": settings.memory_request,
    }
    resources = {field: float(value) for field, value in resources.items() if value}
    if settings.gpu:
        resources["accelerator"] = {"type": settings.gpu_type, "count": str(settings.gpu)}
    if resources:
        container["resources"] = resources
    if settings.retries:
        spec["root"]["dag"]["tasks"][name]["retryPolicy"] = {
            "maxRetryCount": settings.retries,
            "backoffDuration": "30s",
            "backoffFactor": 2.0,
            "backoffMaxDuration": "600s",
        }


def _platform(tasks: Iterable[str], settings: KubeflowSettings) -> dict[str, Any]:
    executors = {}
    for name in tasks:
        placed: dict[str, Any] = {}
        if settings.volumes:
            placed["pvcMount"] = [
                {"constant": claim, "mountPath": folder}
                for claim, folder in sorted(settings.volumes.items(), key=lambda item: item[1])
            ]
        if settings.pull_secrets:
            placed["imagePullSecret"] = [{"secretName": one} for one in settings.pull_secrets]
        task = settings.tasks.get(name, TaskSettings())
        if task.node_selector:
            placed["nodeSelector"] = {"labels": dict(task.node_selector)}
        if task.tolerations:
            placed["tolerations"] = [dict(one) for one in task.tolerations]
        if placed:
            executors[f"{name}_executor"] = placed
    if not executors:
        return {}
    return {"platforms": {"kubernetes": {"deploymentSpec": {"executors": executors}}}}
