"""From a wish to a MIDI file, and nothing on the disk where it fails."""

import dataclasses
import json
import os
from pathlib import Path

import grpc
import numpy as np
import pytest

from client import songs
from client.assembling import song_of
from client.connection import Connection
from client.generation import GenerationClient, Sampling
from client.shaping import Shape
from client.songs import GenerateRequest, generate_song, generate_songs
from music.codec import ChordsCodec, NotesCodec
from music.errors import SegueError
from music.midi import read_midi
from music.song import ONSET, PITCH, Song


@pytest.fixture
def request_for(toy, tmp_path):
    """A request to the default toy that writes to out/song.mid."""

    def build(server=toy, **settings):
        settings.setdefault("out", tmp_path / "out" / "song.mid")
        settings.setdefault("steps", 40)
        settings.setdefault("timeout", 10)
        return GenerateRequest(target=server.target, **settings)

    return build


def error_of(request):
    with pytest.raises(SegueError) as caught:
        generate_song(request)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_song_is_what_the_model_made(request_for, toy, write_song):
    request = request_for(prime=write_song(count=20), sampling=Sampling(seed=7))
    report = generate_song(request)
    made = read_midi(request.out.read_bytes())
    with Connection(toy.target) as connection:
        prime = NotesCodec().encode(read_midi(request.prime.read_bytes()))[:-1]
        events = GenerationClient(connection).generate([prime], 48, Sampling(seed=7))[0].events
    # The chord of the fortieth event is whole.
    made_of = next(count for count in range(40, 48) if events[count, 0] > 0)
    events = events[:made_of]
    # It goes on where the prime stood in its bar of three quarters.
    onset = int(prime[:, 0].sum() + events[0, 0]) % 72
    assert made.notes[0, ONSET] == onset
    events = events.copy()
    events[0, 0] = onset
    assert np.array_equal(made.notes[:, :3], NotesCodec().decode(events).notes[:, :3])
    assert (made.tempo, made.time_signature) == (96.0, "3/4")
    assert report.steps_made == made_of
    assert report.notes == made_of


def test_the_report_tells_the_whole_way(request_for, write_song):
    request = request_for(prime=write_song("minuet.mid", 20), sampling=Sampling(seed=7, top_k=3))
    report = json.loads(json.dumps(generate_song(request).as_dict()))
    log_prob, seconds = report.pop("log_prob"), report.pop("seconds")
    speed = report.pop("events_per_second")
    identity = report["prime"].pop("id")
    assert len(identity) == 64
    assert report == {
        "model": "segue",
        "version": 3,
        "target": request.target,
        "codec": {"name": "notes", "velocity": False, "part": False},
        "mode": "call",
        "prime": {
            "kind": "file",
            "path": str(request.prime),
            "title": "minuet",
            "offset": 0,
            "length": 21,
            "skipped": {},
        },
        "steps_asked": 40,
        "steps_made": 40,
        "ending": "chord",
        "shape": {},
        "notes": 40,
        "sampling": {"temperature": 1.0, "top_k": 3, "top_p": 1.0, "seed": 7, "may_end": False},
        "out": str(request.out),
        "files": [str(request.out)],
        "roll": None,
        "originality": None,
        "unchecked": "it was not asked for",
        "remade": 0,
    }
    assert -4 < log_prob < 0
    assert seconds > 0
    assert speed == pytest.approx(40 / seconds)


def test_a_piano_roll_is_drawn_where_it_is_asked_for(request_for, write_song, tmp_path):
    roll = tmp_path / "pictures" / "song.svg"
    request = request_for(prime=write_song("minuet.mid", 20), roll=roll)
    assert generate_song(request).roll == str(roll)
    assert roll.read_text().startswith("<svg")
    assert roll.read_text().count('rx="') == 40


def test_the_suffix_says_which_picture_is_drawn(request_for, write_song, tmp_path):
    prime = write_song("minuet.mid", 20)
    roll = tmp_path / "song.png"
    generate_song(request_for(prime=prime, roll=roll))
    assert roll.read_bytes().startswith(b"\x89PNG")
    with pytest.raises(SegueError, match="name a file that ends in .svg or .png"):
        generate_song(request_for(prime=prime, roll=tmp_path / "song.jpg"))


