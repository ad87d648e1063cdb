"""Set-up picks a stack that the machine can load, finds its Python wherever one may hide, and
knows when it has nothing to do.

Nothing is installed here: interpreters are shell scripts that print a version and what
they stand on, on a PATH that holds nothing else.
"""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
BASH = shutil.which("bash")
TOOLS = ["dirname", "cat", "sort", "head", "tail", "grep", "df", "awk", "uname", "sed"]
TOOLS += ["rm", "mkdir", "mv", "date", "flock"]
CONSTRAINTS = {"1.16": "constraints-py310.txt", "1.21": "constraints-py313.txt"}
# The interpreter that runs the tests makes the digests, so pretended ones are of its kind.
HERE = "{}.{}".format(*sys.version_info[:2])
STACK, OTHER = ("1.16", "1.21") if HERE == "3.10" else ("1.21", "1.16")
HASHED = ["setup.py", "pyproject.toml", CONSTRAINTS[STACK], "scripts/setup.sh"]

pytestmark = pytest.mark.skipif(BASH is None, reason="needs bash")


@dataclass
class Machine:
    """A checkout and a home of its own, and a PATH with only what a test puts there."""

    base: Path
    checkout: Path
    path: list[Path]

    def script(self, folder: Path, name: str, body: str) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / name
        file.write_text(f"#!{BASH}\n{body}\n")
        file.chmod(0o755)
        return file

    def python(
        self, folder: Path, name: str, version: str, glibc: str = "2.36", cxx: bool = True
    ) -> Path:
        """An interpreter that answers every question with its version, and what it stands on."""
        return self.script(folder, name, f"echo {version} {glibc}; echo {cxx}")

    def broken(self, folder: Path, name: str) -> Path:
        return self.script(folder, name, f'echo "pyenv: {name}: command not found" >&2; exit 127')

    def run(self, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(BASH), str(self.checkout / "scripts" / "setup.sh"), *args],
            env={
                "HOME": str(self.base / "home"),
                "PATH": os.pathsep.join(str(folder) for folder in self.path),
                **env,
            },
            cwd=self.base,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def found(self, **env: str) -> str:
        result = self.run("--find-python", **env)
        assert result.returncode == 0, result.stderr
        return result.stdout.strip()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    base = tmp_path / "a machine"  # the space is part of every test
    tools = base / "tools"
    tools.mkdir(parents=True)
    for name in TOOLS:
        real = shutil.which(name)
        if real is not None:
            (tools / name).symlink_to(real)
    checkout = base / "my checkout"
    (checkout / "scripts").mkdir(parents=True)
    for file in {*HASHED, *CONSTRAINTS.values()}:
        shutil.copy(ROOT / file, checkout / file)
    return Machine(base=base, checkout=checkout, path=[base / "bin", tools])


