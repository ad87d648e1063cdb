"""Trainings that are made once: what is kept, what is made again, and by what key."""

import dataclasses
import json
import logging

import numpy as np
import pytest

from components.files import HISTORY_FILE
from components.progress import LOGGER, report
from components.trainer import trials as module
from components.trainer.settings import ModelSettings, TrainerSettings, TrainingSettings
from components.trainer.trials import BROKEN_FILE, Trials, training_code, without_epochs
from music.errors import SegueError
from music.windows import WindowSpec

WINDOW = WindowSpec(4, "last")
SETTINGS = TrainerSettings(
    ModelSettings("paper", units=(4, 4, 4), dense=4, dropout=0.2),
    TrainingSettings(batch_size=32, epochs=1, learning_rate=0.02, schedule="constant"),
    WINDOW,
)
# More than a float32 can hold.
BREAKS_DOWN = dataclasses.replace(SETTINGS, model=dataclasses.replace(SETTINGS.model, l2=1e39))


@pytest.fixture(scope="module")
def splits(paper_splits):
    return paper_splits(WINDOW)


@pytest.fixture(scope="module")
def trials(tmp_path_factory, vocabulary, splits):
    return Trials(tmp_path_factory.mktemp("store"), vocabulary("paper"), *splits)


@pytest.fixture(scope="module")
def first(trials):
    return trials.run(SETTINGS)


def curve(trial):
    return [(epoch.loss, epoch.nats) for epoch in trial.history.epochs]


def test_a_trial_is_kept_as_its_history_alone(trials, first):
    assert not first.kept
    folder = trials.store / first.key
    assert [path.name for path in folder.iterdir()] == [HISTORY_FILE]
    assert (folder / HISTORY_FILE).read_text() == first.history.to_json()


def test_a_trial_that_is_kept_is_not_made_again(trials, first, splits, vocabulary):
    (trials.store / first.key / "checkpoint").mkdir()  # as a kill just before its end leaves it
    again = Trials(trials.store, vocabulary("paper"), *splits).run(SETTINGS)
    assert [path.name for path in (trials.store / first.key).iterdir()] == [HISTORY_FILE]
    assert (again.key, again.kept) == (first.key, True)
    # Seconds of wall time would differ.
    assert again.history.to_json() == first.history.to_json()


def test_a_trial_that_is_lost_or_damaged_is_made_again_and_ends_the_same(trials, first):
    (trials.store / first.key / HISTORY_FILE).write_text('{"preset": "cut off')
    assert trials.find(SETTINGS) is None
    again = trials.run(SETTINGS)
    assert not again.kept
    np.testing.assert_allclose(curve(again), curve(first), rtol=1e-6)


def test_a_training_that_breaks_down_is_a_result_and_is_kept(trials):
    broken = trials.run(BREAKS_DOWN)
    assert broken.history is None
    assert broken.reason.startswith("training broke down in epoch 1: the loss is ")
    kept = json.loads((trials.store / broken.key / BROKEN_FILE).read_text())
    assert TrainerSettings.from_dict(kept["settings"]) == BREAKS_DOWN
    assert trials.run(BREAKS_DOWN) == dataclasses.replace(broken, kept=True)


def test_a_split_without_windows_is_no_result(tmp_path, vocabulary, splits, write_windows):
    write_windows(tmp_path / "w.gz", [], vocabulary("paper"), WINDOW)
    empty = Trials(tmp_path / "store", vocabulary("paper"), splits[0], [str(tmp_path / "w.gz")])
    with pytest.raises(SegueError, match="the eval split has no window"):
        empty.run(SETTINGS)
    assert empty.find(SETTINGS) is None


def test_the_key_is_of_what_decides_a_training(trials, splits, vocabulary, monkeypatch):
    key = trials.key(SETTINGS)
    renamed = dataclasses.replace(SETTINGS, preset="other", code="changed elsewhere")
    assert trials.key(renamed) == key
    other = dataclasses.replace(SETTINGS.model, dropout=0.3)
    keys = {key, trials.key(dataclasses.replace(SETTINGS, model=other))}
    keys.add(Trials(trials.store, vocabulary("paper"), splits[0], splits[0]).key(SETTINGS))
    keys.add(Trials(trials.store, vocabulary("chords"), *splits).key(SETTINGS))
    monkeypatch.setattr(module, "training_code", lambda: "other code")
    keys.add(trials.key(SETTINGS))
    assert len(keys) == 5


def test_the_code_that_trains_counts_and_its_comments_do_not(tmp_path, monkeypatch):
    monkeypatch.setattr(module.importlib.resources, "files", lambda package: tmp_path)
    source = tmp_path / "network.py"
    source.write_text("a = 1\n")
    before = training_code()
    source.write_text("# why\na  =  1\n")
    (tmp_path / "export.py").write_text("b = 1\n")
    assert training_code() == before
    source.write_text("a = 2\n")
    assert training_code() != before


def test_the_lines_of_single_trainings_are_left_out(caplog):
    LOGGER.addHandler(caplog.handler)
    try:
        with caplog.at_level(logging.INFO, LOGGER.name):
            with without_epochs():
                report("Trainer", "epoch 1 of 9")
                report("Tuner", "trial 1 of 3")
            report("Trainer", "epoch 2 of 9")
    finally:
        LOGGER.removeHandler(caplog.handler)
    assert list(dict.fromkeys(record.text for record in caplog.records)) == [
        "trial 1 of 3",
        "epoch 2 of 9",
    ]
