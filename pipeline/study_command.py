"""`segue study`: an experiment of the paper's, from songs to a page."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from pipeline.options import AS_JSON


@click.group()
def study() -> None:
    """Experiments of the paper's, as runs that anybody can repeat."""


@study.command("paper")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Folder of MIDI files (default: Bach's chorales, as in the demo).",
)
@click.option(
    "--root",
    type=click.Path(path_type=Path),
    default=Path("segue-study"),
    show_default=True,
    help="Folder of everything that the study makes.",
)
@click.option(
    "--size",
    type=click.Choice(["quick", "small", "full"]),
    default="small",
    show_default=True,
    help="quick: does everything run? small: less than an hour on two cores. full: hours.",
)
@AS_JSON
@click.pass_context
def study_paper(
    ctx: click.Context, data: Path | None, root: Path, size: str, as_json: bool
) -> None:
    """Section 4.2 of the paper: dropout, batch, early stopping, L1 and L2, activations.

    Trains the paper's preset with one thing changed at a time, and writes what came of it
    to study.html and study.json in --root. Stopped, it goes on where it was; what is done
    is not done again.
    """
    found = _run(root, data, size, ctx.obj["verbose"])
    if as_json:
        arms = [
            {name: value for name, value in arm.items() if name != "epochs"}
            for arm in found["arms"]
        ]
        click.echo(json.dumps({**found, "arms": arms, "root": str(root)}, sort_keys=True))
        return
    for line in _lines(found):
        click.echo(line)
    click.echo(f"the page: {root / 'study.html'}")


def _run(root: Path, data: Path | None, size: str, verbose: bool) -> dict[str, Any]:
    from music.folder import midi_files
    from pipeline.lock import exclusive
    from pipeline.study.arms import SIZES
    from pipeline.study.run import StudySettings, prepare, run_study

    if data is not None:
        midi_files(data)  # told before anything is made
    # Held from here, so that a second study is told before ten seconds of imports.
    with exclusive(root):
        config = prepare(StudySettings(root, data, size), _count)
        from pipeline.console import quiet
        from pipeline.study.page import publish

        with quiet(config.logs_dir, "study", verbose):
            return run_study(config, SIZES[size], lambda found: publish(root, found))


def _count(done: int, of: int) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r{done} of {of} chorales" + ("\n" if done == of else ""))
        sys.stderr.flush()


def _lines(found: dict[str, Any]) -> list[str]:
    """A line an arm, the best first, with the n-gram where it stands among them."""
    fitted = [arm for arm in found["arms"] if arm["broke_down"] is None]
    rows = [
        (
            arm["best_nats"],
            f"{arm['best_nats']:.3f}  {arm['title']} (epoch {arm['best_epoch']})",
        )
        for arm in fitted
    ]
    if found["ngram"]["nats"] is not None:
        rows.append((found["ngram"]["nats"], f"{found['ngram']['nats']:.3f}  n-gram"))
    reused = len(found["arms"]) - len(found["trained"])
    told = f"{len(found['arms'])} arms, {reused} of them made before" if reused else None
    head = f"held-out nats a token ({told})" if told else "held-out nats a token"
    return [head, *(line for _, line in sorted(rows))]
