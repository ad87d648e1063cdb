"""Where primes come from, and what is said where none does."""

import dataclasses
import shutil
import tracemalloc

import numpy as np
import pytest

from client import priming
from client.priming import (
    prime_from_file,
    prime_from_nothing,
    random_section,
    read_song,
    section_of,
    song_named,
)
from music.codec import ChordsCodec, NotesCodec
from music.errors import SegueError
from music.midi import read_midi

NOTES, CHORDS = NotesCodec(), ChordsCodec()


def error_of(call):
    with pytest.raises(SegueError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


# a file


def test_a_file_is_taken_whole_and_left_open_at_its_end(write_song):
    path = write_song(count=20)
    prime = prime_from_file(path, NOTES)
    song = read_midi(path.read_bytes())
    assert np.array_equal(prime.events, NOTES.encode(song)[:-1])
    assert prime.events[0, 1] == 128
    assert prime.events[-1, 1] < 128
    assert prime.song == read_midi(path.read_bytes(), "song")
    assert (prime.kind, prime.path, prime.offset, len(prime)) == ("file", path, 0, 21)


def test_a_length_takes_the_beginning(write_song):
    path = write_song(count=20)
    whole = prime_from_file(path, NOTES)
    assert np.array_equal(prime_from_file(path, NOTES, 5).events, whole.events[:5])
    assert len(prime_from_file(str(path), CHORDS, 20)) == 20


def test_a_file_shorter_than_the_length_is_told_with_both(write_song):
    path = write_song(count=20)
    line = error_of(lambda: prime_from_file(path, NOTES, 22))
    assert line.startswith(f"{path} has 21 events, fewer than --prime-length 22")


@pytest.mark.parametrize("length", [0, -3])
def test_a_length_that_is_none_is_told(write_song, length):
    assert f"prime length {length} is outside" in error_of(
        lambda: prime_from_file(write_song(), NOTES, length)
    )


def test_a_missing_file_is_told(tmp_path):
    line = error_of(lambda: prime_from_file(tmp_path / "no.mid", NOTES))
    assert line == f"{tmp_path}/no.mid does not exist; name a MIDI file with --prime"


def test_a_folder_in_place_of_a_file_is_told(tmp_path):
    line = error_of(lambda: prime_from_file(tmp_path, NOTES))
    assert f"{tmp_path} is a folder, not a MIDI file" in line
    assert "--data" in line


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "the file has no bytes (empty)"),
        (b"<html>", "does not begin with a MIDI header (not-midi)"),
        (b"MThd\x00\x00\x00\x06\x00\x01\x00\x01\x01\xe0MTrx\x00\x00\x00\x03abc", "(damaged)"),
        (b"MThd\x00\x00\x00\x06\x00\x01\x00\x00\x01\xe0", "there are no notes (no-notes)"),
    ],
)
def test_a_file_that_is_no_song_is_told(tmp_path, data, words):
    path = tmp_path / "bad.mid"
    path.write_bytes(data)
    line = error_of(lambda: prime_from_file(path, NOTES))
    assert line.startswith(f"{path} cannot be a prime: ")
    assert words in line


def test_a_path_that_cannot_be_opened_is_told(write_song):
    inside_a_file = write_song() / "x.mid"
    assert "cannot be read: Not a directory" in error_of(
        lambda: prime_from_file(inside_a_file, NOTES)
    )


# a section


@pytest.fixture
def catalogue(tmp_path, write_song):
    folder = tmp_path / "catalogue"
    for index in range(6):
        write_song(f"deep/{index}.mid", 30 + index, start=40 + 3 * index, folder=folder)
    (folder / "notes.txt").write_text("no song")
    return folder


def test_a_section_is_a_piece_of_one_song(catalogue):
    for seed in range(20):
        prime = random_section(catalogue, NOTES, 12, seed)
        events = NOTES.encode(read_midi(prime.path.read_bytes()))
        assert np.array_equal(prime.events, events[prime.offset : prime.offset + 12])
        assert prime.offset + 12 < len(events), "the closing boundary is left out"


def test_seeds_reach_every_song_and_many_offsets(catalogue):
    drawn = [random_section(catalogue, NOTES, 12, seed) for seed in range(80)]
    assert len({prime.path for prime in drawn}) == 6
    assert len({prime.offset for prime in drawn}) > 12


def test_the_same_seed_draws_the_same_section(catalogue):
    first, second = (random_section(catalogue, NOTES, 12, 7) for _ in range(2))
    assert np.array_equal(first.events, second.events)
    assert first.as_dict() == second.as_dict()


