"""`segue inspect` as a user gives it."""

from __future__ import annotations

import json
import os
import sys

import numpy as np
import pytest
from click.testing import CliRunner

from music.midi import write_midi
from music.song import Song
from pipeline.cli import main
from pipeline.terminal_roll import roll_lines


@pytest.fixture
def inspect():
    """inspect(path, ...): the command, in this process."""

    def run(*arguments):
        return CliRunner().invoke(main, ["inspect", *map(os.fspath, arguments)])

    return run


def make(path, first=60, **facts):
    """Two parts in 3/4: a melody of eighths, and below it chords of a dotted half."""
    rows = [(12 * i, 12, first + i, 60 + i, 0) for i in range(12)]
    rows += [(72 * i, 72, first - 12 + third, 50, 1) for i in range(2) for third in (0, 4)]
    song = Song(np.array(rows, np.int32), time_signature="3/4", tempo=90.0, **facts)
    path.write_bytes(write_midi(song))
    return path


@pytest.fixture
def song(tmp_path):
    return make(tmp_path / "minuet.mid")


@pytest.fixture
def folder(tmp_path):
    """Three songs, one of them twice, and what is none."""
    folder = tmp_path / "music"
    folder.mkdir()
    rng = np.random.default_rng(1)
    for name in ("a", "b", "c"):
        rows = [(24 * i, 24, int(pitch), 80, 0) for i, pitch in enumerate(rng.integers(40, 80, 9))]
        (folder / f"{name}.mid").write_bytes(write_midi(Song(np.array(rows))))
    (folder / "copy of a.mid").write_bytes((folder / "a.mid").read_bytes())
    for number in range(5):
        (folder / f"letter {number}.mid").write_text("Dear Sebastian,")
    (folder / "readme.txt").write_text("text")
    return folder


# ---- a file -----------------------------------------------------------------


def test_a_file_is_told_in_words(inspect, song):
    ran = inspect(song)
    assert ran.exit_code == 0, ran.output
    lines = {line.split("  ")[1].strip(): line for line in ran.output.splitlines() if "  " in line}
    assert ran.output.startswith("minuet.mid: kept\n")
    assert "6 quarters; 2 bars of 3/4; 0:04" in lines["length"]
    assert "90 quarters a minute" in lines["tempo"]
    assert lines["key"].endswith("not given")
    assert lines["range"].endswith("C3 to B4")
    assert "18 events" in lines["notes codec"]
    assert "14 tokens" in lines["chords codec"]
    assert "2 are chords" in lines["chords codec"]


def test_a_file_has_a_table_of_its_parts(inspect, song):
    head, one, two = inspect(song).output.splitlines()[-3:]
    assert head.split()[:4] == ["part", "notes", "chords", "range"]
    assert "12" in one
    assert "eighth (12) 100%" in one
    assert "60 to 71" in one
    assert "C3 to E3" in two
    assert "dotted half (72) 100%" in two
    assert two.index("dotted") == one.index("eighth")


def test_a_file_as_json_is_one_object(inspect, song):
    answer = json.loads(inspect(song, "--json").stdout)
    assert answer["verdict"]["verdict"] == "kept"
    assert answer["verdict"]["notes"] == answer["song"]["notes"] == 16
    assert [part["notes"] for part in answer["song"]["parts"]] == [12, 4]
    assert answer["song"]["codecs"]["chords"]["events"] == 14
    assert answer["roll"] is None


@pytest.mark.parametrize("flags", [(), ("--json",)])
def test_a_rejected_file_is_one_line_and_exit_code_1(inspect, tmp_path, flags):
    path = tmp_path / "letter.mid"
    path.write_text("Dear Sebastian,")
    ran = inspect(path, *flags)
    assert ran.exit_code == 1
    assert ran.stderr.count("\n") == 1
    assert ran.stderr.startswith(f"segue: {path} is rejected: not-midi: ")
    if flags:
        answer = json.loads(ran.stdout)
        assert (answer["verdict"]["reason"], answer["song"]) == ("not-midi", None)
    else:
        assert ran.stdout == ""


def test_a_path_that_is_not_there_is_one_line(inspect, tmp_path):
    ran = inspect(tmp_path / "nowhere.mid")
    assert ran.exit_code == 1
    assert "No such file" in ran.stderr
    assert ran.stderr.count("\n") == 1


def test_a_name_that_a_folder_would_pass_over_is_told(inspect, song):
    other = song.rename(song.with_suffix(".music"))
    ran = inspect(other)
    assert ran.exit_code == 0
    assert "would be passed over; names must end in .mid, .midi, .kar or .rmi" in ran.output


def test_names_cannot_play_with_the_terminal(inspect, tmp_path):
    path = make(tmp_path / "red\x1b[31m\ntwo.mid")
    ran = inspect(path)
    assert "\x1b" not in ran.output
    assert ran.output.startswith("red\\x1b[31m\\ntwo.mid: kept\n")


# ---- pictures ---------------------------------------------------------------


@pytest.mark.parametrize(("name", "begin"), [("a.svg", b"<svg"), ("b.PNG", b"\x89PNG")])
def test_the_suffix_says_which_picture_is_drawn(inspect, song, tmp_path, name, begin):
    out = tmp_path / "new" / name
    ran = inspect(song, "--roll", out)
    assert ran.exit_code == 0, ran.output
    assert out.read_bytes().startswith(begin)
    assert ran.output.endswith(f"piano roll: {out}\n")
    assert [path.name for path in out.parent.iterdir()] == [name]  # nothing is left beside it


