"""The compiled pipeline, run task by task as a cluster would, does what a local run does.

Every task is a process of its own with the command that stands in the compiled file; it
has the installed wheel alone, and begins in another folder. One run for all tests.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from kubeflow.one_machine import Machine, read_spec, run

VERSION = "1700000000"

# Twelve tasks that load TFX each, and the local run: some minutes, and more of them where
# the machine has other work.
pytestmark = pytest.mark.timeout(2700)


class Proof(NamedTuple):
    """A run of the compiled pipeline, and the folders of its two roots."""

    tasks: dict[str, Any]
    machine: Machine
    root: Path

    def folder(self, task: str, output: str) -> Path:
        return Path(self.machine.path(self.tasks[task].artifact(output)["uri"]))

    def log(self, task: str) -> str:
        return (self.machine.root / "runs" / "1" / task / "log.txt").read_text()


@pytest.fixture(scope="session")
def proof(installed, first_run, tmp_path_factory) -> Proof:
    """The smoke preset on the local run's songs, with the local run's model in service."""
    folder = tmp_path_factory.mktemp("proof")
    package = folder / "segue.yaml"
    compiled = installed.run(
        installed.bin / "segue", "pipeline", "run", "--engine", "kubeflow", "--data", "/segue/midi",
        "--image", "registry.example.com/segue:1", "--compile-only", package, "--json",
        cwd=folder,
    )  # fmt: skip
    assert compiled.returncode == 0, compiled.stderr
    assert json.loads(compiled.stdout) == {"compiled": str(package), "name": "segue"}
    root = folder / "root"
    # So that the gate has something to compare with, as from the second run on.
    in_service = first_run.root / "serving" / "segue" / str(first_run.outcome["version"])
    shutil.copytree(in_service, root / "serving" / "segue" / VERSION)
    machine = Machine(folder / "machine", installed.environment)
    # Compiled for another preset and other folders: a run's parameters decide.
    values = {"data": str(first_run.data), "root": str(root), "preset": "smoke"}
    return Proof(run(read_spec(package), values, machine), machine, root)


def local(first_run, component: str, output: str) -> Path:
    """The folder of an artifact of the local run, whatever has been run after it."""
    found = (first_run.root / "pipeline" / component / output).iterdir()
    return min(found, key=lambda path: int(path.name))


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_every_task_runs_once_and_after_what_it_needs(proof):
    order = list(proof.tasks)
    assert order[0] == "Configure"
    assert set(proof.tasks) == {
        "Configure", "MidiParser", "VocabularyBuilder", "ReferenceBuilder", "WindowGenerator",
        "StatisticsGen", "SchemaGen", "ExampleValidator", "Trainer", "Evaluator",
        "ServingValidator", "Pusher",
    }  # fmt: skip
    assert order.index("WindowGenerator") < order.index("Trainer") < order.index("Evaluator")
    assert order[-1] == "Pusher"


def test_the_tasks_saw_the_installed_wheel_and_no_repository(proof, installed, tmp_path):
    where = installed.run(
        installed.bin / "python", "-c", "import components, kubeflow; print(components.__file__)",
        cwd=tmp_path,
    )  # fmt: skip
    assert where.returncode == 0, where.stderr
    assert Path(where.stdout.strip()).is_relative_to(installed.folder / "venv")
    assert not (installed.folder / "source").exists()


def test_the_vocabulary_is_the_local_runs_to_the_byte(proof, first_run):
    theirs = proof.folder("VocabularyBuilder", "vocabulary") / "vocabulary.json"
    ours = local(first_run, "VocabularyBuilder", "vocabulary") / "vocabulary.json"
    assert theirs.read_bytes() == ours.read_bytes()


def test_the_windows_are_the_local_runs_to_the_byte(proof, first_run):
    theirs = files(proof.folder("WindowGenerator", "examples"))
    ours = files(local(first_run, "WindowGenerator", "examples"))
    assert {name for name in theirs if name.startswith("Split-train/")}
    assert theirs == ours


def test_the_gates_say_what_they_say_of_the_local_run(proof, first_run):
    assert first_run.outcome["blessed"]
    for task in ("Evaluator", "ServingValidator"):
        assert proof.tasks[task].artifact("blessing")["metadata"]["blessed"] == 1, proof.log(task)
    theirs = json.loads((proof.folder("Evaluator", "evaluation") / "gate.json").read_text())
    assert theirs["nats"] == pytest.approx(first_run.outcome["nats"], abs=0.05)
    panel = json.loads((proof.folder("ServingValidator", "panel") / "panel.json").read_text())
    assert panel["reasons"] == []


def test_the_gate_compared_with_the_model_in_service(proof):
    gate = json.loads((proof.folder("Evaluator", "evaluation") / "gate.json").read_text())
    assert gate["nats_minus_service"] == pytest.approx(0.0, abs=0.05)


def test_the_model_is_pushed_beside_the_one_that_was_in_service(proof):
    versions = sorted(path.name for path in (proof.root / "serving" / "segue").iterdir())
    assert len(versions) == 2
    assert versions[0] == VERSION
    assert (proof.root / "serving" / "segue" / versions[1] / "saved_model.pb").exists()
    assert "Pusher: version" in proof.log("Pusher")


def test_artifacts_keep_the_uris_that_the_backend_gave_them(proof):
    for name, task in proof.tasks.items():
        for output in task.executor_input["outputs"]["artifacts"]:
            uri = task.artifact(output)["uri"]
            assert uri == f"minio://mlpipeline/v2/artifacts/segue/1/{name}/{output}"
    blessing = proof.tasks["Evaluator"].artifact("blessing")["metadata"]
    assert blessing["current_model"] == proof.tasks["Trainer"].artifact("model")["uri"]
    assert blessing["current_model_id"] == "model"


def test_what_lasts_lies_under_the_root_that_the_run_was_given(proof):
    assert (proof.root / "cache" / "readings").is_dir()
    assert not any((proof.root / "cache" / "training").iterdir())  # a training that has ended


def test_a_parameter_that_makes_other_tasks_is_refused_by_the_first(proof, installed, first_run):
    """As the backend would start it: the same command, another value."""
    given = json.loads(json.dumps(proof.tasks["Configure"].executor_input))
    given["inputs"]["parameterValues"]["set"] = ["tuning.enabled=true"]
    ran = installed.run(
        installed.bin / "python", "-m", "kubeflow.entrypoint", "--configure",
        "--json_serialized_invocation_args", json.dumps(given), cwd=proof.root,
    )  # fmt: skip
    assert ran.returncode == 1
    (line,) = [one for one in ran.stderr.splitlines() if one.startswith("segue: ")]
    assert "the task Tuner, which the pipeline was compiled without" in line
