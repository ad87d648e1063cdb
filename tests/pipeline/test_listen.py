"""A blind listening test: nothing gives away who wrote it, and answers are counted rightly."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from music.corpus import export
from music.errors import SegueError
from music.midi import read_midi, write_midi
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
@given(seconds=st.floats(3, 8), seed=st.integers(0, 10**6))
def test_excerpts_begin_at_once_and_are_as_long_as_asked_whoever_wrote_them(seconds, seed):
    for pair in make_pairs(REAL, NEW, seconds, 12, seed):
        for notes in (pair.a, pair.b):
            assert len(notes) >= FEWEST_NOTES
            assert notes[0][0] == 0
            assert max(onset + duration for onset, duration, _ in notes) <= seconds + 1e-6
            assert max(onset for onset, _, _ in notes) > seconds / 3
            assert all(duration > 0 for _, duration, _ in notes)


@pytest.fixture(scope="module")
def bach(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bach")
    paths = export("bach", folder, limit=80, parts=4)
    return [read_midi(path.read_bytes(), path.stem) for path in paths]


FEATURES = {
    "notes at the beginning": lambda notes: sum(onset == 0 for onset, _, _ in notes),
    "notes": len,
    "first pitch": lambda notes: notes[0][2],
    "first note's length": lambda notes: notes[0][1],
    "second onset": lambda notes: next(onset for onset, _, _ in notes if onset),
    "last end": lambda notes: max(onset + length for onset, length, _ in notes),
    "notes at the last onset": lambda notes: sum(one[0] == notes[-1][0] for one in notes),
    "onsets": lambda notes: len({onset for onset, _, _ in notes}),
}


def test_nothing_simple_gives_away_which_is_the_models(bach):
    """With real music on both sides, one of them cut as what a model plays is cut."""
    real, new = bach[::2], []
    for number, one in enumerate(bach[1::2]):
        # From within a chord on, and never to the end.
        first = 40 + 7 * number % 60
        notes = one.notes[first : first + 160].copy()
        notes[:, 0] -= notes[0, 0]
        new.append(dataclasses.replace(one, notes=notes, id=""))
    more, fewer = dict.fromkeys(FEATURES, 0), dict.fromkeys(FEATURES, 0)
    pairs = [pair for seed in range(4) for pair in make_pairs(real, new, 8.0, 100, seed)]
    assert len(pairs) > 100
    for pair in pairs:
        composer, model = (pair.a, pair.b) if pair.composer == "a" else (pair.b, pair.a)
        for name, feature in FEATURES.items():
            more[name] += feature(composer) > feature(model)
            fewer[name] += feature(composer) < feature(model)
    for name in FEATURES:
        told = more[name] + fewer[name]
        # Within four deviations of what guessing gives.
        assert abs(more[name] - fewer[name]) <= 4 * math.sqrt(told), (name, more, fewer)


def test_a_song_is_never_held_against_the_one_that_it_goes_on_from():
    new = [dataclasses.replace(song(100), id=REAL[0].id)]
    assert make_pairs(REAL[:2], new, 10.0, 12, seed=3)[0].real == "real 1"
    with pytest.raises(SegueError, match="no pair"):
        make_pairs(REAL[:1], new, 10.0, 12, seed=3)
    with pytest.raises(SegueError, match="no pair"):
        make_pairs(REAL[:1], [dataclasses.replace(REAL[0], id="other")], 10.0, 12, seed=3)


def test_both_are_played_at_the_composers_tempo():
    real, new = [song(1, tempo=100.0)], [song(2, tempo=70.0)]
    (pair,) = make_pairs(real, new, 10.0, 1, seed=1)
    for notes in (pair.a, pair.b):
        # At 100 quarters a minute six ticks take 0.15 seconds.
        assert all(
            math.isclose(onset / 0.15, round(onset / 0.15), abs_tol=1e-6) for onset, _, _ in notes
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
    value = {"test": test, "page": name, "listener": name, "answers": told, **other}
    path.write_text(json.dumps(value))
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
    assert found.line().endswith("too few answers to say whether they could tell")


def test_the_interval_is_that_of_clopper_and_pearson(made):
    # R: binom.test(6, 10) has 0.2624 and 0.8784.
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
        ({"answers": ["a"]}, "holds no answers to 5 pairs"),
        ({"answers": ["a", "b", "c", "a", "b"]}, "holds no answers to 5 pairs"),
        ({"answers": [["a"], "b", "a", "a", "b"]}, "holds no answers to 5 pairs"),
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
    with pytest.raises(SegueError, match="holds no answers of a listening test$"):
        score(made / KEY_FILE, [path])
    with pytest.raises(SegueError, match="is no key of a listening test$"):
        score(path, [path])


@pytest.mark.parametrize(
    "change", [{"pairs": []}, {"pairs": [{"composer": "a"}]}, {"test": 7}, {"pairs": None}]
)
def test_a_damaged_key_is_one_line(made, change):
    path = made / KEY_FILE
    files = [answer(made, "ada", ["a"] * 5)]
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(SegueError, match="is no key of a listening test$"):
        score(path, files)


def test_who_saves_twice_counts_once_and_who_has_no_name_counts(made):
    files = [
        answer(made, "early", ["a", None, None, None, None], page="p1", listener="Ada"),
        answer(made, "late", ["a"] * 5, page="p1", listener="Ada"),
        answer(made, "one", ["a"] * 5, page="p2", listener=""),
        answer(made, "two", ["a"] * 5, page="p3", listener=""),
    ]
    found = score(made / KEY_FILE, files)
    assert found.answers == 15
    assert [name for name, _, _ in found.listeners] == ["Ada", "one", "two"]


def test_a_name_cannot_forge_a_line(made):
    for name in ("Ada\nthe model was taken 99 times", "\ud800", "\x1b[2J"):
        found = score(made / KEY_FILE, [answer(made, "odd", ["a"] * 5, listener=name)])
        assert found.listeners[0][0].isprintable()


def test_few_answers_say_little(made, pairs):
    wrong = ["b" if pair.composer == "a" else "a" for pair in pairs]
    found = score(made / KEY_FILE, [answer(made, "one", [*wrong[:1], *[None] * 4])])
    assert (found.answers, found.taken) == (1, 1)
    assert found.line().endswith("too few answers to say whether they could tell")


def test_a_key_is_not_replaced_by_another_tests(made, pairs):
    publish(pairs, made, "<L. Reichardt>")  # the same again
    other = make_pairs(REAL, NEW, 10.0, 12, seed=8)
    before = (made / KEY_FILE).read_bytes()
    with pytest.raises(SegueError, match="is the key of another test"):
        publish(other, made, "")
    assert (made / KEY_FILE).read_bytes() == before


def test_a_page_that_cannot_be_written_leaves_no_key(pairs, tmp_path):
    (tmp_path / PAGE_FILE).mkdir()
    with pytest.raises(SegueError, match="is a folder"):
        publish(pairs, tmp_path, "")
    assert not (tmp_path / KEY_FILE).exists()


def test_a_composers_name_is_made_printable(pairs, tmp_path):
    publish(pairs, tmp_path, "\udcff\n")
    assert "\\udcff\\n" in (tmp_path / PAGE_FILE).read_text()


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
    os.mkfifo(tmp_path / "theirs" / "pipe.mid")
    ran = segue("listen", tmp_path / "ours", "--data", tmp_path / "theirs", "--seconds", "10")
    assert ran.code == 0, ran.err
    assert "segue: broken.mid is passed over (truncated)" in ran.err
    assert "segue: pipe.mid is passed over (unreadable)" in ran.err
    assert "as they are written" in ran.out
    told = "segue: 5 pairs, not 12: a song is in one at most, and there are 6 of the composer's"
    assert f"{told} and 5 of the model's\n" in ran.err
    assert f"5 pairs in {tmp_path / 'ours' / 'listen' / PAGE_FILE}" in ran.out
    ran = segue(
        "listen", tmp_path / "ours", "--data", tmp_path / "theirs", "--pairs", 1, "--seconds", "10",
        "--out", tmp_path / "one",
    )  # fmt: skip
    assert ran.out.startswith(f"1 pair in {tmp_path / 'one' / PAGE_FILE}")
    assert "not 1" not in ran.err
    line = one_line(segue("listen", tmp_path / "ours", "--root", tmp_path))
    assert line.startswith(f"--root {tmp_path} goes with --data alone: leave it out, or name")
    line = one_line(segue("listen", tmp_path / "ours", "--seconds", "nan"))
    assert line == "--seconds nan is not allowed; it must be 3..120"
    assert "is no root of a pipeline" in one_line(segue("listen", tmp_path / "ours"))
    line = one_line(segue("listen", "score", tmp_path / "theirs", "a.json"))
    assert line.startswith(f"there is no test in {tmp_path / 'theirs'}")
