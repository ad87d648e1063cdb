"""The `segue` command: the composition root.

Every command imports what it needs inside itself, so that `segue --help` answers
at once. A SegueError is one line and exit code 1 (75 where another run has the root);
anything else is a defect of ours: one line too, with the trace in the log (or on the
screen, with --verbose).
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from music.errors import SegueError, find_segue_error, printable
from pipeline.generate_command import generate
from pipeline.inspect_command import inspect
from pipeline.kubeflow_command import (
    kubeflow_options,
    refuse_cluster_options,
    run_on_kubeflow,
    tell_kubeflow,
)
from pipeline.listen_command import listen
from pipeline.models_commands import models
from pipeline.options import AS_JSON as _AS_JSON
from pipeline.options import BEAM, DEFAULT_ROOT, beam_override, counter
from pipeline.options import ROOT as _ROOT
from pipeline.regenerate_command import regenerate
from pipeline.report_command import report
from pipeline.retrain_command import retrain_options, retrain_overrides, schedules, unschedule
from pipeline.study_command import study

if TYPE_CHECKING:
    from pipeline.configuration import Configuration


class _Group(click.Group):
    """Turns errors into one line, whatever command they come from."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except BrokenPipeError:
            raise  # `segue ... | head`: click leaves in silence
        except KeyboardInterrupt:
            resumes = ctx.invoked_subcommand in ("pipeline", "study", "demo", "regenerate")
            told = "; the same command goes on where it stood" if resumes else ""
            click.echo(f"segue: stopped{told}", err=True)
            ctx.exit(130)
        except Exception as error:
            if ctx.params.get("verbose"):
                raise
            cause = find_segue_error(error)
            if cause is None:
                line = printable(" ".join(str(error).split())[:300])
                click.echo(
                    f"segue: this should not have happened: {type(error).__name__}: {line} "
                    "(run again as `segue --verbose ...` for the whole story)",
                    err=True,
                )
                ctx.exit(70)
            click.echo(f"segue: {printable(str(cause))}", err=True)
            ctx.exit(getattr(cause, "exit_code", 1))


def _terminated(*_: object) -> None:
    # An exception, so that servers and workers that were started are stopped.
    raise SystemExit(143)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--verbose", is_flag=True, help="Show the libraries' chatter, and traces.")
@click.version_option(package_name="segue")
@click.pass_context
def main(ctx: click.Context, verbose: bool) -> None:
    """Segue learns a composer's MIDI catalogue and plays on."""
    ctx.obj = {"verbose": verbose}
    # What goes wrong with a connection is told in our words; gRPC has its own on stderr.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _terminated)


# ---- corpus ----------------------------------------------------------------


@main.group()
def corpus() -> None:
    """The data set that is always there: music21's own corpus."""


@corpus.command("export")
@click.argument("composer")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder to write to.")
@click.option("--limit", type=click.IntRange(1), help="At most this many songs.")
@click.option("--parts", type=click.IntRange(1), help="Only scores with this many parts.")
@_AS_JSON
def corpus_export(
    composer: str, out: Path, limit: int | None, parts: int | None, as_json: bool
) -> None:
    """Write COMPOSER's scores as MIDI files (`bach`, `palestrina`, `joplin` ...)."""
    from music import corpus as corpora

    written = corpora.export(composer, out, limit=limit, parts=parts, on_song=counter("songs"))
    if as_json:
        click.echo(json.dumps({"composer": composer, "files": [str(path) for path in written]}))
    else:
        click.echo(f"{len(written)} songs in {out}")


# ---- pipeline --------------------------------------------------------------


@main.group()
def pipeline() -> None:
    """MIDI files to a model in service."""


@pipeline.command("run")
@click.option(
    "--engine",
    type=click.Choice(["local", "kubeflow"]),
    default="local",
    show_default=True,
    help="Where it runs.",
)
@click.option(
    "--data", type=click.Path(path_type=Path), required=True, help="Folder of MIDI files."
)
@click.option("--preset", default="default", show_default=True, help="A name, or a YAML file.")
@_ROOT
@click.option("--set", "overrides", multiple=True, help="One setting: training.epochs=3, say.")
@click.option(
    "--tune", is_flag=True, help="Search for better settings first (tuning.* says where)."
)
@BEAM
@click.option("--no-cache", is_flag=True, help="Run every step, also those that have not changed.")
@retrain_options
@kubeflow_options
@_AS_JSON
@click.pass_context
def pipeline_run(
    ctx: click.Context,
    engine: str,
    data: Path,
    preset: str,
    root: Path,
    overrides: tuple[str, ...],
    tune: bool,
    beam: tuple[str, ...],
    no_cache: bool,
    warm_start: str | None,
    if_new: bool,
    as_json: bool,
    **cluster: Any,
) -> None:
    """Parse, train, judge and push what can be learned from --data."""
    from music.folder import midi_files
    from pipeline.configuration import load_configuration

    if tune:
        overrides = (*overrides, "tuning.enabled=true")
    told = [*beam_override(beam), *retrain_overrides(warm_start, if_new)]
    overrides = (*overrides, *told)
    if engine == "kubeflow":
        verbose = ctx.obj["verbose"]
        done = run_on_kubeflow(data, root, preset, overrides, not no_cache, cluster, verbose)
        tell_kubeflow(done, as_json)
        return
    refuse_cluster_options(cluster, overrides)
    config = load_configuration(data, root, preset, overrides, cache=not no_cache)
    midi_files(config.data)  # told before ten seconds of imports
    outcome = _run_pipeline(config, ctx.obj["verbose"])
    if outcome.get("nothing"):
        click.echo(json.dumps(outcome, sort_keys=True) if as_json else outcome["nothing"])
        return
    if as_json:
        click.echo(json.dumps(outcome, sort_keys=True))
    elif outcome["cached"]:
        reused, steps = len(outcome["cached"]), len(outcome["cached"] + outcome["executed"])
        click.echo(f"{reused} of {steps} steps had not changed and were not run again")
    _require_pushed(outcome)
    if as_json:
        return
    if outcome["parked"]:
        click.echo(
            f"model segue version {outcome['version']} is in {config.serving_dir}, parked, "
            f"so another one is in service; see: segue models list --root {shlex.quote(str(root))}"
        )
    else:
        click.echo(
            f"model segue version {outcome['version']} is in {config.serving_dir}; "
            f"serve it: segue serve --root {shlex.quote(str(root))}"
        )
    if outcome["report"]:
        click.echo(f"what it learned and played: {outcome['report']}")


