"""The model card: what was given stands there, and what was not is told to be missing."""

import json

import pytest

from components.model_card import CardSettings, build_card, to_markdown
from music.errors import SegueError
from music.measures import Reference, SongIndex, as_heard, measure


@pytest.fixture(scope="module")
def reference(make_song, vocabulary):
    songs = [make_song(number, 60) for number in range(1, 6)]
    heard = [as_heard(song, vocabulary("notes")) for song in songs]
    index = SongIndex.of(heard)
    return Reference.of([measure(one.song, index, leave_out=True) for one in heard])


FACTS = {
    "codec": {"name": "notes"},
    "limits": {"window": 75},
    "training": {
        "preset": "default", "parameters": 2_719_851, "windows": 400, "held_out": 40,
        "epoch": 7, "epochs": 9, "versions": {"keras": "3.6"},
    },
}  # fmt: skip
FILES = {"files": 12, "kept": 8, "repaired": 1, "rejected": 3, "notes": 12_345}
GATE = {
    "nats": 2.5,
    "nats_minus_ngram": -0.75,
    "nats_minus_service": None,
    "settings": {"max_nats": 8.0},
}
PANEL = {
    "songs": [{"run": 9}, {"run": 4}],
    "settings": {"steps": 250, "bounds": {"percentile": 95.0}},
    "seconds": 0.5,
    "server": "embedded",
    "findings": [{"name": "copies", "words": "0 of 2 songs copy more than 12 notes in a row"}],
}


def card(reference, gate=GATE, **given):
    return build_card(CardSettings(**given), FACTS, FILES, reference, gate, PANEL)


def test_the_card_is_strict_json_and_the_same_each_time(reference):
    text = json.dumps(card(reference), sort_keys=True, allow_nan=False)
    assert json.dumps(card(reference), sort_keys=True) == text


def test_people_find_whose_songs_they_were_and_by_what_right(reference):
    text = to_markdown(
        card(reference, composer="Louise Reichardt", rights="public domain", license="CC BY 4.0")
    )
    assert text.startswith("# Model card: songs after Louise Reichardt\n")
    assert "- rights: public domain" in text
    assert "- licence: CC BY 4.0" in text
    assert "- source: not given" in text
    assert "- contact: not given" in text


def test_people_find_how_good_it_is_and_how_much_it_copies(reference):
    text = to_markdown(card(reference))
    assert "2,719,851 parameters" in text
    assert (
        "12 files, 3 of them rejected; 9 songs with 12,345 notes: 5 to learn from, 4 held" in text
    )
    assert "- 2.500 nats an event" in text
    assert "- an n-gram of the same songs: 3.250" in text
    assert "in service before" not in text
    assert "- 0 of 2 songs copy more than 12 notes in a row" in text
    assert "4, 9 notes" in text
    bound = reference.borrowing.bound()
    assert f"one of more than {bound} counts as a copy" in text


def test_the_model_before_it_is_told_where_there_was_one(reference):
    text = to_markdown(card(reference, {**GATE, "nats_minus_service": -0.25}))
    assert "- the model in service before: 2.750" in text


def test_a_value_is_one_line_and_no_book():
    assert CardSettings(rights="a\n# b").rights == "a # b"
    assert CardSettings(rights="\ud800\x1b").rights == "\\ud800\\x1b"
    with pytest.raises(SegueError, match=r"^source of 2,001 characters is not allowed"):
        CardSettings(source="x" * 2_001)


def test_a_model_that_went_on_from_another_says_so_for_its_songs_are_in_it_as_well(reference):
    assert card(reference)["training"]["start"] is None
    assert "went on" not in to_markdown(card(reference))
    facts = {**FACTS, "training": {**FACTS["training"], "start": "ab" * 32}}
    told = build_card(CardSettings(), facts, FILES, reference, GATE, PANEL)
    assert told["training"]["start"] == "ab" * 32
    assert "went on from the weights of the version in service before (abababababab)" in (
        to_markdown(told)
    )
