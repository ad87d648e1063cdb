"""Which files of a folder count, and when they have changed."""

import os

import pytest

from music import folder as folders
from music.errors import SegueError
from music.folder import fingerprint, midi_files


@pytest.fixture
def folder(tmp_path):
    """b.mid, A.MID, deep/er/c.midi, and what is passed over."""
    root = tmp_path / "catalogue"
    (root / "deep" / "er").mkdir(parents=True)
    for name in ("b.mid", "A.MID", "deep/er/c.midi"):
        (root / name).write_bytes(f"the bytes of {name}".encode())
    (root / ".git").mkdir()
    for name in (".hidden.mid", ".git/d.mid", "notes.txt", "e.mid.zip", "mid"):
        (root / name).write_bytes(b"no song")
    (root / "folder.mid").mkdir()
    return root


def names(folder):
    return [path.relative_to(folder).as_posix() for path in midi_files(folder)]


def test_midi_files_are_found_in_all_subfolders_by_name(folder):
    # A folder with the name of a file is told, not passed over.
    assert names(folder) == ["A.MID", "b.mid", "deep/er/c.midi", "folder.mid"]


def test_what_lies_in_a_folder_with_the_name_of_a_file_is_found_too(folder):
    (folder / "folder.mid" / "inside.mid").write_bytes(b"a song")
    assert names(folder)[-2:] == ["folder.mid", "folder.mid/inside.mid"]


def test_a_hidden_folder_may_itself_be_the_one_that_is_named(folder):
    assert names(folder / ".git") == ["d.mid"]


def test_links_to_folders_are_named_but_not_followed_and_links_to_files_are(folder, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "f.mid").write_bytes(b"linked")
    (folder / "link").symlink_to(elsewhere, target_is_directory=True)
    (folder / "loop").symlink_to(folder, target_is_directory=True)
    (folder / "g.mid").symlink_to(elsewhere / "f.mid")
    assert names(folder) == [
        "A.MID", "b.mid", "deep/er/c.midi", "folder.mid", "g.mid", "link", "loop"
    ]  # fmt: skip
    print_of = fingerprint(folder)
    (elsewhere / "not ours.mid").write_bytes(b"x")
    assert fingerprint(folder) == print_of


def message_of(folder):
    messages = set()
    for ask in (midi_files, fingerprint):
        with pytest.raises(SegueError) as caught:
            ask(folder)
        messages.add(str(caught.value))
    (message,) = messages
    assert "\n" not in message
    assert str(folder) in message
    return message


def test_a_missing_folder_is_a_line_for_a_person(tmp_path):
    assert message_of(tmp_path / "missing").startswith("there is no folder")


def test_a_file_in_a_folders_place_is_a_line_for_a_person(folder):
    assert "is a file; name the folder" in message_of(folder / "b.mid")


def test_a_folder_without_midi_files_is_a_line_that_says_where_to_get_some(folder):
    message = message_of(folder / "folder.mid")
    assert message.startswith("there is no MIDI file in")
    assert ".mid, .midi, .kar or .rmi" in message
    assert "segue corpus export" in message


def test_a_fingerprint_does_not_change_with_times_or_places_or_other_files(folder):
    before = fingerprint(folder)
    os.utime(folder / "b.mid", (1, 1))
    (folder / "notes.txt").write_bytes(b"other notes")
    (folder / ".git" / "d.mid").unlink()
    moved = folder.rename(folder.with_name("moved"))
    assert fingerprint(moved) == before


def change_content(folder):
    (folder / "b.mid").write_bytes((folder / "b.mid").read_bytes().upper())


def rename(folder):
    (folder / "b.mid").rename(folder / "bb.mid")


def move_down(folder):
    (folder / "b.mid").rename(folder / "deep" / "b.mid")


def add(folder):
    (folder / "z.mid").write_bytes(b"")


def remove(folder):
    (folder / "b.mid").unlink()


def swap(folder):
    one, other = (folder / "b.mid").read_bytes(), (folder / "A.MID").read_bytes()
    (folder / "b.mid").write_bytes(other)
    (folder / "A.MID").write_bytes(one)


@pytest.mark.parametrize(
    "change", [change_content, rename, move_down, add, remove, swap], ids=lambda f: f.__name__
)
def test_a_fingerprint_changes_with_names_and_contents(folder, change):
    before = fingerprint(folder)
    change(folder)
    assert fingerprint(folder) != before


def test_names_and_contents_cannot_stand_in_for_each_other(tmp_path):
    prints = set()
    for index, files in enumerate([{"a.mid": b"b.mid"}, {"a.mid": b"", "b.mid": b""}]):
        folder = tmp_path / str(index)
        folder.mkdir()
        for name, content in files.items():
            (folder / name).write_bytes(content)
        prints.add(fingerprint(folder))
    assert len(prints) == 2


def test_a_file_beyond_the_limit_counts_with_its_size_alone(folder, monkeypatch):
    monkeypatch.setattr(folders, "MAX_FILE_BYTES", 5)
    before = fingerprint(folder)
    change_content(folder)
    assert fingerprint(folder) == before
    (folder / "b.mid").write_bytes(b"longer than it was before, though")
    assert fingerprint(folder) != before


def test_a_file_that_cannot_be_read_is_no_reason_to_fail(folder):
    (folder / "dangling.mid").symlink_to(folder / "nowhere.mid")
    before = fingerprint(folder)
    assert names(folder) == ["A.MID", "b.mid", "dangling.mid", "deep/er/c.midi", "folder.mid"]
    (folder / "dangling.mid").unlink()
    assert fingerprint(folder) != before


def test_a_name_that_is_no_text_is_a_name_like_any_other(folder):
    before = fingerprint(folder)
    path = os.path.join(os.fsencode(folder), b"\xff.mid")
    try:
        with open(path, "wb") as file:
            file.write(b"song")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    assert len(midi_files(folder)) == 5
    assert fingerprint(folder) != before


def test_a_folder_that_may_not_be_looked_into_is_named_and_costs_no_other(folder, monkeypatch):
    scandir = os.scandir

    def refuse(path):
        if os.fspath(path).endswith("deep"):
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert names(folder) == ["A.MID", "b.mid", "deep", "folder.mid"]


def test_a_catalogue_that_may_not_be_looked_into_is_a_line_for_a_person(folder, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", os.fspath(path))

    monkeypatch.setattr(os, "scandir", refuse)
    assert "cannot look into the folder" in message_of(folder)


def test_what_is_no_midi_file_by_its_name_is_passed_over(folder):
    assert folders.passed_over(folder) == ["e.mid.zip", "mid", "notes.txt"]


@pytest.mark.parametrize("suffix", [".mid", ".MIDI", ".kar", ".rmi"])
def test_karaoke_and_wrapped_files_count(folder, suffix):
    (folder / f"z{suffix}").write_bytes(b"")
    assert f"z{suffix}" in names(folder)