class TestFindPython:
    def test_the_one_that_PYTHON_names_comes_first(self, machine: Machine):
        machine.python(machine.base / "bin", "python3.10", "3.10")
        mine = machine.python(machine.base / "elsewhere", "py", "3.10")
        assert machine.found(PYTHON=str(mine)) == str(mine)

    def test_PYTHON_of_another_version_is_named_and_passed_over(self, machine: Machine):
        good = machine.python(machine.base / "bin", "python3.10", "3.10")
        other = machine.python(machine.base / "elsewhere", "py", "3.12")
        result = machine.run("--find-python", PYTHON=str(other))
        assert result.stdout.strip() == str(good)
        assert f"PYTHON={other} will not do" in result.stderr
        assert "TFX 1.21 needs glibc 2.38 and here is 2.36" in result.stderr

    def test_python310_on_the_path_beats_python3(self, machine: Machine):
        machine.python(machine.base / "bin", "python3", "3.10")
        good = machine.python(machine.base / "bin", "python3.10", "3.10")
        assert machine.found() == str(good)

    def test_a_shim_that_fails_hides_nothing_behind_it(self, machine: Machine):
        shims = machine.base / "shims"
        machine.broken(shims, "python3.10")
        machine.path.insert(0, shims)
        good = machine.python(machine.base / "bin", "python3.10", "3.10")
        assert machine.found() == str(good)

    @pytest.mark.parametrize("name", ["python3", "python"])
    def test_a_plain_name_counts_only_when_it_is_310(self, machine: Machine, name: str):
        shims = machine.base / "shims"
        machine.python(shims, name, "3.11")
        machine.path.insert(0, shims)
        good = machine.python(machine.base / "bin", name, "3.10")
        assert machine.found() == str(good)

    def test_uv_is_asked_when_the_path_has_none(self, machine: Machine):
        good = machine.python(machine.base / "uv-made", "python3.10", "3.10")
        machine.script(machine.base / "bin", "uv", f'[ "$1 $2" = "python find" ] && echo "{good}"')
        assert machine.found() == str(good)

    def test_a_pyenv_version_that_no_shim_resolves_is_found(self, machine: Machine):
        machine.broken(machine.base / "bin", "python3.10")
        versions = machine.base / "home" / ".pyenv" / "versions"
        machine.python(versions / "3.10.9" / "bin", "python", "3.10")
        newest = machine.python(versions / "3.10.13" / "bin", "python", "3.10")
        machine.python(versions / "3.11.7" / "bin", "python", "3.11")
        assert machine.found() == str(newest)

    def test_PYENV_ROOT_is_looked_into(self, machine: Machine):
        root = machine.base / "pyenv root"
        good = machine.python(root / "versions" / "3.10.2" / "bin", "python", "3.10")
        assert machine.found(PYENV_ROOT=str(root)) == str(good)

    def test_the_environment_to_be_made_is_not_made_from_itself(self, machine: Machine):
        inside = machine.checkout / ".venv" / "bin"
        machine.python(inside, "python3.10", "3.10")
        machine.path.insert(0, inside)
        good = machine.python(machine.base / "bin", "python3", "3.10")
        assert machine.found() == str(good)

    def test_nor_from_itself_through_a_shim_that_looks_further(self, machine: Machine):
        inside = machine.checkout / ".venv" / "bin"
        machine.python(inside, "python3.10", "3.10")
        shims = machine.base / "shims"
        machine.script(shims, "python3.10", f'PATH=${{PATH#{shims}:}} exec python3.10 "$@"')
        machine.path = [shims, inside, *machine.path]
        good = machine.python(machine.base / "bin", "python3", "3.10")
        assert machine.found() == str(good)

    def test_a_python_that_cannot_make_environments_is_named(self, machine: Machine):
        bare = machine.script(
            machine.base / "bin",
            "python3.10",
            'case $2 in *ensurepip*) exit 1 ;; esac; echo "3.10 2.36 True"',
        )
        result = machine.run("--find-python")
        assert result.returncode == 1
        assert f"{bare} is a Python 3.10 without its venv module" in result.stderr
        assert "apt install python3.10-venv" in result.stderr
        assert len(result.stderr.splitlines()) == 1

    @pytest.mark.parametrize("mode", [["--find-python"], []])
    def test_without_any_one_line_says_how_to_get_one(self, machine: Machine, mode: list[str]):
        machine.script(machine.base / "bin", "getconf", 'echo "glibc 2.36"')
        machine.python(machine.base / "bin", "python3", "3.12")
        result = machine.run(*mode)
        assert result.returncode == 1
        assert result.stdout == ""
        [line] = result.stderr.splitlines()
        assert "Segue needs Python 3.10 for TFX 1.16" in line
        assert "TFX 1.21 needs glibc 2.38, here is 2.36" in line
        for way in ("uv python install 3.10", "pyenv install 3.10", "conda create", "PYTHON="):
            assert way in line
        assert not (machine.checkout / ".venv").exists()