def test_the_same_seed_gives_the_same_bytes(request_for, write_song, tmp_path):
    prime = write_song(count=20)
    renamed = tmp_path / "elsewhere" / "other.mid"
    renamed.parent.mkdir()
    renamed.write_bytes(prime.read_bytes())
    files = []
    for index, (source, seed) in enumerate([(prime, 1), (renamed, 1), (prime, 2)]):
        out = tmp_path / f"{index}.mid"
        generate_song(request_for(prime=source, sampling=Sampling(seed=seed), out=out))
        files.append(out.read_bytes())
    assert files[0] == files[1]
    assert files[0] != files[2]


def test_a_stream_gives_the_same_bytes_as_a_call(request_for, write_song, tmp_path):
    prime, files = write_song(count=20), []
    for mode in ("call", "stream"):
        out = tmp_path / f"{mode}.mid"
        report = generate_song(request_for(prime=prime, mode=mode, steps=60, out=out))
        assert report.mode == mode
        files.append(out.read_bytes())
    assert files[0] == files[1]


def test_the_papers_loop_makes_the_papers_song(paper, request_for, write_song, tmp_path):
    prime, notes = write_song(count=20), []
    for mode in ("call", "paper-loop"):
        request = request_for(paper, prime=prime, mode=mode, out=tmp_path / f"{mode}.mid")
        generate_song(request)
        notes.append(read_midi(request.out.read_bytes()).notes)
    assert np.array_equal(*notes)
    assert b"loop one call a note, as in the paper" in (tmp_path / "paper-loop.mid").read_bytes()


def test_the_file_says_who_made_it_and_how_but_not_where(request_for, write_song, tmp_path):
    request = request_for(
        prime=write_song(count=20), sampling=Sampling(temperature=0.75, seed=11, top_p=0.9)
    )
    report = generate_song(request)
    data = request.out.read_bytes()
    begun = read_midi(request.prime.read_bytes()).id[:12].encode()
    assert (
        b"made by Segue: model segue version 3; seed 11; events %d of 40; temperature 0.75; "
        b"top k 0; top p 0.9; may end false; ending chord; from 21 events at 0 of %s"
        % (report.steps_made, begun)
    ) in data
    assert str(tmp_path).encode() not in data


def test_without_a_prime_the_song_begins_from_nothing(request_for, toy):
    report = generate_song(request_for())
    assert report.prime["kind"] == "nothing"
    assert toy.calls[-1][2]["prime"].tolist() == [[[0, 128, 0]]]


def test_a_random_section_is_one_window_drawn_by_the_seed(request_for, write_song, tmp_path):
    folder = tmp_path / "catalogue"
    for index in range(4):
        write_song(f"{index}.mid", 100 + index, folder=folder)
    reports = [
        generate_song(request_for(data=folder, sampling=Sampling(seed=seed))) for seed in range(6)
    ]
    assert {report.prime["length"] for report in reports} == {75}
    assert len({(report.prime["id"], report.prime["offset"]) for report in reports}) == 6
    again = generate_song(request_for(data=folder, sampling=Sampling(seed=5)))
    assert again.prime == reports[5].prime


def test_a_prime_length_is_kept(request_for, write_song, tmp_path):
    prime = write_song("a/song.mid", 50)
    assert generate_song(request_for(prime=prime, prime_length=9)).prime["length"] == 9
    assert generate_song(request_for(data=prime.parent, prime_length=9)).prime["length"] == 9
    assert "--prime-length needs a song" in error_of(request_for(prime_length=9))
    assert "prime length 0 is outside" in error_of(request_for(data=prime.parent, prime_length=0))


def test_a_song_that_ends_early_is_shorter(request_for, write_song):
    for seed in range(20):
        request = request_for(
            prime=write_song(), steps=300, sampling=Sampling(seed=seed, may_end=True)
        )
        report = generate_song(request)
        if report.steps_made > 1:
            break
    assert report.steps_made < 300
    assert report.notes == report.steps_made - 1
    assert len(read_midi(request.out.read_bytes())) == report.notes


@pytest.mark.parametrize("mode", ["call", "stream", "paper-loop"])
def test_a_song_that_ends_before_it_begins_is_told(request_for, toy, mode):
    toy.versions[3].ends_one_in = 1
    request = request_for(mode=mode, sampling=Sampling(may_end=True))
    assert "ended the song before its first note" in error_of(request)
    assert not request.out.parent.exists()


@pytest.mark.parametrize(
    ("mode", "progress"),
    [("call", [(40, 40)]), ("stream", [(25, 40), (40, 40)])],
)
def test_progress_is_told_as_the_song_grows(request_for, mode, progress):
    told = []
    generate_song(request_for(mode=mode), lambda made, asked: told.append((made, asked)))
    assert told == progress


