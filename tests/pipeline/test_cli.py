"""The command line: quick answers, and one clear line for everything that is wrong."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time

import pytest

from music.corpus import export
from pipeline.lock import exclusive


@pytest.fixture(scope="module")
def song(tmp_path_factory):
    return export("bach", tmp_path_factory.mktemp("song"), limit=1, parts=4)[0]


def test_help_answers_at_once_and_imports_nothing_heavy(processor_seconds):
    probe = (
        "import sys; from click.testing import CliRunner; from pipeline.cli import main; "
        "assert CliRunner().invoke(main, ['--help']).exit_code == 0; "
        "heavy = {'tensorflow', 'tfx', 'apache_beam', 'music21', 'grpc'}; "
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", probe], check=True)
    help_ = (sys.executable, "-m", "pipeline.cli", "--help")
    assert min(processor_seconds(*help_) for _ in range(3)) < 0.5


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: path / "nowhere", "there is no folder"),
        (lambda path: path, "there is no MIDI file in"),
        (lambda path: path / "a.mid", "is a file; name the folder"),
    ],
    ids=["missing", "empty", "file"],
)
def test_a_data_folder_that_is_none_is_one_line(segue, one_line, tmp_path, make, words):
    (tmp_path / "notes.txt").write_text("no MIDI")
    if "file" in words and "is a file" in words:
        (tmp_path / "a.mid").write_bytes(b"")
    root = tmp_path / "root"
    line = one_line(segue("pipeline", "run", "--data", make(tmp_path), "--root", root))
    assert words in line
    assert not root.exists()


def test_a_preset_that_does_not_exist_is_one_line(segue, one_line, song):
    line = one_line(segue("pipeline", "run", "--data", song.parent, "--preset", "jazz"))
    assert line.startswith("preset 'jazz' does not exist; choose one of default, paper, smoke")


def test_a_second_run_on_a_root_is_refused_at_once(segue, one_line, song, tmp_path):
    with exclusive(tmp_path):
        began = time.perf_counter()
        ran = segue("pipeline", "run", "--data", song.parent, "--root", tmp_path)
        # A code of its own, by which a schedule tells it from a failure.
        line = one_line(ran, 75)
        assert time.perf_counter() - began < 5
    assert line.startswith("another run (process ")
    assert line.endswith("wait for it, or choose another --root")


def test_songs_too_short_for_a_window_end_the_run_before_any_training(segue, tmp_path):
    songs = tmp_path / "songs"
    export("bach", songs, limit=2, parts=4)
    ran = segue(
        "pipeline", "run", "--preset", "paper", "--data", songs, "--root", tmp_path / "root",
        "--set", "window.length=4096", "--set", "vocabulary.min_count=1",
    )  # fmt: skip
    assert ran.code == 1
    assert ran.err.splitlines()[-1] == (
        "segue: the train split has no window: it takes a song with at least 4097 events "
        "there; give more songs, longer ones, or lower window.length"
    )
    assert "Trainer" not in ran.err
    assert "Traceback" not in ran.err


def test_a_single_song_cannot_be_split_and_leaves_nothing_pushed(segue, song, tmp_path):
    root = tmp_path / "root"
    ran = segue("pipeline", "run", "--preset", "smoke", "--data", song.parent, "--root", root)
    assert ran.code == 1
    last = ran.err.splitlines()[-1]
    assert last.startswith(f"segue: {song.parent} holds one song to learn from")
    assert "give at least 2 different ones" in last
    assert "Traceback" not in ran.err
    assert not (root / "serving").exists()


def test_a_server_that_is_not_there_is_one_line(segue, one_line, song, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        target = f"127.0.0.1:{free.getsockname()[1]}"
    out = tmp_path / "song.mid"
    line = one_line(segue("generate", "--prime", song, "--target", target, "--out", out))
    assert line.startswith(f"no model server answers at {target}; start one with `segue serve")
    assert not out.exists()


def test_a_model_that_was_never_pushed_is_one_line(segue, one_line, tmp_path):
    line = one_line(segue("serve", "--root", tmp_path, "--port=0"))
    assert str(tmp_path) in line
    assert "segue pipeline run" in line


def test_an_unknown_composer_is_one_line_that_names_others(segue, one_line, tmp_path):
    line = one_line(segue("corpus", "export", "zappa", "--out", tmp_path))
    assert "no composer 'zappa'" in line
    assert "palestrina" in line


def test_the_corpus_is_exported_as_midi_files(segue, tmp_path):
    ran = segue("corpus", "export", "bach", "--out", tmp_path / "m", "--limit", 2, "--json")
    assert ran.code == 0, ran.err
    files = ran.json["files"]
    assert len(files) == 2
    for file in files:
        with open(file, "rb") as handle:
            assert handle.read(4) == b"MThd"


def test_the_version_is_told(segue):
    assert "version 0.1.0" in segue("--version").out


def test_a_defect_of_ours_is_one_line_and_another_code(monkeypatch):
    from click.testing import CliRunner

    import music.corpus
    from pipeline.cli import main

    def broken(*_, **__):
        raise RuntimeError("two\nlines")

    monkeypatch.setattr(music.corpus, "export", broken)
    result = CliRunner().invoke(main, ["corpus", "export", "bach", "--out", "x"])
    assert result.exit_code == 70
    assert "this should not have happened: RuntimeError: two lines" in result.output
    result = CliRunner().invoke(main, ["--verbose", "corpus", "export", "bach", "--out", "x"])
    assert isinstance(result.exception, RuntimeError)


def test_json_is_all_that_stdout_holds(segue, tmp_path):
    ran = segue("corpus", "export", "bach", "--out", tmp_path, "--limit", 1, "--json")
    assert json.loads(ran.out)["composer"] == "bach"


def test_names_cannot_break_the_line_or_the_terminal(segue, one_line, tmp_path):
    name = tmp_path / "two\nlines\x1b[31m"
    line = one_line(segue("pipeline", "run", "--data", name))
    assert "two\\nlines\\x1b[31m" in line


def test_a_terminated_command_stops_what_it_started(tmp_path):
    from pathlib import Path

    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline.cli", "corpus", "export", "bach", "--out", str(tmp_path)],
        start_new_session=True,
    )
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("*.mid")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.terminate()
    assert process.wait(timeout=60) == 143

    def alive():
        return [
            path.name
            for path in Path("/proc").iterdir()
            if path.name.isdigit() and _session(path) == process.pid
        ]

    # Python's own tracker of resources ends by itself, a moment after its parent.
    deadline = time.monotonic() + 20
    while alive() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert alive() == []


def _session(path) -> int:
    try:
        return int((path / "stat").read_text().rpartition(")")[2].split()[3])
    except OSError:
        return -1
