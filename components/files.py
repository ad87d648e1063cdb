"""The names of files in artifacts that more than one component reads.

Here and not beside what writes them, so that whoever only reads a file loads neither
TFX nor TensorFlow.
"""

from __future__ import annotations

from music.measures import INDEX_FILE as INDEX_FILE
from music.measures import REFERENCE_FILE as REFERENCE_FILE

# Verdicts: what became of all files, counted.
SUMMARY_FILE = "summary.json"
# MusicVocabulary, and beside the windows of Examples.
VOCABULARY_FILE = "vocabulary.json"
# MusicReference, beside what the training songs say together and their index (which the
# client reads as well: music.measures names them): each song by itself.
MEASURES_FILE = "songs.jsonl"
# ModelRun: every epoch, and held-out nats by position in the song.
HISTORY_FILE = "history.json"
POSITIONS_FILE = "positions.json"
# In a SavedModel's `assets`: what it says of itself.
FACTS_FILE = "segue.json"
# ModelEvaluation: what the gate decides by, held-out songs one by one, and nats by how
# much of a window stands before.
GATE_FILE = "gate.json"
SONG_FIGURES_FILE = "songs.jsonl"
CONTEXTS_FILE = "contexts.json"
# MusicPanel: what a candidate played, judged, and each song of it.
PANEL_FILE = "panel.json"


def panel_song(number: int) -> str:
    """The name of a song of a panel, counted from 1."""
    return f"song-{number:02d}.mid"
