"""One run at a time on a root, and no lock that outlives its holder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from music.errors import SegueError
from pipeline.lock import LOCK_FILE, Busy, exclusive

HOLD = """
import sys
from pathlib import Path
from pipeline.lock import exclusive
with exclusive(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_second_run_is_refused_with_one_line_that_names_the_first(tmp_path, holder):
    with pytest.raises(Busy) as refusal, exclusive(tmp_path):
        pass
    assert str(refusal.value) == (
        f"another run (process {holder.pid}) is using {tmp_path}; "
        "wait for it, or choose another --root"
    )


def test_a_killed_run_leaves_no_lock_behind(tmp_path, holder):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with exclusive(tmp_path):
        assert (tmp_path / LOCK_FILE).read_text() == f"{os.getpid()}\n"


def test_the_lock_is_free_again_after_the_block(tmp_path):
    for _ in range(2):
        with exclusive(tmp_path):
            pass


def test_an_error_inside_frees_the_lock(tmp_path):
    with pytest.raises(KeyError), exclusive(tmp_path):
        raise KeyError
    with exclusive(tmp_path):
        pass


def test_a_root_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SegueError, match="choose another --root"), exclusive(tmp_path / "file"):
        pass
