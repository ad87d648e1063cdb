"""A run that is killed and begun again ends with what an undisturbed one would have made.

Where it is killed is drawn; a failing test tells the seed, and CATALOGUE_KILL_SEED sets it.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from client.catalogue.store import Store
from client.catalogue.verify import verify

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture
def rng():
    """Draws from a seed that is shown where a test fails."""
    seed = int(os.environ.get("CATALOGUE_KILL_SEED") or int.from_bytes(os.urandom(4), "big"))
    print(f"CATALOGUE_KILL_SEED={seed}")
    return random.Random(seed)


class Killed(RuntimeError):
    """Stands for the end of the process: nobody catches it."""


def killed_at(monkeypatch, number, stage):
    """The `number`th file of a run is its last: before it stands aside, there, or in its place."""
    written, count = Store.write, [0]
    replace = os.replace

    def write(store, name, data):
        count[0] += 1
        if count[0] < number:
            return written(store, name, data)
        if stage == "aside":
            monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(Killed))
        if stage != "before":
            written(store, name, data)
        raise Killed

    monkeypatch.setattr(Store, "write", write)
    return lambda: (
        monkeypatch.setattr(Store, "write", written),
        monkeypatch.setattr(os, "replace", replace),
    )


def test_a_run_that_ends_at_any_file_is_gone_on_with(run, tree_of, tmp_path, monkeypatch, rng):
    undisturbed = tmp_path / "undisturbed"
    run(out=undisturbed)
    # Nine songs of four files and a record, the manifest in two forms, and what the page shows.
    everything = 9 * 5 + 3
    places = [*rng.sample(range(1, everything - 3), 5), *range(everything - 3, everything + 1)]
    for number in places:
        stage = rng.choice(["before", "aside", "after"])
        folder = tmp_path / f"killed at {number}"
        alive = killed_at(monkeypatch, number, stage)
        with pytest.raises(RuntimeError, match="Killed|^$"):
            run(out=folder, batch=rng.choice([1, 3, 9]))
        alive()
        for path in (folder / "songs").iterdir():
            assert path.read_bytes() == (undisturbed / "songs" / path.name).read_bytes()
        run(out=folder, batch=rng.choice([1, 2, 4, 100]))
        assert tree_of(folder) == tree_of(undisturbed), (number, stage)
        assert Store(folder).records() == {}
        assert os.listdir(folder / ".segue" / "aside") == []


class Command:
    """`segue regenerate` over a catalogue, in a group of processes of its own."""

    def __init__(self, run, toy, out, batch, workers):
        self.out = out
        self.process = subprocess.Popen(
            [
                sys.executable, "-m", "pipeline.cli", "regenerate", str(run.catalogue),
                "--target", toy.target, "--root", str(out / "no-root"), "--out", str(out),
                "--steps", "20", "--batch", str(batch), "--workers", str(workers),
            ],
            cwd=REPOSITORY, env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip

    def records(self):
        return Store(self.out).count()

    def kill_after(self, songs, seconds):
        """Kills it some time after so many more songs are there; whether it was alive."""
        until = time.monotonic() + 120
        before = self.records()
        while self.process.poll() is None and self.records() < before + songs:
            assert time.monotonic() < until
            time.sleep(0.01)
        time.sleep(seconds)
        alive = self.process.poll() is None
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate()
        return alive

    def end(self):
        told, said = self.process.communicate(timeout=240)
        assert self.process.returncode == 0, said
        return told

    def group(self):
        """How many processes of the group there are."""
        found = 0
        for entry in Path("/proc").iterdir():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            found += int(fields[2]) == self.process.pid and fields[0] != "Z"
        return found


def kill_and_go_on(run, toy, tree_of, tmp_path, rng, workers, kills):
    undisturbed, out = tmp_path / "undisturbed", tmp_path / "killed"
    run(out=undisturbed)
    toy.before = lambda: time.sleep(0.1)
    for _ in range(kills):
        command = Command(run, toy, out, rng.choice([1, 2, 4]), rng.choice(workers))
        command.kill_after(rng.choice([0, 1, 2]), rng.uniform(0, 0.6))
        # Workers do not outlive their run for long.
        until = time.monotonic() + 60
        while command.group():
            assert time.monotonic() < until
            time.sleep(0.1)
    there = Store(out).count()
    command = Command(run, toy, out, rng.choice([1, 2, 4]), rng.choice(workers))
    told = command.end()
    assert told.startswith("10 songs: ")
    assert tree_of(out) == tree_of(undisturbed), there
    found = verify(out, run.catalogue)
    assert (found.problems, found.strangers) == ((), ())


def test_a_process_that_is_killed_is_gone_on_with(run, toy, tree_of, tmp_path, rng):
    kill_and_go_on(run, toy, tree_of, tmp_path, rng, [1], 1)


@pytest.mark.slow
def test_processes_that_are_killed_again_and_again_are_gone_on_with(
    run, toy, tree_of, tmp_path, rng
):
    kill_and_go_on(run, toy, tree_of, tmp_path, rng, [1, 2], 6)


@pytest.mark.slow
def test_a_server_that_goes_away_is_one_line_from_workers_too(run, toy, one_line, segue, tmp_path):
    import grpc

    left = [5]

    def goes_away():
        left[0] -= 1
        if left[0] < 0:
            toy.failures.append((grpc.StatusCode.UNAVAILABLE, "Socket closed"))

    toy.before = goes_away
    arguments = (
        "regenerate", run.catalogue, "--target", toy.target, "--root", tmp_path,
        "--out", run.out, "--batch", 1, "--workers", 2,
    )  # fmt: skip
    ran = segue(*arguments)
    assert ran.code == 1, ran
    unchecked, line = ran.err.splitlines()
    assert unchecked.startswith("originality is not checked: ")
    assert line.startswith(f"segue: the model server at {toy.target} stopped answering")
    assert "MakeSongs" not in line
    toy.before = None
    assert segue(*arguments).code == 0
    assert verify(run.out, run.catalogue).problems == ()
