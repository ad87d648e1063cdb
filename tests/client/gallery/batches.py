"""Batches as `segue regenerate` leaves them: made-up songs in real files, and their manifest."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from music.measures.descriptors import describe
from music.midi import write_midi
from music.roll import piano_roll
from music.song import TICKS_PER_QUARTER, Song
from music.statistics import song_facts

MODEL = {"name": "segue", "version": 1795883508, "sha256": hashlib.sha256(b"model").hexdigest()}
SETTINGS = {"steps": 250, "temperature": 1.0, "top_k": 0, "top_p": 1.0, "ending": "chord"}
ABOUT = {
    "catalogue": "Lieder", "composer": "Louise Reichardt", "made": 0, "failed": 0,
    "model": MODEL, "settings": SETTINGS, "formats": ["midi", "svg"], "license": "CC0",
}  # fmt: skip
SCALE = np.array([0, 2, 4, 5, 7, 9, 11])
# What a stranger may call a song.
HOSTILE = (
    '</script><script>document.title="owned"</script><img src=x onerror="document.title=1">'
    "\u2028\u2029\u202e{{ 7 * 7 }} & 'quotes\" \\u0041"
)


def song(number: int, bars: int = 16, tempo: float = 96.0, title: str = "") -> Song:
    """A tune over broken chords, another for each number, in two parts."""
    rng = np.random.default_rng(number)
    key, beats = 55 + number % 12, 4 * bars
    steps = np.clip(np.cumsum(rng.integers(-2, 3, beats)), -4, 9) + 7
    rows = []
    for beat in range(beats):
        at = beat * TICKS_PER_QUARTER
        pitch = key + 12 * (steps[beat] // 7) + SCALE[steps[beat] % 7]
        halves = 2 if rng.random() < 0.3 else 1
        loud = 70 + 30 * (beat % 2)
        rows += [[at + 12 * i, 24 // halves, pitch + 2 * i, loud, 0] for i in range(halves)]
        root = SCALE[(0, 3, 4, 0)[beat // 4 % 4]]
        for voice, third in enumerate((0, 4, 7)):
            rows.append([at + 8 * voice, 10, key - 24 + root + third, 55, 1])
    return Song(np.array(rows), title=title, tempo=tempo, time_signature="4/4")


class Batch:
    """A folder of songs that grows, and its manifest.

    Attributes:
      folder: that the files are in.
      records: the manifest's lines.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.records: list[dict[str, Any]] = []

    def put(self, role: str, kind: str, path: str, data: bytes) -> dict[str, Any]:
        """A file, and what the manifest says of it."""
        out = self.folder / path
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_bytes(data)
        digest = hashlib.sha256(data).hexdigest()
        return {"role": role, "format": kind, "path": path, "sha256": digest, "bytes": len(data)}

    def add(
        self,
        title: str,
        number: int,
        run: int | None = 9,
        score: bool = False,
        bars: int = 16,
        **other: Any,
    ) -> dict[str, Any]:
        """A song that was made; `other` replaces what its record says."""
        made = song(number, bars, title=title)
        original = song(number + 1000, bars * 3 // 2, title=title)
        name = f"songs/song-{number:04d}"
        outputs = [
            self.put("song", "midi", f"{name}.mid", write_midi(made)),
            self.put("original", "midi", f"{name}-original.mid", write_midi(original)),
        ]
        if score:
            for page in (1, 2):
                drawn = piano_roll(made, ".svg", f"{title}, page {page}")
                outputs.append(self.put("song", "svg", f"{name}-{page}.svg", drawn))
        return self._record(title, number, made, run, outputs, other)

    def add_failed(self, title: str, number: int, error: str) -> dict[str, Any]:
        """A song that could not be made."""
        record = self._record(title, number, None, None, [], {"status": "failed", "error": error})
        return record

    def _record(self, title, number, made, run, outputs, other):
        facts = song_facts(made) if made else None
        record = {
            "identity": hashlib.sha256(f"{number}".encode()).hexdigest(),
            "source": f"Book {number % 7}/{title[:40].replace('/', '-')} {number}.mid",
            "source_sha256": hashlib.sha256(f"source {number}".encode()).hexdigest(),
            "title": title, "composer": "Louise Reichardt",
            "status": "made", "error": None, "model": MODEL, "seed": number, "settings": SETTINGS,
            "prime": {"offset": 1, "length": 75},
            "notes": facts.notes if facts else 0, "seconds": facts.seconds if facts else 0.0,
            "bars": facts.bars if facts else 0,
            "measures": describe(made) if made else {},
            "flags": [], "unchecked": None if run else "there is no index of the training songs",
            "originality": {
                "run": run, "bound": 14, "percentile": min(6.0 * run, 99.0), "is_copy": run > 14,
                "title": title, "bar": 3, "source_bar": 5,
            } if run else None,
            "outputs": outputs, **other,
        }  # fmt: skip
        self.records.append(record)
        return record
