"""`segue models`: what was pushed, and which of it is in service."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from music.errors import SegueError
from pipeline.options import AS_JSON, ROOT

if TYPE_CHECKING:
    from pipeline.registry import Change, Registry

_STATUS_SECONDS = 10.0


def _registry(root: Path) -> Registry:
    from pipeline.configuration import MODEL_NAME
    from pipeline.registry import Registry

    return Registry(root, root / "serving" / MODEL_NAME)


@click.group()
def models() -> None:
    """Versions of the model: list, roll back, pin, prune.

    Every push makes a version, and servers take the highest there is. A version that is
    taken out of service is parked: its folder is renamed to VERSION.parked, which no
    server looks at. Running servers, the embedded one and TensorFlow Serving, follow
    within their poll (a second by default) and finish the calls they have begun.
    """


@models.command("list")
@ROOT
@click.option("--target", metavar="HOST:PORT", help="Also ask this server what it has loaded.")
@click.option("--model", help="The model's name on that server (default: segue).")
@AS_JSON
def list_versions(root: Path, target: str | None, model: str | None, as_json: bool) -> None:
    """Show every version, and what a server says of it.

    Newest first: state, time of the push, size, preset, held-out nats an event. --target
    adds a column with what a running server has made of each.
    """
    from pipeline.configuration import MODEL_NAME

    if model and not target:
        raise SegueError("--model names a model of a server; say which server with --target")
    registry = _registry(root)
    found = registry.versions()
    rows = [version.as_dict() for version in found]
    notes = registry.notes(found)
    if target:
        _add_server(rows, notes, target, model or MODEL_NAME)
    if as_json:
        listing = {
            "folder": str(registry.folder),
            "in_service": next((r["version"] for r in rows if r["state"] == "in service"), None),
            "pinned": next((row["version"] for row in rows if row["pinned"]), None),
            "versions": rows,
            "notes": notes,
        }
        click.echo(json.dumps(listing, sort_keys=True))
        return
    click.echo(_table(rows, target) if rows else f"no version in {registry.folder}")
    for note in notes:
        click.echo(note)


@models.command()
@ROOT
@click.option("--to", type=int, metavar="VERSION", help="Go to this one, which may be parked.")
@AS_JSON
def rollback(root: Path, to: int | None, as_json: bool) -> None:
    """Go back to an earlier version.

    To the one before the version in service, or to --to VERSION. What stands above it is
    parked; `rollback --to` a parked version undoes that. The next push goes into service
    as always: to keep it out, pin a version instead.
    """
    _tell(_registry(root).rollback(to), as_json)


@models.command()
@ROOT
@click.argument("version", type=int, required=False)
@click.option("--release", is_flag=True, help="As `segue models unpin`.")
@AS_JSON
def pin(root: Path, version: int | None, release: bool, as_json: bool) -> None:
    """Put VERSION in service and keep it there.

    Versions above it are parked, and so is everything that is pushed from now on, until
    `segue models unpin`.
    """
    if release == (version is not None):
        raise SegueError("name the version to pin, or --release the pin there is")
    registry = _registry(root)
    if version is None:
        _tell(registry.unpin(), as_json)
    else:
        _tell(registry.pin(version), as_json, pinned=version)


@models.command()
@ROOT
@AS_JSON
def unpin(root: Path, as_json: bool) -> None:
    """Release the pin; the newest goes in service."""
    _tell(_registry(root).unpin(), as_json)


@models.command()
@ROOT
@click.option("--keep", type=int, required=True, metavar="N", help="So many of the newest stay.")
@click.option("--dry-run", is_flag=True, help="Only tell what would be deleted.")
@AS_JSON
def prune(root: Path, keep: int, dry_run: bool, as_json: bool) -> None:
    """Delete the oldest versions.

    The --keep newest stay, parked ones counted, and in any case the version in service
    and the pinned one.
    """
    pruned = _registry(root).prune(keep, dry_run)
    if as_json:
        done = {"deleted": list(pruned.deleted), "bytes": pruned.bytes, "dry_run": dry_run}
        click.echo(json.dumps(done, sort_keys=True))
    elif pruned.deleted:
        listed = ", ".join(map(str, pruned.deleted))
        verb = "would delete" if dry_run else "deleted"
        click.echo(f"{verb} {listed} ({_megabytes(pruned.bytes)})")
    else:
        click.echo("nothing to delete")


def _tell(change: Change, as_json: bool, pinned: int | None = None) -> None:
    if as_json:
        done = {
            "in_service": change.in_service,
            "parked": list(change.parked),
            "unparked": list(change.unparked),
            "pinned": pinned,
        }
        click.echo(json.dumps(done, sort_keys=True))
        return
    if change.in_service is None:
        click.echo("the pin is released; no version is in service")
        return
    line = f"version {change.in_service} is in service"
    if pinned is not None:
        line += " and pinned"
    if change.parked:
        line += f"; parked: {', '.join(map(str, change.parked))}"
    click.echo(line)


def _add_server(rows: list[dict[str, Any]], notes: list[str], target: str, model: str) -> None:
    """Adds what a running server says of each version, and those only it knows."""
    from client.connection import Connection

    with Connection(target, model, timeout=_STATUS_SECONDS) as connection:
        statuses = {status.version: status for status in connection.status()}
    for row in rows:
        status = statuses.pop(row["version"], None)
        row["server"] = status and {"state": status.state, "error": status.error}
    others = [str(n) for n, status in statuses.items() if status.state == "AVAILABLE"]
    if others:
        notes.append(
            f"{target} serves {', '.join(others)}, not in this folder: it has another "
            "--model_base_path, or has not looked since"
        )


def _table(rows: list[dict[str, Any]], target: str | None) -> str:
    from datetime import datetime

    heads = ["version", "state", "pushed", "size", "preset", "nats"] + (
        ["server"] if target else []
    )
    lines = [heads]
    for row in rows:
        state = row["state"] + (", pinned" if row["pinned"] else "")
        if row["problem"]:
            state += f", damaged ({row['problem']})"
        pushed = datetime.fromisoformat(row["pushed"]).astimezone()
        nats = "-" if row["nats"] is None else f"{row['nats']:.3f}"
        cells = [
            str(row["version"]),
            state,
            f"{pushed:%Y-%m-%d %H:%M}",
            _megabytes(row["bytes"]),
            row["preset"] or "-",
            nats,
        ]
        if target:
            said = row["server"]
            cells.append("-" if said is None else _server_words(said))
        lines.append(cells)
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def _server_words(said: dict[str, str]) -> str:
    error = " ".join(said["error"].split())
    if len(error) > 100:
        error = error[:100] + "..."
    return said["state"] + (f": {error}" if error else "")


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
