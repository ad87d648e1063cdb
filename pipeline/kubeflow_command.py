"""`segue pipeline run --engine kubeflow`: compiles, and submits where there is an endpoint.

The options stand here, so that the command itself stays one of many; what they do is
in kubeflow/.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from music.errors import SegueError
from pipeline.options import DEFAULT_ROOT

Command = TypeVar("Command", bound=Callable[..., Any])

# Where the default volume is mounted (kubeflow.settings).
CLUSTER_ROOT = "/segue/root"
_PREFIX = "kubeflow."
_OPTIONS = (
    click.option("--image", help="[kubeflow] Image of the tasks."),
    click.option(
        "--cluster",
        type=click.Path(path_type=Path),
        help="[kubeflow] YAML file of resources, volumes and images; docs/kubeflow.md.",
    ),
    click.option(
        "--compile-only",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE.yaml",
        help="[kubeflow] Write the compiled pipeline there, and no more.",
    ),
    click.option(
        "--endpoint",
        envvar="SEGUE_KUBEFLOW_ENDPOINT",
        help="[kubeflow] URL of Kubeflow Pipelines; submits the run and follows it.",
    ),
    click.option(
        "--token",
        envvar="SEGUE_KUBEFLOW_TOKEN",
        help="[kubeflow] For the endpoint; better in SEGUE_KUBEFLOW_TOKEN.",
    ),
    click.option("--namespace", help="[kubeflow] Of the run, where there are several users."),
    click.option("--experiment", help="[kubeflow] Under which it is shown (segue)."),
    click.option("--run-name", help="[kubeflow] Of the run (the pipeline's name)."),
    click.option("--detach", is_flag=True, help="[kubeflow] Do not wait for the run's end."),
    click.option(
        "--schedule",
        metavar="CRON",
        help="[kubeflow] Run it again and again: '0 3 * * *' is 3:00 every day; docs/retrain.md.",
    ),
)


def kubeflow_options(command: Command) -> Command:
    """Adds the options of a cluster; the command gets them as keywords."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def refuse_cluster_options(cluster: Mapping[str, Any], overrides: Sequence[str]) -> None:
    """Refuses a cluster's options where the pipeline runs on this machine.

    Raises:
      SegueError: one is given.
    """
    context = click.get_current_context()
    for name in cluster:
        # What the environment says may stand there for other runs.
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            option = name.replace("_", "-")
            raise SegueError(f"--{option} goes with --engine kubeflow; leave it out")
    for override in overrides:
        if override.startswith(_PREFIX):
            raise SegueError(f"--set {override} goes with --engine kubeflow; leave it out")


def run_on_kubeflow(
    data: Path,
    root: Path,
    preset: str,
    overrides: Sequence[str],
    cache: bool,
    cluster: Mapping[str, Any],
    verbose: bool,
) -> dict[str, Any]:
    """Checks, compiles, and submits when there is an endpoint.

    Args:
      data, root: as the containers see them; the default root is the volume's.
      preset: its name, or a YAML file as the containers see it.
      overrides: of `--set`, those of the cluster (`kubeflow.`) among them.
      cache: whether the backend may reuse tasks that have not changed.
      cluster: the options of this module, by name.
      verbose: whether TFX may say what it does.

    Returns:
      What was done, as JSON types.

    Raises:
      SegueError: anything is not allowed, or the run failed.
    """
    import tempfile

    from kubeflow.parameters import Parameters
    from kubeflow.settings import check_package, check_path, load_settings
    from kubeflow.submission import Endpoint, Kubeflow, Submission

    require_kfp()
    _check_schedule(cluster)
    own = [one for one in overrides if not one.startswith(_PREFIX)]
    theirs = [one.removeprefix(_PREFIX) for one in overrides if one.startswith(_PREFIX)]
    settings = load_settings(cluster["cluster"], theirs, image=cluster["image"])
    root = Path(CLUSTER_ROOT) if root == DEFAULT_ROOT else root
    parameters = Parameters(str(data), str(root), preset, 0, tuple(own))
    _check_preset(preset)
    config = parameters.configuration()
    for name in ("data", "root"):
        check_path(name, getattr(parameters, name), settings)
    _check_beam(config.beam_pipeline_args, settings)
    endpoint = None
    if cluster["endpoint"] and not cluster["compile_only"]:
        endpoint = Endpoint(cluster["endpoint"], cluster["token"] or "", cluster["namespace"] or "")
    if endpoint is None and not cluster["compile_only"]:
        raise SegueError(
            "there is nowhere to run it; give --endpoint URL, or --compile-only FILE.yaml to "
            "get the compiled pipeline"
        )
    with tempfile.TemporaryDirectory() as scratch:
        package = cluster["compile_only"] or Path(scratch, f"{settings.name}.yaml")
        check_package(package)
        wanted = Submission(
            package,
            parameters.values(),
            cluster["experiment"] or "segue",
            cluster["run_name"] or settings.name,
            settings.pipeline_root,
            settings.service_account,
        )
        # Before TFX is loaded, so that it is told within seconds.
        kubeflow = Kubeflow(endpoint) if endpoint else None
        _compile(parameters, settings, package, cache, verbose)
        if kubeflow is None:
            return {"compiled": str(package), "name": settings.name}
        if cluster["schedule"]:
            return _schedule(kubeflow, wanted, cluster["schedule"])
        run_id = kubeflow.submit(wanted)
    done = {"run": run_id, "name": settings.name, "link": kubeflow.link(run_id)}
    click.echo(f"run {run_id} of {settings.name}: {done['link']}", err=True)
    if cluster["detach"]:
        return done
    try:
        tasks = kubeflow.follow(run_id, lambda line: click.echo(line, err=True))
    except KeyboardInterrupt:
        click.echo(f"segue: stopped; the run goes on: {done['link']}", err=True)
        raise click.exceptions.Exit(130) from None
    return {**done, "tasks": tasks}


