"""Options that several commands share."""

from __future__ import annotations

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
