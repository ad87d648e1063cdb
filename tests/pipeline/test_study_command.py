"""`segue study` and `--tune` as a person runs them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from music.corpus import export
from pipeline.configuration import load_configuration
from pipeline.lock import exclusive

REPOSITORY = Path(__file__).parents[2]


def test_a_folder_that_is_not_there_is_one_line_and_nothing_is_made(segue, one_line, tmp_path):
    root = tmp_path / "root"
    line = one_line(segue("study", "paper", "--data", tmp_path / "none", "--root", root))
    assert line.startswith(f"there is no folder {tmp_path / 'none'}")
    assert not root.exists()


def test_a_folder_without_songs_is_one_line(segue, one_line, tmp_path):
    line = one_line(segue("study", "paper", "--data", tmp_path, "--root", tmp_path / "root"))
    assert "there is no MIDI file in" in line


def test_a_size_that_does_not_exist_is_refused_with_those_that_do(segue, tmp_path):
    ran = segue("study", "paper", "--size", "huge", "--root", tmp_path)
    assert ran.code == 2
    assert all(size in ran.err for size in ("quick", "small", "full"))


def test_a_root_in_use_is_one_line(segue, one_line, tmp_path):
    with exclusive(tmp_path):
        line = one_line(segue("study", "paper", "--size", "quick", "--root", tmp_path), 75)
    assert "another run" in line


def test_a_space_that_cannot_be_searched_is_one_line_before_anything_starts(
    segue, one_line, tmp_path
):
    line = one_line(
        segue(
            "pipeline", "run", "--tune", "--data", tmp_path, "--root", tmp_path / "root",
            "--set", "tuning.space={model: {dropout: [0.1, 7]}}",
        )
    )  # fmt: skip
    assert line == "model.dropout 7.0 is not allowed; it must be 0 <= dropout < 1"


@pytest.mark.parametrize("tune", [False, True])
def test_only_a_run_that_tunes_has_a_tuner(tmp_path, monkeypatch, tune):
    # absl, inside TFX, takes the flags of whoever started Python for its own.
    monkeypatch.setattr(sys, "argv", sys.argv[:1])
    from pipeline.graph import create_pipeline

    export("bach", tmp_path / "midi", limit=1, parts=4)
    config = load_configuration(
        tmp_path / "midi", tmp_path / "root", "smoke", [f"tuning.enabled={str(tune).lower()}"]
    )
    nodes = {node.id: node for node in create_pipeline(config).components}
    trainer = nodes["Trainer"]
    assert ("Tuner" in nodes) == ("hyperparameters" in trainer.inputs) == tune
    if tune:
        assert nodes["Tuner"] in trainer.upstream_nodes
        assert nodes["ExampleValidator"] in nodes["Tuner"].upstream_nodes


# ---- whole runs -------------------------------------------------------------


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """The root of a quick study that was killed when its first arm was done."""
    root = tmp_path_factory.mktemp("study") / "root"
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline.cli", "study", "paper", "--size", "quick",
         "--root", str(root)],
        cwd=REPOSITORY, env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.monotonic() + 600
    while not list(root.glob("cache/trials/*/history.json")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    return root


@pytest.fixture(scope="module")
def finished(segue, root):
    """What the study printed when it was run again."""
    before = {path: path.read_bytes() for path in root.glob("cache/trials/*/history.json")}
    ran = segue("study", "paper", "--size", "quick", "--root", root, "--json")
    assert ran.code == 0, ran.err
    assert all(path.read_bytes() == text for path, text in before.items())
    return ran.json, len(before), ran.err


@pytest.mark.slow
def test_a_study_that_was_killed_goes_on_with_the_arms_that_are_not_done(finished, root):
    found, before, told = finished
    assert len(found["arms"]) == found["arms_planned"] == 6
    assert before >= 1
    assert len(found["trained"]) == 6 - before
    assert told.count("made before") == before
    assert "arm 6 of 6" in told
    assert "epoch 1 of 3: loss" not in told
    assert found["data"]["songs"] == {"train": 5, "eval": 3}
    assert "Not finished" not in (root / "study.html").read_text()


@pytest.mark.slow
def test_a_study_that_is_done_trains_nothing_and_writes_the_same_page(segue, finished, root):
    page = (root / "study.html").read_bytes()
    ran = segue("study", "paper", "--size", "quick", "--root", root)
    assert ran.code == 0, ran.err
    assert ran.err.count("made before") == 6
    assert "6 arms, 6 of them made before" in ran.out
    assert ran.out.splitlines()[-1] == f"the page: {root / 'study.html'}"
    assert (root / "study.html").read_bytes() == page


@pytest.mark.slow
def test_an_arm_that_was_deleted_is_the_only_one_that_is_trained(segue, finished, root):
    arm = finished[0]["arms"][2]
    shutil.rmtree(root / "cache" / "trials" / arm["key"])
    ran = segue("study", "paper", "--size", "quick", "--root", root, "--json")
    assert ran.code == 0, ran.err
    assert ran.json["trained"] == [arm["name"]]
    again = next(one for one in ran.json["arms"] if one["name"] == arm["name"])
    assert again["best_nats"] == pytest.approx(arm["best_nats"], rel=1e-5)


@pytest.mark.slow
def test_a_run_that_tunes_trains_with_the_best_that_was_found(segue, chorales, tmp_path):
    root = tmp_path / "root"
    flags = ("--preset", "smoke", "--data", chorales, "--root", root, "--json")
    ran = segue("pipeline", "run", "--tune", *flags)
    assert ran.code == 0, ran.err
    assert "Tuner" in ran.json["executed"]
    (results,) = root.glob("pipeline/Tuner/tuner_results/*/*")

    best, other = json.loads(results.read_text())
    assert best["score"] <= other["score"]
    assert len(list(root.glob("cache/trials/*/history.json"))) == 2
    (kept,) = root.glob("pipeline/Trainer/model_run/*/history.json")
    trained = json.loads(kept.read_text())["settings"]
    assert trained["model"]["dropout"] == best["model.dropout"]
    assert trained["training"]["learning_rate"] == best["training.learning_rate"]
    assert trained["training"]["epochs"] == 3  # a trial's are fewer
    again = segue("pipeline", "run", "--tune", *flags)
    assert again.json["executed"] == []
