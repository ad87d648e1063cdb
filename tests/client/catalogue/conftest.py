"""Catalogues of made-up songs, and runs over them: Beam's own runner, and the toy's server."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from client.catalogue import RegenerateRequest, regenerate
from client.catalogue.models import ServerModel
from client.catalogue.run import Making, plan_run
from client.catalogue.store import Store
from client.generation import GenerationClient, ModelFacts
from music.midi import write_midi
from music.song import Song


def song(number: int, count: int = 40) -> bytes:
    """A MIDI file of `count` notes; every number another song."""
    rng = np.random.default_rng(number)
    notes = np.zeros((count, 5), np.int32)
    notes[:, 0] = np.cumsum(rng.choice([6, 12, 24], count))
    notes[:, 1] = rng.integers(4, 30, count)
    notes[:, 2] = rng.integers(45, 84, count)
    notes[:, 3] = 80
    return write_midi(Song(notes, tempo=90.0, time_signature="3/4"))


def tree(folder: Path) -> dict[str, bytes]:
    """All that a folder holds but its working files, by path."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".segue" not in path.relative_to(folder).parts
    }


@dataclasses.dataclass
class Runs:
    """Runs over one catalogue."""

    catalogue: Path
    out: Path
    facts: ModelFacts
    making: Making

    def request(self, **settings) -> RegenerateRequest:
        settings = {
            "catalogue": self.catalogue,
            "out": self.out,
            "steps": 20,
            "batch": 4,
        } | settings
        return RegenerateRequest(**settings)

    def __call__(self, on_progress=None, **settings):
        named = {field.name for field in dataclasses.fields(Making)}
        making = {name: settings.pop(name) for name in list(settings) if name in named}
        return regenerate(
            self.request(**settings),
            self.facts,
            dataclasses.replace(self.making, **making),
            on_progress,
        )

    def plan(self, **settings):
        return plan_run(self.request(**settings), self.facts, self.making)

    @property
    def store(self) -> Store:
        return Store(self.out)

    def tree(self) -> dict[str, bytes]:
        return tree(self.out)


@pytest.fixture
def make_song():
    """make_song(number, count): the bytes of a MIDI file."""
    return song


@pytest.fixture
def tree_of():
    """tree_of(folder): its files' bytes by path, without working files."""
    return tree


@pytest.fixture
def catalogue(tmp_path) -> Path:
    """Nine songs in two folders and beside them; two of them have the same bytes."""
    folder = tmp_path / "catalogue"
    for name in ("Anna_Amalia", "Bach"):
        (folder / name).mkdir(parents=True)
    for number in range(3):
        (folder / "Anna_Amalia" / f"{number}.mid").write_bytes(song(number))
        (folder / "Bach" / f"Aria {number}.MID").write_bytes(song(10 + number, 50 + number))
        (folder / f"{number}.midi").write_bytes(song(20 + number, 100))
    (folder / "Bach" / "twin.mid").write_bytes(song(1))
    (folder / "letter.txt").write_text("no song")
    return folder


@pytest.fixture
def facts(toy) -> ModelFacts:
    """What the toy says of itself."""
    with ServerModel(toy.target, timeout=10).open() as connection:
        return GenerationClient(connection).describe()


@pytest.fixture
def run(catalogue, toy, facts, tmp_path) -> Runs:
    """run(batch=3, ...): regenerates the catalogue into tmp_path / "out"."""
    making = Making(ServerModel(toy.target, timeout=10), beam=("--runner=DirectRunner",))
    return Runs(catalogue, tmp_path / "out", facts, making)
