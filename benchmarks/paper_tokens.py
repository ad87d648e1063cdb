"""The paper's tokens, read as the paper read them: by music21's recursion through a score.

Kept as a peer only. The recursion goes measure by measure and, inside a measure,
voice by voice; a note that a bar line cuts is a token on either side of it. The
`chords` codec writes the same alphabet, one stream a part in the order of onsets,
and a tied note once. This counts what that makes of the same songs.
"""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.ingest import catalogue, row
from music.codec import ChordsCodec
from music.midi import read_midi

SONGS = 40


def paper_tokens(path: Path) -> list[int]:
    """A file's tokens in the paper's order, as codes of the `chords` codec.

    The paper spells them (`E4`, `0.4.7`); a note's spelling and the order of a
    chord's classes make no difference to what is counted here.
    """
    from music21 import chord, converter, instrument, note

    score = converter.parse(path, format="midi", quantizePost=False, forceSource=True)
    parts = instrument.partitionByInstrument(score) or score
    tokens = []
    for part in parts.parts if hasattr(parts, "parts") else [parts]:
        for element in part.recurse():
            if isinstance(element, note.Note):
                tokens.append(element.pitch.midi)
            elif isinstance(element, chord.Chord):
                mask = sum(1 << pitch for pitch in set(element.normalOrder))
                single = len(set(element.normalOrder)) == 1
                lowest = min(pitch.midi for pitch in element.pitches)
                tokens.append(lowest if single else ChordsCodec.CHORD + mask)
    return tokens


def our_tokens(data: bytes) -> list[int]:
    """The same of the `chords` codec."""
    return ChordsCodec().encode(read_midi(data))[:, 0].tolist()


def measure() -> list[dict[str, Any]]:
    """How many tokens either makes of the same songs, how many they share, and the time."""
    with tempfile.TemporaryDirectory() as folder:
        return _compare(catalogue(Path(folder)))


def _compare(paths: Sequence[Path]) -> list[dict[str, Any]]:
    sample = paths[:: max(1, len(paths) // SONGS)][:SONGS]
    totals: Counter[str] = Counter()
    seconds = {"paper": 0.0, "segue": 0.0}
    for path in sample:
        began = time.perf_counter()
        theirs = Counter(paper_tokens(path))
        middle = time.perf_counter()
        ours = Counter(our_tokens(path.read_bytes()))
        seconds["segue"] += time.perf_counter() - middle
        seconds["paper"] += middle - began
        totals.update(paper=theirs.total(), segue=ours.total(), both=(theirs & ours).total())
    ratio = seconds["paper"] / seconds["segue"]
    return [
        row("the paper's recursion", totals["paper"], "tokens", f"{len(sample)} songs"),
        row("the chords codec", totals["segue"], "tokens", "the same songs"),
        row("in both, whatever the order", totals["both"], "tokens"),
        row("the paper's recursion", seconds["paper"], "s", f"{ratio:.0f} x"),
        row("the chords codec", seconds["segue"], "s"),
    ]
