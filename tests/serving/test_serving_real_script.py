"""`make serving-real` where it cannot run says so in one line, and runs nothing."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "serving_real.sh"


@pytest.fixture
def run(tmp_path):
    """run(docker): the script on a PATH that holds no more than it needs, and this docker."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for tool in ("bash", "dirname", "env"):
        (tools / tool).symlink_to(shutil.which(tool))

    def run(docker=None):
        if docker:
            (tools / "docker").write_text(f"#!/usr/bin/env bash\n{docker}\n")
            (tools / "docker").chmod(0o755)
        done = subprocess.run(
            [shutil.which("bash"), SCRIPT],
            env={"PATH": str(tools), "HOME": os.environ.get("HOME", "/")},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode, done.stdout) == (1, "")
        (line,) = done.stderr.splitlines()
        return line

    return run


def test_without_docker(run):
    assert run() == (
        "serving-real: docker is not on PATH; install Docker, or put tensorflow_model_server"
        " itself on PATH and run `make test`"
    )


def test_without_dockers_daemon(run):
    assert run("echo 'Cannot connect to the Docker daemon' >&2; exit 1") == (
        "serving-real: docker is there, but its daemon does not answer; start it, and see that"
        " you may use it"
    )


def test_without_compose(run):
    assert run('[ "$1" = info ]') == (
        "serving-real: docker has no `compose` command; install the Compose plugin"
    )
