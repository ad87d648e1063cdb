"""`segue generate`: one song from the served model."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from music.errors import SegueError
from pipeline.options import AS_JSON, DEFAULT_ROOT, counter

if TYPE_CHECKING:
    from client.generation import Sampling


def _sampling_options(command: Callable) -> Callable:
    options = [
        click.option("--steps", type=int, default=250, show_default=True, help="Events to make."),
        click.option(
            "--temperature", type=float, default=1.0, show_default=True, help="0: the likeliest."
        ),
        click.option("--top-k", type=int, default=0, help="Draw from the k likeliest; 0: off."),
        click.option("--top-p", type=float, default=1.0, help="Draw from this share; 1: off."),
        click.option(
            "--seed", type=int, default=0, show_default=True, help="Another seed, another song."
        ),
        click.option("--may-end", is_flag=True, help="Let the model end the song before --steps."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def _sampling(values: dict[str, Any]) -> Sampling:
    from client.generation import Sampling

    names = ("temperature", "top_k", "top_p", "seed", "may_end")
    return Sampling(**{name: values[name] for name in names})


@click.command()
@click.option("--prime", type=click.Path(path_type=Path), help="MIDI file to play on from.")
@click.option(
    "--data", type=click.Path(path_type=Path), help="Folder to take a random section from."
)
@click.option("--prime-length", type=int, help="Events of the prime (default: the whole file).")
@_sampling_options
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("song.mid"),
    show_default=True,
    help="Where the song goes, a MIDI file.",
)
@click.option(
    "--roll", type=click.Path(path_type=Path), help="Draw its piano roll here (.svg or .png)."
)
@click.option(
    "--original",
    is_flag=True,
    help="Make it again from where it copies more than the composer's songs share.",
)
@click.option(
    "--tries",
    type=int,
    default=8,
    show_default=True,
    help="How often, with --original.",
)
@click.option("--stream", is_flag=True, help="Make it in chunks, and show how it grows.")
@click.option("--paper-loop", is_flag=True, help="One call a note over a sliding window.")
@click.option("--target", default="127.0.0.1:8500", show_default=True, help="The model server.")
@click.option("--model", default="segue", show_default=True, help="The model's name there.")
@click.option("--model-version", type=int, help="The version (default: the newest).")
@click.option("--timeout", type=float, default=60.0, show_default=True, help="Seconds a call.")
@click.option(
    "--root",
    type=click.Path(path_type=Path),
    default=DEFAULT_ROOT,
    show_default=True,
    help="Of the pipeline that made the model; its training songs say what is a copy.",
)
@AS_JSON
def generate(
    prime: Path | None,
    data: Path | None,
    prime_length: int | None,
    steps: int,
    out: Path,
    roll: Path | None,
    original: bool,
    tries: int,
    stream: bool,
    paper_loop: bool,
    target: str,
    model: str,
    model_version: int | None,
    timeout: float,
    root: Path,
    as_json: bool,
    **sampling: Any,
) -> None:
    """Make a song with the served model; without --prime or --data, from nothing.

    It is held against the songs that the model learned from: the longest run of notes
    that stands in one of them, in any key, is told with its place.
    """
    from client.songs import GenerateRequest, generate_song
    from pipeline.originals import find_check

    if stream and paper_loop:
        raise SegueError("both --stream and --paper-loop were given; choose one")
    request = GenerateRequest(
        out=out,
        roll=roll,
        prime=prime,
        data=data,
        prime_length=prime_length,
        steps=steps,
        sampling=_sampling(sampling),
        original=original,
        tries=tries,
        mode="stream" if stream else "paper-loop" if paper_loop else "call",
        target=target,
        model=model,
        version=model_version,
        timeout=timeout,
    )
    made = generate_song(request, counter("events"), lambda facts: find_check(root, facts))
    if as_json:
        click.echo(json.dumps(made.as_dict(), sort_keys=True))
    else:
        click.echo(
            f"{made.out}: {made.notes} notes by {made.model} version {made.version}, "
            f"seed {request.sampling.seed}, {made.seconds:.2f} s "
            f"({made.events_per_second:.0f} events a second)"
        )
        if made.originality is not None:
            again = f", made again {made.remade} times" if made.remade else ""
            click.echo(f"{made.originality.line()}{again}")
        else:
            click.echo(f"originality not checked: {made.unchecked}")
