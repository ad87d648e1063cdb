"""`segue regenerate`: a new song for every song of a catalogue."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from music.errors import SegueError, printable
from pipeline.options import AS_JSON, BEAM, DEFAULT_ROOT
from pipeline.song_options import (
    formats_option,
    sampling_of,
    sampling_options,
    security_of,
    security_options,
    shape_of,
    shape_options,
)

if TYPE_CHECKING:
    from client.catalogue import Outcome, RegenerateRequest
    from client.catalogue.plan import Plan
    from client.catalogue.run import Making
    from client.generation import ModelFacts

# What a script is told: some songs could not be made, or some files are not as they were.
SOME_FAILED = 3
_SHOWN = 10


@click.command()
@click.argument("catalogue", type=click.Path(path_type=Path))
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="Folder of the new songs."
)
@click.option(
    "--root",
    type=click.Path(path_type=Path),
    default=DEFAULT_ROOT,
    show_default=True,
    help="Of the pipeline that made the model.",
)
@click.option("--target", help="Ask this model server (HOST:PORT, or several by commas) instead.")
@security_options
@click.option("--model", default="segue", show_default=True, help="The model's name there.")
@click.option("--model-version", type=int, help="The version (default: the one in service).")
@click.option("--prime-length", type=int, help="Events to go on from (default: a window).")
@sampling_options
@shape_options
@formats_option("midi,roll")
@click.option("--original", is_flag=True, help="Make a song again from where it copies.")
@click.option("--tries", type=int, help="How often, with --original (default: 8).")
@click.option("--limit", type=int, help="Only the first so many songs of the catalogue.")
@click.option("--shard", help="Only a share of them: 1/4, 2/4 ..., each on a machine of its own.")
@click.option("--batch", type=int, default=64, show_default=True, help="Songs made together.")
@click.option("--workers", type=int, help="Processes (default: one a core).")
@BEAM
@click.option("--retry", is_flag=True, help="Try songs again that failed before.")
@click.option(
    "--prune", is_flag=True, help="Delete songs of earlier runs that are no longer asked for."
)
@click.option("--no-gallery", is_flag=True, help="Write no page.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@click.option("--verify", "verifies", is_flag=True, help="Hold what is there against its manifest.")
@AS_JSON
@click.pass_context
def regenerate(
    ctx: click.Context, catalogue: Path, out: Path, as_json: bool, **values: Any
) -> None:
    """A new song for every song of CATALOGUE, each going on from a piece of its own.

    A second run makes only what has changed; one that was stopped goes on where it stood.
    Exit code 0: all are there; 3: some could not be made, or are not as they were.
    """
    if values["verifies"]:
        _verify(ctx, catalogue, out, as_json)
        return
    request = _request(catalogue, out, values)
    _check(request)
    beam = _beam(values["beam"], _workers(values["workers"]))
    facts, making = _find(values, beam)
    if values["dry_run"]:
        from client.catalogue.run import plan_run

        _tell_plan(plan_run(request, facts, making), as_json)
        return
    outcome = _run(request, facts, making, ctx.obj["verbose"])
    if as_json:
        click.echo(json.dumps(outcome.as_dict(), sort_keys=True))
    else:
        _tell(outcome)
    if outcome.failures:
        ctx.exit(SOME_FAILED)


def _request(catalogue: Path, out: Path, values: dict[str, Any]) -> RegenerateRequest:
    from client.catalogue.request import RegenerateRequest, Shard
    from client.rendering import parse_formats
    from client.request import DEFAULT_TRIES

    if values["tries"] is not None and not values["original"]:
        raise SegueError(f"--tries {values['tries']} says how often with --original; give both")
    return RegenerateRequest(
        catalogue=catalogue,
        out=out,
        steps=values["steps"],
        sampling=sampling_of(values),
        ending=values["ending"],
        prime_length=values["prime_length"],
        shape=shape_of(values),
        formats=parse_formats(values["formats"]),
        soundfont=values["soundfont"],
        original=values["original"],
        tries=DEFAULT_TRIES if values["tries"] is None else values["tries"],
        limit=values["limit"],
        shard=None if values["shard"] is None else Shard.parse(values["shard"]),
        batch=values["batch"],
        retry=values["retry"],
    )


def _check(request: RegenerateRequest) -> None:
    """Tells what cannot be right before anything is opened or made."""
    from client.catalogue.plan import check_apart
    from client.output import check_writable
    from music.folder import midi_files

    midi_files(request.catalogue)
    check_apart(request)
    check_writable(request.out / "manifest.jsonl")


def _workers(asked: int | None) -> int:
    import os

    if asked is None:
        return len(os.sched_getaffinity(0))
    if not 1 <= asked <= 256:
        raise SegueError(f"workers {asked} is not allowed; it must be 1..256")
    return asked


def _beam(given: tuple[str, ...], workers: int) -> tuple[str, ...]:
    """Beam's arguments: as they are given, else a process for every worker here."""
    from pipeline.beam_options import beam_arguments, check_beam, check_job_server, read_arguments

    arguments = read_arguments(given)
    if not any(one.startswith("--runner") for one in arguments):
        spread = [f"--direct_num_workers={workers}", "--direct_running_mode=multi_processing"]
        # Named, since later Beams may choose a runner that has to be downloaded.
        arguments = ["--runner=DirectRunner", *(spread if workers > 1 else []), *arguments]
    if not given:
        return tuple(arguments)  # Beam is not imported before it is needed
    check_beam(arguments)
    check_job_server(arguments)
    return tuple(beam_arguments(arguments))


