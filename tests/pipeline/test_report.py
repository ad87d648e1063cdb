"""The page of a run: the figures that the gates decided by, and nothing from outside."""

from __future__ import annotations

import base64
import dataclasses
import json
import re
import shutil
from pathlib import Path

import pytest

from components.files import PANEL_FILE
from components.model_card import CARD_JSON
from music.errors import SegueError
from music.midi import read_midi
from pipeline.history import last_run
from pipeline.report.page import render
from pipeline.report.record import gather

EVAL_SONGS = "Split-eval/songs-00000-of-00002.parquet"


@pytest.fixture(scope="module")
def history(first_run):
    return last_run(first_run.left / "metadata.sqlite")


@pytest.fixture(scope="module")
def record(history):
    return gather(history)


@pytest.fixture(scope="module")
def text(record):
    return render(record)


@pytest.fixture(scope="module")
def read(text, read_page):
    return read_page(text)


def plain(text):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", "", text))


def test_every_run_leaves_its_page_in_the_root(first_run, text):
    assert first_run.outcome["report"] == str(first_run.root / "report.html")
    assert (first_run.left / "report.html").read_text() == text


def test_the_figures_are_those_of_the_gates(first_run, read, text):
    rows = {row[0]: row[1:] for row in read.rows}
    outcome = first_run.outcome
    assert rows["held-out nats an event"] == [f"{outcome['nats']:.3f}", "under 12.000", "yes"]
    over = outcome["nats"] - outcome["ngram_nats"]
    assert rows["the same, less the n-gram's"] == [f"{over:+.3f}", "under +6.000", "yes"]
    assert rows["songs that copy more than the composer"][1:] == ["at most 100%", "yes"]
    assert rows["seconds for a song, served"][1:] == ["at most 10.00", "yes"]
    assert f"Pushed as version {outcome['version']}." in plain(text)


def test_what_was_taught_stands_there(read, text, record):
    rows = {row[0]: row[1:] for row in read.rows}
    assert rows["kept as they are"] == ["16", ""]
    assert rows["rejected: not-midi"] == ["1", "odd/letter.mid"]
    assert rows["rejected: truncated"] == ["1", "odd/cut.MID"]
    assert f"{record.reference.songs}: {min(record.lengths):,} to" in plain(text)
    # Each held-out song by its title.
    assert record.held_out
    for row in record.held_out:
        assert rows[row["title"]][0] == f"{row['nats']:.3f}"
        assert not re.fullmatch("[0-9a-f]{12}", row["title"])


def test_every_song_of_the_panel_is_there_to_see_and_to_take(read, text, record):
    assert len(record.songs) == 4
    assert set(read.links) == {song.name for song in record.songs}
    for song in record.songs:
        head, data = read.links[song.name].split(",", 1)
        assert head == "data:audio/midi;base64"
        assert len(read_midi(base64.b64decode(data))) == song.judged["notes"]
        assert f'aria-label="Piano roll of {song.name}"' in text
        copied = song.judged["copied"]
        assert f"stand in {copied['title']}, bar {copied['source_bar']}." in plain(text)
    notes = sum(song.judged["notes"] for song in record.songs)
    assert text.count('class="note"') == pytest.approx(notes, rel=0.1)


def test_nothing_is_fetched_and_no_name_stands_twice(read, text):
    assert not {"script", "link", "img", "iframe"} & read.tags
    assert not re.search(r"@import|https?://(?!www\.w3\.org/)", text)
    assert "default-src 'none'" in text
    assert len(set(read.ids)) == len(read.ids)
    assert set(re.findall(r'(?:url\(|href=")#([^)"]+)', text)) <= set(read.ids)
    assert not re.search(r"#0[1-3]0[2-4][0-9a-f]{2}", text)  # stand-ins of colours


def test_a_browser_shows_the_pictures_without_an_error_or_a_request(browser, first_run, record):
    seen = browser.look(first_run.left / "report.html")
    assert seen.console == []
    assert seen.urls == set()
    assert seen.dom.count("<svg") == 4 + len(record.songs)
    assert seen.dom.count('class="note"') > 50