def _run_pipeline(config: Configuration, verbose: bool) -> dict[str, Any]:
    """Runs the pipeline with its chatter in a log; what it did, as JSON types."""
    from pipeline.console import quiet
    from pipeline.lock import exclusive
    from pipeline.retrain import make_plan

    # Held from here, so that a second run is told before ten seconds of imports.
    with exclusive(config.root):
        plan = make_plan(config)
        if plan.nothing:
            return {"nothing": plan.nothing, "version": plan.version, "root": str(config.root)}
        with quiet(config.logs_dir, "pipeline", verbose):
            from pipeline.history import last_run
            from pipeline.local_runner import run_locked
            from pipeline.outcome import read_outcome

            _with_trace_in_log(verbose, lambda: run_locked(config, plan))
            return read_outcome(config, last_run(config.metadata_path))


def _with_trace_in_log(verbose: bool, work: Callable[[], None]) -> None:
    """Leaves the trace of a failure in the log before it becomes one line."""
    import traceback

    try:
        work()
    except Exception as error:
        if find_segue_error(error) is None and not verbose:
            traceback.print_exc()  # stderr is the log here
        raise


def _require_pushed(outcome: dict[str, Any]) -> None:
    if not outcome["blessed"]:
        refusals = [
            outcome[name] for name in ("gate", "panel") if outcome[name].startswith("refused")
        ]
        page = f"; see {outcome['report']}" if outcome["report"] else ""
        raise SegueError(f"the model is not pushed; {'; and '.join(refusals)}{page}")
    if not outcome["present"]:
        raise SegueError(
            f"nothing has changed since version {outcome['version']} was pushed, but it is no "
            f"longer under {outcome['root']}/serving; run again with --no-cache"
        )


# ---- in modules of their own -----------------------------------------------

pipeline.add_command(schedules)
pipeline.add_command(unschedule)
main.add_command(generate)
main.add_command(inspect)
main.add_command(listen)
main.add_command(models)
main.add_command(regenerate)
main.add_command(report)
main.add_command(study)


# ---- serve -----------------------------------------------------------------


@main.command(
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    add_help_option=False,
)
@click.option("--root", type=click.Path(path_type=Path), default=DEFAULT_ROOT)
@click.option("-h", "--help", "wants_help", is_flag=True)
@click.pass_context
def serve(ctx: click.Context, root: Path, wants_help: bool) -> None:
    """Serve the newest model of --root (further flags as tensorflow_model_server's)."""
    from pipeline.configuration import MODEL_NAME
    from serving.__main__ import main as serve_main

    flags = list(ctx.args)
    if wants_help:
        click.echo("segue serve --root DIR takes the flags of `python -m serving`:\n")
        flags = ["--help"]
    if not any(flag.startswith("--model_base_path") for flag in flags):
        flags.append(f"--model_base_path={(root / 'serving' / MODEL_NAME).absolute()}")
    if ctx.obj["verbose"]:
        flags.append("--verbose")
    ctx.exit(serve_main(flags))


# ---- demo ------------------------------------------------------------------


@main.command()
@click.option(
    "--root",
    type=click.Path(path_type=Path),
    default=Path("segue-demo"),
    show_default=True,
    help="Folder of everything that the demo makes.",
)
@click.option(
    "--songs", type=click.IntRange(1, 100), default=3, show_default=True, help="Songs to make."
)
@click.option(
    "--chorales",
    type=click.IntRange(4, 400),
    default=180,
    show_default=True,
    help="Chorales to learn from.",
)
@click.option(
    "--preset", default="default", show_default=True, help="`smoke` is through in two minutes."
)
@_AS_JSON
@click.pass_context
def demo(
    ctx: click.Context, root: Path, songs: int, chorales: int, preset: str, as_json: bool
) -> None:
    """The whole way on Bach's chorales; ends with songs to hear."""
    from pipeline.demo import DemoSettings, run_demo

    result = run_demo(
        DemoSettings(root, songs, chorales, preset),
        lambda config: _run_pipeline(config, ctx.obj["verbose"]),
        _require_pushed,
        counter("chorales"),
        lambda line: click.echo(line, err=as_json),
    )
    if as_json:
        click.echo(json.dumps(result, sort_keys=True))


if __name__ == "__main__":
    main()
