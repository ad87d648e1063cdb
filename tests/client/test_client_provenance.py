"""What a song's files say of themselves."""

import dataclasses

import numpy as np
import pytest

from client.connection import Connection
from client.generation import GenerationClient, Sampling
from client.making import Made, Wish
from client.priming import Prime, prime_from_nothing
from client.provenance import provenance_of
from client.shaping import Shape
from music.codec import NotesCodec
from music.song import Song


@pytest.fixture
def facts(toy):
    with Connection(toy.target) as connection:
        return GenerationClient(connection).describe()


SONG = Song(np.array([(0, 12, 60, 80, 0)], np.int32), id="abc" * 21 + "d", title="minuet")
PRIME = Prime(np.zeros((9, 3), np.int32), "section", SONG, None, 4)
MADE = Made(np.zeros((42, 3), np.int32), np.zeros(42, np.float32), SONG, None)


def wish(prime=PRIME, **settings):
    return Wish(prime, 40, Sampling(**settings), "bar")


def test_all_that_is_needed_to_make_it_again_is_told(facts):
    told = provenance_of(
        facts,
        wish(seed=7, temperature=0.123456789, top_k=1234567, top_p=0.9),
        dataclasses.replace(MADE, remade=2),
        composer="Bach",
        paper_loop=True,
        shape=Shape(tempo=123.4567, transpose=-3).as_dict(),
    )
    assert told.facts == (
        ("model", "segue version 3"), ("seed", "7"), ("events", "42 of 40"),
        ("temperature", "0.123456789"), ("top k", "1234567"), ("top p", "0.9"),
        ("may end", "false"), ("ending", "bar"), ("tempo", "123.4567"), ("transpose", "-3"),
        ("from", "9 events at 4 of abcabcabcabc"), ("loop", "one call a note, as in the paper"),
        ("made again", "2 times, to be original"),
    )  # fmt: skip
    assert (told.title, told.composer) == ("After minuet", "Bach")
    assert told.remark.startswith("made by Segue: model segue version 3; seed 7; events 42 of 40;")
    assert all(f"{name} {value}" in told.remark for name, value in told.facts)


def test_a_continuation_and_a_song_from_nothing_are_called_so(facts):
    assert provenance_of(facts, wish(), MADE, whole=True).title == "minuet, continued"
    told = provenance_of(facts, wish(prime_from_nothing(NotesCodec()), seed=5), MADE)
    assert told.title == "Song 5"
    assert ("from", "nothing") in told.facts
    assert ("temperature", "1") in told.facts


def test_a_server_that_tells_no_version_leaves_it_out(facts):
    told = provenance_of(dataclasses.replace(facts, version=None), wish(), MADE)
    assert told.facts[0] == ("model", "segue")
