"""Runs the pipeline on this machine.

`segue pipeline run --engine local` calls `run`. TFX's own command line starts this
file with no arguments, so there the environment says what to run:

    SEGUE_DATA     folder of MIDI files
    SEGUE_ROOT     where everything goes (default: ./segue-root)
    SEGUE_PRESET   a preset's name or file (default: default)
    SEGUE_SET      overrides, separated by commas: training.epochs=3,split.salt=b

    tfx pipeline create --engine local --pipeline_path pipeline/local_runner.py
    tfx run create --engine local --pipeline_name segue
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from components.files import FACTS_FILE
from components.progress import report
from music.errors import SegueError, printable
from pipeline.configuration import Configuration, load_configuration
from pipeline.lock import exclusive
from pipeline.retrain import ALL, Plan, make_plan, remember

if TYPE_CHECKING:
    from tfx.orchestration.pipeline import Pipeline


def run(config: Configuration) -> None:
    """Runs every step whose inputs have changed, with the root for itself.

    Raises:
      SegueError: another run uses the root, or a step refuses its input.
    """
    with exclusive(config.root):
        plan = make_plan(config)
        if plan.nothing:
            report("Pipeline", plan.nothing)
            return
        run_locked(config, plan)


def run_locked(config: Configuration, plan: Plan = ALL) -> None:
    """As `run`, for a caller that holds the root already, and has a plan.

    The page of the run lies in the root afterwards; where it cannot be made, that is told
    and the run stands.
    """
    from pipeline.beam_options import check_beam, check_job_server
    from pipeline.graph import create_pipeline
    from pipeline.history import last_run

    check_beam(config.beam_pipeline_args)
    check_job_server(config.beam_pipeline_args)
    check_root(config)
    check_service(config)
    if plan.news:
        report("Retrain", plan.news, start=plan.start)
    _run_nodes(create_pipeline(config, plan.content, plan.start), config)
    _leave_page(config)
    if config.retrain.looks:
        remember(config, plan, last_run(config.metadata_path))


def _leave_page(config: Configuration) -> None:
    from pipeline.history import last_run
    from pipeline.report.page import publish
    from pipeline.report.record import gather

    try:
        publish(gather(last_run(config.metadata_path)), config.report_path)
    except SegueError as error:
        config.report_path.unlink(missing_ok=True)  # it would be of another run
        report("Report", f"there is no page of this run: {error}")


def run_windows_locked(config: Configuration) -> None:
    """Runs the pipeline as far as the windows, for a caller that holds the root.

    Raises:
      SegueError: a step refuses its input.
    """
    from pipeline.beam_options import check_beam, check_job_server
    from pipeline.graph import create_windows_pipeline

    check_beam(config.beam_pipeline_args)
    check_job_server(config.beam_pipeline_args)
    check_root(config)
    _run_nodes(create_windows_pipeline(config), config)


def _run_nodes(pipeline: Pipeline, config: Configuration) -> None:
    from tfx.orchestration.local.local_dag_runner import LocalDagRunner

    from pipeline.beam_options import told_of_workers

    # Where ML Metadata makes its file; the graph makes no folder by being made.
    config.metadata_path.parent.mkdir(parents=True, exist_ok=True)
    with told_of_workers(config.beam_pipeline_args):
        LocalDagRunner().run(pipeline)


def check_root(config: Configuration) -> None:
    """Refuses a root whose places are taken by something else.

    Raises:
      SegueError: a file stands where a folder belongs, the metadata is none, or the
        pin of a version is damaged, which the Pusher would find after the training.
    """
    from components.versions import pinned_version
    from pipeline.history import check_database

    for folder in (config.artifacts_dir, config.serving_dir):
        if folder.exists() and not folder.is_dir():
            raise SegueError(f"{folder} is a file; remove it, or choose another --root")
    if config.report_path.is_dir():
        raise SegueError(f"{config.report_path} is a folder; remove it, or choose another --root")
    metadata = config.metadata_path
    if metadata.exists():
        check_database(metadata)
    pinned_version(str(config.serving_dir))


def check_service(config: Configuration) -> None:
    """Refuses a run whose model could not be compared with the one in service.

    Raises:
      SegueError: they speak different codecs, or the one in service is damaged.
    """
    import json

    from components.versions import newest_version

    version = newest_version(str(config.serving_dir))
    if version is None:
        return
    try:
        served = json.loads(Path(version, "assets", FACTS_FILE).read_text())["codec"]
        _read_variables(version)
    except Exception as error:  # whatever a damaged file makes its readers say
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise SegueError(
            f"the model in service, {version}, is damaged ({reason}); remove that folder"
        ) from error
    if served != dict(config.codec):
        raise SegueError(
            f"the model in service under {config.root} speaks the codec {served}, this run "
            f"trains {dict(config.codec)}: they cannot be compared; choose another --root"
        )


def _read_variables(version: str) -> None:
    """Reads every variable of a SavedModel, as loading it will."""
    import tensorflow as tf

    reader = tf.train.load_checkpoint(str(Path(version, "variables", "variables")))
    for name in reader.get_variable_to_shape_map():
        reader.get_tensor(name)


def configuration_from_environment() -> Configuration:
    """What the environment asks for.

    Raises:
      SegueError: SEGUE_DATA is not set, or anything in it is wrong.
    """
    data = os.environ.get("SEGUE_DATA")
    if not data:
        raise SegueError("SEGUE_DATA is not set; it names the folder of MIDI files to learn from")
    overrides = [item for item in os.environ.get("SEGUE_SET", "").split(",") if item]
    return load_configuration(
        Path(data),
        Path(os.environ.get("SEGUE_ROOT", "segue-root")),
        os.environ.get("SEGUE_PRESET", "default"),
        overrides,
    )


if __name__ == "__main__":
    import sys

    try:
        run(configuration_from_environment())
    except SegueError as error:
        sys.exit(f"segue: {printable(str(error))}")
