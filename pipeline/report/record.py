"""What the last run under a root left, gathered from its artifacts.

Steps of a run leave their figures as small files of JSON; here they come together in
one record, from which the page is made. Nothing is computed anew, so the page says what
the gates decided by; and nothing that is damaged is shown (`pipeline.artifacts`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import music.song
from components.files import PANEL_FILE, panel_song
from components.model_card import CARD_JSON
from components.read_back import REMEDY, Odd, intact
from music.errors import MidiError, SegueError
from music.measures import Reference
from music.midi import parse_midi
from pipeline import artifacts
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
      given: what only people know of the model (the group `card` of the settings), by
        name; empty where the run is too old to tell.
      card: of the model; None when its panel was refused.
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
    given: Mapping[str, str]
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
    of_reference = folders.of("ReferenceBuilder", "reference")
    played = folders.of("ServingValidator", "panel")
    vocabulary = artifacts.read_vocabulary(folders.of("VocabularyBuilder", "vocabulary"))
    panel = artifacts.read_panel(played)
    reference = artifacts.read_reference(of_reference)
    path = folders.of("ServingValidator", "blessing") / "stamped_model" / CARD_JSON
    # Where the panel was refused, there is none by right.
    card = None if panel["reasons"] else artifacts.read_card(path)
    figures = artifacts.read_song_figures(evaluation)
    return Record(
        run=history.run,
        version=history.pushed_version,
        files=artifacts.read_summary(folders.of("MidiParser", "verdicts")),
        vocabulary={field.name: len(field.kept) for field in vocabulary.fields},
        lengths=artifacts.read_lengths(of_reference, reference.songs),
        history=artifacts.read_history(model_run),
        positions=tuple(artifacts.read_positions(model_run)),
        contexts=tuple(artifacts.read_contexts(evaluation)),
        gate=artifacts.read_gate(evaluation),
        held_out=_held_out(figures, folders.of("MidiParser", "songs")),
        held_out_songs=len(figures),
        reference=reference,
        panel=panel,
        songs=tuple(_songs(played, panel)),
        given=panel.get("given") or (card or {}).get("given", {}),
        card=card,
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


def _held_out(rows: list[Any], songs: Path) -> tuple[Mapping[str, Any], ...]:
    """Figures of held-out songs: all of a few, the worst and the best of many."""
    titles = artifacts.held_out_titles(songs)
    if len(rows) > SONGS_TOLD:
        half = SONGS_TOLD // 2
        rows = rows[:half] + rows[-half:]
    for row in rows:
        if row["song"] not in titles:
            raise SegueError(f"{songs} lacks the held-out song {row['song'][:12]}; {REMEDY}")
    return tuple(row | {"title": titles[row["song"]]} for row in rows)


def _songs(folder: Path, panel: Mapping[str, Any]) -> list[Song]:
    judged, sections = panel.get("songs", []), panel.get("sections", [])
    found = []
    for number, (one, begins) in enumerate(zip(judged, sections, strict=True), start=1):
        path = folder / panel_song(number)
        with intact(path):
            midi = path.read_bytes()
            try:
                notes = parse_midi(midi).song if one["notes"] else None
            except MidiError as error:
                raise Odd(error.reason) from None
            if notes is not None and len(notes) != one["notes"]:
                raise Odd(f"{len(notes)} notes, {PANEL_FILE} tells of {one['notes']}")
        found.append(Song(path.name, midi, notes, one, begins))
    return found
