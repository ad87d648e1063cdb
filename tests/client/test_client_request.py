"""Wishes for songs: what cannot be right is told before anybody is asked."""

from pathlib import Path

import pytest

from client.request import MAX_COUNT, MAX_TRIES, GenerateRequest, check_request, stem_of
from music.errors import SegueError


def error_of(**settings):
    with pytest.raises(SegueError) as caught:
        check_request(GenerateRequest(**settings))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_one_song_goes_where_it_was_asked_for_and_several_beside_it(tmp_path):
    out = tmp_path / "new" / "song.mid"
    assert check_request(GenerateRequest(out)) == [out]
    several = check_request(GenerateRequest(out, count=3))
    assert several == [out.with_name(f"song-{number}.mid") for number in (1, 2, 3)]
    assert not out.parent.exists()


@pytest.mark.parametrize(
    ("name", "stem", "second"),
    [
        ("song.mid", "song", "song-2.mid"),
        ("song.MIDI", "song", "song-2.MIDI"),
        ("song", "song", "song-2"),
        ("version 1.5", "version 1.5", "version 1.5-2"),
        ("a.b.mid", "a.b", "a.b-2.mid"),
    ],
)
def test_only_the_endings_of_midi_files_are_endings(tmp_path, name, stem, second):
    out = tmp_path / name
    assert stem_of(out) == stem
    assert check_request(GenerateRequest(out, count=2))[1].name == second


@pytest.mark.parametrize("name", ["song.mid", "x", ".mid", "a.midi"])
def test_no_two_songs_of_a_request_share_a_file(tmp_path, name):
    count = 120
    outs = check_request(GenerateRequest(tmp_path / name, count=count))
    assert len(set(outs)) == len(outs) == count


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"mode": "dream"}, "mode 'dream' does not exist"),
        ({"ending": "fade"}, "ending 'fade' does not exist"),
        ({"prime": Path("a.mid"), "data": Path("b")}, "both --prime and --data"),
        ({"song": "minuet"}, "--song minuet needs a folder to look in; name it with --data"),
        ({"song": "minuet", "prime": Path("a.mid")}, "--song minuet needs a folder"),
        ({"whole": True}, "a song from nothing continues no other"),
        ({"steps": 0}, "steps 0 makes no song"),
        ({"tries": 0}, f"tries 0 is not allowed; it must be 1..{MAX_TRIES}"),
        ({"tries": MAX_TRIES + 1}, "is not allowed"),
        ({"count": 0}, f"count 0 is not allowed; it must be 1..{MAX_COUNT}"),
        ({"count": MAX_COUNT + 1}, "is not allowed"),
        ({"count": 2, "mode": "stream"}, "2 songs are made by plain calls; leave out the stream"),
        ({"count": 2, "mode": "paper-loop"}, "leave out the paper-loop"),
        ({"count": 2, "roll": Path("a.svg")}, "one picture was named for several songs"),
        ({"roll": Path("song.gif")}, "name a file that ends in .svg or .png"),
    ],
)
def test_a_wish_that_cannot_be_met_is_told(tmp_path, settings, words):
    assert words in error_of(out=tmp_path / "song.mid", **settings)
    assert list(tmp_path.iterdir()) == []


def test_each_songs_place_is_looked_at(tmp_path):
    (tmp_path / "song-2.mid").mkdir()
    line = error_of(out=tmp_path / "song.mid", count=3)
    assert line.startswith(f"{tmp_path / 'song-2.mid'} is a folder")
    # Several songs do not need the name that stands for them.
    (tmp_path / "other.mid").mkdir()
    assert len(check_request(GenerateRequest(tmp_path / "other.mid", count=2))) == 2


def test_the_song_that_is_gone_on_from_is_no_place_for_any(tmp_path):
    prime = tmp_path / "song-2.mid"
    prime.write_bytes(b"mine")
    line = error_of(out=tmp_path / "song.mid", prime=prime, count=3)
    assert line == f"--prime and --out name the same file {prime}; choose another"
    link = tmp_path / "link.mid"
    link.symlink_to(prime)
    assert "name the same file" in error_of(out=link, prime=prime)
