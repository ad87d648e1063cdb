"""A folder as ingest will see it."""

from __future__ import annotations

import json
import multiprocessing
import multiprocessing.resource_tracker
import os
import sys

import numpy as np
import pytest

from music.catalogue import Catalogue, inspect_file, inspect_folder
from music.errors import SegueError
from music.folder import File, midi_files
from music.midi import Limits, read_midi, write_midi
from music.song import TICKS_PER_QUARTER, Song
from music.split import Splitter, eval_bound, rank, split_of
from music.verdict import KEPT, REJECTED, Verdict, judge

SHARE = 0.3


def melody(number: int, higher: int = 0) -> Song:
    """A song of 8 notes, another one for each number."""
    steps = np.random.default_rng(number).integers(0, 12, 8)
    rows = [(24 * i, 24, 60 + higher + int(step), 80, 0) for i, step in enumerate(steps)]
    return Song(np.array(rows, np.int32))


@pytest.fixture
def folder(tmp_path):
    """What people's folders hold."""
    (tmp_path / "sub").mkdir()
    for number in range(6):
        (tmp_path / "sub" / f"{number}.mid").write_bytes(write_midi(melody(number)))
    (tmp_path / "sub" / "2-higher.mid").write_bytes(write_midi(melody(2, higher=3)))
    (tmp_path / "empty.mid").write_bytes(b"")
    (tmp_path / "letter.MID").write_text("Dear Sebastian,")
    (tmp_path / "answer.mid").write_text("Dear Carl Philipp,")
    (tmp_path / "gone.mid").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe.mid")
    (tmp_path / "folder.mid").mkdir()
    (tmp_path / "folder.mid" / "inside.mid").write_bytes(write_midi(melody(7)))
    (tmp_path / "notes.txt").write_text("no MIDI by its name")
    (tmp_path / ".hidden.mid").write_bytes(b"")
    return tmp_path


def by_name(catalogue: Catalogue) -> dict[str, Verdict]:
    return {verdict.file: verdict for verdict in catalogue.verdicts}


def test_every_file_has_a_verdict_in_the_pipelines_order(folder):
    catalogue = inspect_folder(folder, Splitter(SHARE))
    assert [verdict.file for verdict in catalogue.verdicts] == [
        path.relative_to(folder).as_posix() for path in midi_files(folder)
    ]
    lots = by_name(catalogue)
    assert lots["answer.mid"].reason == lots["letter.MID"].reason == "not-midi"
    assert lots["empty.mid"].verdict == REJECTED
    unreadable = [lots[name].reason for name in ("gone.mid", "pipe.mid", "folder.mid")]
    assert set(unreadable) == {"unreadable"}
    assert lots["sub/0.mid"].verdict == lots["folder.mid/inside.mid"].verdict == KEPT


def test_files_are_judged_as_the_pipeline_judges_them(folder):
    path = folder / "sub" / "1.mid"
    verdict, reading = judge("sub/1.mid", path.read_bytes(), Limits())
    facts, same = inspect_file(File(os.fsencode(path), "sub/1.mid"), Limits())
    assert facts.verdict == verdict
    assert same is not None
    assert reading is not None
    assert same.song == reading.song
    assert facts.fingerprint == read_midi(path.read_bytes()).fingerprint()


def test_of_the_same_music_the_first_by_name_is_kept(folder):
    lots = by_name(inspect_folder(folder, Splitter(SHARE)))
    assert lots["sub/2-higher.mid"].verdict == KEPT
    assert lots["sub/2.mid"].verdict == REJECTED
    assert lots["sub/2.mid"].reason == "duplicate"
    assert "sub/2-higher.mid" in lots["sub/2.mid"].detail


