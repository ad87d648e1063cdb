"""`segue report`: the last run as a page."""

from __future__ import annotations

import json
from pathlib import Path

import click

from pipeline.options import AS_JSON, ROOT


@click.command()
@ROOT
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Where the page goes (default: report.html in --root).",
)
@AS_JSON
def report(root: Path, out: Path | None, as_json: bool) -> None:
    """What the last run learned, what it was judged by and what it played, as one HTML page.

    Every run of the pipeline writes it by itself; the page needs no network and can be
    sent as it is.
    """
    from pipeline.history import last_run
    from pipeline.report.page import publish
    from pipeline.report.record import gather

    record = gather(last_run(root / "metadata.sqlite"))
    path = out or root / "report.html"
    publish(record, path)
    if as_json:
        found = {
            "page": str(path),
            "run": record.run,
            "version": record.version,
            "blessed": record.blessed,
            "reasons": record.reasons,
            "songs": len(record.songs),
        }
        click.echo(json.dumps(found, sort_keys=True))
    else:
        click.echo(f"the page: {path}")
