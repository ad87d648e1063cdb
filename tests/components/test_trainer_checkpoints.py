"""Where a training stands, kept on disk: whole, its own, and never too many."""

import dataclasses
import os

import numpy as np
import pytest

from components.trainer import checkpoints
from components.trainer.checkpoints import Checkpoints, Progress, open_folder, training_key
from components.trainer.history import Epoch
from components.trainer.settings import ModelSettings, TrainerSettings, TrainingSettings
from music.windows import WindowSpec

FIRST, SECOND, THIRD = (Epoch(3.0, nats, 1.0, 0.01) for nats in (2.5, 2.25, 2.375))
SETTINGS = TrainerSettings(ModelSettings(), TrainingSettings(), WindowSpec(8))
MACHINE = {"kind": "cpu"}


@pytest.fixture
def network():
    import keras

    return keras.Sequential([keras.Input((2,)), keras.layers.Dense(3), keras.layers.Dropout(0.5)])


@pytest.fixture
def kept(network, tmp_path):
    return Checkpoints(str(tmp_path / "kept"), "a key", network, [])


def fill(network, value):
    network.set_weights([np.full_like(weight, value) for weight in network.get_weights()])


def values(arrays):
    """The one value that each array is full of."""
    return [float(np.unique(array).item()) for array in arrays]


def names(kept):
    return sorted(path.name for path in kept.folder.iterdir())


def test_without_a_checkpoint_a_training_begins(kept, network):
    fill(network, 4.0)
    assert kept.restore() == Progress()
    assert values(network.get_weights()) == [4.0, 4.0]


def test_what_was_saved_comes_back(kept, network):
    seeds = [v for v in network.variables if "seed" in v.path]
    assert len(seeds) == 1
    seeds[0].assign([7, 9])
    fill(network, 2.0)
    kept.best = network.get_weights()
    fill(network, 3.0)
    stood = Progress((FIRST, SECOND, THIRD), step=5, seconds=1.5)
    kept.save(stood)
    fill(network, 0.0)
    seeds[0].assign([0, 0])
    kept.best = []
    assert kept.restore() == stood
    assert values(network.get_weights()) == [3.0, 3.0]
    assert values(kept.best) == [2.0, 2.0]
    assert seeds[0].numpy().tolist() == [7, 9]


def test_the_best_weights_are_not_kept_twice(kept, network):
    fill(network, 2.0)
    kept.best = network.get_weights()
    kept.save(Progress((FIRST, SECOND)))
    (path,) = kept.folder.iterdir()
    with np.load(path) as file:
        assert not [name for name in file.files if name.startswith("best")]
    kept.best = []
    kept.restore()
    assert values(kept.best) == [2.0, 2.0]


def test_the_one_before_is_kept_until_the_next(kept):
    for progress in (
        Progress((FIRST,)), Progress((FIRST,), step=4), Progress((FIRST, SECOND)),
    ):  # fmt: skip
        kept.save(progress)
    assert names(kept) == ["checkpoint-00000001-00000004.npz", "checkpoint-00000002-00000000.npz"]


def cut(path):
    path.write_bytes(path.read_bytes()[:-100])


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    "damage", [cut, flip, lambda path: path.write_bytes(b"")], ids=["cut", "flip", "empty"]
)
def test_a_damaged_checkpoint_is_told_and_the_one_before_is_taken(kept, network, caplog, damage):
    fill(network, 1.0)
    kept.best = network.get_weights()
    kept.save(Progress((FIRST,)))
    fill(network, 2.0)
    kept.best = network.get_weights()
    kept.save(Progress((FIRST, SECOND)))
    newest = kept.folder / names(kept)[-1]
    damage(newest)
    with caplog.at_level("INFO", "segue.progress"):
        assert kept.restore() == Progress((FIRST,))
    (line,) = caplog.messages
    assert line.startswith(f"Trainer: the checkpoint {newest} is left out: ")
    assert "\n" not in line
    assert values(network.get_weights()) == [1.0, 1.0]
    assert names(kept) == ["checkpoint-00000001-00000000.npz"]


def test_every_byte_of_a_checkpoint_is_watched(kept, network):
    fill(network, 1.0)
    kept.best = network.get_weights()
    kept.save(Progress((FIRST,)))
    (path,) = kept.folder.iterdir()
    whole = path.read_bytes()
    assert kept.restore() == Progress((FIRST,))
    rng = np.random.default_rng(5)
    for place in rng.choice(len(whole), 150, replace=False):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << rng.integers(8)
        path.write_bytes(damaged)
        fill(network, 9.0)
        assert kept.restore() == Progress(), place
        assert values(network.get_weights()) == [9.0, 9.0]


def test_half_a_checkpoint_is_removed(kept):
    kept.save(Progress((FIRST,)))
    (kept.folder / "checkpoint-00000002-00000000.partial").write_bytes(b"PK")
    kept.restore()
    assert names(kept) == ["checkpoint-00000001-00000000.npz"]


def test_another_trainings_checkpoint_is_not_taken(kept, network, tmp_path, caplog):
    kept.save(Progress((FIRST,)))
    other = Checkpoints(str(tmp_path / "kept"), "another key", network, [])
    with caplog.at_level("INFO", "segue.progress"):
        assert other.restore() == Progress()
    assert "it is of another training" in caplog.text


def test_a_disk_that_refuses_is_told_once_and_stops_nothing(kept, caplog, tmp_path):
    (tmp_path / "kept").write_text("a file in the way")
    with caplog.at_level("INFO", "segue.progress"):
        kept.save(Progress((FIRST,)))
        kept.save(Progress((FIRST, SECOND)))
    (line,) = caplog.messages
    assert line.startswith(f"Trainer: cannot keep a checkpoint in {tmp_path / 'kept'} (")


def test_whatever_changes_a_training_changes_its_key(vocabulary, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(name.encode() * 9)
    patterns = [str(tmp_path / "*")]
    known = vocabulary("notes")

    def key(settings=SETTINGS, words=known, machine=MACHINE):
        return training_key(settings, words, patterns, machine)

    keys = [key(), key(machine={"kind": "gpu"}), key(words=vocabulary("paper"))]
    for change in ({"seed": 8}, {"max_minutes": 1.0}):
        training = dataclasses.replace(SETTINGS.training, **change)
        keys.append(key(dataclasses.replace(SETTINGS, training=training)))
    keys.append(key(dataclasses.replace(SETTINGS, code="changed")))
    assert key() == keys[0]
    (tmp_path / "b").write_bytes(b"bbbbbbbbc")
    keys.append(key())
    assert len(set(keys)) == len(keys)


def test_few_folders_of_other_trainings_are_left(tmp_path):
    for age, name in enumerate(["newest", "older", "oldest", "mine"]):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x").touch()
        os.utime(tmp_path / name, (1e9 - age, 1e9 - age))
    assert open_folder(str(tmp_path), "mine") == str(tmp_path / "mine")
    assert checkpoints.OTHERS_KEPT == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "newest"]
    checkpoints.discard(str(tmp_path / "mine"))
    assert [path.name for path in tmp_path.iterdir()] == ["newest"]
