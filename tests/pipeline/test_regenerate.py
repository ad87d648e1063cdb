"""`segue regenerate` with a model that the pipeline made, loaded in Beam's workers."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from client.catalogue.verify import verify
from music.midi import read_midi, write_midi
from music.song import Song

REPOSITORY = Path(__file__).parents[2]
LONG = b"a" * 251 + b".mid"
HOSTILE = b"'\"$(reboot)\n\x1b[31m\xe9\xe2\x80\xa8.mid"
BAD = {
    "empty.mid": "empty: the file has no bytes",
    "cut.mid": "truncated: ",
    "letter.mid": "not-midi: ",
    "silent.mid": "no-notes: ",
    "folder.mid": "it is no regular file",
    "nowhere.mid": "it is no regular file",
}


def song(number: int, count: int = 120) -> bytes:
    rng = np.random.default_rng(number)
    notes = np.zeros((count, 5), np.int32)
    notes[:, 0] = np.cumsum(rng.choice([6, 12, 24], count))
    notes[:, 1] = rng.integers(6, 30, count)
    notes[:, 2] = rng.integers(48, 84, count)
    notes[:, 3] = 80
    return write_midi(Song(notes, tempo=90.0, time_signature="3/4"))


def tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".segue" not in path.relative_to(folder).parts
    }


def stamps(folder: Path) -> dict[str, tuple[int, int]]:
    """What tells whether a file was written again, but for logs."""
    return {
        path.as_posix(): (path.stat().st_mtime_ns, path.stat().st_ino)
        for path in folder.rglob("*")
        if path.is_file() and path.parent.name != "logs"
    }


@pytest.fixture(scope="module")
def catalogue(chorales, tmp_path_factory) -> Path:
    """Twelve songs under all kinds of names, and six files that are none."""
    folder = tmp_path_factory.mktemp("catalogue") / "songs of mine"
    (folder / "Bach").mkdir(parents=True)
    for path in sorted(chorales.glob("bwv*.mid"))[:5]:
        shutil.copy(path, folder / "Bach")
    for number in range(4):
        (folder / f"own {number}.mid").write_bytes(song(number))
    for name, number in ((LONG, 8), (HOSTILE, 9)):
        with open(os.path.join(os.fsencode(folder), name), "wb") as file:
            file.write(song(number))
    (folder / "one note.mid").write_bytes(song(10, 1))
    (folder / "link.mid").symlink_to(folder / "own 1.mid")

    (folder / "empty.mid").write_bytes(b"")
    (folder / "cut.mid").write_bytes(song(5)[:60])
    (folder / "letter.mid").write_text("Dear Sebastian,")
    (folder / "silent.mid").write_bytes(b"MThd\0\0\0\6\0\0\0\1\0\x18MTrk\0\0\0\4\0\xff\x2f\0")
    (folder / "folder.mid").mkdir()
    (folder / "nowhere.mid").symlink_to(folder / "no such file")
    (folder / ".hidden.mid").write_bytes(b"")
    (folder / "notes.txt").write_text("no song")
    return folder


class Made(NamedTuple):
    """A finished run: the folder, what was told, and the arguments."""

    out: Path
    told: dict
    arguments: tuple


@pytest.fixture(scope="module")
def made(segue, first_run, catalogue, tmp_path_factory) -> Made:
    """All of the catalogue, by two workers that load the model."""
    out = tmp_path_factory.mktemp("regenerated") / "out"
    arguments = ("regenerate", catalogue, "--root", first_run.root, "--steps", 30)
    ran = segue(*arguments, "--out", out, "--workers", 2, "--batch", 5, "--json")
    assert ran.code == 3, ran
    return Made(out, ran.json, arguments)


@pytest.fixture
def mine(made, tmp_path) -> Path:
    """A copy of the finished run, for tests that change it."""
    copy = tmp_path / "out"
    shutil.copytree(made.out, copy)
    return copy


def test_good_songs_are_made_and_bad_files_told_with_their_reason(made, catalogue):
    told = made.told
    assert (told["songs"], told["selected"], told["made"]) == (19, 19, 13)
    assert (told["failed"], told["unchanged"], told["missing"]) == (6, 0, 0)
    failures = dict(told["failures"])
    assert failures.keys() == BAD.keys()
    for name, reason in BAD.items():
        assert failures[name].startswith(reason), failures[name]
    found = verify(made.out, catalogue)
    assert (found.songs, found.problems, found.strangers) == (19, (), ())


def test_songs_are_what_the_settings_say(made):
    rows = [json.loads(line) for line in (made.out / "manifest.jsonl").read_bytes().splitlines()
            if b'"made"' in line]  # fmt: skip
    assert len(rows) == 13
    for row in rows:
        midi = next(one["path"] for one in row["outputs"] if one["format"] == "midi")
        notes = read_midi((made.out / midi).read_bytes())
        assert len(notes) == row["notes"] >= 30
        # The model's root knows what it learned from.
        assert 1 <= row["originality"]["run"] <= row["notes"]
        assert row["settings"]["steps"] == 30


def test_a_second_run_does_nothing_and_imports_neither_beam_nor_tensorflow(made):
    before = stamps(made.out)
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "pipeline.cli", *map(str, made.arguments),
         "--out", str(made.out), "--json"],
        cwd=REPOSITORY, env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 3, done.stderr[-2000:]
    told = json.loads(done.stdout)
    assert (told["made"], told["failed"], told["unchanged"]) == (0, 0, 13)
    assert told["failures"] == made.told["failures"]
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "client.catalogue.run" in imported
    assert not {name.partition(".")[0] for name in imported} & {
        "apache_beam", "tensorflow", "tfx", "keras", "pyarrow",
    }  # fmt: skip
    assert stamps(made.out) == before


def test_a_server_of_the_model_is_the_same_model(made, segue, target):
    ran = segue(*made.arguments, "--out", made.out, "--target", target, "--json")
    assert ran.code == 3, ran
    assert (ran.json["made"], ran.json["unchanged"]) == (0, 13)


def test_batches_and_workers_leave_no_trace(made, segue, tmp_path):
    # One worker, and batches of four: the last one is of the thirteenth song alone.
    ran = segue(*made.arguments, "--out", tmp_path / "out", "--workers", 1, "--batch", 4)
    assert ran.code == 3, ran
    assert tree(tmp_path / "out") == tree(made.out)


def test_the_summary_tells_what_a_person_wants_to_know(made, segue):
    ran = segue(*made.arguments, "--out", made.out)
    assert ran.code == 3
    first, *rest = ran.out.splitlines()
    assert first == "19 songs: 0 made, 13 there before, 6 not possible"
    assert "  empty.mid: empty: the file has no bytes" in rest
    assert f"to look at and to hear: {made.out / 'index.html'}" in rest
    assert "\x1b" not in ran.out
    assert ran.err == ""


def test_a_dry_run_says_what_would_be_done(made, segue, tmp_path):
    ran = segue(*made.arguments, "--out", tmp_path / "new", "--dry-run", "--json")
    assert ran.code == 0, ran
    assert (ran.json["songs"], ran.json["to_make"], ran.json["unchanged"]) == (19, 19, 0)
    assert not (tmp_path / "new").exists()
    ran = segue(*made.arguments, "--out", made.out, "--limit", 7, "--dry-run")
    assert ran.out.splitlines() == [
        "19 songs in the catalogue, 7 asked for: 0 to make, 7 unchanged"
    ]


def test_shares_of_a_catalogue_come_to_all_of_it(made, segue, tmp_path):
    plans = []
    for index in (1, 2, 3):
        ran = segue(
            *made.arguments, "--out", tmp_path, "--shard", f"{index}/3", "--dry-run", "--json"
        )
        plans.append(ran.json)
    assert sum(plan["selected"] for plan in plans) == 19


def test_what_is_no_longer_asked_for_is_left_until_it_is_pruned(made, mine, segue):
    before = len(list((mine / "songs").iterdir()))
    changed = ("--out", mine, "--seed", 5, "--limit", 1)
    ran = segue(*made.arguments, *changed)
    assert ran.code == 0, ran
    assert f"{before:,} files of earlier songs are left; --prune deletes them" in ran.out
    assert "18 songs of the catalogue were not asked for yet" in ran.out
    ran = segue(*made.arguments, *changed, "--prune", "--json")
    assert (ran.json["made"], ran.json["pruned"], ran.json["left"]) == (0, before, 0)
    assert len(list((mine / "songs").iterdir())) == 4


def test_what_was_tampered_with_is_found(made, mine, segue, catalogue):
    ran = segue("regenerate", catalogue, "--out", mine, "--verify")
    assert ran.code == 0, ran
    assert ran.out.endswith("as their manifest says\n")
    path = sorted((mine / "songs").glob("*.mid"))[0]
    path.write_bytes(path.read_bytes()[::-1])
    ran = segue("regenerate", catalogue, "--out", mine, "--verify")
    assert ran.code == 3
    assert f"songs/{path.name}: holds something else than was written" in ran.out
    ran = segue("regenerate", catalogue, "--out", mine, "--verify", "--json")
    assert (ran.code, len(ran.json["problems"])) == (3, 1)
    (mine / "manifest.jsonl").unlink()
    ran = segue("regenerate", catalogue, "--out", mine, "--verify")
    assert ran.code == 1
    assert "there is no manifest.jsonl in" in ran.err


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--steps", 0), "steps 0 makes no song"),
        (("--batch", 0), "batch 0 is not allowed"),
        (("--workers", 0), "workers 0 is not allowed; it must be 1..256"),
        (("--limit", 0), "limit 0 leaves no song"),
        (("--shard", "5/4"), "shard 5/4 does not exist"),
        (("--shard", "all"), "shard 'all' is none"),
        (("--original", "--tries", 0), "tries 0 is not allowed"),
        (("--tempo", 0), "tempo 0 is outside"),
        (("--key", "H"), "key 'H' is no tonic"),
        (("--key", "C", "--transpose", 2), "both a key and a transposition"),
        (("--range", "C4-D4"), "less than an octave"),
        (("--temperature", -1), "temperature -1"),
        (("--model-version", 3), "there is no version 3 under"),
    ],
)
def test_what_cannot_be_asked_is_one_line(segue, one_line, made, tmp_path, flags, words):
    line = one_line(segue(*made.arguments, "--out", tmp_path / "new", *flags))
    assert words in line
    assert not (tmp_path / "new").exists()


def test_places_that_will_not_do_are_one_line(segue, one_line, made, catalogue, tmp_path):
    line = one_line(segue(*made.arguments, "--out", catalogue / "new"))
    assert "lies in the catalogue" in line
    assert not (catalogue / "new").exists()
    line = one_line(segue("regenerate", made.out / "songs", "--root", tmp_path, "--out", made.out))
    assert "keeps its own files" in line
    line = one_line(segue("regenerate", tmp_path / "none", "--out", tmp_path / "new"))
    assert "there is no folder" in line
    (tmp_path / "file").write_text("")
    line = one_line(segue(*made.arguments, "--out", tmp_path / "file"))
    assert "is a file, not a folder" in line


def test_a_root_without_a_model_is_one_line(segue, one_line, catalogue, tmp_path):
    line = one_line(segue("regenerate", catalogue, "--root", tmp_path, "--out", tmp_path / "new"))
    assert line.startswith(f"no model has been pushed under {tmp_path}; train one with")


def test_what_help_says_is_asked_for_is_what_the_client_asks_for():
    """Twice on purpose: to import the client takes longer than `--help` may."""
    from client.catalogue.request import DEFAULT_BATCH, DEFAULT_FORMATS
    from client.request import DEFAULT_STEPS, DEFAULT_TRIES
    from pipeline.regenerate_command import regenerate

    told = {option.name: option for option in regenerate.params}
    assert told["steps"].default == DEFAULT_STEPS
    assert told["batch"].default == DEFAULT_BATCH
    assert told["formats"].default == ",".join(DEFAULT_FORMATS)
    # No default of its own: it is refused without --original.
    assert f"(default: {DEFAULT_TRIES})" in told["tries"].help