def test_names_folders_and_order_do_not_matter(catalogue, tmp_path):
    moved = tmp_path / "moved"
    moved.mkdir()
    for index, path in enumerate(sorted(catalogue.rglob("*.mid"), reverse=True)):
        shutil.copy(path, moved / f"{index}-renamed.MIDI")
    files = sorted(moved.iterdir())
    for seed in range(8):
        here = random_section(catalogue, NOTES, 12, seed)
        there = random_section(moved, NOTES, 12, seed)
        listed = random_section([str(path) for path in reversed(files)], NOTES, 12, seed)
        assert (here.song.id, here.offset) == (there.song.id, there.offset)
        assert (here.song.id, here.offset) == (listed.song.id, listed.offset)


def test_a_section_may_be_a_whole_song(write_song):
    path = write_song(count=20)
    assert random_section([path], NOTES, 21).offset == 0


def test_a_single_file_is_a_catalogue_of_one(write_song):
    path = write_song(count=20)
    assert random_section(path, CHORDS, 5).path == path


def test_files_that_will_not_do_are_passed_over_and_counted(catalogue, write_song):
    for index in range(40):
        (catalogue / f"bad{index}.mid").write_bytes(b"bad %d" % index)
        write_song(f"short{index}.mid", 3, start=20 + index, folder=catalogue)
    drawn = [random_section(catalogue, NOTES, 12, seed) for seed in range(5)]
    skipped = [prime.skipped for prime in drawn]
    assert sum(counts.get("not-midi", 0) for counts in skipped) > 0
    assert sum(counts.get("too-short", 0) for counts in skipped) > 0


def test_where_nothing_will_do_the_counts_are_told(tmp_path, write_song):
    folder = tmp_path / "poor"
    write_song("a.mid", 3, folder=folder)
    write_song("b.mid", 4, folder=folder)
    (folder / "c.mid").write_bytes(b"bad")
    (folder / "d.mid").symlink_to(folder / "nowhere")
    line = error_of(lambda: random_section([*folder.iterdir()], NOTES, 12))
    assert "no song in the 4 given has a section of 12 events" in line
    assert "of 4 MIDI files, 1 not-midi, 2 too-short, 1 unreadable" in line


def test_memory_holds_one_file_at_a_time_however_many_there_are(catalogue):
    size = 2**20
    for index in range(24):
        (catalogue / f"big{index}.mid").write_bytes(bytes([index]) * size)
    tracemalloc.start()
    try:
        random_section(catalogue, NOTES, 12)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # A read makes room for the longest file that is ever read, 16 MiB.
    assert peak < 20 * size


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda path: path.unlink(), "can no longer be read: No such file or directory"),
        (lambda path: path.write_bytes(b"prose"), "holds something else now"),
    ],
    ids=["gone", "changed"],
)
def test_a_file_that_changes_between_rank_and_reading_is_told(
    write_song, monkeypatch, change, words
):
    path = write_song(count=20)
    read = priming._read_bytes

    def read_and_change(path):
        data = read(path)
        change(path)
        monkeypatch.undo()
        return data

    monkeypatch.setattr(priming, "_read_bytes", read_and_change)
    line = error_of(lambda: random_section([path], NOTES, 12))
    assert line.startswith(f"{path} {words}; it changed while a section was being drawn")


def test_a_folder_without_songs_is_told(tmp_path):
    line = error_of(lambda: random_section(tmp_path, NOTES, 12))
    assert line.startswith(f"{tmp_path} holds no .mid, .midi, .kar or .rmi files")
    assert "does not exist" in error_of(lambda: random_section(tmp_path / "no", NOTES, 12))
    assert "no songs were given" in error_of(lambda: random_section([], NOTES, 12))


# nothing


@pytest.mark.parametrize("codec", [NOTES, NotesCodec(velocity=True, part=True)])
def test_nothing_is_a_songs_opening(codec, write_song):
    prime = prime_from_nothing(codec)
    song = read_midi(write_song().read_bytes())
    assert prime.events.dtype == np.int32
    assert np.array_equal(prime.events, codec.encode(song)[:1])
    assert prime.as_dict()["kind"] == "nothing"
    assert prime.as_dict()["length"] == 1


def test_a_codec_without_a_boundary_needs_a_song():
    line = error_of(lambda: prime_from_nothing(CHORDS))
    assert "codec 'chords' cannot begin from nothing" in line
    assert "--prime FILE.mid" in line


# a piece of one song, and a song by its name