def _check_schedule(cluster: Mapping[str, Any]) -> None:
    """Refuses a schedule before anything is called or compiled."""
    if not cluster["schedule"]:
        return
    from kubeflow.cron import to_six_fields

    to_six_fields(cluster["schedule"])
    for option in ("compile_only", "detach"):
        if cluster[option]:
            raise SegueError(
                f"--schedule does not go with --{option.replace('_', '-')}; leave one of them out"
            )


def _schedule(kubeflow: Any, wanted: Any, cron: str) -> dict[str, Any]:
    from kubeflow.schedules import Schedules

    made, replaced = Schedules(kubeflow, wanted.experiment).put(wanted, cron)
    return {"schedule": made, "name": wanted.run_name, "cron": cron, "replaced": replaced}


def require_kfp() -> None:
    """Raises SegueError where kfp is not installed."""
    import importlib.util

    if importlib.util.find_spec("kfp") is None:
        raise SegueError("kfp is not installed; pip install 'segue[kubeflow]'")


def _check_beam(arguments: Sequence[str], settings: Any) -> None:
    if not arguments:
        return  # Beam takes seconds to be imported
    from kubeflow.settings import check_shared_artifacts
    from pipeline.beam_options import check_beam, is_remote

    check_beam(arguments)
    if is_remote(arguments):
        check_shared_artifacts(settings)


def _check_preset(preset: str) -> None:
    from pipeline.configuration import preset_names

    if preset.endswith((".yaml", ".yml")):
        raise SegueError(
            f"preset {preset} is a file of this machine, which the tasks do not see; choose one "
            f"of {', '.join(preset_names())} with --set, and give the run itself the path of a "
            "file on the volume as its parameter `preset`"
        )


def tell_kubeflow(done: Mapping[str, Any], as_json: bool) -> None:
    """Says what was done."""
    if as_json:
        click.echo(json.dumps(done, sort_keys=True))
    elif "compiled" in done:
        click.echo(
            f"pipeline {done['name']} is in {done['compiled']}; upload it, or try it here: "
            f"python -m kubeflow.one_machine {shlex.quote(done['compiled'])} --root DIR "
            "--parameter data=MIDI_FOLDER --parameter root=ROOT"
        )
    elif "schedule" in done:
        instead = f" in place of {', '.join(done['replaced'])}" if done["replaced"] else ""
        click.echo(
            f"recurring run {done['name']} ({done['schedule']}) comes at '{done['cron']}' by the "
            f"cluster's clock, mostly UTC{instead}; see: segue pipeline schedules"
        )
    elif "tasks" in done:
        click.echo(
            f"run {done['run']} has ended well, {len(done['tasks'])} tasks; whether the gates let "
            f"its model pass stands in the log of its Pusher: {done['link']}"
        )
    else:
        click.echo(f"run {done['run']} is on its way: {done['link']}")


def _compile(parameters: Any, settings: Any, out: Path, cache: bool, verbose: bool) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as logs:
        from pipeline.console import quiet

        with quiet(Path(logs), "compile", verbose):
            from kubeflow.compiler import compile_pipeline

            compile_pipeline(parameters, settings, out, cache)
