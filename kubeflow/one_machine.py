"""Runs a compiled pipeline on this machine, as a cluster's backend would.

No cluster and no container: every task is a process of its own, started with the
command and arguments that stand in the specification for its container, with an
ExecutorInput made for it, after the tasks that it depends on. Artifacts have URIs in
a bucket, which lies in a folder below the root. Nothing is taken from this process
but the environment, so what runs here is what an image has to bring.

    python -m kubeflow.one_machine segue.yaml --root DIR \\
        --parameter data=MIDI_FOLDER --parameter root=ROOT --parameter preset=smoke

What the open backend is known to do to a task, it does here as well: input artifacts
arrive without their types, numbers as floats; the folder of an output is there only
down to its parent; the message about outputs goes into the bucket, and so does the log,
as an output that no component has declared. It does not do what only a cluster can:
start images, mount volumes, keep a cache, or start a failed task again.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from kubeflow.mounts import VARIABLE, to_path
from kubeflow.parameters import checked_values, parse_values
from kubeflow.placeholders import resolve
from music.errors import SegueError, printable

BUCKET = "minio://mlpipeline/v2/artifacts"
LOGS = "executor-logs"
_GENERAL = {"schemaTitle": "system.Artifact"}


@dataclasses.dataclass(frozen=True)
class Task:
    """A task that has run.

    Attributes:
      name: of the task.
      executor_input, executor_output: KFP's messages, as JSON types.
      parameters: its output parameters, by name.
      seconds: that it took.
    """

    name: str
    executor_input: Mapping[str, Any]
    executor_output: Mapping[str, Any]
    parameters: Mapping[str, Any]
    seconds: float

    def artifact(self, name: str) -> dict[str, Any]:
        """An output artifact, as later tasks see it."""
        given = self.executor_input["outputs"]["artifacts"][name]["artifacts"][0]
        listed = self.executor_output.get("artifacts", {}).get(name, {}).get("artifacts", [])
        made = listed[0] if listed else {}
        return {
            "name": given["name"],
            "uri": made.get("uri", given["uri"]),
            "metadata": {**given.get("metadata", {}), **made.get("metadata", {})},
        }


@dataclasses.dataclass(frozen=True)
class Machine:
    """Where and how tasks run.

    Attributes:
      root: folder of everything: the bucket's folder, and each task's log and messages.
      environment: of the processes; PATH decides which `python` the tasks are run by.
      tell: called with a line for each task that begins or ends.
    """

    root: Path
    environment: Mapping[str, str]
    tell: Callable[[str], None] = lambda line: None

    def path(self, uri: str) -> str:
        """Where a URI's content lies."""
        return to_path(uri, str(self.root))