def test_a_piece_of_a_song_is_drawn_by_its_content_and_the_seed(write_song):
    song = read_midi(write_song(count=60).read_bytes())
    events = NOTES.encode(song)[:-1]
    drawn = [section_of(song, NOTES, 12, seed) for seed in range(60)]
    for prime in drawn:
        assert np.array_equal(prime.events, events[prime.offset : prime.offset + 12])
        assert (prime.kind, prime.song) == ("section", song)
    assert len({prime.offset for prime in drawn}) > 20
    renamed = dataclasses.replace(song, title="other")
    assert [section_of(renamed, NOTES, 12, seed).offset for seed in range(60)] == [
        prime.offset for prime in drawn
    ]
    other = dataclasses.replace(song, id="0" * 64)
    assert [section_of(other, NOTES, 12, seed).offset for seed in range(60)] != [
        prime.offset for prime in drawn
    ]


def test_of_a_short_song_the_piece_is_all_of_it(write_song):
    song = read_midi(write_song(count=20).read_bytes())
    prime = section_of(song, NOTES, 75, 3)
    assert (prime.offset, len(prime)) == (0, 21)
    assert len(section_of(song, NOTES, 21, 3)) == 21
    assert len(section_of(song, NOTES, 20, 3)) == 20
    with pytest.raises(SegueError, match="prime length 0 is outside"):
        section_of(song, NOTES, 0)


def test_the_piece_is_the_one_that_a_folder_of_that_song_alone_gives(write_song):
    path = write_song(count=60)
    song = read_midi(path.read_bytes())
    for seed in range(5):
        assert (
            section_of(song, NOTES, 12, seed).offset
            == random_section([path], NOTES, 12, seed).offset
        )


@pytest.fixture
def named(write_song):
    for name in ("Minuet in G.mid", "Minuet in G minor.mid", "deep/Étude.mid", "Fugue.MID"):
        folder = write_song(f"named/{name}").parent
    return folder.parent if folder.name == "deep" else folder


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("Minuet in G", "Minuet in G.mid"),
        ("minuet in g MINOR", "Minuet in G minor.mid"),
        ("minor", "Minuet in G minor.mid"),
        (" fug ", "Fugue.MID"),
        ("étude", "Étude.mid"),
        ("TUD", "Étude.mid"),
    ],
)
def test_a_song_is_found_by_its_name_or_a_part_that_no_other_has(named, name, found):
    assert song_named(named, name).name == found


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "minuet",
            "2 songs in .* go by the name 'minuet': Minuet in G minor, Minuet in G; say more",
        ),
        ("fuge", "no song in .* goes by the name 'fuge'; there are fugue"),
        ("zzz", "goes by the name 'zzz'$"),
        ("", "goes by the name ''"),
    ],
)
def test_a_name_that_none_or_several_go_by_is_told(named, name, words):
    with pytest.raises(SegueError, match=words):
        song_named(named, name)


def test_the_same_name_in_two_folders_is_told(named, write_song):
    write_song("named/again/fugue.mid")
    with pytest.raises(SegueError, match="2 songs in"):
        song_named(named, "fugue")


def test_a_named_song_needs_its_folder(tmp_path):
    with pytest.raises(SegueError, match="does not exist"):
        song_named(tmp_path / "none", "fugue")


# scores


SCORE = (
    '<?xml version="1.0"?><score-partwise><part-list><score-part id="P1"><part-name/>'
    '</score-part></part-list><part id="P1"><measure number="1"><attributes><divisions>1'
    "</divisions></attributes><note><pitch><step>C</step><octave>4</octave></pitch><duration>1"
    "</duration></note><note><pitch><step>D</step><octave>4</octave></pitch><duration>1"
    "</duration></note></measure></part></score-partwise>"
)


@pytest.mark.parametrize("name", ["song.musicxml", "song.xml", "Song.XML"])
def test_a_score_is_a_prime(tmp_path, name):
    path = tmp_path / name
    path.write_text(SCORE)
    prime = prime_from_file(path, NOTES)
    assert prime.events.tolist() == [[0, 128, 0], [0, 60, 24], [24, 62, 24]]
    assert prime.song.title == path.stem


def test_the_ending_says_what_a_file_is(tmp_path, write_song):
    midi = tmp_path / "song.xml"
    midi.write_bytes(write_song().read_bytes())
    assert "cannot be a prime: there is no score in it (not-musicxml)" in error_of(
        lambda: read_song(midi)
    )
    score = tmp_path / "score.mid"
    score.write_text(SCORE)
    assert "(not-midi)" in error_of(lambda: read_song(score))