def test_a_browser_would_tell_of_errors_and_requests(browser, tmp_path):
    page = tmp_path / "bad.html"
    page.write_text("<img src='http://127.0.0.1:9/a.png'><script>nothing()</script>")
    seen = browser.look(page)
    assert any("nothing is not defined" in line for line in seen.console)
    assert seen.urls == {"http://127.0.0.1:9/a.png"}


@pytest.mark.parametrize("width", [390, 1200])
def test_the_page_never_scrolls_sideways(browser, text, width):
    found = browser.layout(text, width)
    assert found["inner"] == width
    assert found["scroll"] <= width
    assert found["right"] <= width


def test_a_refusal_begins_with_its_reasons_and_marks_its_figures(record):
    finding = {**record.panel["findings"][1], "met": False, "value": 0.75, "bound": 0.25}
    panel = {
        **record.panel,
        "findings": [record.panel["findings"][0], finding, record.panel["findings"][2]],
        "reasons": ["3 of 4 songs are <degenerate>"],
    }
    gate = {**record.gate, "blessed": False, "nats": "nan", "shortfalls": ["no number (nan)"]}
    given = {**record.given, "composer": "A. Tester", "rights": "all mine"}
    refused = dataclasses.replace(
        record, panel=panel, gate=gate, card=None, given=given, version=None
    )
    text = render(refused)
    assert "<li>no number (nan)</li>" in text
    assert "<li>3 of 4 songs are &lt;degenerate&gt;</li>" in text
    assert "Pushed" not in plain(text)
    missed = re.findall(r'<tr class="missed"><td>(.*?)</td><td>(.*?)</td>', text)
    assert missed == [("held-out nats an event", "nan"), ("degenerate songs", "75%")]
    # What was given for its card stands there all the same, and no card is told of.
    assert "Songs after A. Tester" in text
    assert "<dt>Rights in the songs</dt><dd>all mine</dd>" in text
    assert "The model was not pushed, so there is no card of it." in plain(text)
    assert "assets.extra" not in text


def test_a_pushed_models_page_says_where_its_card_lies(text, record):
    assert "The card lies in the pushed version, in assets.extra." in plain(text)
    told = plain(render(dataclasses.replace(record, version=None)))
    assert "The card goes with the version, once one is pushed; this run pushed none." in told


def test_what_was_given_is_that_of_the_panel_and_of_an_older_run_that_of_its_card(history, record):
    panel = history.outputs["ServingValidator", "panel"]
    assert set(record.given) == {"composer", "source", "rights", "license", "use", "contact"}
    assert json.loads(Path(panel, PANEL_FILE).read_text())["given"] == record.given
    assert record.card["given"] == record.given


def test_a_model_that_did_not_serve_has_a_page_without_songs(record, history, tmp_path):
    folder = tmp_path / "panel"
    folder.mkdir()
    told = {
        "settings": record.panel["settings"],
        "reasons": ["the model server did not come up"],
        "given": {**record.given, "composer": "A. Tester"},
    }
    (folder / PANEL_FILE).write_text(json.dumps(told))
    outputs = {**history.outputs, ("ServingValidator", "panel"): str(folder)}
    text = render(gather(dataclasses.replace(history, outputs=outputs)))
    assert "Nothing: the model server did not come up." in plain(text)
    assert "Songs after A. Tester" in text
    assert '<tr class="missed"><td>serves</td><td>no</td>' in text


