"""TFX's own command line compiles kubeflow/kubeflow_runner.py."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import yaml

RUNNER = Path(__file__).parents[2] / "kubeflow" / "kubeflow_runner.py"
BIN = Path(sys.executable).parent


def environment(**given: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SEGUE_")}
    path = f"{BIN}{os.pathsep}{kept['PATH']}"
    return {**kept, "PATH": path, "PYTHONPATH": str(RUNNER.parents[1]), **given}


def test_tfx_compiles_what_our_command_compiles(tmp_path):
    ran = subprocess.run(
        [str(BIN / "tfx"), "pipeline", "compile", "--engine", "vertex",
         "--pipeline_path", str(RUNNER)],
        env=environment(SEGUE_IMAGE="segue:1", SEGUE_PRESET="smoke", SEGUE_SET="split.salt=b"),
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "Pipeline segue compiled successfully." in ran.stdout
    spec, platform = yaml.safe_load_all((tmp_path / "segue.yaml").read_text())
    assert "Configure" in spec["root"]["dag"]["tasks"]
    assert spec["root"]["inputDefinitions"]["parameters"]["set"]["defaultValue"] == ["split.salt=b"]
    assert set(platform["platforms"]) == {"kubernetes"}


def test_the_runner_alone_says_what_it_needs(tmp_path):
    ran = subprocess.run(
        [sys.executable, str(RUNNER)],
        env=environment(), cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 1
    assert ran.stderr.splitlines()[-1].startswith("segue: there is no image for the pipeline's")
