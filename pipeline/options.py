"""Options that several commands share."""

from __future__ import annotations

import sys
from collections.abc import Callable
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


def counter(what: str) -> Callable[[int, int], None]:
    """A line that counts up on a terminal, and stays silent elsewhere."""

    def tell(done: int, of: int) -> None:
        if sys.stderr.isatty():
            end = "\n" if done == of else ""
            sys.stderr.write(f"\r{done} of {of} {what}{end}")
            sys.stderr.flush()

    return tell
