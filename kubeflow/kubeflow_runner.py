"""Compiles the pipeline by TFX's own command line.

TFX starts this file without arguments, so the environment says what to compile:

    SEGUE_IMAGE    of the tasks
    SEGUE_DATA     folder of MIDI files, as the containers see it (default: /segue/midi)
    SEGUE_ROOT     where everything goes, as the containers see it (default: /segue/root)
    SEGUE_PRESET   a preset's name (default: default)
    SEGUE_SET      overrides, separated by commas: training.epochs=3,split.salt=b
    SEGUE_CLUSTER  a YAML file of the cluster's settings (docs/kubeflow.md)
    SEGUE_OUT      the compiled file (default: segue.yaml)

    tfx pipeline compile --engine vertex --pipeline_path kubeflow/kubeflow_runner.py

The engine is called vertex because TFX's `kubeflow` imports modules that TFX no longer
has; what is compiled is the specification that both backends read.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from kubeflow.parameters import Parameters
from kubeflow.settings import load_settings
from music.errors import SegueError, printable


def compile_from_environment() -> None:
    """Writes the file that the environment asks for.

    Raises:
      SegueError: anything in the environment is wrong.
    """
    file, image = os.environ.get("SEGUE_CLUSTER"), os.environ.get("SEGUE_IMAGE") or None
    settings = load_settings(Path(file) if file else None, (), image=image)
    parameters = Parameters(
        os.environ.get("SEGUE_DATA", "/segue/midi"),
        os.environ.get("SEGUE_ROOT", "/segue/root"),
        os.environ.get("SEGUE_PRESET", "default"),
        0,
        tuple(item for item in os.environ.get("SEGUE_SET", "").split(",") if item),
    )

    from kubeflow.compiler import compile_pipeline  # TFX takes its time

    compile_pipeline(parameters, settings, Path(os.environ.get("SEGUE_OUT", "segue.yaml")))


if __name__ == "__main__":
    try:
        compile_from_environment()
    except SegueError as error:
        sys.exit(f"segue: {printable(str(error))}")
