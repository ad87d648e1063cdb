"""Which models are pushed, by the whole pipeline: a fair one, and none of four that are not.

One catalogue, one set of bounds, those of the default preset; the fair model keeps to
them, and each of the others misses the one that is there for it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from music.corpus import export
from music.midi import read_midi
from pipeline.history import last_run
from pipeline.report.record import gather

pytestmark = pytest.mark.slow

CHORALES = 48
# Small enough to be trained in a minute or two, and else the default preset's.
NETWORK = (
    "model.units=[96, 160, 96]", "model.dense=96", "model.embedding=32",
    "training.precision=float32",
)  # fmt: skip
FAIR = ("training.epochs=7", "training.least_steps=100", "training.learning_rate=6e-3")
# Learns by heart in as few steps as may be: nothing is left out, moved, or known of keys.
COPYING = (
    "model.dropout=0.0", "model.profile=0", "training.transpose=0", "training.epochs=1",
    "training.least_steps=4000", "training.learning_rate=4e-3",
)  # fmt: skip
UNTRAINED = ("training.epochs=1", "training.least_steps=1", "training.learning_rate=1e-9")
SOME = ("training.epochs=1", "training.least_steps=100", "training.learning_rate=6e-3")


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory):
    folder = tmp_path_factory.mktemp("midi")
    export("bach", folder, limit=CHORALES, parts=4)
    return folder


@pytest.fixture(scope="module")
def train(catalogue, tmp_path_factory):
    """train(settings, fault): what a run of the same root came to, and its record."""
    root = tmp_path_factory.mktemp("root")

    def train(settings, fault=None):
        program = ["pipeline.cli"] if fault is None else ["tests.pipeline.hostile", fault]
        overrides = [word for one in (*NETWORK, *settings) for word in ("--set", one)]
        done = subprocess.run(
            [
                sys.executable, "-m", *program, "pipeline", "run", "--data", str(catalogue),
                "--root", str(root), "--json", *overrides,
            ],
            cwd=Path(__file__).parents[2],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
            capture_output=True, text=True, timeout=900, check=False,
        )  # fmt: skip
        print(done.stderr)
        outcome = json.loads(done.stdout)
        assert done.returncode == (0 if outcome["blessed"] else 1), done.stderr
        # The songs are read once, whatever is trained on them.
        return outcome, gather(last_run(root / "metadata.sqlite")), root

    return train


@pytest.fixture(scope="module")
def fair(train):
    return train(FAIR)


def bounds(record):
    return record.gate["settings"], record.panel["settings"]


def versions(root):
    return [path.name for path in (root / "serving" / "segue").iterdir() if path.name.isdigit()]


def test_a_fair_model_is_blessed_and_pushed_with_its_card_and_its_panel(fair):
    outcome, record, root = fair
    assert outcome["blessed"], outcome
    assert record.blessed
    assert versions(root) == [str(outcome["version"])]
    assert record.card is not None
    assert outcome["nats"] < outcome["ngram_nats"]
    assert len(record.songs) == 12
    for song in record.songs:
        assert len(read_midi(song.midi)) > 200


def test_a_model_that_copies_is_refused_for_its_originality(fair, train):
    outcome, record, root = train(COPYING)
    assert bounds(record) == bounds(fair[1])
    assert "MidiParser" in outcome["cached"]
    assert not outcome["blessed"]
    copies = next(one for one in record.panel["findings"] if one["name"] == "copies")
    assert not copies["met"]
    assert "copy more than" in outcome["panel"]
    # It has learned by heart, and is told which songs.
    worst = max((song.judged for song in record.songs), key=lambda one: one["run"])
    assert worst["run"] > 1.5 * record.reference.borrowing.bound()
    assert worst["copied"]["title"].startswith("bwv")
    assert versions(root) == [str(fair[0]["version"])]


def test_a_model_that_loops_is_refused_for_that(fair, train):
    outcome, record, root = train(SOME, "looping")
    assert bounds(record) == bounds(fair[1])
    degenerate = next(one for one in record.panel["findings"] if one["name"] == "degenerate")
    assert not degenerate["met"]
    assert "are degenerate" in outcome["panel"]
    flags = [flag for song in record.songs for flag in song.judged["flags"]]
    assert any("the same event for" in flag or "a cycle of" in flag for flag in flags)
    assert versions(root) == [str(fair[0]["version"])]


def test_an_untrained_model_is_refused_for_its_nats(fair, train):
    outcome, record, root = train(UNTRAINED)
    assert bounds(record) == bounds(fair[1])
    assert "against the n-gram it stands at" in outcome["gate"]
    assert "against the model in service it stands at" in outcome["gate"]
    assert not record.gate["blessed"]
    assert versions(root) == [str(fair[0]["version"])]


def test_a_broken_model_is_refused_for_not_serving(fair, train):
    outcome, record, root = train(SOME, "broken")
    assert bounds(record) == bounds(fair[1])
    assert not record.songs
    assert outcome["panel"].startswith("refused: ")
    (reason,) = record.panel["reasons"]
    assert "generate" in reason
    assert versions(root) == [str(fair[0]["version"])]
