"""`make test-debian13` where it cannot run says so in one line and touches nothing; and what it
says of two songs is what they are.
"""

import importlib.util
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from music.midi import write_midi
from music.song import Song

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"
TOOLS = ("bash", "dirname", "ls", "uname", "unshare", "chroot", "git", "tar", "head", "mkdir")


@pytest.fixture
def run(tmp_path: Path):
    """run(*steps): the script, as a user of this number, on a PATH with these tools alone."""

    def run(*steps: str, user: int = 0, without: str = "", **env: str) -> tuple[int, str]:
        tools = tmp_path / "tools"
        shutil.rmtree(tools, ignore_errors=True)
        tools.mkdir()
        for tool in TOOLS:
            found = shutil.which(tool) or shutil.which(tool, path="/usr/sbin:/sbin")
            if found and tool != without:
                (tools / tool).symlink_to(found)
        for name, body in (("id", f"echo {user}"), ("debootstrap", "exit 1")):
            if name != without:
                (tools / name).write_text(f"#!{shutil.which('bash')}\n{body}\n")
                (tools / name).chmod(0o755)
        done = subprocess.run(
            [str(shutil.which("bash")), SCRIPTS / "debian13.sh", *steps],
            env={"PATH": str(tools), "SEGUE_DEBIAN13": str(tmp_path / "root"), **env},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        [line] = done.stderr.splitlines()
        return done.returncode, line

    return run


def test_without_roots_rights(run, tmp_path):
    assert run(user=1000) == (
        1,
        "debian13: making a Debian root takes root's rights; run it with sudo",
    )
    assert not (tmp_path / "root").exists()


@pytest.mark.parametrize("tool", ["debootstrap", "unshare"])
def test_a_tool_that_is_missing_is_named(run, tmp_path, tool):
    code, line = run("root", without=tool)
    assert code == 1
    assert line.startswith(f"debian13: {tool} is missing")
    assert not (tmp_path / "root").exists()


MAKES = pytest.mark.skipif(
    shutil.which("git") is None, reason="git, which copies a checkout, is not installed"
)


@pytest.mark.parametrize("step", [pytest.param("root", marks=MAKES), "remove"])
def test_a_folder_that_is_no_root_is_left_alone(run, tmp_path, step):
    mine = tmp_path / "root" / "mine"
    mine.parent.mkdir()
    mine.touch()
    code, line = run(step)
    assert code == 1
    assert str(mine.parent) in line
    assert mine.exists()


@MAKES
def test_a_root_that_was_not_finished_is_not_taken_for_one(run, tmp_path):
    code, line = run("root")
    assert code == 1
    assert "debootstrap did not work" in line
    code, line = run("root")
    assert "not a root that was finished here" in line


@pytest.mark.parametrize(
    "step", [["setup"], ["test"], ["smoke"], ["demo"], ["cross"], ["run", "id"]]
)
def test_before_there_is_a_root_the_step_that_makes_it_is_named(run, tmp_path, step):
    line = f"debian13: there is no root in {tmp_path / 'root'}; the step root makes it"
    assert run(*step) == (1, line)


def test_an_unknown_step_is_refused_with_those_there_are(run):
    code, line = run("tests")
    assert code == 1
    assert line.startswith("debian13: unknown step tests; there are root, setup, test, smoke")


@pytest.fixture(scope="module")
def cross_serving():
    spec = importlib.util.spec_from_file_location("cross_serving", SCRIPTS / "cross_serving.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("pitches", "text", "said"),
    [
        ([60, 62, 64], "", "the same bytes"),
        ([60, 62, 64], "another server", "the same 3 notes, in files that differ"),
        ([60, 62, 65], "", "the same first 2 of 3 and 3 notes"),
        ([61, 62, 64], "", "the same first 0 of 3 and 3 notes"),
        ([60, 62], "", "the same first 2 of 3 and 2 notes"),
        ([60, 62, 64, 65], "", "the same first 3 of 3 and 4 notes"),
    ],
)
def test_two_songs_are_compared_note_by_note(cross_serving, tmp_path, pitches, text, said):
    def song(name: str, pitches: list[int], text: str = "") -> Path:
        notes = np.array([[24 * i, 24, p, 80, 0] for i, p in enumerate(pitches)], np.int32)
        (tmp_path / name).write_bytes(write_midi(Song(notes), text))
        return tmp_path / name

    one, other = song("a.mid", [60, 62, 64]), song("b.mid", pitches, text)
    assert cross_serving.compare(one, other) == f"a.mid and b.mid: {said}"
