"""Which children of a folder are versions, and which is in service."""

import pytest

from components.versions import newest_version, versions


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