class TestStack:
    """TFX 1.21 where it loads, else TFX 1.16."""

    def test_a_current_system_gets_the_current_stack(self, machine: Machine):
        machine.python(machine.base / "bin", "python3.10", "3.10", glibc="2.41")
        good = machine.python(machine.base / "bin", "python3.13", "3.13", glibc="2.41")
        assert machine.found() == str(good)

    @pytest.mark.parametrize("glibc", ["2.38", "2.39", "2.100", "3.0"])
    def test_its_own_python_is_enough(self, machine: Machine, glibc: str):
        good = machine.python(machine.base / "bin", "python3", "3.12", glibc=glibc)
        assert machine.found() == str(good)

    def test_the_newest_of_three_is_taken(self, machine: Machine):
        for version in ("3.11", "3.13", "3.12"):
            machine.python(machine.base / "bin", f"python{version}", version, glibc="2.41")
        assert machine.found().endswith("python3.13")

    @pytest.mark.parametrize("version", ["3.9", "3.14"])
    def test_a_python_that_no_tfx_is_made_for_is_no_python(self, machine: Machine, version: str):
        machine.python(machine.base / "bin", "python3", version, glibc="2.41")
        good = machine.python(machine.base / "bin", "python3.10", "3.10", glibc="2.41")
        assert machine.found() == str(good)

    @pytest.mark.parametrize(
        ("glibc", "cxx"), [("2.36", True), ("2.37.9000", True), ("0", True), ("2.41", False)]
    )
    def test_an_older_system_gets_the_older_stack(self, machine: Machine, glibc: str, cxx: bool):
        machine.python(machine.base / "bin", "python3.13", "3.13", glibc=glibc, cxx=cxx)
        good = machine.python(machine.base / "bin", "python3.10", "3.10", glibc=glibc, cxx=cxx)
        assert machine.found() == str(good)

    def test_STACK_asks_for_the_older_one(self, machine: Machine):
        machine.python(machine.base / "bin", "python3.13", "3.13", glibc="2.41")
        good = machine.python(machine.base / "bin", "python3.10", "3.10", glibc="2.41")
        assert machine.found(STACK="1.16") == str(good)

    def test_PYTHON_of_the_other_stack_is_named_and_passed_over(self, machine: Machine):
        good = machine.python(machine.base / "bin", "python3.13", "3.13", glibc="2.41")
        other = machine.python(machine.base / "elsewhere", "py", "3.10", glibc="2.41")
        result = machine.run("--find-python", PYTHON=str(other), STACK="1.21")
        assert result.stdout.strip() == str(good)
        assert "STACK=1.21 needs another Python than 3.10" in result.stderr

    @pytest.mark.parametrize(
        ("glibc", "cxx", "reason"),
        [
            ("2.36", True, "TFX 1.21 needs glibc 2.38 and here is 2.36"),
            ("2.41", False, "TFX 1.21 needs a libstdc++ with GLIBCXX_3.4.32"),
        ],
    )
    def test_STACK_that_does_not_load_is_refused_in_one_line(
        self, machine: Machine, glibc: str, cxx: bool, reason: str
    ):
        machine.python(machine.base / "bin", "python3.10", "3.10", glibc=glibc, cxx=cxx)
        new = machine.python(machine.base / "bin", "python3.13", "3.13", glibc=glibc, cxx=cxx)
        result = machine.run("--find-python", STACK="1.21")
        assert (result.returncode, result.stdout) == (1, "")
        [line] = result.stderr.splitlines()
        assert f"{new} is Python 3.13, but {reason}" in line

    def test_STACK_of_another_name_is_refused(self, machine: Machine):
        result = machine.run(STACK="1.20")
        assert (result.returncode, result.stdout) == (2, "")
        [line] = result.stderr.splitlines()
        assert "STACK=1.20 is no stack; there are 1.16" in line

    def test_a_current_system_without_a_python_is_told_what_to_install(self, machine: Machine):
        machine.script(machine.base / "bin", "getconf", 'echo "glibc 2.41"')
        result = machine.run()
        assert result.returncode == 1
        [line] = result.stderr.splitlines()
        assert "Segue needs Python 3.11 to 3.13" in line
        assert "apt install python3-venv python3-dev g++" in line

    def test_what_this_python_says_of_itself_is_understood(self, machine: Machine):
        """The probe itself, by the interpreter that runs the tests."""
        result = machine.run("--find-python", PYTHON=sys.executable)
        assert result.stdout.strip() == sys.executable, result.stderr


