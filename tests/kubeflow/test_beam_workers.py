"""Ingest and regenerate by workers in other processes, as a cluster's are.

A job server and a pool of SDK workers run as processes of their own, from other folders
and from the installed wheel, so that what is pickled, staged and installed has to do.
Whatever a worker puts in place is witnessed by the pool's own interpreters: a folder on
their path, and on no other's, has a hook that writes down each file that is renamed.
"""

from __future__ import annotations

import ast
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest

from kubeflow.one_machine import Machine, read_spec, run

pytestmark = pytest.mark.timeout(1200)

WITNESS = """
import os, sys

def _hook(event, arguments):
    if event == "os.rename":
        line = f"{(os.getppid(), os.fsencode(arguments[1]))!r}\\n"
        log = os.open(os.environ["WITNESS_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(log, line.encode())
        os.close(log)

sys.addaudithook(_hook)
"""

INGEST = """
import sys
from pathlib import Path
from pipeline.configuration import load_configuration
from pipeline.local_runner import run_windows_locked
data, root, *arguments = sys.argv[1:]
config = load_configuration(
    Path(data), Path(root), "smoke", beam_pipeline_args=tuple(arguments)
)
run_windows_locked(config)
"""


class Workers(NamedTuple):
    """A job server and a pool of workers.

    Attributes:
      pool: the pool's process; each worker is a child of it.
      log: what the workers put in place.
      arguments: Beam's, to work there.
    """

    pool: int
    log: Path
    arguments: list[str]

    def placed(self) -> set[str]:
        """What the pool's own workers have put in place, by path."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        told = [ast.literal_eval(line) for line in lines]
        return {os.fsdecode(path) for parent, path in told if parent == self.pool}


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("localhost", 0))
        return one.getsockname()[1]


def wait_for(process: subprocess.Popen, port: int) -> None:
    deadline = time.monotonic() + 120
    while True:
        try:
            socket.create_connection(("localhost", port), 1).close()
            return
        except OSError:
            assert process.poll() is None, process.args
            assert time.monotonic() < deadline
            time.sleep(0.1)


@pytest.fixture(scope="module")
def workers(installed, tmp_path_factory) -> Workers:
    """Beam's own job server in Python, and a pool of workers, for all tests."""
    folder = tmp_path_factory.mktemp("workers")
    for name in ("witness", "pool", "server"):
        (folder / name).mkdir()
    (folder / "witness" / "sitecustomize.py").write_text(WITNESS)
    log = folder / "placed.txt"
    jobs, pool = free_port(), free_port()
    server_module = "apache_beam.runners.portability.local_job_service_main"
    started = []

    def start(module: str, name: str, *flags: str, **environment: str) -> subprocess.Popen:
        with open(folder / f"{name}.log", "wb") as chatter:
            process = subprocess.Popen(
                [installed.bin / "python", "-m", module, *flags],
                cwd=folder / name,
                env={**installed.environment, **environment},
                stdin=subprocess.DEVNULL,
                stdout=chatter,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        started.append(process)
        return process

    server = start(server_module, "server", f"--port={jobs}")
    workers = start(
        "apache_beam.runners.worker.worker_pool_main", "pool", f"--service_port={pool}",
        PYTHONPATH=str(folder / "witness"), WITNESS_LOG=str(log),
    )  # fmt: skip
    wait_for(server, jobs)
    wait_for(workers, pool)
    yield Workers(
        workers.pid,
        log,
        [
            "--runner=PortableRunner",
            f"--job_endpoint=localhost:{jobs}",
            "--environment_type=EXTERNAL",
            f"--environment_config=localhost:{pool}",
        ],
    )
    for process in reversed(started):
        os.killpg(process.pid, signal.SIGTERM)  # a pool's workers with it
        process.wait(timeout=60)


def files(folder: Path) -> dict[str, bytes]:
    """All that a folder holds but working files, by path."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".segue" not in path.relative_to(folder).parts
    }


def without_line(summary: bytes) -> bytes:
    told = json.loads(summary)
    del told["line"]
    return json.dumps(told).encode()


def local(root: Path, component: str, output: str) -> Path:
    """The folder of an artifact's first version under a root."""
    found = (root / "pipeline" / component / output).iterdir()
    return min(found, key=lambda path: int(path.name))


# ---- ingest ----


class Ingested(NamedTuple):
    """A root with the artifacts of an ingest by workers, and what it printed."""

    root: Path
    said: str


@pytest.fixture(scope="module")
def ingested(installed, workers, first_run, tmp_path_factory) -> Ingested:
    """The songs of the local run, from files to windows, by the pool."""
    folder = tmp_path_factory.mktemp("ingested")
    ran = installed.run(
        installed.bin / "python", "-c", INGEST, first_run.data, folder / "root",
        *workers.arguments, cwd=folder,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr[-4000:]
    return Ingested(folder / "root", ran.stdout + ran.stderr)


@pytest.mark.parametrize(
    ("component", "output"),
    [
        ("MidiParser", "songs"),
        ("MidiParser", "verdicts"),
        ("VocabularyBuilder", "vocabulary"),
        ("WindowGenerator", "examples"),
    ],
)
def test_ingest_by_workers_gives_the_bytes_of_a_local_run(ingested, first_run, component, output):
    theirs = files(local(ingested.root, component, output))
    ours = files(local(first_run.root, component, output))
    if output == "verdicts":  # whose line names the folder that they lie in
        for found in (theirs, ours):
            found["summary.json"] = without_line(found["summary.json"])
    assert theirs == ours


def test_the_pools_processes_did_the_work(ingested, workers):
    placed = workers.placed()
    for component, output, kept in (
        ("MidiParser", "songs", "Split-"),
        ("MidiParser", "verdicts", "verdicts"),
        ("WindowGenerator", "examples", "Split-"),
    ):
        folder = local(ingested.root, component, output)
        written = {str(folder / name) for name in files(folder) if name.startswith(kept)}
        assert written
        assert written <= placed
    kept = (ingested.root / "cache" / "readings").rglob("*")
    readings = {str(path) for path in kept if path.is_file() and len(path.name) == 64}
    assert readings
    assert readings <= placed


# ---- regenerate ----


@pytest.fixture(scope="module")
def regenerated(installed, workers, first_run, tmp_path_factory) -> tuple[Path, Path]:
    """Songs of a part of the catalogue: by the pool, and by Beam's own runner here.

    Paths are relative to a folder that the workers do not begin in.
    """
    folder = tmp_path_factory.mktemp("regenerated")
    (folder / "root").symlink_to(first_run.root)
    (folder / "midi").symlink_to(first_run.data)
    (folder / "beam.args").write_text("# the pool\n" + "\n".join(workers.arguments))

    def regenerate(out: str, *flags: object) -> None:
        ran = installed.run(
            installed.bin / "segue", "regenerate", "midi", "--out", out, "--root", "root",
            "--steps", 30, "--limit", 5, "--batch", 2, *flags, cwd=folder,
        )  # fmt: skip
        assert ran.returncode == 0, ran.stderr
        assert not ran.stderr

    with ThreadPoolExecutor() as both:
        list(
            both.map(
                lambda flags: regenerate(*flags),
                [("theirs", "--beam=@beam.args"), ("ours", "--workers", 1)],
            )
        )
    return folder / "theirs", folder / "ours"


def test_regenerate_by_workers_gives_the_bytes_of_a_local_run(regenerated):
    theirs, ours = map(files, regenerated)
    assert [name for name in theirs if name.endswith(".mid")]
    assert "manifest.jsonl" in theirs
    assert theirs == ours


def test_the_pools_processes_made_the_songs(regenerated, workers):
    folder, _ = regenerated
    written = {str(folder / name) for name in files(folder) if name.startswith("songs/")}
    assert written
    assert written <= workers.placed()
    assert str(folder / "manifest.jsonl") not in workers.placed()


def test_a_mistake_that_a_worker_finds_is_one_line(installed, workers, first_run, tmp_path):
    version = first_run.root / "serving" / "segue" / str(first_run.outcome["version"])
    copy = tmp_path / "root" / "serving" / "segue" / version.name
    shutil.copytree(version, copy)
    for data in (copy / "variables").glob("variables.data*"):
        os.truncate(data, 1000)  # which the model's facts do not tell of
    ran = installed.run(
        installed.bin / "segue", "regenerate", first_run.data, "--out", tmp_path / "out",
        "--root", tmp_path / "root", "--limit", 1, *(f"--beam={one}" for one in workers.arguments),
        cwd=tmp_path,
    )  # fmt: skip
    assert ran.returncode == 1, ran.stderr
    unchecked, line = ran.stderr.splitlines()
    assert unchecked.startswith("originality is not checked: ")
    assert line.startswith(f"segue: the model in {copy} cannot be loaded: ")
    assert "while running" not in line
    assert not ran.stdout


def test_a_job_server_that_is_not_there_is_one_line_before_anything_runs(installed, tmp_path):
    (tmp_path / "midi").mkdir()
    (tmp_path / "midi" / "one.mid").write_bytes(b"MThd")
    ran = installed.run(
        installed.bin / "segue", "regenerate", "midi", "--out", "out", "--root", "root",
        "--beam=--runner=PortableRunner", f"--beam=--job_endpoint=localhost:{free_port()}",
        "--beam=--environment_type=LOOPBACK", cwd=tmp_path,
    )  # fmt: skip
    assert ran.returncode == 1
    (line,) = ran.stderr.splitlines()
    assert line.startswith("segue: there is no job server at localhost:")
    assert not (tmp_path / "out").exists()


# ---- the whole pipeline, as a cluster has it ----


@pytest.mark.slow
def test_every_task_of_the_compiled_pipeline_hands_its_work_to_the_pool(
    installed, workers, first_run, tmp_path
):
    package = tmp_path / "segue.yaml"
    compiled = installed.run(
        installed.bin / "segue", "pipeline", "run", "--engine", "kubeflow", "--data", "/segue/midi",
        "--image", "registry.example.com/segue:1", "--compile-only", package,
        "--set", "kubeflow.volumes={segue: /segue, segue-artifacts: /minio/mlpipeline}",
        *(f"--beam={one}" for one in workers.arguments), cwd=tmp_path,
    )  # fmt: skip
    assert compiled.returncode == 0, compiled.stderr
    machine = Machine(tmp_path / "machine", installed.environment)
    values = {"data": str(first_run.data), "root": str(tmp_path / "root"), "preset": "smoke"}
    tasks = run(read_spec(package), values, machine)
    assert tasks["Evaluator"].artifact("blessing")["metadata"]["blessed"] == 1
    placed = workers.placed()
    for component, output, kept in (
        ("MidiParser", "songs", "Split-"),
        ("WindowGenerator", "examples", "Split-"),
        ("ReferenceBuilder", "reference", ""),
        ("VocabularyBuilder", "vocabulary", "counts"),
        ("StatisticsGen", "statistics", "Split-"),
        ("Evaluator", "evaluation", "metrics"),
    ):
        folder = Path(machine.path(tasks[component].artifact(output)["uri"]))
        written = {str(folder / name) for name in files(folder) if name.startswith(kept)}
        assert written, component
        assert written <= placed, component
        if component in ("WindowGenerator", "ReferenceBuilder"):
            assert files(folder) == files(local(first_run.root, component, output))
    (version,) = (tmp_path / "root" / "serving" / "segue").iterdir()
    assert (version / "saved_model.pb").exists()
