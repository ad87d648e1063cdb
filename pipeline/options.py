"""Options that several commands share."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import click

DEFAULT_ROOT = Path("segue-root")

AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
ROOT = click.option(
    "--root",
    type=click.Path(path_type=Path),
    default=DEFAULT_ROOT,
    show_default=True,
    help="Folder of everything that a pipeline makes.",
)
BEAM = click.option(
    "--beam",
    multiple=True,
    metavar="ARGUMENT",
    help="An argument for Beam (--beam=--runner=PortableRunner), or @FILE with one a line.",
)


def beam_override(given: Sequence[str]) -> list[str]:
    """What `--beam` says, as a setting of the pipeline; none where nothing is said.

    Raises:
      SegueError: a file of arguments cannot be read.
    """
    if not given:
        return []
    from pipeline.beam_options import read_arguments

    return [f"beam_pipeline_args={json.dumps(read_arguments(given))}"]


def counter(what: str) -> Callable[[int, int], None]:
    """A line that counts up on a terminal, and stays silent elsewhere."""

    def tell(done: int, of: int) -> None:
        if sys.stderr.isatty():
            end = "\n" if done == of else ""
            sys.stderr.write(f"\r{done} of {of} {what}{end}")
            sys.stderr.flush()

    return tell
