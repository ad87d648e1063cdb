"""What the gate found, in figures and in a line: files beside TFMA's results.

`gate.json` is what the gate decides by, `songs.jsonl` the figures of every held-out
song by itself, those that the model knows least first. Apart from the gate, so that
whoever reads them need not load TFMA.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Sequence

from components.evaluator.settings import GateSettings
from components.files import GATE_FILE, SONG_FIGURES_FILE


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What the gate found.

    Attributes:
      blessed: whether the model may be pushed.
      nats: held-out nats an event.
      nats_minus_ngram: the same less the n-gram's.
      nats_minus_service: the same less that of the model in service; None when
        there is none.
      settings: the bounds.
    """

    blessed: bool
    nats: float
    nats_minus_ngram: float
    nats_minus_service: float | None
    settings: GateSettings

    @property
    def shortfalls(self) -> list[str]:
        """For each bound that is missed, by how much."""
        rows = [
            ("the bound", self.nats, self.settings.max_nats),
            ("the n-gram", self.nats_minus_ngram, self.settings.max_nats_over_ngram),
            (
                "the model in service",
                self.nats_minus_service,
                self.settings.max_nats_over_service,
            ),
        ]
        missed = []
        for name, value, bound in rows:
            if value is None:
                continue
            if not math.isfinite(value):
                missed.append(f"against {name} it is no number ({value})")
            elif value > bound or (name != "the model in service" and value == bound):
                missed.append(
                    f"against {name} it stands at {value:.3f}, allowed is {bound:.3f}: "
                    f"{value - bound:.3f} nats too many"
                )
        return missed

    def line(self) -> str:
        """For a person."""
        ngram = self.nats - self.nats_minus_ngram
        text = f"held-out {self.nats:.3f} nats an event, the n-gram {ngram:.3f}"
        if self.nats_minus_service is not None:
            text += f", the model in service {self.nats - self.nats_minus_service:.3f}"
        if self.blessed:
            if self.nats_minus_ngram < 0:
                text += f"; beats the n-gram by {-self.nats_minus_ngram:.3f}"
            return f"blessed: {text}"
        return f"refused: {text}; " + "; ".join(self.shortfalls)

    def write(self, folder: str) -> None:
        """Leaves `gate.json` beside TFMA's own results."""
        with open(os.path.join(folder, GATE_FILE), "w") as file:
            value = {**dataclasses.asdict(self), "shortfalls": self.shortfalls}
            for name in _FIGURES:
                value[name] = as_json(value[name])
            json.dump(value, file, indent=1, sort_keys=True, allow_nan=False)

    @classmethod
    def read(cls, folder: str) -> Verdict:
        """What `write` left."""
        with open(os.path.join(folder, GATE_FILE)) as file:
            value = json.load(file)
        value.pop("shortfalls")
        for name in _FIGURES:
            value[name] = None if value[name] is None else float(value[name])
        return cls(**{**value, "settings": GateSettings(**value["settings"])})


_FIGURES = ("nats", "nats_minus_ngram", "nats_minus_service")


def as_json(figure: float | None) -> float | str | None:
    """A figure as strict JSON has it: what is no number as text, "nan" say."""
    return figure if figure is None or math.isfinite(figure) else str(figure)


@dataclasses.dataclass(frozen=True)
class SongFigures:
    """One held-out song.

    Attributes:
      song: its id.
      nats: an event.
      nats_minus_ngram: the same less the n-gram's.
      nats_minus_service: the same less that of the model in service; None when
        there is none.
    """

    song: str
    nats: float
    nats_minus_ngram: float
    nats_minus_service: float | None


def write_songs(songs: Sequence[SongFigures], folder: str) -> None:
    """Leaves `songs.jsonl`, a line a song."""
    with open(os.path.join(folder, SONG_FIGURES_FILE), "w") as file:
        for one in songs:
            value = dataclasses.asdict(one)
            for name in _FIGURES:
                value[name] = as_json(value[name])
            file.write(json.dumps(value, sort_keys=True, allow_nan=False) + "\n")


def read_songs(folder: str) -> list[SongFigures]:
    """What `write_songs` left."""
    found = []
    with open(os.path.join(folder, SONG_FIGURES_FILE)) as file:
        for line in file:
            value = json.loads(line)
            for name in _FIGURES:
                value[name] = None if value[name] is None else float(value[name])
            found.append(SongFigures(**value))
    return found
