"""The task that comes first: what every other task of this run is to do.

It stands where data and root can be seen, makes the pipeline from the run's
parameters as a local run does, and writes each node's execution properties into the
output parameter of the node's name. What would fail later is told here, before
anything is parsed or trained. Where there is nothing new, every task is given what the
run that has done it was given, so that the backend reuses all of them.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from typing import Any

from kubeflow.parameters import Parameters
from music.errors import SegueError


def configure(executor_input: Any) -> None:
    """Writes the properties of every node.

    Args:
      executor_input: the ExecutorInput of the task; its output parameters are the
        nodes that the pipeline was compiled with.

    Raises:
      SegueError: a parameter is wrong, there is nothing to learn from, the root cannot
        be used, or the parameters make a pipeline of other tasks.
    """
    from google.protobuf import json_format

    inputs = json_format.MessageToDict(executor_input.inputs).get("parameterValues", {})
    parameters = Parameters.from_values(inputs)
    outputs = {name: one.output_file for name, one in executor_input.outputs.parameters.items()}
    for name, text in find_properties(parameters, outputs).items():
        os.makedirs(os.path.dirname(outputs[name]), exist_ok=True)
        with open(outputs[name], "w", encoding="utf-8") as file:
            file.write(text)


def find_properties(parameters: Parameters, nodes: Collection[str]) -> dict[str, str]:
    """What each of the compiled nodes is to do, as `compiler.node_properties` has it.

    Raises:
      SegueError: as `configure`.
    """
    from music.folder import midi_files

    config = parameters.configuration()
    found = midi_files(config.data)
    _check_root(config.root)

    from components.progress import report
    from kubeflow.compiler import node_properties
    from pipeline.beam_options import check_beam, check_job_server
    from pipeline.local_runner import check_root, check_service
    from pipeline.retrain import make_plan

    check_beam(config.beam_pipeline_args)
    check_job_server(config.beam_pipeline_args)
    check_root(config)
    check_service(config)
    plan = make_plan(config)
    properties = node_properties(config, plan.content, plan.start)
    _check_shape(set(properties), set(nodes))
    report("Configure", f"{len(found):,} MIDI files; preset {config.preset}", files=len(found))
    if plan.news or plan.nothing:
        report("Configure", plan.news or plan.nothing, start=plan.start)
    return properties


def _check_root(root: os.PathLike) -> None:
    try:
        os.makedirs(root, exist_ok=True)
        writable = os.access(root, os.W_OK | os.X_OK)
    except OSError as error:
        raise SegueError(f"cannot make the root {root}: {error.strerror}") from None
    if not writable:
        raise SegueError(
            f"cannot write to the root {root} as user {os.getuid()}; give that user the volume"
        )


def _check_shape(made: set[str], compiled: set[str]) -> None:
    more, fewer = sorted(made - compiled), sorted(compiled - made)
    if more:
        raise SegueError(
            f"these parameters ask for the task {more[0]}, which the pipeline was compiled "
            "without; compile it with the same settings (--tune)"
        )
    if fewer:
        raise SegueError(
            f"these parameters have no use for the task {fewer[0]}, which the pipeline was "
            "compiled with; keep tuning.enabled=true, or compile it without --tune"
        )
