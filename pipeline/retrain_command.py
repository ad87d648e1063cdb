"""What of the command line is about runs that come back: options, and the list of schedules."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar

import click

from pipeline.options import AS_JSON

Command = TypeVar("Command", bound=Callable[..., Any])

_OPTIONS = (
    click.option(
        "--warm-start",
        type=click.Choice(["none", "served"]),
        help="served: go on from the weights in service, if there is new music (none).",
    ),
    click.option(
        "--if-new",
        is_flag=True,
        help="End at once where a version has been made of this music and these settings.",
    ),
)


def retrain_options(command: Command) -> Command:
    """Adds `--warm-start` and `--if-new`; the command gets them as keywords."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def retrain_overrides(warm_start: str | None, if_new: bool) -> list[str]:
    """The same as settings, `key=value` each; what was not said stays the preset's."""
    told = [f"retrain.warm_start={warm_start}"] if warm_start else []
    return [*told, *(["retrain.if_new=true"] if if_new else [])]


def _endpoint_options(command: Command) -> Command:
    options = (
        click.option(
            "--endpoint",
            envvar="SEGUE_KUBEFLOW_ENDPOINT",
            required=True,
            help="URL of Kubeflow Pipelines.",
        ),
        click.option(
            "--token",
            envvar="SEGUE_KUBEFLOW_TOKEN",
            default="",
            help="For the endpoint; better in SEGUE_KUBEFLOW_TOKEN.",
        ),
        click.option("--namespace", default="", help="Of the runs, where there are several users."),
        click.option(
            "--experiment", default="segue", show_default=True, help="Under which they are shown."
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def _schedules(endpoint: str, token: str, namespace: str, experiment: str) -> Any:
    from kubeflow.schedules import Schedules
    from kubeflow.submission import Endpoint, Kubeflow
    from pipeline.kubeflow_command import require_kfp

    require_kfp()
    return Schedules(Kubeflow(Endpoint(endpoint, token, namespace)), experiment)


@click.command()
@_endpoint_options
@AS_JSON
def schedules(as_json: bool, **endpoint: str) -> None:
    """List the recurring runs on Kubeflow (`segue pipeline run --schedule` makes them)."""
    found = _schedules(**endpoint).all()
    if as_json:
        click.echo(json.dumps([one.as_dict() for one in found], sort_keys=True))
        return
    for one in found:
        click.echo(f"{one.name}  {one.cron or '-'}  {one.state}  {one.id}")
    if not found:
        click.echo(f"no recurring run in the experiment {endpoint['experiment']}")


@click.command()
@click.argument("name")
@_endpoint_options
@AS_JSON
def unschedule(name: str, as_json: bool, **endpoint: str) -> None:
    """Delete the recurring run NAME from Kubeflow; runs that are under way go on."""
    deleted = _schedules(**endpoint).delete(name)
    if as_json:
        click.echo(json.dumps({"deleted": deleted}, sort_keys=True))
    else:
        click.echo(f"deleted {name} ({', '.join(deleted)})")
