"""TFX's own command line drives pipeline/local_runner.py."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

RUNNER = Path(__file__).parents[2] / "pipeline" / "local_runner.py"


@pytest.fixture
def tfx(chorales, tmp_path):
    """Runs `tfx` with the environment that the runner reads."""

    def run(*arguments: str) -> subprocess.CompletedProcess:
        environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(RUNNER.parents[1]),
            "LOCAL_HOME": str(tmp_path / "tfx"),
            "SEGUE_DATA": str(chorales),
            "SEGUE_ROOT": str(tmp_path / "root"),
            "SEGUE_PRESET": "smoke",
            "SEGUE_SET": "training.epochs=1",
        }
        return subprocess.run(
            [str(Path(sys.executable).parent / "tfx"), *arguments],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


@pytest.mark.slow
def test_tfx_creates_and_runs_the_pipeline(tfx, tmp_path):
    created = tfx("pipeline", "create", "--engine", "local", "--pipeline_path", str(RUNNER))
    assert created.returncode == 0, created.stdout + created.stderr
    assert 'Pipeline "segue" created successfully.' in created.stdout
    assert not (tmp_path / "root" / "serving").exists()

    ran = tfx("run", "create", "--engine", "local", "--pipeline_name", "segue")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    (version,) = (tmp_path / "root" / "serving" / "segue").iterdir()
    assert (version / "saved_model.pb").exists()

    listed = tfx("pipeline", "list", "--engine", "local")
    assert "segue" in listed.stdout


def test_the_runner_alone_says_what_it_needs(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(RUNNER.parents[1])}
    environment.pop("SEGUE_DATA", None)
    done = subprocess.run(
        [sys.executable, str(RUNNER)],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == (
        "segue: SEGUE_DATA is not set; it names the folder of MIDI files to learn from\n"
    )