def test_the_time_of_listeners_is_not_counted(request_for, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(songs.time, "perf_counter", lambda: now[0])

    def listen(made, asked):
        now[0] += 100.0

    class Ticking(GenerationClient):
        def generate(self, *arguments, **options):
            now[0] += 2.0
            return super().generate(*arguments, **options)

    monkeypatch.setattr(songs, "GenerationClient", Ticking)
    report = generate_song(request_for(), listen)
    assert (report.seconds, report.events_per_second) == (2.0, 20.0)


# what cannot be


def test_a_prime_too_short_for_the_paper_is_told_with_both_numbers(paper, request_for, write_song):
    prime = write_song(count=7)
    line = error_of(request_for(paper, prime=prime))
    assert line.startswith(f"{prime} gives 7 events; model 'segue' needs at least 8 to begin")
    assert len(paper.calls) == 1
    assert "the prime has 5 events" in error_of(
        request_for(paper, data=write_song("b/long.mid", 40).parent, prime_length=5)
    )


def test_a_model_without_a_boundary_needs_a_song(paper, request_for):
    assert "cannot begin from nothing" in error_of(request_for(paper))


def test_a_way_the_model_lacks_is_told(paper, request_for, write_song):
    request = request_for(paper, prime=write_song(), mode="stream")
    assert "cannot 'resume': the paper preset slides" in error_of(request)
    assert not request.out.parent.exists()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"mode": "dream"}, "mode 'dream' does not exist; choose one of: call, stream, paper-loop"),
        ({"steps": 0}, "steps 0 makes no song"),
        ({"steps": 2001}, "steps 2001 is outside 0..2000"),
        ({"model": "bach"}, "no model 'bach' is served"),
        ({"version": 9}, "version 9 of model 'segue' is not served"),
        ({"timeout": 0}, "timeout 0 is outside"),
    ],
)
def test_a_wish_that_cannot_be_met_is_told(request_for, settings, words):
    request = request_for(**settings)
    assert words in error_of(request)
    assert not request.out.parent.exists()


def test_two_primes_are_one_too_many(request_for, write_song, tmp_path):
    line = error_of(request_for(prime=write_song(), data=tmp_path))
    assert line == "both --prime and --data were given; choose one"


def test_no_server_is_told(request_for, toy):
    toy.stop()
    request = request_for()
    assert "start one with `segue serve --root DIR`" in error_of(request)
    assert not request.out.parent.exists()


def test_a_call_that_fails_leaves_the_old_song(request_for, toy):
    request = request_for()
    generate_song(request)
    before = request.out.read_bytes()
    toy.before = lambda: toy.calls and toy.failures.append((grpc.StatusCode.INTERNAL, "broken"))
    assert "failed with INTERNAL" in error_of(request)
    assert request.out.read_bytes() == before
    assert os.listdir(request.out.parent) == ["song.mid"]


def test_an_impossible_place_is_told_before_the_server_is_asked(request_for, toy, tmp_path):
    a_file = tmp_path / "file"
    a_file.write_text("")
    folder = tmp_path / "folder"
    folder.mkdir()
    line = error_of(request_for(out=folder))
    assert line == f"{folder} is a folder; name a file in it, as in {folder}/song.mid"
    assert f"{a_file} is a file, not a folder" in error_of(request_for(out=a_file / "song.mid"))
    assert toy.calls == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_told(request_for, tmp_path):
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    assert "is not writable for this user" in error_of(request_for(out=folder / "song.mid"))


def test_a_system_that_refuses_is_told(request_for):
    line = error_of(request_for(out="/proc/no-such-place/song.mid"))
    assert line.startswith("/proc/no-such-place/song.mid cannot be written: ")


# pieces


def test_a_song_begins_without_silence():
    events = np.array([[90, 60, 12], [6, 62, 12]], np.int32)
    song = song_of(NotesCodec(), events, Song(np.zeros((0, 5)), tempo=80.0, title="other"))
    assert song.notes[:, ONSET].tolist() == [0, 6]
    assert (song.tempo, song.title) == (80.0, "")
    assert events[0, 0] == 90, "the caller's events stay as they are"