def test_songs_are_held_out_by_the_rank_of_their_music(folder):
    catalogue = inspect_folder(folder, Splitter(SHARE, "pepper"))
    ranks = {
        file: rank(read_midi((folder / file).read_bytes()).fingerprint(), "pepper")
        for file, verdict in by_name(catalogue).items()
        if verdict.verdict == KEPT
    }
    bound = eval_bound(ranks.values(), SHARE)
    expected = {file: split_of(number, bound) for file, number in ranks.items()}
    sides = {
        verdict.file: side
        for verdict, side in zip(catalogue.verdicts, catalogue.sides, strict=True)
        if side
    }
    assert sides == expected
    assert set(catalogue.held_out) == {file for file, side in expected.items() if side == "eval"}
    assert 0 < len(catalogue.held_out) < len(sides)


def test_duplicates_and_rejects_do_not_count_in_the_totals(folder):
    totals = inspect_folder(folder, Splitter(SHARE)).totals
    assert (totals.songs, totals.notes) == (7, 56)
    assert totals.durations == {TICKS_PER_QUARTER: 56}


def test_what_is_no_midi_file_by_its_name_is_passed_over(folder):
    assert inspect_folder(folder, Splitter(SHARE)).passed_over == ("notes.txt",)


def test_causes_are_grouped_the_commonest_first(folder):
    causes = inspect_folder(folder, Splitter(SHARE)).rejections()
    counts = {reason: len(files) for reason, files in causes.items()}
    assert (counts["unreadable"], counts["duplicate"]) == (3, 1)
    assert sum(counts.values()) == 7
    assert list(counts.values()) == sorted(counts.values(), reverse=True)
    assert [verdict.file for verdict in causes["unreadable"]] == [
        "folder.mid", "gone.mid", "pipe.mid"
    ]  # fmt: skip


def test_limits_hold(folder):
    lots = by_name(inspect_folder(folder, Splitter(SHARE), limits=Limits(bytes=20)))
    assert lots["sub/0.mid"].verdict == REJECTED


def test_a_name_that_is_no_text_has_a_row(folder):
    os.rename(folder / "sub" / "0.mid", os.fsencode(folder) + b"/Pr\xe9lude.mid")
    catalogue = inspect_folder(folder, Splitter(SHARE))
    assert by_name(catalogue)["Pr\ufffdlude.mid"].verdict == KEPT
    json.dumps(catalogue.as_dict()).encode()


def test_a_folder_without_midi_files_is_refused_as_by_the_pipeline(tmp_path):
    with pytest.raises(SegueError, match="there is no MIDI file in"):
        inspect_folder(tmp_path, Splitter(SHARE))


# ---- in several processes ---------------------------------------------------


@pytest.fixture
def many(folder):
    for number in range(10, 70):
        (folder / f"{number}.mid").write_bytes(write_midi(melody(number)))
    return folder


def test_the_number_of_processes_changes_nothing(many):
    told: list[tuple[int, int]] = []
    two = inspect_folder(many, Splitter(SHARE), jobs=2, on_file=lambda *count: told.append(count))
    assert two.as_dict() == inspect_folder(many, Splitter(SHARE), jobs=1).as_dict()
    assert told == [(number, 74) for number in range(1, 75)]
    assert multiprocessing.active_children() == []


def test_a_process_that_dies_loses_no_file(many):
    killed = []

    def kill_once(done, _):
        if not killed:
            killed.extend(multiprocessing.active_children())
            for process in killed:
                process.kill()
                process.join()

    alone = inspect_folder(many, Splitter(SHARE), jobs=1)
    assert (
        inspect_folder(many, Splitter(SHARE), jobs=2, on_file=kill_once).as_dict()
        == alone.as_dict()
    )
    assert killed


def test_processes_that_cannot_start_are_one_line_and_no_rejections(many):
    multiprocessing.resource_tracker.ensure_running()
    multiprocessing.set_executable("/bin/false")
    try:
        with pytest.raises(SegueError, match="die as they start; read with --jobs 1"):
            inspect_folder(many, Splitter(SHARE), jobs=2)
    finally:
        multiprocessing.set_executable(sys.executable)
    assert multiprocessing.active_children() == []


def test_an_interrupt_ends_every_process(many):
    def interrupt(done, _):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        inspect_folder(many, Splitter(SHARE), jobs=2, on_file=interrupt)
    assert multiprocessing.active_children() == []
