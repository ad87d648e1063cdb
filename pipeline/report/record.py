"""What the last run under a root left, gathered from its artifacts.

Steps of a run leave their figures as small files of JSON; here they come together in
one record, from which the page is made. Nothing is computed anew, so the page says what
the gates decided by. A step that an older run did not have leaves its place empty.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import music.song
from components.files import (
    CONTEXTS_FILE,
    GATE_FILE,
    HISTORY_FILE,
    MEASURES_FILE,
    PANEL_FILE,
    POSITIONS_FILE,
    REFERENCE_FILE,
    SONG_FIGURES_FILE,
    SUMMARY_FILE,
    VOCABULARY_FILE,
    panel_song,
)
from components.model_card import CARD_JSON
from music.errors import MidiError, SegueError
from music.measures import Reference
from music.midi import parse_midi
from music.split import EVAL
from music.vocabulary import Vocabulary
from pipeline.history import RunHistory

# The songs that a page names one by one, of those held out.
SONGS_TOLD = 12


@dataclasses.dataclass(frozen=True)
class Song:
    """A song of the panel.

    Attributes:
      name: of its file.
      midi: the file.
      notes: what it holds; None where the song has no notes.
      judged: what was found of it.
      begins: where its beginning is from: `title`, `offset`, `length`.
    """

    name: str
    midi: bytes
    notes: music.song.Song | None
    judged: Mapping[str, Any]
    begins: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Record:
    """A run.

    Attributes:
      run: its name.
      version: that it pushed; None when it did not.
      files: what became of the MIDI files, counted.
      vocabulary: how many codes each field keeps, by name.
      lengths: notes of each training song.
      history: of the training.
      positions: held-out nats by position in the song, rows; empty where there are none.
      contexts: the same by how much of a window stood before.
      gate: the Evaluator's figures.
      held_out: figures of held-out songs with their `title`, those known least first; of
        many the first and the last.
      held_out_songs: how many there are in all.
      reference: of the training songs.
      panel: what was played, judged; its `reasons` alone where the model did not serve.
      songs: of the panel.
      card: of the model; None when it was not blessed.
    """

    run: str
    version: int | None
    files: Mapping[str, Any]
    vocabulary: Mapping[str, int]
    lengths: tuple[int, ...]
    history: Mapping[str, Any]
    positions: tuple[Mapping[str, Any], ...]
    contexts: tuple[Mapping[str, Any], ...]
    gate: Mapping[str, Any]
    held_out: tuple[Mapping[str, Any], ...]
    held_out_songs: int
    reference: Reference
    panel: Mapping[str, Any]
    songs: tuple[Song, ...]
    card: Mapping[str, Any] | None

    @property
    def blessed(self) -> bool:
        """Whether both gates let the model pass."""
        return bool(self.gate["blessed"]) and not self.panel["reasons"]

    @property
    def reasons(self) -> list[str]:
        """Why not, the Evaluator's first."""
        return [*self.gate["shortfalls"], *self.panel["reasons"]]


def gather(history: RunHistory) -> Record:
    """The record of a run.

    Args:
      history: where its artifacts lie.

    Raises:
      SegueError: a step of the run is missing, or what it left.
    """
    folders = _Folders(history)
    model_run = folders.of("Trainer", "model_run")
    evaluation = folders.of("Evaluator", "evaluation")
    reference = folders.of("ReferenceBuilder", "reference")
    played = folders.of("ServingValidator", "panel")
    vocabulary = _read(
        folders.of("VocabularyBuilder", "vocabulary") / VOCABULARY_FILE, Vocabulary.from_json
    )
    panel = _json(played / PANEL_FILE)
    card = folders.of("ServingValidator", "blessing") / "stamped_model" / CARD_JSON
    figures = _lines(evaluation / SONG_FIGURES_FILE)
    return Record(
        run=history.run,
        version=history.pushed_version,
        files=_json(folders.of("MidiParser", "verdicts") / SUMMARY_FILE),
        vocabulary={field.name: len(field.kept) for field in vocabulary.fields},
        lengths=tuple(one["notes"] for one in _lines(reference / MEASURES_FILE)),
        history=_json(model_run / HISTORY_FILE),
        positions=tuple(_json(model_run / POSITIONS_FILE)["bins"]),
        contexts=tuple(_json(evaluation / CONTEXTS_FILE)),
        gate=_json(evaluation / GATE_FILE),
        held_out=_held_out(figures, folders.of("MidiParser", "songs")),
        held_out_songs=len(figures),
        reference=_read(reference / REFERENCE_FILE, Reference.from_json),
        panel=panel,
        songs=tuple(_songs(played, panel)),
        card=_json(card) if card.exists() else None,
    )


class _Folders:
    def __init__(self, history: RunHistory):
        self.history = history

    def of(self, node: str, output: str) -> Path:
        uri = self.history.outputs.get((node, output))
        if uri is None:
            raise SegueError(
                f"the last run, {self.history.run}, did not come to its {node}; "
                "there is nothing to report yet: run the pipeline again"
            )
        return Path(uri)


def _read(path: Path, parse: Callable[[str], Any]) -> Any:
    """What a file's text says."""
    try:
        return parse(path.read_text(encoding="utf-8"))
    except OSError as error:
        reason = f"cannot read {path}: {error.strerror}"
    except (ValueError, KeyError, TypeError, RecursionError):
        reason = f"{path} is damaged, or of another version"
    raise SegueError(f"{reason}; run the pipeline again, with --no-cache")


def _json(path: Path) -> Any:
    return _read(path, json.loads)


def _lines(path: Path) -> list[Any]:
    return _read(path, lambda text: [json.loads(line) for line in text.splitlines()])


def _held_out(rows: list[Any], songs: Path) -> tuple[Mapping[str, Any], ...]:
    """Figures of held-out songs: all of a few, the worst and the best of many."""
    import pyarrow.parquet as pq

    titles: dict[str, str] = {}
    for path in sorted((songs / f"Split-{EVAL}").glob("songs-*.parquet")):
        table = pq.read_table(path, columns=["id", "title"])
        titles |= dict(zip(table["id"].to_pylist(), table["title"].to_pylist(), strict=True))
    if len(rows) > SONGS_TOLD:
        half = SONGS_TOLD // 2
        rows = rows[:half] + rows[-half:]
    return tuple(row | {"title": titles.get(row["song"], row["song"][:12])} for row in rows)


def _songs(folder: Path, panel: Mapping[str, Any]) -> list[Song]:
    judged, sections = panel.get("songs", []), panel.get("sections", [])
    found = []
    for number, (one, begins) in enumerate(zip(judged, sections, strict=True), start=1):
        name = panel_song(number)
        try:
            midi = (folder / name).read_bytes()
            notes = parse_midi(midi).song if one["notes"] else None
        except (OSError, MidiError) as error:
            reason = getattr(error, "strerror", None) or getattr(error, "reason", "")
            raise SegueError(
                f"cannot read {folder / name}: {reason}; run the pipeline again, with --no-cache"
            ) from None
        found.append(Song(name, midi, notes, one, begins))
    return found