def _find(values: dict[str, Any], arguments: tuple[str, ...]) -> tuple[ModelFacts, Making]:
    """The model, what it says of itself, and how songs are made with it."""
    from client.catalogue.models import ServerModel
    from client.catalogue.run import Making
    from client.generation import GenerationClient
    from pipeline.local_model import SavedModel
    from pipeline.originals import find_original

    root = values["root"]
    if values["target"] is None:
        # Workers begin in folders of their own.
        model: Any = SavedModel.in_service(root.absolute(), values["model_version"])
    else:
        model = ServerModel(
            values["target"],
            values["model"],
            values["model_version"],
            security=security_of(values),
        )
    with model.open() as caller:
        facts = GenerationClient(caller).describe()
    check = reference = composer = None
    try:
        found = find_original(root.absolute(), facts)
        found.open()
        check, reference, composer = found, found.sha256, found.composer
    except SegueError as error:
        if values["original"]:
            raise
        click.echo(f"originality is not checked: {error}", err=True)
    return facts, Making(
        model,
        check,
        reference,
        composer,
        arguments,
        gallery=not values["no_gallery"],
        prune=values["prune"],
    )


def _run(request: RegenerateRequest, facts: ModelFacts, making: Making, verbose: bool) -> Outcome:
    from client.catalogue import regenerate as run
    from pipeline.beam_options import told_of_workers
    from pipeline.console import quiet

    # Beam's and TensorFlow's chatter goes to a log beside the songs' records.
    logs = request.out / ".segue" / "logs"
    with (
        quiet(logs, "regenerate", verbose, waiting=False) as console,
        _progress(console) as tell,
        told_of_workers(making.beam),
    ):
        return run(request, facts, making, tell)


@contextmanager
def _progress(console: Any) -> Iterator[Callable[[int, int], None]]:
    """A bar with songs a second and the time left, on a terminal; silence elsewhere."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("songs · {task.fields[rate]}"),
        TimeRemainingColumn(compact=True),
        TextColumn("left"),
    )
    bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    task = bar.add_task("", total=None, rate="the model is being loaded")
    with bar:

        def tell(done: int, of: int) -> None:
            speed = bar.tasks[0].speed
            bar.update(task, completed=done, total=of)
            if speed is not None:
                bar.update(task, rate=f"{speed:.1f} a second")

        yield tell


def _tell(outcome: Outcome) -> None:
    speed = f" ({outcome.made / outcome.seconds:.1f} a second)" if outcome.made else ""
    click.echo(
        f"{outcome.selected:,} songs: {outcome.made:,} made{speed}, "
        f"{outcome.unchanged:,} there before, {len(outcome.failures):,} not possible"
    )
    for source, error in outcome.failures[:_SHOWN]:
        click.echo(printable(f"  {source}: {error}"))
    if len(outcome.failures) > _SHOWN:
        click.echo(f"  and {len(outcome.failures) - _SHOWN:,} more; see the manifest")
    if outcome.copies or outcome.flagged:
        click.echo(
            f"{outcome.copies:,} copy more than the composer's songs share, "
            f"{outcome.flagged:,} have signs of degeneration"
        )
    if outcome.missing:
        click.echo(f"{outcome.missing:,} songs of the catalogue were not asked for yet")
    if outcome.left:
        click.echo(f"{outcome.left:,} files of earlier songs are left; --prune deletes them")
    if outcome.pruned:
        click.echo(f"{outcome.pruned:,} files of earlier songs deleted")
    if outcome.gallery is not None:
        click.echo(f"to look at and to hear: {outcome.gallery}")


def _tell_plan(plan: Plan, as_json: bool) -> None:
    # Songs of the same bytes are made once, and are there each for itself.
    wanted = {job.identity for job in plan.to_make}
    to_make = [job for job in plan.selected if job.identity in wanted]
    problems = [job for job in to_make if job.problem is not None]
    told = {
        "songs": len(plan.jobs),
        "selected": len(plan.selected),
        "to_make": len(to_make),
        "unreadable": len(problems),
        "unchanged": len(plan.selected) - len(to_make),
        "settings": dict(plan.settings),
        "model": dict(plan.model),
    }
    if as_json:
        click.echo(json.dumps(told, sort_keys=True))
        return
    click.echo(
        f"{told['songs']:,} songs in the catalogue, {told['selected']:,} asked for: "
        f"{told['to_make']:,} to make, {told['unchanged']:,} unchanged"
    )
    for job in problems[:_SHOWN]:
        click.echo(printable(f"  {job.source}: {job.problem}"))


def _verify(ctx: click.Context, catalogue: Path, out: Path, as_json: bool) -> None:
    from client.catalogue.verify import verify

    found = verify(out, catalogue)
    if as_json:
        import dataclasses

        click.echo(json.dumps(dataclasses.asdict(found), sort_keys=True))
    else:
        for problem in found.problems:
            click.echo(printable(problem))
        if found.strangers:
            click.echo(f"{len(found.strangers):,} files in songs/ stand in no row of the manifest")
        state = (
            "as their manifest says" if not found.problems else f"{len(found.problems):,} are not"
        )
        click.echo(f"{found.songs:,} songs, {found.files:,} files: {state}")
    if found.problems:
        ctx.exit(SOME_FAILED)
