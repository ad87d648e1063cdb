"""kill -9 in the middle of a training: begun again, it ends as if nothing had been.

A real training on tiny windows runs in a process of its own, forked from one that
has imported TensorFlow's modules already, and is killed at random instants: while it
loads, in the first epoch, while a checkpoint is written, in the last epoch. It is
begun again until it ends. `SEGUE_SEED` repeats a run.
"""

import multiprocessing
import os
import random
import runpy
import signal
import time

import numpy as np
import pytest

from music.codec import BOUNDARY, NotesCodec
from music.vocabulary import build_vocabulary
from music.windows import WindowSpec

EPOCHS, STEPS_AN_EPOCH = 6, 12
KILLS = 12
STEPS, PITCHES, TICKS = (0, 6, 12, 24), (60, 64, 67, 72), (12, 24, 6, 48)


def song(number, count):
    """Random walks, so that no order of the windows is like another."""
    rng = np.random.default_rng(number)
    columns = [rng.choice(values, count) for values in (STEPS, PITCHES, TICKS)]
    events = np.stack(columns, axis=1).astype(np.int32)
    events[0] = (0, BOUNDARY, 0)
    return events


def train(vocabulary_json, splits, checkpoints, out, every, pace, kill):
    """The training; in a process of its own.

    It keeps a checkpoint `every` seconds (0: after every step) and at an epoch's end.
    Every step takes `pace` seconds longer, so that kills meet all of its parts. It is
    killed at the given call of `fsync` (a checkpoint is half there) or of `step`.
    """
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    from components.trainer import training
    from components.trainer.settings import ModelSettings, TrainerSettings, TrainingSettings
    from music.vocabulary import Vocabulary

    training.CHECKPOINT_SECONDS = every

    def then(function, name, seconds=0.0):
        def wrapped(*args, **more):
            wrapped.calls += 1
            if kill == (name, wrapped.calls):
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(seconds)
            return function(*args, **more)

        wrapped.calls = 0
        return wrapped

    training.Teller.step = then(training.Teller.step, "step", pace)
    os.fsync = then(os.fsync, "fsync")
    chosen = TrainerSettings(
        ModelSettings(units=(12, 16, 12), dense=16, embedding=8, dropout=0.4),
        # The rate is too high to get better in every epoch: the best is not the last.
        TrainingSettings(
            batch_size=4, epochs=EPOCHS, learning_rate=0.1, transpose=2, seed=11, patience=EPOCHS
        ),
        WindowSpec(8),
    )
    fitted = training.fit(
        chosen, Vocabulary.from_json(vocabulary_json), *splits, checkpoint_dir=checkpoints
    )
    partial = f"{out}.partial.npz"
    curve = [(epoch.loss, epoch.nats, epoch.learning_rate) for epoch in fitted.history.epochs]
    np.savez(partial, *fitted.network.get_weights(), curve=np.array(curve))
    os.replace(partial, out)


@pytest.fixture(scope="module")
def forks():
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["components.trainer.training"])
    return context


@pytest.fixture(scope="module")
def begin(forks, write_windows, tmp_path_factory):
    """begin(folder): a process that trains, with its checkpoints and its end in there."""
    folder = tmp_path_factory.mktemp("windows")
    songs = [song(number, 60) for number in range(8)]
    counts = [{int(code): 9 for code in np.unique(np.concatenate(songs)[:, f])} for f in range(3)]
    known = build_vocabulary(NotesCodec(), counts, min_count=2)
    write_windows(folder / "train" / "w.gz", songs[:6], known, WindowSpec(8))
    write_windows(folder / "eval" / "w.gz", songs[6:], known, WindowSpec(8))
    splits = [str(folder / "train" / "*")], [str(folder / "eval" / "*")]

    def begin(folder, every=1e9, pace=0.0, kill=None):
        places = str(folder / "checkpoints"), str(folder / "end.npz")
        arguments = (known.to_json(), splits, *places, every, pace, kill)
        # This file again, since a process can import no test.
        process = forks.Process(
            target=runpy.run_path, args=(__file__, {"ARGUMENTS": arguments}, "train")
        )
        process.start()
        return process

    return begin


@pytest.fixture(scope="module")
def undisturbed(begin, tmp_path_factory):
    """What a training that nobody kills ends with."""
    folder = tmp_path_factory.mktemp("undisturbed")
    process = begin(folder)
    process.join()
    assert process.exitcode == 0
    end = read(folder)
    nats = end["curve"][:, 1]
    assert len(nats) == EPOCHS
    assert nats.argmin() not in (0, EPOCHS - 1)  # so that best weights are of interest
    return end


def read(folder):
    with np.load(folder / "end.npz") as file:
        return {name: file[name] for name in file.files}


def assert_same(end, undisturbed):
    assert end.keys() == undisturbed.keys()
    for name, value in undisturbed.items():
        np.testing.assert_array_equal(end[name], value, err_msg=name)


def stands(folder):
    """(epochs, step) of the newest checkpoint; None when there is none."""
    found = sorted((folder / "checkpoints").glob("*.npz"))
    return tuple(map(int, found[-1].stem.split("-")[1:])) if found else None


@pytest.fixture
def chance():
    seed = int(os.environ.get("SEGUE_SEED", random.SystemRandom().randrange(2**32)))
    print("seed", seed)
    return random.Random(seed)


def test_a_training_that_is_killed_ends_as_if_it_had_not_been(begin, undisturbed, chance, tmp_path):
    # Inside an epoch, with a checkpoint a step.
    step = chance.randrange(STEPS_AN_EPOCH + 2, 2 * STEPS_AN_EPOCH)
    process = begin(tmp_path, every=0.0, kill=("step", step))
    process.join()
    assert process.exitcode == -9
    assert stands(tmp_path) == (1, step - STEPS_AN_EPOCH - 1)
    # While a checkpoint is written: two calls each, for the file and for its folder.
    calls = chance.randrange(2, 4)
    process = begin(tmp_path, kill=("fsync", 2 * calls - 1))
    process.join()
    assert process.exitcode == -9
    assert list((tmp_path / "checkpoints").glob("*.partial"))
    assert stands(tmp_path) == (calls, 0)
    process = begin(tmp_path)
    process.join()
    assert process.exitcode == 0
    assert not list((tmp_path / "checkpoints").glob("*.partial"))
    assert_same(read(tmp_path), undisturbed)


@pytest.mark.slow
def test_no_instant_is_a_bad_one_to_be_killed_at(begin, undisturbed, chance, tmp_path):
    began = time.perf_counter()
    process = begin(tmp_path / "first", pace=0.03)
    process.join()
    life = time.perf_counter() - began
    killed, met = 0, set()
    for run in range(100):
        folder = tmp_path / str(run)
        while not (folder / "end.npz").exists():
            process = begin(folder, every=chance.choice([0.0, 0.1, 1e9]), pace=0.03)
            process.join(chance.uniform(0, life))
            process.kill()
            process.join()
            assert process.exitcode in (-9, 0)
            killed += process.exitcode == -9
            met.add(stands(folder))
        assert_same(read(folder), undisturbed)
        if killed >= KILLS:
            break
    print(killed, "killed, at", sorted(met - {None}))
    assert killed >= KILLS
    assert {None} < met
    assert any(step for place in met if place for step in place[1:])


if __name__ == "train":
    train(*ARGUMENTS)  # noqa: F821
