"""What several folders of tests share: the real command, run as a user runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

REPOSITORY = Path(__file__).parents[1]
SHARED_SONGS = REPOSITORY.parent / "shared" / "data" / "openscore-lieder"


class Ran(NamedTuple):
    """A command that ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture(scope="session")
def segue():
    """Runs `segue` in a process of its own: segue("generate", "--seed", 7)."""

    def run(*arguments: object, cwd: Path | None = None, timeout: float = 800) -> Ran:
        done = subprocess.run(
            [sys.executable, "-m", "pipeline.cli", *map(str, arguments)],
            cwd=cwd or REPOSITORY,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture(scope="session")
def one_line():
    """Checks that a command failed with one line for a person, and returns it."""

    def check(ran: Ran, code: int = 1) -> str:
        assert ran.code == code, ran
        lines = ran.err.splitlines()
        assert len(lines) == 1, ran.err
        assert lines[0].startswith("segue: ")
        assert "Traceback" not in ran.out
        return lines[0].removeprefix("segue: ")

    return check


@pytest.fixture(scope="session")
def reichardt() -> Path:
    """43 real songs that lie beside the project where it is developed."""
    folder = SHARED_SONGS / "Reichardt_Louise"
    if not folder.is_dir():
        pytest.skip(f"no {folder}: real songs that are not part of the project")
    return folder
