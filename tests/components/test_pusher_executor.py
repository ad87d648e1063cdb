"""A version appears whole, by a rename, or not at all."""

import os
import re

import pytest
from tfx.dsl.io import fileio
from tfx.proto import pusher_pb2
from tfx.types import standard_artifacts
from tfx.utils import io_utils, proto_utils

from components.pusher import executor
from components.pusher.executor import Executor, push
from components.versions import parked_versions, versions
from music.errors import SegueError


@pytest.fixture
def model(tmp_path):
    """A folder that looks like a SavedModel."""
    folder = tmp_path / "model" / "Format-Serving"
    for name, text in (
        ("saved_model.pb", "graph"),
        ("variables/variables.index", "index"),
        ("variables/variables.data-00000-of-00001", "numbers"),
        ("assets/segue.json", "{}"),
    ):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def tree(folder):
    """{relative path: text} of all files below a folder."""
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in folder.rglob("*")
        if path.is_file()
    }


def names(folder):
    return sorted(os.listdir(folder))


def test_a_push_is_a_whole_copy_under_a_number(model, tmp_path):
    serving = tmp_path / "serving" / "segue"
    version = push(str(model), str(serving))
    assert versions(str(serving)) == [version]
    assert names(serving) == [str(version)]
    assert tree(serving / str(version)) == tree(model)
    assert version > 1_700_000_000


def test_versions_increase_even_within_one_second(model, tmp_path, monkeypatch):
    monkeypatch.setattr(executor.time, "time", lambda: 1_800_000_000.9)
    made = [push(str(model), str(tmp_path / "s")) for _ in range(3)]
    assert made == [1_800_000_000, 1_800_000_001, 1_800_000_002]
    # A clock that went back does not bring an older version into service.
    monkeypatch.setattr(executor.time, "time", lambda: 1_600_000_000.0)
    assert push(str(model), str(tmp_path / "s")) == 1_800_000_003


def test_no_numbered_folder_is_ever_incomplete(model, tmp_path, monkeypatch):
    serving = tmp_path / "serving"
    push(str(model), str(serving))
    seen = []
    real_copy, real_rename = io_utils.copy_dir, fileio.rename

    def look():
        for name in names(serving):
            if name.isdigit():
                assert tree(serving / name) == tree(model)
        seen.append(names(serving))

    def copy_dir(source, target):
        look()
        real_copy(source, target)
        look()

    def rename(source, target, overwrite=False):
        assert tree(type(model)(source)) == tree(model)
        look()
        real_rename(source, target, overwrite)
        look()

    monkeypatch.setattr(executor.io_utils, "copy_dir", copy_dir)
    monkeypatch.setattr(executor.fileio, "rename", rename)
    push(str(model), str(serving))
    assert len(seen) == 4
    assert [len([name for name in found if name.isdigit()]) for found in seen] == [1, 1, 1, 2]
    # Under way it has a name that no server takes for a version.
    assert any(re.fullmatch(r"\.pushing-[0-9a-f]{32}", name) for name in seen[1])


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_a_push_that_fails_in_the_middle_leaves_nothing(model, tmp_path, monkeypatch, error):
    serving = tmp_path / "serving"
    first = push(str(model), str(serving))

    def copy_dir(source, target):
        os.makedirs(os.path.join(target, "variables"))
        with open(os.path.join(target, "saved_model.pb"), "w") as file:
            file.write("gra")
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(executor.io_utils, "copy_dir", copy_dir)
        with pytest.raises(type(error)):
            push(str(model), str(serving))
    assert names(serving) == [str(first)]
    assert tree(serving / str(first)) == tree(model)
    assert push(str(model), str(serving)) > first


def test_what_a_dead_push_left_is_removed_and_nothing_else(model, tmp_path):
    serving = tmp_path / "serving"
    for name in (".pushing-0123", "17", "notes"):
        (serving / name).mkdir(parents=True)
        (serving / name / "saved_model.pb").write_text("old")
    version = push(str(model), str(serving))
    assert names(serving) == sorted(["17", "notes", str(version)])
    assert (serving / "17" / "saved_model.pb").read_text() == "old"


