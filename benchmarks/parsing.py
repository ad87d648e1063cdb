"""MIDI files to notes: ours against music21's converter, on one core.

Forty chorales of music21's corpus, exported by ourselves; both readers get the
bytes in memory, and music21's temporary pickles are kept out of it.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

from music.corpus import export
from music.midi import read_midi

SONGS = 40
PEER_SONGS = 8


def measure() -> list[dict[str, Any]]:
    """Seconds for all songs; the peer's are scaled up from a few of them."""
    from music21 import converter

    with tempfile.TemporaryDirectory() as folder:
        paths = export("bach", Path(folder), limit=SONGS, parts=4)
        files = [path.read_bytes() for path in paths]
    read_midi(files[0])
    converter.parse(files[0], format="midi", quantizePost=False, forceSource=True)

    began = time.perf_counter()
    notes = sum(len(read_midi(data)) for data in files)
    ours = time.perf_counter() - began

    few = files[:: SONGS // PEER_SONGS]
    began = time.perf_counter()
    for data in few:
        converter.parse(data, format="midi", quantizePost=False, forceSource=True)
    peer = (time.perf_counter() - began) * sum(map(len, files)) / sum(map(len, few))
    return [
        {"what": f"segue, {notes:,} notes", "seconds": ours, "ratio": 1.0},
        {"what": "music21 converter.parse", "seconds": peer, "ratio": peer / ours},
    ]