@pytest.mark.parametrize(
    ("step", "name", "data"),
    [
        (("Trainer", "model_run"), "history.json", b"{"),
        (("Evaluator", "evaluation"), "songs.jsonl", b'{"song": "a'),
        (("ReferenceBuilder", "reference"), "reference.json", b"{}"),
        (("ServingValidator", "panel"), "song-01.mid", b"MThd"),
        (("Evaluator", "evaluation"), "contexts.json", None),
        (("Evaluator", "evaluation"), "contexts.json", b"{}"),
        (("Evaluator", "evaluation"), "gate.json", b"{}"),
        (("Evaluator", "evaluation"), "gate.json", b"[]"),
        (("Evaluator", "evaluation"), "songs.jsonl", b""),
        (("Trainer", "model_run"), "history.json", b"{}"),
        (("Trainer", "model_run"), "positions.json", b"{}"),
        (("MidiParser", "verdicts"), "summary.json", b"{}"),
        (("VocabularyBuilder", "vocabulary"), "vocabulary.json", b"{}"),
        (("ReferenceBuilder", "reference"), "songs.jsonl", b""),
        (("ReferenceBuilder", "reference"), "songs.jsonl", b'{"notes": 12}'),
        (("ServingValidator", "panel"), "panel.json", b"[]"),
        (("ServingValidator", "panel"), "panel.json", b"{}"),
        (("ServingValidator", "panel"), "panel.json", b'{"reasons": [], "songs": []}'),
        (("ServingValidator", "blessing"), f"stamped_model/{CARD_JSON}", b"{}"),
        (("ServingValidator", "blessing"), f"stamped_model/{CARD_JSON}", None),
        (("MidiParser", "songs"), EVAL_SONGS, None),
        (("MidiParser", "songs"), EVAL_SONGS, b"PAR1"),
        (("MidiParser", "songs"), EVAL_SONGS, b""),
    ],
)
def test_what_is_damaged_or_missing_is_named(history, tmp_path, step, name, data):
    folder = tmp_path / "copy"
    shutil.copytree(history.outputs[step], folder)
    if data is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(data)
    # Of files that are only together of use their folder is named.
    named = "Split-eval lacks" if (data, name) == (None, EVAL_SONGS) else name
    with pytest.raises(SegueError, match=f"{named}.*; run the pipeline again, with --no-cache$"):
        gather(dataclasses.replace(history, outputs={**history.outputs, step: str(folder)}))


def test_of_many_held_out_songs_the_page_says_which_it_names(record):
    rows = tuple({**record.held_out[0], "title": f"song {number}"} for number in range(12))
    told = plain(render(dataclasses.replace(record, held_out=rows, held_out_songs=12)))
    assert "Those that it knows least first." in told
    told = plain(render(dataclasses.replace(record, held_out=rows, held_out_songs=1_300)))
    assert "of 1,300 the first and the last" in told


def test_held_out_songs_that_lack_one_are_not_told_by_hashes(history, tmp_path):
    import pyarrow.parquet as pq

    folder = tmp_path / "songs"
    shutil.copytree(history.outputs["MidiParser", "songs"], folder)
    for path in sorted((folder / "Split-eval").iterdir()):
        pq.write_table(pq.read_table(path)[:0], path)
    outputs = {**history.outputs, ("MidiParser", "songs"): str(folder)}
    with pytest.raises(SegueError, match=r"lacks the held-out song [0-9a-f]{12}; run the"):
        gather(dataclasses.replace(history, outputs=outputs))


def test_a_bound_that_is_missed_without_a_word_is_no_verdict(history, tmp_path):
    folder = tmp_path / "panel"
    shutil.copytree(history.outputs["ServingValidator", "panel"], folder)
    told = json.loads((folder / PANEL_FILE).read_text())
    told["findings"][0]["met"] = False
    (folder / PANEL_FILE).write_text(json.dumps(told))
    outputs = {**history.outputs, ("ServingValidator", "panel"): str(folder)}
    with pytest.raises(SegueError, match=r"panel.json is damaged.*no reason of a refusal"):
        gather(dataclasses.replace(history, outputs=outputs))


def test_an_old_run_without_the_step_is_one_line(history):
    outputs = {key: uri for key, uri in history.outputs.items() if key[0] != "ServingValidator"}
    with pytest.raises(SegueError, match="did not come to its ServingValidator"):
        gather(dataclasses.replace(history, outputs=outputs))


def test_the_command_writes_it_where_it_is_told_and_fails_with_one_line(
    segue, one_line, first_run, text, tmp_path
):
    page = tmp_path / "page.html"
    ran = segue("report", "--root", first_run.left, "--out", page, "--json")
    assert ran.code == 0, ran.err
    assert ran.json["page"] == str(page)
    assert ran.json["blessed"]
    assert ran.json["version"] == first_run.outcome["version"]
    assert page.read_text() == text
    line = one_line(segue("report", "--root", tmp_path / "nothing"))
    assert line == f"there is no run under {tmp_path / 'nothing'}; make one: segue pipeline run"
    line = one_line(segue("report", "--root", first_run.left, "--out", "/dev/null/page.html"))
    assert "/dev/null" in line
