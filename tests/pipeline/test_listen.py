"""A blind listening test: nothing gives away who wrote it, and answers are counted rightly."""

from __future__ import annotations

import dataclasses
import json
import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from music.errors import SegueError
from music.midi import write_midi
from music.song import Song
from pipeline.listen.pairs import FEWEST_NOTES, make_pairs
from pipeline.listen.publish import KEY_FILE, PAGE_FILE, publish
from pipeline.listen.score import score


def song(number, count=80, tempo=96.0, title=None):
    rng = np.random.default_rng(number)
    notes = np.zeros((count, 5), np.int32)
    notes[:, 0] = np.cumsum(rng.choice([6, 12, 24], count))
    notes[:, 1] = rng.choice([6, 12, 24], count)
    notes[:, 2] = rng.integers(50, 80, count)
    notes[:, 3] = rng.integers(1, 127, count)
    return Song(notes, id=f"{number:064d}", title=title or f"song {number}", tempo=tempo)


REAL = [song(number, tempo=60.0 + 10 * number, title=f"real {number}") for number in range(6)]
NEW = [song(100 + number, title=f"new {number}") for number in range(5)]


@pytest.fixture(scope="module")
def pairs():
    return make_pairs(REAL, NEW, 10.0, 12, seed=7)


def test_each_song_is_in_one_pair_at_most_and_each_pair_has_both(pairs):
    assert len(pairs) == 5
    assert len({pair.real for pair in pairs}) == len({pair.new for pair in pairs}) == 5
    assert all(pair.real.startswith("real") and pair.new.startswith("new") for pair in pairs)
    assert {pair.composer for pair in pairs} == {"a", "b"}


def test_the_same_songs_make_the_same_test_in_any_order_and_another_seed_another(pairs):
    assert make_pairs(REAL[::-1], NEW[::-1], 10.0, 12, seed=7) == pairs
    assert make_pairs(REAL, NEW, 10.0, 12, seed=8) != pairs
    assert make_pairs(REAL, NEW, 10.0, 3, seed=7) == pairs[:3]


@settings(max_examples=40, deadline=None)
@given(seconds=st.floats(3, 12), seed=st.integers(0, 10**6))
def test_excerpts_begin_at_once_and_are_as_long_as_asked_whoever_wrote_them(seconds, seed):
    for pair in make_pairs(REAL, NEW, seconds, 12, seed):
        for notes in (pair.a, pair.b):
            assert len(notes) >= FEWEST_NOTES
            assert notes[0][0] == 0
            assert max(onset + duration for onset, duration, _ in notes) <= seconds + 1e-6
            assert max(onset for onset, _, _ in notes) > seconds / 3
            assert all(duration > 0 for _, duration, _ in notes)


def test_both_are_played_at_the_composers_tempo():
    real = [song(1, tempo=120.0)]
    (pair,) = make_pairs(real, [dataclasses.replace(song(2), tempo=60.0)], 10.0, 1, seed=1)
    played = {"a": pair.a, "b": pair.b}
    for notes in played.values():
        # At 120 a tick takes 1/48 of a second.
        assert all(
            math.isclose(onset * 48, round(onset * 48), abs_tol=1e-6) for onset, _, _ in notes
        )


def test_songs_that_are_too_short_are_told():
    with pytest.raises(SegueError, match=r"^no pair can be made of 6 songs .* fewer --seconds$"):
        make_pairs(REAL, NEW, 100.0, 12, seed=7)


@pytest.fixture
def made(pairs, tmp_path):
    publish(pairs, tmp_path, "<L. Reichardt>")
    return tmp_path


def test_the_page_does_not_say_which_is_which(made, pairs):
    text = (made / PAGE_FILE).read_text()
    for pair in pairs:
        assert pair.real not in text
        assert pair.new not in text
    found = re.search(r'<script type="application/json" id="test">(.*?)</script>', text, re.DOTALL)
    test = json.loads(found.group(1))
    assert set(test) == {"test", "pairs"}
    for pair, told in zip(pairs, test["pairs"], strict=True):
        assert set(told) == {"a", "b"}
        np.testing.assert_allclose(told["a"], pair.a, atol=1e-4)
        np.testing.assert_allclose(told["b"], pair.b, atol=1e-4)
    assert "&lt;L. Reichardt&gt;" in text
    assert not re.search(r"https?://", text)
    key = json.loads((made / KEY_FILE).read_text())
    assert key["test"] == test["test"]
    assert [one["composer"] for one in key["pairs"]] == [pair.composer for pair in pairs]


def test_a_browser_plays_counts_and_saves(browser, made, pairs):
    text = (made / PAGE_FILE).read_text()
    drive = """<script>
    const saved = [];
    URL.createObjectURL = (blob) => { blob.text().then((text) => {
      document.body.append(Object.assign(document.createElement("pre"), { id: "saved",
        textContent: text })) }); return "#"; };
    document.getElementById("listener").value = "Ada";
    document.querySelectorAll("button")[0].click();
    const label = document.querySelectorAll("button")[0].textContent;
    document.querySelectorAll("button")[1].click();
    document.body.dataset.label = label;
    document.querySelectorAll("input[value=b]").forEach((one, n) => { if (n) one.click(); });
    document.body.dataset.left = document.getElementById("left").textContent;
    document.getElementById("save").click();
    </script></body>"""
    page = made / "driven.html"
    page.write_text(text.replace("</body>", drive))
    seen = browser.look(page)
    assert seen.console == []
    assert seen.urls == set()
    assert seen.dom.count("<fieldset>") == len(pairs)
    assert 'data-label="Stop"' in seen.dom
    assert f'data-left="1 of {len(pairs)} to go"' in seen.dom
    saved = re.search(r'<pre id="saved">(.*?)</pre>', seen.dom).group(1)
    (made / "answers.json").write_text(saved)
    found = score(made / KEY_FILE, [made / "answers.json"])
    assert found.answers == len(pairs) - 1
    assert found.taken == sum(pair.composer == "a" for pair in pairs[1:])
    assert found.listeners == (("Ada", found.answers, found.taken),)


