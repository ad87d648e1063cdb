"""Songs as rows of a table, and back."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st

from components.records import SONG_SCHEMA, read_batches, row_to_song, songs_to_table
from music.song import COLUMNS, Song

songs = st.builds(
    Song,
    st.lists(
        st.tuples(
            st.integers(0, 10_000), st.integers(1, 99), st.integers(0, 127), st.integers(1, 127),
            st.integers(0, 9),
        ),
        max_size=6,
    ).map(lambda rows: np.array(rows, np.int32).reshape(-1, 5)),
    id=st.text("0123456789abcdef", max_size=4),
    title=st.text(st.characters(exclude_categories=["Cs"]), max_size=9),
    tempo=st.none() | st.floats(1, 500),
    key=st.none() | st.just("G major"),
    time_signature=st.none() | st.just("3/4"),
    percussion=st.integers(0, 9),
)  # fmt: skip


def row_of(song):
    """A row by hand."""
    names = ("id", "title", "tempo", "key", "time_signature", "percussion")
    facts = {name: getattr(song, name) for name in names}
    return facts | {name: song.notes[:, i].tolist() for i, name in enumerate(COLUMNS)}


@given(st.lists(songs, max_size=5))
@settings(max_examples=50, deadline=None)
def test_songs_survive_the_table_and_it_is_that_of_their_rows(album):
    table = songs_to_table(album)
    assert table.equals(pa.Table.from_pylist([row_of(song) for song in album], SONG_SCHEMA))
    assert [row_to_song(row) for row in table.to_pylist()] == album


@given(st.lists(songs, max_size=5), st.integers(1, 3))
@settings(max_examples=30, deadline=None)
def test_a_file_is_read_in_order_so_many_songs_at_a_time_and_none_from_an_empty_one(album, rows):
    file = io.BytesIO()
    with pq.ParquetWriter(file, SONG_SCHEMA) as writer:
        if album:  # else there is no row group at all, as on a side that got no song
            writer.write_table(songs_to_table(album))
    batches = list(read_batches(file, rows))
    assert [song for batch in batches for song in batch] == album
    assert all(0 < len(batch) <= rows for batch in batches)