def test_tokens_of_the_chords_codec_are_left_as_they_are():
    song = song_of(ChordsCodec(), np.array([[60], [62]], np.int32))
    assert song.notes[:, 2].tolist() == [60, 62]
    assert song.tempo is None


def test_requests_and_reports_cannot_be_changed(request_for):
    with pytest.raises(dataclasses.FrozenInstanceError):
        request_for().steps = 3
    with pytest.raises(dataclasses.FrozenInstanceError):
        generate_song(request_for()).seconds = 0.0


def test_the_song_that_was_given_is_never_written_over(request_for, write_song):
    prime = write_song("mine.mid", 20)
    before = prime.read_bytes()
    for places in ({"out": prime}, {"roll": prime}):
        with pytest.raises(SegueError, match="name the same file"):
            generate_song(request_for(prime=prime, **places))
    assert prime.read_bytes() == before


def test_a_song_and_its_picture_need_places_of_their_own(request_for, write_song, tmp_path):
    same = tmp_path / "both.mid"
    with pytest.raises(SegueError, match="--out and --roll name the same file"):
        generate_song(request_for(prime=write_song("a.mid", 20), out=same, roll=same))
    assert not same.exists()


def test_a_special_file_is_neither_written_over_nor_read(request_for, write_song, tmp_path):
    pipe = tmp_path / "pipe.mid"
    os.mkfifo(pipe)
    prime = write_song("a.mid", 20)
    for wish in ({"prime": prime, "out": pipe}, {"prime": pipe}, {"prime": Path("/dev/zero")}):
        with pytest.raises(SegueError, match="is no regular file"):
            generate_song(request_for(**wish))
    assert pipe.is_fifo()


def test_a_link_is_followed_to_the_file_it_stands_for(request_for, write_song, tmp_path):
    link, behind = tmp_path / "link.mid", tmp_path / "behind.mid"
    link.symlink_to(behind)
    generate_song(request_for(prime=write_song("a.mid", 20), out=link))
    assert link.is_symlink()
    assert behind.read_bytes().startswith(b"MThd")


# several


def files_in(folder):
    return sorted(path.name for path in folder.iterdir())


def test_several_songs_are_those_of_their_seeds(request_for, write_song, tmp_path):
    prime = write_song(count=20)
    several = generate_songs(request_for(prime=prime, count=5, sampling=Sampling(seed=7)))
    assert files_in(tmp_path / "out") == [f"song-{number}.mid" for number in range(1, 6)]
    for index, report in enumerate(several):
        assert report.sampling["seed"] == 7 + index
        alone = request_for(
            prime=prime, sampling=Sampling(seed=7 + index), out=tmp_path / "one.mid"
        )
        generate_song(alone)
        assert Path(report.out).read_bytes() == alone.out.read_bytes()


def test_several_songs_of_a_folder_begin_with_sections_of_their_own(request_for, write_song, toy):
    for index in range(4):
        folder = write_song(f"data/{index}.mid", 100 + index).parent
    several = generate_songs(request_for(data=folder, count=4))
    assert len({(report.prime["id"], report.prime["offset"]) for report in several}) == 4
    assert len([call for call in toy.calls if call[0] == "generate"]) == 1


def test_generate_song_makes_one(request_for):
    with pytest.raises(SegueError, match="2 songs were asked for; generate_songs makes several"):
        generate_song(request_for(count=2))


def test_a_song_that_cannot_be_stops_no_other(request_for, toy, tmp_path):
    toy.versions[3].ends_one_in = 4
    several = generate_songs(request_for(count=30, sampling=Sampling(may_end=True)))
    refused = [index for index, one in enumerate(several) if isinstance(one, SegueError)]
    assert 0 < len(refused) < 30
    there = {f"song-{index + 1}.mid" for index in range(30) if index not in refused}
    assert set(files_in(tmp_path / "out")) == there


def test_a_song_that_cannot_be_shaped_stops_no_other(request_for, tmp_path):
    # The toy plays up to B6; some of its songs reach higher than others.
    several = generate_songs(request_for(count=12, steps=12, shape=Shape(transpose=34)))
    refused = [one for one in several if isinstance(one, SegueError)]
    assert 0 < len(refused) < 12
    assert "leave MIDI's 0..127" in str(refused[0])
    assert len(files_in(tmp_path / "out")) == 12 - len(refused)


def test_seeds_do_not_run_over(request_for, tmp_path):
    with pytest.raises(SegueError, match="seed 9223372036854775808 is outside"):
        generate_songs(request_for(count=2, sampling=Sampling(seed=2**63 - 1)))
    assert not (tmp_path / "out").exists()


