"""What is held out once stays held out."""

import pytest

from components.midi_parser.held_out import read_held_out, remember
from music.errors import SegueError

A, B, C, D = (letter * 64 for letter in "abcd")


def test_nothing_is_held_out_at_first(tmp_path):
    assert read_held_out(str(tmp_path / "none"), "") == frozenset()


def test_what_was_held_out_is_remembered_for_its_salt_alone(tmp_path):
    folder = str(tmp_path)
    remember(folder, "", [B, A])
    remember(folder, "", [C])
    remember(folder, "other", [D])
    assert read_held_out(folder, "") == {A, B, C}
    assert read_held_out(folder, "other") == {D}
    assert [path.name for path in tmp_path.iterdir()] == ["held-out.json"]


def test_nothing_to_remember_writes_nothing(tmp_path):
    remember(str(tmp_path), "", [])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "text", ["", "[]", '{"": 3}', '{"": ["a"', '{"": "abc"}', '{"": ["abc"]}', '{"": [1]}']
)
def test_a_damaged_record_stops_the_run(tmp_path, text):
    (tmp_path / "held-out.json").write_text(text)
    with pytest.raises(SegueError, match="held-out.json, which says what is held out"):
        read_held_out(str(tmp_path), "")