class TestBeforeInstalling:
    def test_too_little_disk_is_said_before_anything_is_made(self, machine: Machine):
        machine.python(machine.base / "bin", "python3.10", "3.10")
        machine.script(machine.base / "bin", "df", "echo Filesystem; echo 'disk 9 9 1048576 9% /'")
        result = machine.run()
        assert result.returncode == 1
        assert "too little disk: 1024 MB are free" in result.stderr
        assert not (machine.checkout / ".venv").exists()

    def test_without_a_compiler_the_package_to_install_is_named(self, machine: Machine):
        machine.python(machine.base / "bin", "python3.10", "3.10")
        machine.script(machine.base / "bin", "df", "echo Filesystem; echo 'disk 9 9 99999999 9% /'")
        result = machine.run()
        assert result.returncode == 1
        assert "a C++ compiler is needed" in result.stderr
        assert "apt install g++" in result.stderr


class TestInstalling:
    """With an interpreter whose `venv` and `pip` only pretend."""

    FAKE = """
case "$*" in
  *hexdigest*) exec "$REAL_PYTHON" "$@" ;;
  *GLIBCXX*) echo VERSION 2.41 True ;;
  -V) echo Python VERSION.99 ;;
  "-m venv .venv")
    mkdir -p .venv/bin .venv/lib
    for name in pip segue pytest ruff mypy; do
      printf '#!%s/.venv/bin/python\\n' "$PWD" >.venv/bin/$name; chmod +x .venv/bin/$name
    done
    cat "$0" >.venv/bin/python; chmod +x .venv/bin/python ;;
  *"pip --disable-pip-version-check install"*)
    echo "pip installs $*"
    echo x >>installs
    if [ -e fail-pip ]; then echo "no such package"; exit 1; fi ;;
esac
"""

    @pytest.fixture
    def ready(self, machine: Machine) -> Machine:
        (machine.base / "tools" / "chmod").symlink_to(str(shutil.which("chmod")))
        machine.script(machine.base / "bin", "g++", "")
        machine.script(machine.base / "bin", "df", "echo Filesystem; echo 'disk 9 9 99999999 9% /'")
        self.pretend(machine, HERE)
        return machine

    def pretend(self, machine: Machine, version: str) -> None:
        fake = self.FAKE.replace("VERSION", version)
        machine.script(machine.base / "bin", f"python{version}", fake)

    def set_up(self, machine: Machine, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
        return machine.run(*args, REAL_PYTHON=sys.executable, **env)

    def installs(self, machine: Machine) -> int:
        file = machine.checkout / "installs"
        return len(file.read_text().split()) if file.exists() else 0

    def test_the_second_time_does_and_says_nothing_at_once(self, ready: Machine):
        first = self.set_up(ready)
        assert first.returncode == 0, first.stderr
        assert "ready after" in first.stdout
        took = []
        for _ in range(3):  # the machine may be busy with something else once
            began = time.monotonic()
            again = self.set_up(ready)
            took.append(time.monotonic() - began)
            assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
        assert self.installs(ready) == 1
        assert min(took) < 0.5
        assert self.set_up(ready, "--check").returncode == 0

    def test_check_tells_that_nothing_is_there(self, ready: Machine):
        result = self.set_up(ready, "--check")
        assert result.returncode == 1
        assert "not current: there is no .venv" in result.stdout
        assert not (ready.checkout / ".venv").exists()

    @pytest.mark.parametrize("file", HASHED)
    def test_what_decides_the_environment_brings_it_up_to_date(self, ready: Machine, file: str):
        self.set_up(ready)
        with (ready.checkout / file).open("a") as changed:
            changed.write("# another line\n")
        assert "changed" in self.set_up(ready, "--check").stdout
        assert "bringing .venv up to date" in self.set_up(ready).stdout
        assert self.set_up(ready, "--check").returncode == 0

    def test_the_stack_decides_what_is_installed_under(self, ready: Machine):
        assert f"making .venv with TFX {STACK} on Python {HERE}.99" in self.set_up(ready).stdout
        log = (ready.checkout / ".venv" / "setup.log").read_text()
        assert f"-c {CONSTRAINTS[STACK]} -e" in log

    def test_another_stack_than_what_is_there_makes_it_anew(self, ready: Machine):
        self.set_up(ready)
        (ready.checkout / ".venv" / "theirs").touch()
        told = self.set_up(ready, "--check", STACK=OTHER).stdout
        assert f".venv has TFX {STACK}, and STACK={OTHER} is asked for" in told
        self.pretend(ready, "3.13" if OTHER == "1.21" else "3.10")
        assert f"making .venv with TFX {OTHER}" in self.set_up(ready, STACK=OTHER).stdout
        assert not (ready.checkout / ".venv" / "theirs").exists()
        log = (ready.checkout / ".venv" / "setup.log").read_text()
        assert f"-c {CONSTRAINTS[OTHER]} -e" in log

    def test_without_a_STACK_what_is_there_stays(self, ready: Machine):
        self.set_up(ready, STACK=STACK)
        self.pretend(ready, "3.13" if OTHER == "1.21" else "3.10")
        assert self.set_up(ready).stdout == ""

    def test_the_other_stacks_pins_are_no_reason_to_install(self, ready: Machine):
        self.set_up(ready)
        with (ready.checkout / CONSTRAINTS[OTHER]).open("a") as changed:
            changed.write("# another line\n")
        assert self.set_up(ready, "--check").returncode == 0

    def test_a_set_up_that_was_cut_off_starts_over(self, ready: Machine):
        self.set_up(ready)
        (ready.checkout / ".venv" / ".segue-setup").write_text("unfinished\n")
        (ready.checkout / ".venv" / "half-a-package").touch()
        assert "did not finish" in self.set_up(ready, "--check").stdout
        assert self.set_up(ready).returncode == 0
        assert not (ready.checkout / ".venv" / "half-a-package").exists()
        assert self.set_up(ready, "--check").returncode == 0

    def test_an_environment_whose_python_is_gone_is_made_anew(self, ready: Machine):
        self.set_up(ready)
        (ready.checkout / ".venv" / "bin" / "python").unlink()
        assert "does not run" in self.set_up(ready, "--check").stdout
        assert "making .venv" in self.set_up(ready).stdout
        assert self.set_up(ready, "--check").returncode == 0

    def test_an_environment_that_lost_a_command_is_made_anew(self, ready: Machine):
        self.set_up(ready)
        (ready.checkout / ".venv" / "bin" / "ruff").unlink()
        assert ".venv/bin/ruff is missing" in self.set_up(ready, "--check").stdout
        assert "making .venv" in self.set_up(ready).stdout
        assert self.set_up(ready, "--check").returncode == 0

    def test_an_environment_made_by_hand_is_built_on(self, ready: Machine):
        self.set_up(ready)
        (ready.checkout / ".venv" / ".segue-setup").unlink()
        (ready.checkout / ".venv" / "theirs").touch()
        assert "bringing .venv up to date" in self.set_up(ready).stdout
        assert (ready.checkout / ".venv" / "theirs").exists()
        assert self.set_up(ready, "--check").returncode == 0

    def test_a_checkout_that_moved_gets_a_new_environment(self, ready: Machine):
        self.set_up(ready)
        ready.checkout = ready.checkout.rename(ready.base / "moved")
        assert "making .venv" in self.set_up(ready).stdout
        assert str(ready.checkout) in (ready.checkout / ".venv" / "bin" / "pip").read_text()

    def test_a_strangers_environment_is_moved_not_deleted(self, ready: Machine):
        ready.python(ready.checkout / ".venv" / "bin", "python", "3.9")
        (ready.checkout / ".venv" / "theirs").touch()
        assert self.set_up(ready).returncode == 0
        [aside] = ready.checkout.glob(".venv-*")
        assert (aside / "theirs").exists()

    def test_a_failure_shows_the_end_of_the_log_and_leaves_no_stamp(self, ready: Machine):
        (ready.checkout / "fail-pip").touch()
        result = self.set_up(ready)
        assert result.returncode == 1
        assert "no such package" in result.stderr
        assert result.stderr.splitlines()[-1].startswith("set-up: installing did not work")
        assert self.set_up(ready, "--check").returncode == 1
        (ready.checkout / "fail-pip").unlink()
        assert self.set_up(ready).returncode == 0

    @pytest.mark.skipif(shutil.which("flock") is None, reason="needs flock")
    def test_two_at_once_install_once(self, ready: Machine):
        (ready.base / "tools" / "sleep").symlink_to(str(shutil.which("sleep")))
        slow = self.FAKE.replace("VERSION", HERE).replace(
            "echo x >>installs", "echo x >>installs; until [ -e go ]; do sleep 0.1; done"
        )
        ready.script(ready.base / "bin", f"python{HERE}", slow)
        command = [str(BASH), str(ready.checkout / "scripts" / "setup.sh")]
        env = {
            "HOME": str(ready.base),
            "PATH": os.pathsep.join(map(str, ready.path)),
            "REAL_PYTHON": sys.executable,
        }

        def start() -> subprocess.Popen[str]:
            return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True)

        with start() as first:
            deadline = time.monotonic() + 30
            while not self.installs(ready) and time.monotonic() < deadline:
                time.sleep(0.05)
            with start() as second:
                assert second.stdout is not None
                assert "another set-up is at work" in second.stdout.readline()
                (ready.checkout / "go").touch()
                assert "ready after" not in second.communicate(timeout=30)[0]
            assert "ready after" in first.communicate(timeout=30)[0]
        assert (first.returncode, second.returncode) == (0, 0)
        assert self.installs(ready) == 1


