"""The long runs of the yardstick, on a data set made here: kept, not made twice, averaged."""

import json

import numpy as np
import pytest

from benchmarks import _poly_long
from benchmarks._poly import FILES, SPLITS, read_rolls
from benchmarks._poly_long import PRESETS, Run, averages, carry_out
from benchmarks.likelihood import PUBLISHED, SHORT, main, table
from components.trainer.settings import TrainerSettings
from music.errors import SegueError
from pipeline.configuration import load_configuration

TINY = """
codec: {name: notes}
vocabulary: {min_count: 1}
window: {length: 12}
model: {units: [6, 8, 6], dense: 8, embedding: 4, dropout: 0.0}
training: {batch_size: 4, epochs: 2, schedule: constant, learning_rate: 0.02}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A data set in a file like the published ones: the same two chords for ever."""
    from scipy.io import savemat

    folder = tmp_path_factory.mktemp("poly")
    rng, content = np.random.default_rng(1), {}
    for split, count in zip(SPLITS, (8, 3, 3), strict=True):
        pieces = np.empty((1, count), object)
        for place in range(count):
            roll = np.zeros((rng.integers(6, 12), 88), np.uint8)
            roll[::2, [30, 40]] = 1
            roll[1::2, [33, 37]] = 1
            pieces[0, place] = roll
        content[f"{split}data"] = pieces
    savemat(folder / FILES["JSB"], content)
    return folder


@pytest.fixture
def preset(tmp_path, monkeypatch):
    """The preset of a network that trains in a second."""
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY)
    monkeypatch.setitem(PRESETS, "JSB", path)


class Interrupted(Exception):
    """Ends a run where its figures are about to be taken."""


def interrupt(model):
    raise Interrupted


def test_a_run_goes_on_ends_and_is_kept(folder, preset, tmp_path, monkeypatch, capsys):
    results, out, run = tmp_path / "results", tmp_path / "out", Run("JSB", 5)
    path = results / "likelihood-jsb-5.json"
    results.mkdir()
    older = {"model": {"dense": 7}, "training": {}, "window": {}}
    other = {"key": "", "seed": 5, "data": "JSB", "min_count": 1, "history": {"settings": older}}
    path.write_text(json.dumps(other))
    # What another preset came to stands in no table.
    assert "Segue" not in table("JSB", folder, results)

    with monkeypatch.context() as patched:
        patched.setattr(_poly_long, "NetworkRolls", interrupt)
        with pytest.raises(Interrupted):
            carry_out(run, folder, results, out)
    assert "epoch 2 of 2" in capsys.readouterr().out
    told = carry_out(run, folder, results, out)
    assert "epoch 1 of 2" not in capsys.readouterr().out  # what was learned is there
    assert list(results.iterdir()) == [path]
    assert json.loads(path.read_text()) == told
    assert not list(out.glob("going-*"))

    assert told["command"] == "python -m benchmarks.likelihood --long --data JSB --seeds 5"
    assert TrainerSettings.from_dict(told["history"]["settings"]).training.seed == 5
    assert len(told["history"]["epochs"]) == 2
    assert {"tensorflow", "keras"} <= set(told["history"]["versions"])
    rolls = read_rolls("JSB", folder)
    for split in ("valid", "test"):
        assert told[split]["frames"] == sum(len(roll) - 1 for roll in rolls[split])
        assert 0 < told[split]["renormalised"] < told[split]["nats"] < 88

    # Asked for again, it is read.
    assert carry_out(run, folder, results, out) == told
    assert "epoch" not in capsys.readouterr().out
    lines = table("JSB", folder, results).splitlines()
    assert any(
        line.startswith("  Segue ") and f"{told['test']['nats']:.2f}  seed 5" in line
        for line in lines
    )
    assert sum("published" in line for line in lines) == len(PUBLISHED["JSB"])


def test_a_trial_is_not_shown_the_test_split(folder, preset, tmp_path):
    run = Run("JSB", 1, ("training.epochs=1",))
    told = carry_out(run, folder, out=tmp_path)
    assert "valid" in told
    assert "test" not in told
    assert told["command"].endswith("--seeds 1 --set training.epochs=1")
    (path,) = (tmp_path / "trials").iterdir()
    assert path.name == f"likelihood-jsb-1-{told['key']}.json"


def test_averages_are_over_the_seeds():
    values = [
        {"seed": 1, "valid": {"nats": 6.0, "renormalised": 5.0}},
        {"seed": 2, "valid": {"nats": 7.0, "renormalised": 5.5}},
    ]
    told = averages(values)
    assert told["seeds"] == [1, 2]
    assert told["valid_nats"] == (6.5, 6.0, 7.0)
    assert told["valid_renormalised"] == (5.25, 5.0, 5.5)
    assert "test_nats" not in told


@pytest.mark.parametrize("data", sorted(PRESETS))
def test_the_presets_are_settings_of_a_chain_on_notes(data, tmp_path):
    config = load_configuration(tmp_path, tmp_path, str(PRESETS[data]))
    assert (config.codec["name"], config.model.kind) == ("notes", "chain")
    load_configuration(tmp_path, tmp_path, str(PRESETS[data]), SHORT)


def test_what_cannot_be_run_is_one_line(folder, tmp_path, capsys):
    with pytest.raises(SegueError, match="'Bach' has no preset; choose JSB or Nottingham"):
        Run("Bach")
    with pytest.raises(SegueError, match="codec notes alone"):
        carry_out(Run("JSB", 1, ("codec.velocity=true",)), folder, out=tmp_path)
    assert main(["--long", "--data", "JSB", "--set", "training.epoch=1"]) == 1
    assert capsys.readouterr().err.startswith("benchmarks.likelihood: setting training.epoch ")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--set", "training.epochs=2"], "--set goes with --long"),
        (["--seeds", "3"], "--seeds goes with --long"),
        (["--long", "--set", "training.seed=9"], "--seeds says which seeds"),
    ],
)
def test_switches_that_mean_nothing_are_refused(arguments, words, capsys):
    with pytest.raises(SystemExit):
        main(arguments)
    assert words in capsys.readouterr().err
