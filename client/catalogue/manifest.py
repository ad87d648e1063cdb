"""The manifest: a row for every song of a catalogue, made or failed.

`manifest.jsonl` has a JSON object a line, `manifest.parquet` the same as a table for
whoever counts and joins. The rows stand in the order of their sources' names and tell no
time and no path but their own, so that the same songs give the same bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from client.catalogue.plan import Plan
from client.catalogue.store import LINES, TABLE, Store
from music.errors import SegueError

if TYPE_CHECKING:
    import pyarrow


def rows_of(plan: Plan, known: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows of the songs that have a record, by the name of their source."""
    return [
        {
            **known[job.identity],
            "source": job.source,
            "title": job.title,
            "composer": job.composer,
        }
        for job in plan.jobs
        if job.identity in known
    ]


def write_manifest(store: Store, rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes both files.

    Raises:
      SegueError: the system refuses.
    """
    store.write(TABLE, table_bytes(rows))
    # Last, since it is the one that is read again.
    store.write(LINES, lines_bytes(rows))


def lines_bytes(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Rows as JSON lines."""
    return "".join(
        json.dumps(row, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n" for row in rows
    ).encode("utf-8", "replace")


def digest_of(rows: Sequence[Mapping[str, Any]]) -> str:
    """SHA-256 (hex) of the manifest that rows make."""
    return hashlib.sha256(lines_bytes(rows)).hexdigest()


def read_manifest(store: Store) -> list[dict[str, Any]]:
    """The rows of a folder's manifest; none where there is none yet.

    Raises:
      SegueError: it cannot be read.
    """
    path = store.folder / LINES
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise SegueError(f"{path} cannot be read: {reason}") from None
    rows = []
    # Not splitlines, for which more ends a line than for JSON, and names may have any of it.
    lines = text.removesuffix("\n").split("\n") if text else []
    for number, line in enumerate(lines, 1):
        try:
            row = check_row(json.loads(line))
        except (ValueError, RecursionError):
            raise SegueError(
                f"{path} is damaged at line {number}; delete it, and the songs are made again"
            ) from None
        rows.append(row)
    return rows


_KINDS = {
    "identity": str, "source": str, "source_sha256": str, "status": str, "seed": int,
    "model": dict, "settings": dict, "outputs": list,
}  # fmt: skip
_OUTPUT = {"role": str, "format": str, "path": str, "sha256": str, "bytes": int}


def check_row(row: Any) -> dict[str, Any]:
    """A row, once it has what is looked up in it.

    Raises:
      ValueError: it has not.
    """
    parts = [(row, _KINDS)]
    if isinstance(row, dict):
        parts.append((row.get("model"), {"sha256": str}))
        parts += [(one, _OUTPUT) for one in row.get("outputs") or ()]
    for part, kinds in parts:
        if not isinstance(part, dict):
            raise ValueError("no object")
        for name, kind in kinds.items():
            if not isinstance(part.get(name), kind):
                raise ValueError(name)
    if row["status"] == "made" and not isinstance(row.get("flags"), list):
        raise ValueError("flags")
    return row


def known_songs(store: Store, rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Records by identity: of the manifest, and of runs that did not come to their end.

    A record whose files are missing, or of another size, is none.
    """
    found = {}
    for row in rows:
        found[row["identity"]] = {
            name: value
            for name, value in row.items()
            if name not in ("source", "title", "composer")
        }
    found |= store.records()
    return {identity: one for identity, one in found.items() if store.has(one["outputs"])}


def table_bytes(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Rows as a Parquet file, a song a row: what is nested in a row becomes columns."""
    import pyarrow
    import pyarrow.parquet

    sink = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(table_of(rows), sink, compression="zstd")
    return sink.getvalue().to_pybytes()


def table_of(rows: Sequence[Mapping[str, Any]]) -> pyarrow.Table:
    """Rows as they stand in the Parquet file.

    Raises:
      ValueError, TypeError: a row holds what none of ours does.
    """
    import pyarrow

    schema = _schema()
    columns = {name: [_cell(row, name) for row in rows] for name in schema.names}
    return pyarrow.table(columns, schema=schema)


_TEXT = ("identity", "source", "title", "composer", "status", "error", "source_sha256",
         "model.name", "model.sha256")  # fmt: skip
_NUMBERS = ("model.version", "seed", "prime.offset", "prime.length", "events", "notes", "bars",
            "remade", "originality.run", "originality.bound", "originality.bar",
            "originality.source_bar")  # fmt: skip
_REALS = ("seconds", "measures.scale_consistency", "measures.pitch_class_entropy",
          "measures.groove_consistency", "measures.polyphony_rate", "measures.empty_beat_rate",
          "originality.percentile")  # fmt: skip


def _schema() -> pyarrow.Schema:
    import pyarrow as pa

    output = pa.struct(
        [
            ("role", pa.string()),
            ("format", pa.string()),
            ("path", pa.string()),
            ("sha256", pa.string()),
            ("bytes", pa.int64()),
        ]
    )
    return pa.schema(
        [(name, pa.string()) for name in _TEXT]
        + [(name, pa.int64()) for name in _NUMBERS]
        + [(name, pa.float64()) for name in _REALS]
        + [
            ("originality.is_copy", pa.bool_()),
            ("originality.title", pa.string()),
            ("flags", pa.list_(pa.string())),
            ("settings", pa.string()),
            ("outputs", pa.list_(output)),
        ]
    )


def _cell(row: Mapping[str, Any], name: str) -> Any:
    if name == "settings":
        return json.dumps(row["settings"], sort_keys=True)
    group, _, inner = name.partition(".")
    value = row.get(group)
    if not inner:
        return value
    return value.get(inner) if isinstance(value, dict) else None