@pytest.mark.parametrize("width", [390, 1200])
def test_the_page_never_scrolls_sideways(browser, made, width):
    found = browser.layout((made / PAGE_FILE).read_text(), width)
    assert found["scroll"] <= found["inner"] == width


def answer(folder, name, told, **other):
    test = json.loads((folder / KEY_FILE).read_text())["test"]
    path = folder / f"{name}.json"
    path.write_text(json.dumps({"test": test, "listener": name, "answers": told, **other}))
    return path


def test_the_share_is_that_of_answers_that_took_the_model_for_the_composer(made, pairs):
    right = [pair.composer for pair in pairs]
    wrong = ["b" if side == "a" else "a" for side in right]
    files = [
        answer(made, "sure", right),
        answer(made, "fooled", wrong),
        answer(made, "half", [*wrong[:2], None, None, right[4]]),
    ]
    found = score(made / KEY_FILE, files)
    assert (found.answers, found.taken) == (13, 7)
    assert found.listeners == (("sure", 5, 0), ("fooled", 5, 5), ("half", 3, 2))
    assert found.pairs[0] == (pairs[0].real, pairs[0].new, 3, 2)
    assert found.pairs[2][2:] == (2, 1)
    assert found.low < found.share < found.high
    assert "7 times of 13: 54%" in found.line()
    assert found.line().endswith("they could not tell")


def test_the_interval_is_that_of_clopper_and_pearson(made):
    # 5 of 10: Clopper and Pearson's tables have 0.187 and 0.813.
    files = [answer(made, name, ["a"] * 5) for name in ("one", "two")]
    key = json.loads((made / KEY_FILE).read_text())
    for place, one in enumerate(key["pairs"]):
        one["composer"] = "ab"[place < 3]
    (made / KEY_FILE).write_text(json.dumps(key))
    found = score(made / KEY_FILE, files)
    assert (found.answers, found.taken) == (10, 6)
    assert (found.low, found.high) == (
        pytest.approx(0.262, abs=1e-3),
        pytest.approx(0.878, abs=1e-3),
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"test": "0" * 16}, "answers another test"),
        ({"answers": ["a"]}, "has no answers to 5 pairs"),
        ({"answers": ["a", "b", "c", "a", "b"]}, "has no answers to 5 pairs"),
        ({"answers": [["a"], "b", "a", "a", "b"]}, "has no answers to 5 pairs"),
        ({"answers": [None] * 5}, "there is no answer in these files"),
    ],
)
def test_answers_that_cannot_be_are_one_line(made, change, words):
    path = answer(made, "odd", ["a"] * 5, **change)
    with pytest.raises(SegueError, match=words):
        score(made / KEY_FILE, [path])


@pytest.mark.parametrize("data", [b"", b"[]", b"\xff\xfe", b"[" * 100_000, b" " * 2**21])
def test_files_that_are_no_answers_are_one_line(made, data):
    path = made / "odd.json"
    path.write_bytes(data)
    with pytest.raises(SegueError, match="has no answers of a listening test"):
        score(made / KEY_FILE, [path])
    with pytest.raises(SegueError, match="has no the key|has no key|is not the key"):
        score(path, [path])


def test_the_same_answers_are_not_counted_twice(made):
    files = [answer(made, name, ["a"] * 5, listener="Ada") for name in ("one", "copy")]
    with pytest.raises(SegueError, match="the same answers as another file"):
        score(made / KEY_FILE, files)


def test_a_root_is_tested_by_what_its_gate_heard(segue, one_line, first_run, tmp_path):
    out = tmp_path / "listen"
    ran = segue("listen", first_run.left, "--seconds", "5", "--out", out, "--json")
    assert ran.code == 0, ran.err
    assert ran.json["pairs"] >= 1
    key = json.loads((out / KEY_FILE).read_text())
    assert all(re.fullmatch(r"song-\d\d", one["new"]) for one in key["pairs"])
    answers = answer(out, "ada", ["a"] * len(key["pairs"]))
    ran = segue("listen", "score", out, answers)
    assert ran.code == 0, ran.err
    assert ran.out.splitlines()[-1].startswith("the model was taken for the composer ")


def test_folders_of_songs_are_tested_against_each_other(segue, one_line, tmp_path):
    for name, songs in (("ours", NEW), ("theirs", REAL)):
        (tmp_path / name).mkdir()
        for number, one in enumerate(songs):
            (tmp_path / name / f"{name}-{number}.mid").write_bytes(write_midi(one))
    (tmp_path / "theirs" / "broken.mid").write_bytes(b"MThd")
    ran = segue("listen", tmp_path / "ours", "--data", tmp_path / "theirs", "--seconds", "10")
    assert ran.code == 0, ran.err
    assert "broken.mid is passed over" in ran.err
    assert f"5 pairs in {tmp_path / 'ours' / 'listen' / PAGE_FILE}" in ran.out
    assert "is no root of a pipeline" in one_line(segue("listen", tmp_path / "ours"))
    line = one_line(segue("listen", "score", tmp_path / "theirs", "a.json"))
    assert line.startswith(f"there is no test in {tmp_path / 'theirs'}")