def read_spec(path: Path) -> dict[str, Any]:
    """The PipelineSpec of a compiled file.

    Raises:
      SegueError: the file cannot be read, or holds something else.
    """
    import yaml

    try:
        documents = list(yaml.safe_load_all(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise SegueError(f"cannot read {path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SegueError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    spec = documents[0] if documents else None
    if not isinstance(spec, dict) or spec.get("schemaVersion") != "2.1.0":
        raise SegueError(
            f"{path} is no compiled pipeline of schema version 2.1.0; "
            "`segue pipeline run --engine kubeflow --compile-only FILE` writes one"
        )
    return spec


def root_values(spec: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The pipeline's parameters: what is given, else the defaults.

    Raises:
      SegueError: one is unknown, of another type, or missing.
    """
    declared = spec["root"].get("inputDefinitions", {}).get("parameters", {})
    types = {name: one["parameterType"] for name, one in declared.items()}
    values = {name: one["defaultValue"] for name, one in declared.items() if "defaultValue" in one}
    values.update(checked_values(types, given))
    missing = sorted(
        name for name, one in declared.items() if name not in values and not one.get("isOptional")
    )
    if missing:
        raise SegueError(f"parameter {missing[0]} is not given; write --parameter {missing[0]}=...")
    return values


def ordered(tasks: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Task names, each behind those that it depends on.

    Raises:
      SegueError: tasks depend on each other in a circle, or on one that is not there.
    """
    left = dict(tasks)
    done: list[str] = []
    while left:
        ready = sorted(name for name, task in left.items() if set(_producers(task)) <= set(done))
        if not ready:
            raise SegueError(f"tasks wait for each other, or for none: {', '.join(sorted(left))}")
        done += ready
        for name in ready:
            del left[name]
    return done


def _producers(task: Mapping[str, Any]) -> Iterator[str]:
    yield from task.get("dependentTasks", ())
    inputs = task.get("inputs", {})
    for given in inputs.get("artifacts", {}).values():
        yield given["taskOutputArtifact"]["producerTask"]
    for given in inputs.get("parameters", {}).values():
        if "taskOutputParameter" in given:
            yield given["taskOutputParameter"]["producerTask"]


def run(spec: Mapping[str, Any], values: Mapping[str, Any], machine: Machine) -> dict[str, Task]:
    """Runs every task; what they did, by name.

    Args:
      spec: a PipelineSpec, as JSON types.
      values: of its parameters, what has a default may be missing.
      machine: where.

    Raises:
      SegueError: a parameter is wrong, or a task failed.
    """
    parameters = root_values(spec, values)
    tasks = spec["root"]["dag"]["tasks"]
    order = ordered(tasks)
    folder = _new_folder(machine.root / "runs")
    done: dict[str, Task] = {}
    for name in order:
        done[name] = _run_task(spec, name, parameters, done, folder, machine)
    return done


def _new_folder(runs: Path) -> Path:
    runs.mkdir(parents=True, exist_ok=True)
    number = 1 + max((int(one.name) for one in runs.iterdir() if one.name.isdigit()), default=0)
    folder = runs / str(number)
    folder.mkdir()
    return folder


def _run_task(
    spec: Mapping[str, Any],
    name: str,
    parameters: Mapping[str, Any],
    done: Mapping[str, Task],
    run_folder: Path,
    machine: Machine,
) -> Task:
    task = spec["root"]["dag"]["tasks"][name]
    component = spec["components"][task["componentRef"]["name"]]
    folder = run_folder / name
    folder.mkdir()
    base = f"{BUCKET}/{spec['pipelineInfo']['name']}/{run_folder.name}/{name}"
    executor_input = _executor_input(task, component, parameters, done, base, machine)
    log = Path(machine.path(f"{base}/{LOGS}"))
    (folder / "log.txt").symlink_to(log)
    for listed in executor_input["outputs"]["artifacts"].values():
        parent = Path(machine.path(listed["artifacts"][0]["uri"])).parent
        parent.mkdir(parents=True, exist_ok=True)
    for output in executor_input["outputs"]["parameters"].values():
        Path(output["outputFile"]).parent.mkdir(parents=True, exist_ok=True)
    container = spec["deploymentSpec"]["executors"][component["executorLabel"]]["container"]
    words = [*container.get("command", ()), *container.get("args", ())]
    command = [resolve(word, executor_input, str(machine.root)) for word in words]
    machine.tell(f"{name} begins")
    began = time.monotonic()
    _start(name, command, container, folder, machine)
    seconds = time.monotonic() - began
    machine.tell(f"{name} took {seconds:.1f} s")
    output_file = Path(executor_input["outputs"]["outputFile"])
    output = json.loads(output_file.read_text()) if output_file.exists() else {}
    types = component.get("outputDefinitions", {}).get("parameters", {})
    made = {
        one: _read_parameter(Path(place["outputFile"]), types[one]["parameterType"], name)
        for one, place in executor_input["outputs"]["parameters"].items()
    }
    return Task(name, executor_input, output, made, seconds)


def _executor_input(
    task: Mapping[str, Any],
    component: Mapping[str, Any],
    parameters: Mapping[str, Any],
    done: Mapping[str, Task],
    base: str,
    machine: Machine,
) -> dict[str, Any]:
    inputs, outputs = task.get("inputs", {}), component.get("outputDefinitions", {})
    artifacts, values = {}, {}
    for key, given in inputs.get("artifacts", {}).items():
        source = given["taskOutputArtifact"]
        found = done[source["producerTask"]].artifact(source["outputArtifactKey"])
        # The open backend hands on no schema.
        artifacts[key] = {"artifacts": [{**found, "type": {"instanceSchema": ""}}]}
    for key, given in inputs.get("parameters", {}).items():
        value = _parameter(given, parameters, done)
        values[key] = float(value) if type(value) is int else value
    made = {**outputs.get("artifacts", {}), LOGS: {"artifactType": _GENERAL}}
    return {
        "inputs": {"artifacts": artifacts, "parameterValues": values},
        "outputs": {
            "artifacts": {
                key: {
                    "artifacts": [
                        {
                            "name": key,
                            "type": dict(one["artifactType"]),
                            "uri": f"{base}/{key}",
                            "metadata": dict(one.get("metadata", {})),
                        }
                    ]
                }
                for key, one in made.items()
            },
            "parameters": {
                key: {"outputFile": machine.path(f"{base}/.parameters/{key}")}
                for key in outputs.get("parameters", {})
            },
            "outputFile": machine.path(f"{base}/output_metadata.json"),
        },
    }


def _parameter(
    given: Mapping[str, Any], parameters: Mapping[str, Any], done: Mapping[str, Task]
) -> Any:
    if "componentInputParameter" in given:
        return parameters[given["componentInputParameter"]]
    if "taskOutputParameter" in given:
        source = given["taskOutputParameter"]
        return done[source["producerTask"]].parameters[source["outputParameterKey"]]
    return given["runtimeValue"]["constant"]


def _start(
    name: str,
    command: Sequence[str],
    container: Mapping[str, Any],
    folder: Path,
    machine: Machine,
) -> None:
    declared = {one["name"]: one["value"] for one in container.get("env", ())}
    environment = {**machine.environment, **declared, VARIABLE: str(machine.root)}
    log = folder / "log.txt"
    with log.open("wb") as file:
        try:
            code = subprocess.run(
                command,
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                check=False,
            ).returncode
        except OSError as error:
            raise SegueError(f"task {name} cannot start {command[0]}: {error.strerror}") from None
    if code:
        lines = log.read_text(errors="replace").strip().splitlines() or ["it said nothing"]
        raise SegueError(
            f"task {name} failed with exit code {code}: {lines[-1]} (all of it: {log})"
        )


def _read_parameter(path: Path, kind: str, task: str) -> Any:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SegueError(f"task {task} did not write its output parameter {path.name}") from None
    return text if kind == "STRING" else json.loads(text)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; 0, or 1 after one line."""
    parser = argparse.ArgumentParser(
        prog="python -m kubeflow.one_machine",
        description="Run a compiled pipeline here, each task in a process of its own.",
    )
    parser.add_argument("spec", type=Path, help="what --compile-only wrote")
    parser.add_argument("--root", type=Path, required=True, help="folder for the run")
    parser.add_argument("--parameter", action="append", default=[], metavar="NAME=VALUE")
    given = parser.parse_args(arguments)
    # The `python` of the commands is this one, as in an image there is one.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    machine = Machine(
        given.root.absolute(),
        {**os.environ, "PATH": path},
        lambda line: print(line, flush=True),
    )
    try:
        spec = read_spec(given.spec)
        declared = spec["root"].get("inputDefinitions", {}).get("parameters", {})
        types = {name: one["parameterType"] for name, one in declared.items()}
        done = run(spec, parse_values(types, given.parameter), machine)
    except SegueError as error:
        print(f"segue: {printable(str(error))}", file=sys.stderr)
        return 1
    print(f"{len(done)} tasks in {sum(task.seconds for task in done.values()):.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