class TestCiScript:
    """`.ci/run` with a `make` and an `apt-get` that only pretend."""

    def ci(self, machine: Machine, packages: str = "") -> subprocess.CompletedProcess[str]:
        bin_ = machine.base / "bin"
        machine.script(bin_, "id", "echo 0")
        (machine.checkout / ".ci").mkdir()
        shutil.copy(ROOT / ".ci" / "run", machine.checkout / ".ci" / "run")
        for name in ("timeout", "sleep"):
            (machine.base / "tools" / name).symlink_to(str(shutil.which(name)))
        return subprocess.run(
            [str(BASH), ".ci/run"],
            env={
                "PATH": os.pathsep.join(map(str, machine.path)),
                "SEGUE_CI_PACKAGES": packages,
                "CI": "true",
            },
            cwd=machine.checkout,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def made(self, machine: Machine) -> list[str]:
        return (machine.checkout / "made").read_text().split()

    def test_runs_lint_then_the_tests_then_the_slow_ones(self, machine: Machine):
        machine.script(machine.base / "bin", "make", 'echo "$1" >>made; echo "1 passed in 2s"')
        result = self.ci(machine)
        assert result.returncode == 0
        assert self.made(machine) == ["lint", "test", "test-slow"]
        assert "1 passed in 2s" in result.stdout

    @pytest.mark.parametrize(
        ("failing", "made"),
        [
            ("lint", ["lint", "test", "test-slow"]),
            ("test", ["lint", "test"]),
            ("test-slow", ["lint", "test", "test-slow"]),
        ],
    )
    def test_any_failure_fails_it(self, machine: Machine, failing: str, made: list[str]):
        machine.script(machine.base / "bin", "make", f'echo "$1" >>made; [ "$1" != {failing} ]')
        result = self.ci(machine)
        assert result.returncode == 1
        assert result.stdout.splitlines()[-1] == f"ci: failed: {failing}"
        assert self.made(machine) == made

    def test_installs_optional_packages(self, machine: Machine):
        machine.script(machine.base / "bin", "make", "")
        machine.script(machine.base / "bin", "apt-get", 'echo "$@" >>apt')
        assert self.ci(machine, packages="fluidsynth lilypond").returncode == 0
        update, *installs = (machine.checkout / "apt").read_text().splitlines()
        assert update.startswith("update")
        assert [line.split()[-1] for line in installs] == ["fluidsynth", "lilypond"]

    def test_a_package_that_cannot_be_had_is_a_warning(self, machine: Machine):
        machine.script(machine.base / "bin", "make", "")
        machine.script(machine.base / "bin", "apt-get", "echo no network; exit 100")
        result = self.ci(machine, packages="fluidsynth")
        assert result.returncode == 0
        assert "warning: could not install fluidsynth" in result.stderr

    def test_one_package_that_cannot_be_had_keeps_no_other_away(self, machine: Machine):
        machine.script(machine.base / "bin", "make", "")
        refuses = 'echo "$@" >>apt; case "$@" in *fluidsynth) exit 100;; esac'
        machine.script(machine.base / "bin", "apt-get", refuses)
        result = self.ci(machine, packages="fluidsynth lilypond")
        assert result.returncode == 0
        assert "could not install fluidsynth" in result.stderr
        assert "could not install lilypond" not in result.stderr
        assert (machine.checkout / "apt").read_text().splitlines()[-1].endswith("lilypond")


class TestProject:
    def test_every_make_target_exists(self):
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        known = {"setup", "demo", "test", "test-slow", "test-all", "lint", "bench", "clean", "help"}
        assert known <= set(targets)

    @pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
    def test_make_alone_lists_them(self):
        said = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        for target in ("setup", "demo", "test", "test-slow", "test-all", "lint", "bench", "clean"):
            assert re.search(rf"^  make {target} ", said, re.MULTILINE)

    def test_setup_py_says_what_the_package_is(self, tmp_path: Path):
        for file in ("setup.py", "LICENSE"):
            shutil.copy(ROOT / file, tmp_path / file)
        names = ["music", "components", "pipeline", "serving", "client", "kubeflow"]
        for package in [*names, "components/parser", "tests", "benchmarks"]:
            (tmp_path / package).mkdir()
            (tmp_path / package / "__init__.py").touch()
        ask = (
            "import distutils.core as d, warnings; warnings.simplefilter('ignore')\n"
            "s = d.run_setup('setup.py', stop_after='init')\n"
            "print(repr((s.get_name(), sorted(s.packages), s.entry_points, s.python_requires,"
            " s.get_license(), sorted(name for name in s.extras_require if ':' not in name))))"
        )
        told = subprocess.run(
            [sys.executable, "-c", "import setuptools\n" + ask],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        name, packages, entry_points, requires, licence, extras = ast.literal_eval(told)
        assert name == "segue"
        assert packages == sorted([*names, "components.parser"])
        assert entry_points == {"console_scripts": ["segue = pipeline.cli:main"]}
        assert requires == ">=3.10,<3.14"
        assert licence == "Apache-2.0"
        assert extras == ["dev", "kubeflow"]

    @pytest.mark.parametrize("stack", CONSTRAINTS)
    def test_every_direct_requirement_that_tfx_restricts_is_pinned(self, stack: str):
        pinned = (ROOT / CONSTRAINTS[stack]).read_text()
        assert f"tfx=={stack}.0\n" in pinned
        pins = re.findall(r"^([\w-]+)==", pinned, re.MULTILINE)
        assert {"tfx", "tensorflow", "protobuf", "apache-beam", "numpy", "ruff", "mypy"} <= set(
            pins
        )

    @pytest.mark.skipif(
        not Path(sys.prefix).is_relative_to(ROOT), reason="needs the environment of `make setup`"
    )
    def test_what_is_installed_fits_together(self):
        check = subprocess.run(
            [sys.executable, "-m", "pip", "check"], capture_output=True, text=True, check=False
        )
        assert check.returncode == 0, check.stdout
