"""Which children of a folder are versions, and which is in service."""

import subprocess
import sys

import pytest

from components.versions import (
    newest_version,
    next_version,
    parked_versions,
    pin_in_force,
    pinned_version,
    version_path,
    versions,
)
from music.errors import SegueError


@pytest.fixture
def folder(tmp_path):
    def make(name, whole=True):
        (tmp_path / name).mkdir()
        if whole:
            (tmp_path / name / "saved_model.pb").touch()

    for name in ("9", "10", "1700000000", "-3", "1.5", "12a", ".pushing-4", "best", "٣"):
        make(name)
    make("2000000000", whole=False)
    (tmp_path / "77").write_text("a file, no folder")
    return tmp_path


def test_versions_are_numbered_folders_with_a_model_in_them(folder):
    assert versions(str(folder)) == [9, 10, 1700000000]


def test_the_newest_is_the_largest_number_not_the_last_name(folder):
    assert newest_version(str(folder)) == str(folder / "1700000000")
    (folder / "1700000000" / "saved_model.pb").unlink()
    assert newest_version(str(folder)) == str(folder / "10")


def test_a_folder_without_any_has_none(tmp_path):
    for path in (tmp_path, tmp_path / "missing"):
        assert versions(str(path)) == []
        assert newest_version(str(path)) is None


def test_a_number_beyond_int64_is_no_version_as_for_a_server(tmp_path):
    for name in ("0", "7", str(2**63 - 1), str(2**63), "9" * 20):
        (tmp_path / name).mkdir()
        (tmp_path / name / "saved_model.pb").write_bytes(b"")
    assert versions(str(tmp_path)) == [7, 2**63 - 1]


def test_a_parked_version_is_none_for_servers(tmp_path):
    for name in ("7", "8.parked", "9.parked.parked", "x.parked", "010.parked", ".parked"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "saved_model.pb").touch()
    assert versions(str(tmp_path)) == [7]
    assert parked_versions(str(tmp_path)) == [8]
    assert newest_version(str(tmp_path)) == version_path(str(tmp_path), 7)


@pytest.mark.parametrize("name", ["5000", "5000.parked"])
@pytest.mark.parametrize("whole", [True, False])
def test_the_next_version_is_above_every_other(tmp_path, name, whole):
    assert next_version(str(tmp_path), 1000) == 1000
    (tmp_path / name).mkdir()
    if whole:
        (tmp_path / name / "saved_model.pb").touch()
    assert next_version(str(tmp_path), 1000) == 5001
    assert next_version(str(tmp_path), 6000) == 6000


def test_above_the_largest_number_there_is_none(tmp_path):
    (tmp_path / str(2**63 - 1)).mkdir()
    with pytest.raises(SegueError, match="no version can be above 9223372036854775807"):
        next_version(str(tmp_path), 1000)


def test_a_pin_holds_while_its_version_is_there(tmp_path):
    assert pinned_version(str(tmp_path)) is None
    (tmp_path / ".pinned").write_text("7\n")
    assert pinned_version(str(tmp_path)) == 7
    assert pin_in_force(str(tmp_path)) is None
    for name in ("7.parked", "7"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "saved_model.pb").touch()
        assert pin_in_force(str(tmp_path)) == 7


def test_a_damaged_pin_is_one_line(tmp_path):
    (tmp_path / ".pinned").write_bytes(b"\xff\xfe")
    with pytest.raises(SegueError, match="cannot be read"):
        pinned_version(str(tmp_path))
    (tmp_path / ".pinned").write_text("latest")
    with pytest.raises(SegueError, match="holds 'latest', which is no version"):
        pin_in_force(str(tmp_path))


def test_looking_at_a_local_folder_does_not_import_tfx():
    probe = (
        "import sys; from components.versions import versions; versions('.'); "
        "assert not {'tfx', 'tensorflow'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", probe], check=True)
