"""The page of a study: what stands on it, that nothing is fetched, and that it fits a phone."""

from __future__ import annotations

import copy
import dataclasses
import json
import math
import re
from pathlib import Path

import pytest

from components.trainer.history import Epoch, History
from components.trainer.trials import Trial
from pipeline.configuration import load_configuration
from pipeline.study.arms import SIZES, arms
from pipeline.study.page import publish, render
from pipeline.study.record import record


def history(settings, nats, loss=2.0):
    epochs = tuple(
        Epoch(loss + 1 - number / 9, value, 3.0 + number, 1e-3) for number, value in enumerate(nats)
    )
    versions = {"keras": "3", "tensorflow": "2"}
    return History("paper", settings.to_dict(), 12_345, 1000, 200, 2.25, epochs, versions)


@pytest.fixture(scope="module")
def study(vocabulary):
    """A record of made-up trainings, one of which broke down."""
    config = load_configuration(Path("midi"), Path("root"), "paper")
    planned = arms(config.trainer())
    done = {
        arm.name: Trial(arm.name, history(arm.settings, [3.0, 2.5 - number / 50, 2.75]))
        for number, arm in enumerate(planned)
    }
    done["l1"] = Trial("l1", None, "training broke down in epoch 1: <loss> & all")
    songs = {"train": 43, "eval": 5}
    return record(config, SIZES["full"], planned, done, songs, vocabulary("paper"))


@pytest.fixture(scope="module")
def text(study):
    return render(study)


@pytest.fixture(scope="module")
def few(study):
    """The record after two arms, whose page is drawn sooner."""
    return {**study, "arms": study["arms"][:2]}


@pytest.fixture(scope="module")
def read(text, read_page):
    return read_page(text)


def test_the_table_has_every_arm_the_best_first_and_the_n_gram_in_its_place(read, study):
    head, *rows = read.rows
    assert all(len(row) == len(head) for row in rows)
    fitted = [arm for arm in study["arms"] if arm["broke_down"] is None]
    assert len(rows) == len(fitted) + 1
    nats = [float(row[1]) for row in rows]
    assert nats == sorted(nats)
    assert [row[0] for row in rows if float(row[1]) == 2.25] == ["n-gram"]
    paper = next(row for row in rows if row[0] == "the paper's preset")
    # Epochs of 3, 4 and 5 seconds, the second the best; the first builds the graph.
    assert paper[1:] == [
        "2.500", "2", "2.889", "-0.389", "2.750", "3", "4.5 s", "7.0 s", "12,345"
    ]  # fmt: skip


def test_what_it_ran_on_and_what_the_paper_found_stand_there(text):
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]*>", "", text))
    for words in (
        "43 to learn from, 5 held out",
        "1,000 to learn from, 200 held out; each of 75 tokens",
        "LSTM 256, 512, 256; dense 256",
        "2.250 nats a token on the same held-out windows (order 5",
        "The paper found 0.5 best.",
        "The paper found 256 best.",
        "Best here: off, with",
        "keras 3, tensorflow 2",
        "L1 penalty of 0.00001: training broke down in epoch 1: &lt;loss&gt; &amp; all",
    ):
        assert words in text, words


def test_nothing_is_fetched_and_no_name_stands_twice(read, text):
    assert not {"script", "link", "img", "iframe"} & read.tags
    assert not re.search(r"@import|https?://(?!www\.w3\.org/)", text)
    assert len(set(read.ids)) == len(read.ids)
    assert set(re.findall(r'(?:url\(|href=")#([^)"]+)', text)) <= set(read.ids)
    assert text.count("<svg") == 6
    assert not re.search(r"#0[1-3]0[2-4][0-9a-f]{2}", text)  # stand-ins of colours


def test_the_same_record_gives_the_same_bytes(few):
    assert render(few) == render(json.loads(json.dumps(few)))


def test_a_study_that_is_not_finished_says_so(few, text, tmp_path):
    publish(tmp_path, few)
    assert "Not finished: 2 of 13 arms so far." in (tmp_path / "study.html").read_text()
    assert json.loads((tmp_path / "study.json").read_text()) == few
    assert sorted(path.name for path in tmp_path.iterdir()) == ["study.html", "study.json"]
    assert "Not finished" not in text


def test_equal_answers_are_called_equal(few):
    same = copy.deepcopy(few)
    figures = {name: same["arms"][0][name] for name in ("best_nats", "epochs", "best_epoch")}
    for arm in same["arms"]:
        arm.update(figures)
    assert "No difference here: 2.500 nats each." in render(same)


def test_windows_without_an_n_gram_have_no_line_of_it(few):
    without = {**few, "ngram": {"order": 5, "nats": None}}
    text = render(without)
    assert "n-gram</td>" not in text
    assert "n-gram 2" not in text


def test_a_record_without_a_finished_training_is_still_a_page(vocabulary):
    config = load_configuration(Path("midi"), Path("root"), "paper")
    planned = arms(config.trainer())
    done = {planned[0].name: Trial("key", None, "broke")}
    songs = {"train": 1, "eval": 1}
    found = record(config, SIZES["full"], planned, done, songs, vocabulary("paper"))
    assert found["ngram"]["nats"] is None
    assert "the paper&#39;s preset: broke" in render(found)


def test_a_record_is_json_whatever_the_figures(vocabulary):
    config = load_configuration(Path("midi"), Path("root"), "paper")
    planned = arms(config.trainer())
    unknown = dataclasses.replace(history(planned[0].settings, [3.0]), ngram_nats=math.nan)
    done = {planned[0].name: Trial("key", unknown)}
    songs = {"train": 1, "eval": 1}
    found = record(config, SIZES["full"], planned, done, songs, vocabulary("paper"))
    assert json.loads(json.dumps(found, allow_nan=False)) == found


@pytest.mark.parametrize("width", [390, 1200])
def test_the_page_never_scrolls_sideways(browser, text, width):
    found = browser.layout(text, width)
    assert found["inner"] == width
    assert found["scroll"] <= width
    assert found["right"] <= width
