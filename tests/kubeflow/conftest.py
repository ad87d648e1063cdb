"""An environment that holds the wheel of Segue, and nothing of the folder it is built from."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
PACKAGES = ("music", "components", "pipeline", "serving", "client", "kubeflow")
FILES = ("setup.py", "pyproject.toml", "README.md", "LICENSE", "constraints-py313.txt")


class Installed:
    """A virtual environment with the wheel in it.

    What the wheel requires comes from the environment of the tests, by its folder alone,
    so that links to the repository, which lie there as well, lead nowhere.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.bin = folder / "venv" / "bin"
        self.environment = {
            "PATH": f"{self.bin}{os.pathsep}/usr/bin{os.pathsep}/bin",
            "HOME": str(folder),
            "LANG": "C.UTF-8",
            "TF_CPP_MIN_LOG_LEVEL": "1",
        }

    def run(self, *arguments: object, cwd: Path, **environment: str):
        """A command of the environment, from another folder."""
        return subprocess.run(
            [str(one) for one in arguments],
            cwd=cwd,
            env={**self.environment, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )


@pytest.fixture(scope="session")
def installed(tmp_path_factory) -> Installed:
    """The wheel, built from a copy of the sources and installed."""
    folder = tmp_path_factory.mktemp("installed")
    source = folder / "source"
    source.mkdir()
    for name in FILES:
        shutil.copy(REPOSITORY / name, source / name)
    for name in PACKAGES:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(REPOSITORY / name, source / name, ignore=ignored)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    wheel = ["wheel", "--no-deps", "--no-build-isolation", "-w", str(folder), str(source)]
    subprocess.run([*pip, *wheel], check=True, cwd=folder)
    shutil.rmtree(source)
    subprocess.run(
        [sys.executable, "-m", "venv", "--without-pip", str(folder / "venv")], check=True
    )
    made = Installed(folder)
    (built,) = folder.glob("segue-*.whl")
    install = ["--python", str(made.bin / "python"), "install", "--no-deps", str(built)]
    subprocess.run([*pip, *install], check=True, cwd=folder)
    (site,) = (folder / "venv" / "lib").glob("python3*/site-packages")
    (site / "requirements.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return made