def test_the_copy_is_on_the_disk_before_it_is_renamed(model, tmp_path, monkeypatch):
    done = []
    real_sync, real_rename = os.fsync, fileio.rename

    def fsync(descriptor):
        done.append(os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}")))
        real_sync(descriptor)

    def rename(source, target, overwrite=False):
        done.append("renamed")
        real_rename(source, target, overwrite)

    monkeypatch.setattr(executor.os, "fsync", fsync)
    monkeypatch.setattr(executor.fileio, "rename", rename)
    push(str(model), str(tmp_path / "serving"))
    before = done[: done.index("renamed")]
    assert {"saved_model.pb", "variables", "variables.index", "segue.json"} <= set(before)
    assert done[-1] == "serving"  # the rename itself


def test_a_parked_or_damaged_version_is_passed_by_its_number(model, tmp_path):
    serving = tmp_path / "serving"
    for name in ("3000000000.parked", "3000000005"):
        (serving / name).mkdir(parents=True)
    assert push(str(model), str(serving)) == 3_000_000_006


def test_while_a_version_is_pinned_a_push_is_parked(model, tmp_path):
    serving = tmp_path / "serving"
    first = push(str(model), str(serving))
    (serving / ".pinned").write_text(f"{first}\n")
    second = push(str(model), str(serving))
    assert versions(str(serving)) == [first]
    assert parked_versions(str(serving)) == [second]
    assert tree(serving / f"{second}.parked") == tree(model)
    (serving / ".pinned").unlink()
    third = push(str(model), str(serving))
    assert versions(str(serving)) == [first, third]
    assert third > second


def test_a_pin_on_a_version_that_is_gone_parks_nothing(model, tmp_path):
    serving = tmp_path / "serving"
    serving.mkdir()
    (serving / ".pinned").write_text("7\n")
    version = push(str(model), str(serving))
    assert versions(str(serving)) == [version]


def test_a_damaged_pin_stops_the_push_before_it_changes_anything(model, tmp_path):
    serving = tmp_path / "serving"
    serving.mkdir()
    (serving / ".pinned").write_text("the old one")
    with pytest.raises(SegueError, match="`segue models unpin` removes it"):
        push(str(model), str(serving))
    assert names(serving) == [".pinned"]


def run(model, serving, blessed, tmp_path):
    """Executor.Do as a pipeline calls it; returns the pushed artifact."""
    artifacts = {
        "model": standard_artifacts.Model(),
        "model_blessing": standard_artifacts.ModelBlessing(),
        "pushed_model": standard_artifacts.PushedModel(),
    }
    for name, artifact in artifacts.items():
        artifact.uri = str(tmp_path / "artifacts" / name)
        os.makedirs(artifact.uri)
    artifacts["model"].uri = str(model.parent)
    artifacts["model_blessing"].set_int_custom_property("blessed", int(blessed))
    destination = pusher_pb2.PushDestination(
        filesystem=pusher_pb2.PushDestination.Filesystem(base_directory=str(serving))
    )
    pushed = artifacts.pop("pushed_model")
    Executor().Do(
        {name: [artifact] for name, artifact in artifacts.items()},
        {"pushed_model": [pushed]},
        {"push_destination": proto_utils.proto_to_json(destination)},
    )
    return pushed


def test_a_blessed_model_becomes_a_version(model, tmp_path):
    serving = tmp_path / "serving"
    pushed = run(model, serving, True, tmp_path)
    (version,) = versions(str(serving))
    assert pushed.get_int_custom_property("pushed") == 1
    assert pushed.get_string_custom_property("pushed_version") == str(version)
    assert pushed.get_string_custom_property("pushed_destination") == str(serving / str(version))
    assert tree(type(model)(pushed.uri)) == tree(model)


def test_a_push_that_is_parked_says_so(model, tmp_path, caplog):
    serving = tmp_path / "serving"
    pinned = push(str(model), str(serving))
    (serving / ".pinned").write_text(f"{pinned}\n")
    with caplog.at_level("INFO", "segue.progress"):
        pushed = run(model, serving, True, tmp_path)
    (version,) = parked_versions(str(serving))
    assert pushed.get_string_custom_property("pushed_version") == str(version)
    assert pushed.get_string_custom_property("pushed_destination") == str(
        serving / f"{version}.parked"
    )
    told = caplog.messages[-1]
    assert told == (
        f"Pusher: version {version} in {serving}, parked, since version {pinned} is pinned"
    )


def test_a_model_that_is_not_blessed_is_not_pushed(model, tmp_path):
    pushed = run(model, tmp_path / "serving", False, tmp_path)
    assert pushed.get_int_custom_property("pushed") == 0
    assert versions(str(tmp_path / "serving")) == []
