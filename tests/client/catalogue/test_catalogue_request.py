"""Wishes for a catalogue, and its shares."""

import hashlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client.catalogue.request import RegenerateRequest, Shard
from client.generation import Sampling
from client.shaping import Shape
from music.errors import SegueError

HASHES = [hashlib.sha256(bytes([number])).hexdigest() for number in range(200)]


@settings(deadline=None)
@given(st.integers(1, 64))
def test_every_song_is_in_one_shard_and_no_other(of):
    shards = [Shard(index + 1, of) for index in range(of)]
    for sha256 in HASHES:
        assert sum(shard.holds(sha256) for shard in shards) == 1


def test_shards_are_about_equal():
    counts = [sum(Shard(index, 4).holds(one) for one in HASHES) for index in (1, 2, 3, 4)]
    assert min(counts) > 25


@pytest.mark.parametrize(("text", "shard"), [("2/4", (2, 4)), (" 01 / 1 ", (1, 1))])
def test_a_shard_is_read(text, shard):
    assert Shard.parse(text) == Shard(*shard)


@pytest.mark.parametrize(
    "text", ["", "2", "0/4", "5/4", "-1/4", "1/0", "1/10001", "a/b", "1/2/3", "1.5/2", "999999/1"]
)
def test_what_is_no_shard_is_told(text):
    with pytest.raises(SegueError, match=r"the first of four is 1/4") as caught:
        Shard.parse(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"steps": 0}, "steps 0 makes no song"),
        ({"prime_length": 0}, "prime length 0 is outside"),
        ({"tries": 0}, "tries 0 is not allowed; it must be 1..100"),
        ({"tries": 101}, "tries 101 is not allowed"),
        ({"limit": 0}, "limit 0 leaves no song"),
        ({"batch": 0}, "batch 0 is not allowed; it must be 1..1024"),
        ({"batch": 1025}, "batch 1025 is not allowed"),
        ({"ending": "fade"}, "ending 'fade' does not exist"),
    ],
)
def test_a_wish_that_cannot_be_met_is_told(asked, words):
    with pytest.raises(SegueError, match=words):
        RegenerateRequest(Path("a"), Path("b"), **asked)


def test_settings_are_what_songs_depend_on_and_nothing_else():
    plain = RegenerateRequest(Path("a"), Path("b"))
    told = plain.settings(75, None)
    assert told == {
        "steps": 250, "temperature": 1.0, "top_k": 0, "top_p": 1.0, "may_end": False,
        "ending": "chord", "prime_length": 75, "shape": {}, "tries": 0, "reference": None,
        "composer": None,
    }  # fmt: skip
    others = RegenerateRequest(
        Path("c"), Path("d"), formats=("midi",), limit=3, shard=Shard(1, 2), batch=7, retry=True,
        tries=50, sampling=Sampling(seed=99),
    )  # fmt: skip
    assert others.settings(75, None) == told
    for changed in (
        {"steps": 3}, {"sampling": Sampling(temperature=0.5)}, {"sampling": Sampling(top_k=3)},
        {"sampling": Sampling(top_p=0.5)}, {"sampling": Sampling(may_end=True)},
        {"ending": "bar"}, {"shape": Shape(tempo=90.0)}, {"original": True},
    ):  # fmt: skip
        assert RegenerateRequest(Path("a"), Path("b"), **changed).settings(75, None) != told
    assert plain.settings(76, None) != told
    assert plain.settings(75, "f" * 64) != told
    assert plain.settings(75, None, "L. Reichardt") != told
