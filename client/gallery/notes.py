"""A MIDI file as the page plays and draws it: few numbers, and a picture the size of a stamp.

Browsers refuse a page that was opened from the disk any other file's bytes, but they run
scripts. So the notes travel inside scripts, as what the project's own reader made of
the file: what is drawn and heard here is what every other part of Segue takes it for.
"""

from __future__ import annotations

import base64
from typing import Any

import numpy as np

from music.midi import parse_midi
from music.song import DURATION, ONSET, PART, PITCH, VELOCITY, Song
from music.statistics import DEFAULT_TEMPO, bar_ticks

# The stamp: columns of time, rows of pitch; a column's rows are the bits of one number.
COLUMNS, ROWS = 48, 16


def read_track(data: bytes) -> tuple[Song, dict[str, Any]]:
    """A MIDI file, and what the page needs of it.

    Args:
      data: the file's bytes.

    Returns:
      The song, and as JSON types: `tempo` (quarters a minute), `bar` (ticks of a bar, 24
      to the quarter), `notes` (five numbers a note, in order of onset: ticks since the
      previous onset, duration in ticks, pitch, velocity, part; one flat list).

    Raises:
      MidiError: the bytes are no song.
    """
    song = parse_midi(data).song
    rows = song.notes[:, [ONSET, DURATION, PITCH, VELOCITY, PART]].copy()
    rows[:, 0] = np.diff(rows[:, 0], prepend=0)
    return song, {
        "tempo": song.tempo or DEFAULT_TEMPO,
        "bar": bar_ticks(song.time_signature),
        "notes": rows.ravel().tolist(),
    }


def stamp(song: Song) -> str:
    """The shape of a song, `COLUMNS` by `ROWS`.

    Returns:
      Base64 of uint16[COLUMNS], little-endian; bit 0 of a column is its lowest row. All of
      the song's time is there, and its range from the lowest pitch to the highest.
    """
    notes = song.notes
    low = int(notes[:, PITCH].min())
    span = max(int(notes[:, PITCH].max()) - low + 1, ROWS)  # narrow songs stay narrow
    rows = (notes[:, PITCH] - low) * ROWS // span
    first = notes[:, ONSET].astype(np.int64) * COLUMNS // song.end
    last = (notes[:, ONSET] + notes[:, DURATION] - 1).astype(np.int64) * COLUMNS // song.end
    columns = np.zeros(COLUMNS, np.uint16)
    for begin, end, row in zip(first.tolist(), last.tolist(), rows.tolist(), strict=True):
        columns[begin : end + 1] |= np.uint16(1 << row)
    return base64.b64encode(columns.astype("<u2").tobytes()).decode()
