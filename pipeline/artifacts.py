"""What the steps of a run left, each file in the form on which its readers rely.

The one place that knows these forms: the report, the listening test and the outcome of a
run read through it, and a file that is cut off, emptied or something else is told by its
name (`components.read_back`), never shown as if all were well.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
)
from components.model_card import CardSettings
from components.read_back import (
    Odd,
    check,
    empty,
    figure,
    intact,
    read,
    read_json,
    read_lines,
    song_files,
)
from components.trainer.history import History
from music.measures import DESCRIPTORS, Reference
from music.split import EVAL
from music.vocabulary import Vocabulary

if TYPE_CHECKING:
    from music.song import Song

_NOTHING = type(None)
_MAYBE = (float, _NOTHING)
_WORDS = ([str], empty)
_GIVEN = {field.name: str for field in dataclasses.fields(CardSettings)}


def _pair(value: Any, where: str) -> None:
    if not isinstance(value, list) or len(value) != 2:
        raise Odd(f"{where} is no pair")
    check(value[0], str, where)


_SUMMARY = {
    "files": int,
    "notes": int,
    "percussion": int,
    "kept": int,
    "repaired": int,
    "reasons": {str: int},
    "examples": {str: ([_pair], empty)},
}
_HISTORY = {
    "preset": str,
    "parameters": int,
    "windows": int,
    "held_out": int,
    "seconds": float,
    "best": int,
    "nats": float,
    "ngram_nats": _MAYBE,
    "epochs": [{"loss": float, "nats": float, "seconds": float, "learning_rate": float}],
    "versions": {str: str},
}
_BIN = {"first": int, "last": int, "nats": _MAYBE}
_POSITIONS = {"bins": ([{**_BIN, "nats": float, "ngram_nats": _MAYBE}], empty)}
_GATE = {
    "blessed": bool,
    "nats": figure,
    "nats_minus_ngram": figure,
    "nats_minus_service": (figure, _NOTHING),
    "settings": {
        "max_nats": float,
        "max_nats_over_ngram": float,
        "max_nats_over_service": float,
    },
    "shortfalls": _WORDS,
}
_FINDINGS = ("copies", "degenerate", "coherence", "tonality")
_COPIED = {"notes": int, "bar": int, "title": str, "source_bar": int}
_PANEL = {"max_seconds": float, "steps": int, "bounds": {"percentile": float}}
_REFUSED = {"reasons": [str], "settings": _PANEL}
_SERVED = {
    "reasons": _WORDS,
    "server": str,
    "seconds": float,
    "settings": {**_PANEL, "songs": int, "temperature": float},
    "coherence": {str: {"overlap": float, "ceiling": float, "divergence": float}},
    "findings": [{"name": str, "value": _MAYBE, "bound": float, "met": bool, "words": str}],
    "sections": [{"id": str, "title": str, "offset": int, "length": int}],
    "songs": [
        {
            "notes": int,
            "run": int,
            "is_copy": bool,
            "flags": _WORDS,
            "percentile": _MAYBE,
            "copied": (_COPIED, _NOTHING),
            "descriptors": dict.fromkeys(DESCRIPTORS, _MAYBE),
        }
    ],
}


def read_summary(verdicts: Path) -> dict[str, Any]:
    """What became of the MIDI files; arguments and errors of all of these alike.

    Args:
      verdicts: folder of the artifact.

    Raises:
      SegueError: the file is missing, damaged, or not what it must be.
    """
    return read_json(verdicts / SUMMARY_FILE, _SUMMARY)


def read_vocabulary(folder: Path) -> Vocabulary:
    """Of a MusicVocabulary."""
    return read(folder / VOCABULARY_FILE, Vocabulary.from_json)


def read_history(model_run: Path) -> dict[str, Any]:
    """Every epoch of a training, as `History.from_json_value` takes it."""
    return read_json(model_run / HISTORY_FILE, _HISTORY, History.from_json_value)


def read_positions(model_run: Path) -> list[dict[str, Any]]:
    """Held-out nats by position in the song; empty where no song is long enough."""
    return read_json(model_run / POSITIONS_FILE, _POSITIONS)["bins"]


def read_contexts(evaluation: Path) -> list[dict[str, Any]]:
    """Held-out nats by how much of a window stood before."""
    return read_json(evaluation / CONTEXTS_FILE, ([_BIN], empty))


def read_gate(evaluation: Path) -> dict[str, Any]:
    """What the Evaluator decided by."""
    return read_json(evaluation / GATE_FILE, _GATE)


def read_song_figures(evaluation: Path) -> list[dict[str, Any]]:
    """Nats of each held-out song, those that the model knows least first."""
    shape = {"song": str, "nats": figure, "nats_minus_ngram": figure}
    return read_lines(evaluation / SONG_FIGURES_FILE, shape)


def read_reference(folder: Path) -> Reference:
    """What the training songs say together."""

    def parse(text: str) -> Reference:
        found = Reference.from_json(text)
        check(dict(found.descriptors), dict.fromkeys(DESCRIPTORS, object))
        return found

    return read(folder / REFERENCE_FILE, parse)


def read_lengths(folder: Path, songs: int) -> tuple[int, ...]:
    """Notes of each training song, so many of them as its reference counts."""
    path = folder / MEASURES_FILE
    found = read_lines(path, {"notes": int})
    with intact(path):
        if len(found) != songs:
            raise Odd(f"it tells of {len(found):,} songs, {REFERENCE_FILE} of {songs:,}")
    return tuple(one["notes"] for one in found)


def read_panel(folder: Path) -> dict[str, Any]:
    """What a candidate played, judged; its settings and reasons alone where it did not serve."""

    def parse(text: str) -> dict[str, Any]:
        value = json.loads(text)
        served = isinstance(value, dict) and ("songs" in value or not value.get("reasons"))
        check(value, _SERVED if served else _REFUSED)
        if "given" in value:
            check(value["given"], _GIVEN, "given")
        if served:
            _check_served(value)
        return value

    return read(folder / PANEL_FILE, parse)


def _check_served(value: Mapping[str, Any]) -> None:
    wanted = value["settings"]["songs"]
    for name in ("songs", "sections"):
        if len(value[name]) != wanted:
            raise Odd(f"{len(value[name])} {name}, where there must be {wanted}")
    for one in value["findings"]:
        if one["name"] not in _FINDINGS:
            raise Odd(f"there is no finding {one['name']!r}")
    if not value["reasons"] and not all(one["met"] for one in value["findings"]):
        raise Odd("a bound is missed, and there is no reason of a refusal")


def read_card(path: Path) -> dict[str, Any]:
    """A model card: what a person gave for it."""
    return read_json(path, {"given": _GIVEN})


def held_out_titles(songs: Path) -> dict[str, str]:
    """The title of each held-out song of a Songs artifact, by its id."""
    titles: dict[str, str] = {}
    for path in song_files(songs, EVAL):
        with intact(path):
            file = _parquet().ParquetFile(path)
            if not file.num_row_groups:  # no songs; later readers refuse to read none
                continue
            table = file.read(["id", "title"], use_threads=False)
            found = zip(table["id"].to_pylist(), table["title"].to_pylist(), strict=True)
            titles.update(found)
    return titles


def held_out_songs(songs: Path, rows: int = 64) -> Iterator[list[Song]]:
    """The held-out songs of a Songs artifact, so many at a time."""
    from components.records import read_batches

    for path in song_files(songs, EVAL):
        with intact(path):
            found = list(read_batches(path, rows))
        yield from found


def _parquet() -> Any:
    import pyarrow.parquet

    return pyarrow.parquet
