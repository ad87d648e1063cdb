"""What a step left is read whole, or told by its name with what to do; never read as empty."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.read_back import (
    REMEDY,
    Odd,
    check,
    empty,
    figure,
    intact,
    read,
    read_json,
    read_lines,
    song_files,
)
from music.errors import SegueError

SHAPE = {"name": str, "count": int, "nats": figure, "rows": [{"at": float}], "more": ([str], empty)}
GOOD = {"name": "a", "count": 3, "nats": "nan", "rows": [{"at": 1}, {"at": 2.5}], "more": []}


def refusal(call, *arguments):
    with pytest.raises(SegueError) as told:
        call(*arguments)
    assert "\n" not in str(told.value)
    return str(told.value)


def test_a_whole_file_is_what_it_says(tmp_path):
    path = tmp_path / "a.json"
    path.write_text(json.dumps({**GOOD, "newer": 1}))
    assert read_json(path, SHAPE) == {**GOOD, "newer": 1}
    path.write_text('{"at": 1}\n{"at": 2}\n')
    assert read_lines(path, {"at": int}) == [{"at": 1}, {"at": 2}]


@given(st.integers(0, len(json.dumps(GOOD)) - 1))
def test_a_file_that_is_cut_off_anywhere_is_one_line(tmp_path_factory, length):
    path = tmp_path_factory.getbasetemp() / "cut.json"
    path.write_text(json.dumps(GOOD)[:length])
    told = refusal(read_json, path, SHAPE)
    assert told.startswith(f"{path} is damaged, or of another version")
    assert told.endswith(REMEDY)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": 3}, "name is not of type str"),
        ({"count": True}, "count is not of type int"),
        ({"count": 1.5}, "count is not of type int"),
        ({"nats": "many"}, "nats is no number"),
        ({"nats": None}, "nats is no number"),
        ({"rows": []}, "rows is empty"),
        ({"rows": {}}, "rows is no list"),
        ({"rows": [{"at": 1}, {"at": "1"}]}, "rows[1].at is not of type float"),
        ({"rows": [[]]}, "rows[0] is no table"),
        ({"more": [3]}, "more is not what it must be"),
    ],
)
def test_what_is_not_of_its_shape_is_told_by_its_place(tmp_path, change, words):
    path = tmp_path / "a.json"
    path.write_text(json.dumps({**GOOD, **change}))
    assert refusal(read_json, path, SHAPE) == (
        f"{path} is damaged, or of another version ({words}); {REMEDY}"
    )


@pytest.mark.parametrize("name", SHAPE)
def test_what_is_missing_is_told_by_its_name(name):
    with pytest.raises(Odd, match=f"^{name} is missing$"):
        check({key: value for key, value in GOOD.items() if key != name}, SHAPE)


def test_tables_of_any_names_have_values_of_one_shape():
    check({"a": 1, "b": 2}, {str: int})
    check({}, {str: int})
    with pytest.raises(Odd, match=r"^b is not of type int$"):
        check({"a": 1, "b": "2"}, {str: int})


@pytest.mark.parametrize("text", ["", "[]", "{}", "\n", "null"])
def test_lines_that_are_gone_are_no_empty_list(tmp_path, text):
    path = tmp_path / "songs.jsonl"
    path.write_text(text)
    assert str(path) in refusal(read_lines, path, {"notes": int})


def test_what_is_no_file_of_text_is_one_line(tmp_path):
    assert refusal(read, tmp_path / "gone", str) == f"{tmp_path / 'gone'} is missing; {REMEDY}"
    assert refusal(read, tmp_path, str) == f"cannot read {tmp_path}: Is a directory; {REMEDY}"
    (tmp_path / "latin").write_bytes(b"\xff")
    assert "is damaged" in refusal(read, tmp_path / "latin", str)


def test_another_remedy_takes_the_place_of_the_usual_one(tmp_path):
    with pytest.raises(SegueError, match="; pray$"), intact(tmp_path / "a", "pray"):
        raise KeyError("a")


def test_a_split_without_all_its_files_is_told(tmp_path):
    folder = tmp_path / "Split-eval"
    folder.mkdir()
    assert refusal(song_files, tmp_path, "eval").startswith(f"{folder} lacks songs-*.parquet")
    names = [f"songs-{n:05d}-of-00002.parquet" for n in range(2)]
    (folder / names[0]).touch()
    assert refusal(song_files, tmp_path, "eval").startswith(f"{folder} lacks some of its 2 files")
    (folder / names[1]).touch()
    assert [path.name for path in song_files(tmp_path, "eval")] == names
    assert re.search("--no-cache$", REMEDY)
