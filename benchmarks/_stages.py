"""One step of ingest in a process of its own: `python -m benchmarks._stages JSON`.

The step is the real executor, called as TFX calls it. It prints one line of JSON:
the seconds of the executor (imports are not counted: TFX has done them long before
in a pipeline), and the peak of resident memory above what the imports took.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any


def _executor(step: str):
    if step == "parse":
        from components.midi_parser.executor import Executor
    elif step == "vocabulary":
        from components.vocabulary_builder.executor import Executor
    else:
        from components.window_generator.executor import Executor
    return Executor


def _channels(step: str, folder: Path) -> tuple[dict, dict]:
    """Inputs and outputs of a step whose artifacts lie in subfolders of a folder."""
    from tfx.types.standard_artifacts import Examples

    from components.artifacts import MusicVocabulary, Songs, Verdicts

    types = {
        "songs": Songs, "verdicts": Verdicts, "vocabulary": MusicVocabulary, "examples": Examples
    }  # fmt: skip
    inputs, outputs = {
        "parse": ((), ("songs", "verdicts")),
        "vocabulary": (("songs",), ("vocabulary",)),
        "windows": (("songs", "vocabulary"), ("examples",)),
    }[step]

    def made(names):
        channels = {}
        for name in names:
            artifact = types[name]()
            artifact.uri = str(folder / name)
            os.makedirs(artifact.uri, exist_ok=True)
            channels[name] = [artifact]
        return channels

    return made(inputs), made(outputs)


def run(step: str, folder: str, properties: dict[str, Any], beam: list[str]) -> dict[str, Any]:
    """Runs a step; returns what it took.

    Args:
      step: `parse`, `vocabulary` or `windows`.
      folder: of the artifacts.
      properties: the executor's.
      beam: Beam arguments.
    """
    executor = _executor(step)
    inputs, outputs = _channels(step, Path(folder))
    context = executor.Context(
        beam_pipeline_args=[*beam, "--sdk_container_image=unused"],
        tmp_dir=os.path.join(folder, "tmp"),
    )
    before = _peak_mb()
    began = time.perf_counter()
    executor(context).Do(inputs, outputs, properties)
    seconds = time.perf_counter() - began
    return {
        "seconds": seconds,
        "grown_mb": _peak_mb() - before,
    }


def _peak_mb() -> float:
    """The most memory that this process has had, and no parent of it before."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("the system does not tell the memory of a process")


def main() -> None:
    """Runs what the JSON on the command line says."""
    request = json.loads(sys.argv[1])
    sys.argv[1:] = []  # TFX takes a program's arguments for its own flags
    with contextlib.redirect_stdout(sys.stderr):
        result = run(**request)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
