"""Songs as rows of a Parquet table, so that pandas reads them as well as Beam."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from music.song import COLUMNS, Song

SONG_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("title", pa.string()),
        ("tempo", pa.float64()),
        ("key", pa.string()),
        ("time_signature", pa.string()),
        ("percussion", pa.int32()),
        *((column, pa.list_(pa.int32())) for column in COLUMNS),
    ]
)


def songs_to_table(songs: Sequence[Song]) -> pa.Table:
    """Songs as a table of `SONG_SCHEMA`, without a Python object for every number."""
    offsets = np.cumsum([0, *map(len, songs)], dtype=np.int32)
    notes = np.concatenate([song.notes for song in songs]) if songs else np.zeros((0, 5), np.int32)
    columns = {
        name: pa.array([getattr(song, name) for song in songs], SONG_SCHEMA.field(name).type)
        for name in SONG_SCHEMA.names
        if name not in COLUMNS
    }
    for index, name in enumerate(COLUMNS):
        values = pa.array(np.ascontiguousarray(notes[:, index]), pa.int32())
        columns[name] = pa.ListArray.from_arrays(pa.array(offsets), values)
    return pa.table(columns, SONG_SCHEMA)


def row_to_song(row: dict[str, Any]) -> Song:
    """The song of one row of such a table."""
    notes = np.stack([np.asarray(row[column], np.int32) for column in COLUMNS], axis=1)
    return Song(
        notes,
        id=row["id"],
        title=row["title"],
        tempo=row["tempo"],
        key=row["key"],
        time_signature=row["time_signature"],
        percussion=row["percussion"],
    )


def batch_to_songs(batch: pa.RecordBatch) -> list[Song]:
    """The songs of some rows of `SONG_SCHEMA`, without a Python number for each of a note's."""
    lists = [batch.column(column) for column in COLUMNS]
    notes = np.stack([column.flatten().to_numpy() for column in lists], axis=1)
    ends = np.cumsum(lists[0].value_lengths().to_numpy())
    facts = pa.Table.from_batches([batch]).drop(list(COLUMNS)).to_pylist()
    return [Song(rows, **row) for rows, row in zip(np.split(notes, ends)[:-1], facts, strict=True)]


def read_batches(source: Any, rows: int) -> Iterator[list[Song]]:
    """The songs of a Parquet file of `SONG_SCHEMA`, in its order, so many at a time.

    Args:
      source: a path or an open binary file.
      rows: the most songs of one list.
    """
    file = pq.ParquetFile(source)
    # A side without a song has no row group, which pyarrow 18 looks for all the same.
    if file.num_row_groups:
        yield from map(batch_to_songs, file.iter_batches(rows))
