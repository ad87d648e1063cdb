"""The image's recipe, as far as it can be checked without building it."""

from __future__ import annotations

import fnmatch
import re
import subprocess
import sys
from pathlib import Path

import pytest

from kubeflow.mounts import FOLDERS
from kubeflow.settings import KubeflowSettings

REPOSITORY = Path(__file__).parents[2]
DOCKERFILE = REPOSITORY / "kubeflow" / "Dockerfile"


@pytest.fixture(scope="module")
def instructions() -> list[tuple[str, str]]:
    """(instruction, the rest), lines put together."""
    text = re.sub(r"(?m)^\s*#.*\n", "", DOCKERFILE.read_text())
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    return [(line.split()[0], line.partition(" ")[2]) for line in lines if line.strip()]


def copied(instructions) -> list[str]:
    """What comes from the repository."""
    return [
        source
        for name, rest in instructions
        if name == "COPY" and "--from" not in rest
        for source in rest.split()[:-1]
    ]


def stages(instructions) -> list[list[tuple[str, str]]]:
    found: list[list[tuple[str, str]]] = []
    for name, rest in instructions:
        if name == "FROM":
            found.append([])
        found[-1].append((name, rest))
    return found


def tasks(instructions) -> list[tuple[str, str]]:
    """The stage that runs the pipeline's tasks."""
    (stage,) = [one for one in stages(instructions) if one[0][1].endswith(" AS tasks")]
    return stage


def test_what_it_copies_is_there_and_not_ignored(instructions):
    rules = (REPOSITORY / ".dockerignore").read_text().split("\n")
    patterns = [rule for rule in rules if rule and not rule.startswith("#")]
    for source in copied(instructions):
        assert (REPOSITORY / source).exists(), source
        kept = True
        for pattern in patterns:
            above = (source, *map(str, Path(source).parents))
            if any(fnmatch.fnmatch(one, pattern.removeprefix("!")) for one in above):
                kept = pattern.startswith("!")
        assert kept, source


def test_it_copies_every_package_of_the_wheel(instructions):
    setup = (REPOSITORY / "setup.py").read_text()
    (listed,) = re.findall(r"TOP_LEVEL = \[(.*?)\]", setup, re.S)
    assert set(re.findall(r'"(\w+)"', listed)) <= set(copied(instructions))


def test_requirements_are_installed_under_the_constraints_and_see_no_code(instructions):
    (stage,) = [one for one in stages(instructions) if one[0][1].endswith(" dependencies")]
    installs = [rest for name, rest in stage if name == "RUN" and "pip install" in rest]
    assert all("-c constraints-py313.txt" in rest for rest in installs)
    assert ".[kubeflow]" in installs[-1]
    assert not {"music", "components"} & set(copied(stage))


def test_its_python_and_system_are_those_that_the_constraints_are_for(instructions):
    (base,) = [
        rest for name, rest in instructions if name == "FROM" and rest.endswith(" AS python")
    ]
    version, system = re.fullmatch(r"python:(3\.\d+)-slim-(\w+) AS python", base).groups()
    assert (version, system) == ("3.13", "trixie")
    assert f"constraints-py{version.replace('.', '')}.txt" in copied(instructions)


def test_requirements_can_be_asked_of_the_package_without_its_code(tmp_path):
    """The layer of the requirements is built from these files alone."""
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        (tmp_path / name).write_bytes((REPOSITORY / name).read_bytes())
    done = subprocess.run(
        [sys.executable, "setup.py", "-q", "egg_info"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    requires = (tmp_path / "segue.egg-info" / "requires.txt").read_text()
    assert "tfx>=" in requires
    assert "[kubeflow]\nkfp>=" in requires


def test_it_runs_as_nobody_special_who_owns_the_launchers_folders(instructions):
    last = tasks(instructions)
    assert ("USER", "65532:65532") in last
    made = next(rest for name, rest in last if name == "RUN" and "install -d" in rest)
    for folder in FOLDERS.values():
        assert f"/{folder}" in made.split()


def test_bytecode_is_compiled_and_the_path_finds_python(instructions):
    pips = [rest for name, rest in tasks(instructions) if name == "RUN" and "pip" in rest]
    assert all("--compile" in rest for rest in pips)
    environment = " ".join(rest for name, rest in instructions if name == "ENV")
    assert "PATH=/opt/segue/bin:$PATH" in environment
    assert "PYTHONDONTWRITEBYTECODE" not in DOCKERFILE.read_text()


def test_the_entrypoint_runs_from_the_installed_wheel(installed, tmp_path):
    command = KubeflowSettings(image="segue:1").command
    ran = installed.run(*command, "--help", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert "--json_serialized_invocation_args" in ran.stdout


def test_the_wheel_brings_the_files_that_code_opens(installed):
    (site,) = (installed.folder / "venv" / "lib").glob("python3*/site-packages")
    for name in ("pipeline/presets/smoke.yaml", "pipeline/pages/report.html"):
        assert (site / name).exists(), name
    assert list((site / "components" / "example_validator" / "schemas").glob("*.pbtxt"))
