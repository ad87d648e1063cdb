"""`segue generate`: one song from the served model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from music.errors import SegueError
from pipeline.options import AS_JSON, DEFAULT_ROOT, counter
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
    from client.generation import ModelFacts
    from client.originality import OriginalityCheck
    from client.request import GenerateRequest, SongReport

# Events of a chunk of --stream: a bar or so, so that notes come while they are made.
_CHUNK = 8


@click.command()
@click.option(
    "--prime", type=click.Path(path_type=Path), help="MIDI or MusicXML file to play on from."
)
@click.option(
    "--data", type=click.Path(path_type=Path), help="Folder to take a random section from."
)
@click.option("--song", help="A song of --data by its name, to play on from.")
@click.option("--prime-length", type=int, help="Events of the prime (default: the whole file).")
@click.option("--continue", "whole", is_flag=True, help="Write the song that it goes on from, too.")
@click.option(
    "--count", type=int, default=1, show_default=True, help="Songs, by seeds one after the other."
)
@sampling_options
@shape_options
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("song.mid"),
    show_default=True,
    help="Where the song goes, a MIDI file; other formats stand beside it.",
)
@formats_option("midi")
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
    help="How often, with --original (default: 8).",
)
@click.option("--stream", is_flag=True, help="Make it in chunks, and show the notes as they come.")
@click.option("--paper-loop", is_flag=True, help="One call a note over a sliding window.")
@click.option(
    "--target",
    default="127.0.0.1:8500",
    show_default=True,
    help="The model server, or several by commas.",
)
@security_options
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
@click.pass_context
def generate(ctx: click.Context, root: Path, stream: bool, as_json: bool, **values: Any) -> None:
    """Make a song with the served model; without --prime or --data, from nothing.

    It is held against the songs that the model learned from: the longest run of notes
    that stands in one of them, in any key, is told with its place.
    """
    from client.songs import generate_songs
    from pipeline.originals import find_check, find_original
    from pipeline.terminal_notes import NoteLines

    if values["tries"] is not None and not values["original"]:
        raise SegueError(f"--tries {values['tries']} says how often with --original; give both")
    if stream and values["paper_loop"]:
        raise SegueError("both --stream and --paper-loop were given; choose one")

    def check(facts: ModelFacts) -> OriginalityCheck:
        return find_check(root, facts)

    request = _request(values, stream)
    notes = NoteLines() if stream else None
    made = generate_songs(
        request,
        None if stream else counter("events"),
        check,
        notes,
        lambda facts: find_original(root, facts).composer,
    )
    if notes is not None:
        notes.end()
    good = [one for one in made if not isinstance(one, SegueError)]
    if as_json:
        told: Any = [one.as_dict() for one in good]
        click.echo(
            json.dumps(told if request.count > 1 else told[0] if told else None, sort_keys=True)
        )
    else:
        for one in good:
            _tell(one)
    refused = [one for one in made if isinstance(one, SegueError)]
    if refused:
        which = f"{len(refused)} of {request.count} songs: " if request.count > 1 else ""
        raise SegueError(f"{which}{refused[0]}")


def _request(values: dict[str, Any], stream: bool) -> GenerateRequest:
    from client.rendering import parse_formats
    from client.request import DEFAULT_TRIES, GenerateRequest

    return GenerateRequest(
        out=values["out"],
        formats=parse_formats(values["formats"]),
        soundfont=values["soundfont"],
        roll=values["roll"],
        prime=values["prime"],
        data=values["data"],
        song=values["song"],
        prime_length=values["prime_length"],
        count=values["count"],
        steps=values["steps"],
        sampling=sampling_of(values),
        ending=values["ending"],
        shape=shape_of(values),
        whole=values["whole"],
        original=values["original"],
        tries=DEFAULT_TRIES if values["tries"] is None else values["tries"],
        mode="stream" if stream else "paper-loop" if values["paper_loop"] else "call",
        chunk=_CHUNK,
        target=values["target"],
        model=values["model"],
        version=values["model_version"],
        timeout=values["timeout"],
        security=security_of(values),
    )


def _tell(made: SongReport) -> None:
    seed = made.sampling["seed"]
    click.echo(
        f"{made.out}: {made.notes} notes by {made.model} version {made.version}, "
        f"seed {seed}, {made.seconds:.2f} s ({made.events_per_second:.0f} events a second)"
    )
    others = [name for name in made.files if name != made.out]
    if others:
        click.echo(f"  {', '.join(others)}")
    if made.originality is not None:
        times = "once" if made.remade == 1 else f"{made.remade} times"
        again = f", made again {times}" if made.remade else ""
        click.echo(f"{made.originality.line()}{again}")
    else:
        click.echo(f"originality not checked: {made.unchecked}")
