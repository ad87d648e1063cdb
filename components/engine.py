"""Which Beam runner does a step's work, and in how many processes.

A configuration that names a runner, or says how the DirectRunner is to run, is
followed to the letter (`beam_pipeline_args`). Otherwise the DirectRunner works
here, in several processes when the work is worth their start: each of them has to
import Beam first, which takes longer than a small catalogue takes altogether.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import apache_beam as beam

# Seconds of work on one core from which several processes finish sooner.
WORTH_PROCESSES = 20.0

_CHOSEN = ("--runner", "--direct_running_mode", "--direct_num_workers")


def chosen(arguments: Sequence[str]) -> bool:
    """Whether Beam arguments say who does the work."""
    return any(argument.split("=")[0] in _CHOSEN for argument in arguments)


def direct_arguments(arguments: Sequence[str], seconds: float) -> list[str]:
    """Beam arguments, with the DirectRunner's processes where nothing was chosen.

    Args:
      arguments: as configured.
      seconds: of work on one core, roughly.
    """
    cores = os.cpu_count() or 1
    if chosen(arguments):
        return list(arguments)
    if seconds < WORTH_PROCESSES or cores == 1:
        return [*arguments, "--direct_running_mode=in_memory", "--direct_num_workers=1"]
    return [
        *arguments,
        "--direct_running_mode=multi_processing",
        f"--direct_num_workers={cores}",
    ]


def make_pipeline(executor, seconds: float) -> beam.Pipeline:
    """The Beam pipeline of an executor.

    Args:
      executor: a TFX BaseBeamExecutor.
      seconds: that its work takes on one core, roughly.
    """
    executor._beam_pipeline_args = direct_arguments(executor._beam_pipeline_args, seconds)
    return executor._make_beam_pipeline()


def counters(result) -> dict[str, int]:
    """Segue's own counters of a pipeline that has run, by name, over all its stages."""
    totals: dict[str, int] = {}
    for counter in result.metrics().query()["counters"]:
        if counter.key.metric.namespace == "segue":
            name = counter.key.metric.name
            totals[name] = totals.get(name, 0) + (counter.committed or counter.attempted or 0)
    return totals