def test_formats_stand_beside_the_midi_file(request_for, tmp_path):
    report = generate_song(request_for(formats=("midi", "roll")))
    out = tmp_path / "out"
    assert files_in(out) == ["song.mid", "song.roll.svg"]
    assert report.files == (str(out / "song.mid"), str(out / "song.roll.svg"))
    (midi,) = generate_songs(request_for(out=tmp_path / "plain.mid"))
    assert (out / "song.mid").read_bytes() == Path(midi.out).read_bytes()
    roll = generate_song(request_for(out=tmp_path / "v1.5", formats=("roll",)))
    assert roll.out == str(tmp_path / "v1.5.roll.svg")


def test_no_output_goes_over_the_song_that_is_gone_on_from(request_for, write_song, tmp_path):
    data = write_song("data/minuet.mid", 90).parent
    before = (data / "minuet.mid").read_bytes()
    for wish in ({"song": "minuet"}, {}):
        line = error_of(request_for(data=data, out=data / "minuet.mid", **wish))
        assert "--prime and --out name the same file" in line
    assert (data / "minuet.mid").read_bytes() == before
    # Not in another format, either.
    prime = tmp_path / "song.roll.svg"
    prime.write_bytes(before)
    line = error_of(request_for(prime=prime, out=tmp_path / "song.mid", formats=("midi", "roll")))
    assert "--prime and --out name the same file" in line
    assert prime.read_bytes() == before
    assert not (tmp_path / "song.mid").exists()


def test_endings_are_told_and_kept(request_for, write_song):
    prime = write_song(count=20)
    chord = generate_song(request_for(prime=prime, steps=40))
    request = request_for(prime=prime, steps=40, ending="bar")
    bar = generate_song(request)
    assert (chord.ending, bar.ending) == ("chord", "bar")
    assert bar.steps_made >= 40
    # Of three quarters a bar: past the last one's line nothing sounds.
    song = read_midi(request.out.read_bytes())
    assert song.end <= (song.notes[-1, ONSET] // 72 + 1) * 72


@pytest.mark.parametrize("ending", ["chord", "bar"])
def test_a_stream_ends_as_a_call(request_for, write_song, tmp_path, ending):
    prime, files = write_song(count=20), []
    for mode in ("call", "stream"):
        request = request_for(prime=prime, mode=mode, ending=ending, out=tmp_path / f"{mode}.mid")
        generate_song(request)
        files.append(request.out.read_bytes())
    assert files[0] == files[1]


def test_a_shape_is_written_and_told(request_for, write_song, tmp_path):
    prime = write_song(count=20)
    plain, shaped = request_for(prime=prime), tmp_path / "shaped.mid"
    generate_song(plain)
    shape = Shape(tempo=150.0, transpose=2, lowest=48, highest=72)
    report = generate_song(request_for(prime=prime, shape=shape, out=shaped))
    assert report.shape == shape.as_dict()
    before, after = read_midi(plain.out.read_bytes()), read_midi(shaped.read_bytes())
    assert after.tempo == pytest.approx(150)
    assert after.notes[:, PITCH].min() >= 48
    assert after.notes[:, PITCH].max() <= 72
    classes = [sorted(zip(song.notes[:, ONSET], (song.notes[:, PITCH] + move) % 12, strict=True))
               for song, move in ((before, 2), (after, 0))]  # fmt: skip
    assert classes[0] == classes[1]
    assert b"tempo 150; transpose 2; lowest 48; highest 72" in shaped.read_bytes()


def test_a_whole_song_begins_with_what_was_given(request_for, write_song):
    prime = write_song(count=20)
    request = request_for(prime=prime, whole=True, prime_length=11)
    report = generate_song(request)
    whole, given = read_midi(request.out.read_bytes()), read_midi(prime.read_bytes())
    assert np.array_equal(whole.notes[:10, :3], given.notes[:10, :3])
    assert len(whole) == 10 + report.notes
    assert whole.parts == [0, 1]


def test_the_composer_is_asked_for_and_may_be_unknown(request_for):
    def unknown(facts):
        raise SegueError("nobody knows")

    asked = []
    (report,) = generate_songs(request_for(), find_composer=lambda facts: asked.append(facts))
    assert asked[0].version == 3
    (again,) = generate_songs(request_for(), find_composer=unknown)
    assert report.files == again.files