def test_a_picture_that_cannot_be_drawn_is_one_line_before_any_work(inspect, song, tmp_path):
    for target, words in (
        (tmp_path / "a.jpg", "name a file that ends in .svg or .png"),
        (song, "name a file that ends in"),
        (tmp_path / "minuet.mid" / "a.svg", "is a file, not a folder"),
    ):
        ran = inspect(song, "--roll", target)
        assert ran.exit_code == 1
        assert words in ran.stderr
        assert ran.stderr.count("\n") == 1
        assert ran.stdout == ""


def test_a_rejected_file_leaves_the_picture_that_was_there(inspect, tmp_path):
    out = tmp_path / "roll.svg"
    out.write_text("yesterday's")
    (tmp_path / "letter.mid").write_text("Dear Sebastian,")
    assert inspect(tmp_path / "letter.mid", "--roll", out).exit_code == 1
    assert out.read_text() == "yesterday's"


def test_a_folder_has_no_picture(inspect, folder, tmp_path):
    ran = inspect(folder, "--roll", tmp_path / "a.svg")
    assert ran.exit_code == 1
    assert "--roll draws one file" in ran.stderr


def test_the_terminals_roll_shows_each_note_where_it_sounds():
    song = Song(np.array([(0, 24, 60, 80, 0), (24, 12, 61, 80, 1), (48, 48, 64, 80, 0)]))
    lines, bars = roll_lines(song, 80)
    rows = ["".join(char for char, _ in line) for line in lines]
    # A column is a sixteenth: 6 ticks. C4 and C#4 share a line, as its halves.
    assert rows == [
        "    │        ▄▄▄▄▄▄▄▄",
        "    │                ",
        "  C4│▄▄▄▄▀▀··········",
    ]
    assert bars == 1


def test_the_terminals_roll_is_as_wide_as_the_terminal():
    song = Song(np.array([(24 * i, 24, 60 + i % 30, 80, 0) for i in range(500)]))
    for width in (40, 80, 160):
        lines, bars = roll_lines(song, width)
        assert {sum(len(text) for text, _ in line) for line in lines} <= set(
            range(width - 16, width + 1)
        )
        assert bars < 125


# ---- a folder ---------------------------------------------------------------


def test_a_folder_is_told_in_words(inspect, folder):
    ran = inspect(folder)
    assert ran.exit_code == 0, ran.output
    lines = ran.output.splitlines()
    assert lines[0].startswith("9 files: 3 kept, 0 repaired, 6 rejected")
    assert lines[1] == "1 song held out, 2 to learn from (a share of 0.1, preset default)"
    assert "    copy of a.mid: the same music as a.mid" in lines
    assert "    and 2 more; --all names them" in lines
    assert "notes      27 in 3 parts" in lines
    assert "passed over: 1 (files whose names do not end in .mid, .midi, .kar or .rmi" in lines[-1]
    assert "readme.txt" not in ran.output


def test_all_names_every_file(inspect, folder):
    lines = inspect(folder, "--all").output.splitlines()
    for number in range(5):
        assert any(f"letter {number}.mid" in line and "not-midi" in line for line in lines)
    assert any(line.startswith("kept") and line.rstrip().endswith("b.mid") for line in lines)
    assert lines[-1] == "  readme.txt"


def test_a_folder_as_json_lists_every_verdict(inspect, folder):
    answer = json.loads(inspect(folder, "--json", "--set", "split.eval_share=0.5").stdout)
    assert answer["summary"].startswith("9 files: 3 kept")
    assert (answer["files"], answer["kept"], answer["rejected"]) == (9, 3, 6)
    assert answer["rejections"] == {"not-midi": 5, "duplicate": 1}
    assert len(answer["verdicts"]) == 9
    assert {row["file"]: row["side"] for row in answer["verdicts"]}["letter 0.mid"] == ""
    assert answer["split"]["eval_share"] == 0.5
    assert answer["totals"]["notes"] == 27
    assert answer["passed_over"] == ["readme.txt"]


def test_a_folder_with_nothing_to_learn_from_is_told_and_exit_code_1(inspect, folder):
    for name in ("a", "b", "c", "copy of a"):
        (folder / f"{name}.mid").unlink()
    ran = inspect(folder)
    assert ran.exit_code == 1
    assert ran.stdout.startswith("5 files: 0 kept, 0 repaired, 5 rejected")
    assert ran.stderr == f"segue: none of the 5 MIDI files in {folder} can be learned from\n"


def test_a_single_song_is_told_to_be_too_few(inspect, folder):
    for name in ("b", "c"):
        (folder / f"{name}.mid").unlink()
    assert "the pipeline needs 2 different ones" in inspect(folder).output


def test_an_unknown_preset_is_one_line(inspect, folder):
    ran = inspect(folder, "--preset", "jazz")
    assert ran.exit_code == 1
    assert "preset 'jazz' does not exist" in ran.stderr


# ---- quick ------------------------------------------------------------------


def test_it_answers_at_once_and_needs_no_framework(song, folder, processor_seconds):
    probe = (
        "import sys; from click.testing import CliRunner; from pipeline.cli import main\n"
        "run = lambda *args: CliRunner().invoke(main, ['inspect', *args]).exit_code\n"
        "import time; began = time.process_time(); assert run('--help') == 0\n"
        "took = time.process_time() - began; assert took < 0.4, took\n"
        f"assert run({str(song)!r}, '--roll', {str(song.with_suffix('.png'))!r}) == 0\n"
        f"assert run({str(folder)!r}) == 0\n"
        "heavy = {'tensorflow', 'tfx', 'apache_beam', 'keras', 'ml_metadata', 'pyarrow'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    assert processor_seconds(sys.executable, "-c", probe) < 10
