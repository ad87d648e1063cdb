"""The manifest: a row for every song of a catalogue, made or failed.

`manifest.jsonl` has a JSON object a line, `manifest.parquet` the same as a table for
whoever counts and joins. The rows stand in the order of their sources' names and tell no
time and no path but their own, so that the same songs give the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from client.catalogue.plan import Plan
from client.catalogue.store import Store
from music.errors import SegueError

if TYPE_CHECKING:
    import pyarrow

LINES, TABLE = "manifest.jsonl", "manifest.parquet"


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
    for number, line in enumerate(text.splitlines(), 1):
        try:
            row = json.loads(line)
            _ = row["identity"], row["source"], row["status"], row["outputs"], row["settings"]
        except (ValueError, KeyError, TypeError, RecursionError):
            raise SegueError(
                f"{path} is damaged at line {number}; delete it, and the songs are made again"
            ) from None
        rows.append(row)
    return rows


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

    schema = _schema()
    columns = {name: [_cell(row, name) for row in rows] for name in schema.names}
    table = pyarrow.table(columns, schema=schema)
    sink = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(table, sink, compression="zstd")
    return sink.getvalue().to_pybytes()


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
    return None if value is None else value.get(inner)
