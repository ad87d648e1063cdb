"""`segue generate` against a real server of a model that the pipeline made."""

from __future__ import annotations

import socket
import subprocess
import sys

import numpy as np
import pytest

from music.midi import read_midi

STEPS = 250


@pytest.fixture(scope="module")
def prime(chorales):
    return sorted(chorales.glob("*.mid"))[0]


@pytest.fixture
def generate(segue, target, prime, tmp_path):
    """Makes a song; returns (bytes, report)."""

    def make(name: str, *flags: object):
        out = tmp_path / f"{name}.mid"
        ran = segue(
            "generate", "--prime", prime, "--target", target, "--out", out, "--json", *flags
        )
        assert ran.code == 0, ran.err
        return out.read_bytes(), ran.json

    return make


def test_a_seed_gives_the_same_bytes_and_another_seed_another_song(generate):
    first, report = generate("first", "--seed", 7)
    again, _ = generate("again", "--seed", 7)
    other, _ = generate("other", "--seed", 8)
    assert first == again
    assert first != other
    assert report["steps_made"] == STEPS
    assert report["notes"] == STEPS


def test_chunks_make_the_same_song_as_one_call(generate):
    whole, _ = generate("whole", "--seed", 3, "--temperature", 0.9, "--top-p", 0.95)
    chunks, report = generate(
        "chunks", "--seed", 3, "--temperature", 0.9, "--top-p", 0.95, "--stream"
    )
    assert chunks == whole
    assert report["mode"] == "stream"


def test_the_papers_loop_makes_a_song_too(generate):
    data, report = generate("loop", "--seed", 3, "--paper-loop", "--steps", 30)
    assert len(read_midi(data)) == 30
    assert report["mode"] == "paper-loop"


def test_the_report_says_what_was_done(generate, first_run, target, tmp_path):
    _, report = generate("song", "--seed", 5, "--top-k", 12)
    assert report["model"] == "segue"
    assert report["version"] == first_run.outcome["version"]
    assert report["target"] == target
    assert report["sampling"]["seed"] == 5
    assert report["sampling"]["top_k"] == 12
    assert report["seconds"] > 0
    assert report["out"] == str(tmp_path / "song.mid")


def test_music21_reads_the_same_notes_back(generate):
    from music21 import converter

    data, _ = generate("song", "--seed", 11)
    ours = read_midi(data)
    score = converter.parse(data, format="midi", quantizePost=False, forceSource=True)
    theirs = sorted(
        (round(float(element.getOffsetInHierarchy(part)) * 24), note.pitch.midi)
        for part in score.parts
        for element in part.recurse().notes
        for note in (element.notes if element.isChord else [element])
        # music21 cuts notes at bar lines; what continues a note is no new one.
        if note.tie is None or note.tie.type == "start"
    )
    assert len(theirs) == STEPS
    assert theirs == sorted(map(tuple, ours.notes[:, [0, 2]].tolist()))


def test_a_random_section_of_the_data_is_drawn_by_the_seed(segue, target, chorales, tmp_path):
    reports = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        ran = segue(
            "generate", "--data", chorales, "--target", target, "--seed", seed,
            "--out", tmp_path / f"{name}.mid", "--steps", 20, "--json",
        )  # fmt: skip
        assert ran.code == 0, ran.err
        reports.append(ran.json["prime"])
    assert reports[0] == reports[1]
    assert reports[0] != reports[2]


def test_a_song_from_nothing_needs_no_prime(segue, target, tmp_path):
    out = tmp_path / "new.mid"
    ran = segue("generate", "--target", target, "--out", out, "--steps", 10)
    assert ran.code == 0, ran.err
    notes = len(read_midi(out.read_bytes()))
    assert 10 <= notes < 18  # the last chord is whole
    assert f"{notes} notes by segue version" in ran.out


def test_what_a_song_shares_with_the_training_songs_is_told(
    segue, target, first_run, prime, tmp_path
):
    common = ("generate", "--prime", prime, "--target", target, "--seed", 7)
    out = tmp_path / "song.mid"
    ran = segue(*common, "--root", first_run.root, "--out", out, "--json")
    assert ran.code == 0, ran.err
    found = ran.json["originality"]
    assert ran.json["unchecked"] is None
    assert 1 <= found["run"] <= STEPS
    assert not found["is_copy"]
    assert found["longest"]["title"].startswith(("bwv", "Pr"))
    ran = segue(*common, "--root", first_run.root, "--out", out, "--original")
    assert ran.code == 0, ran.err
    assert ran.out.splitlines()[-1].startswith(f"longest copied run: {found['run']} notes from bar")


def test_without_the_models_root_a_song_is_unchecked_and_none_is_called_original(
    segue, one_line, target, first_run, prime, tmp_path
):
    out = tmp_path / "song.mid"
    common = ("generate", "--prime", prime, "--target", target, "--out", out, "--root", tmp_path)
    version = first_run.outcome["version"]
    words = f"there is no version {version} with a model card under {tmp_path}"
    ran = segue(*common)
    assert ran.code == 0, ran.err
    assert f"originality not checked: {words}" in ran.out
    out.unlink()
    assert one_line(segue(*common, "--original")).startswith(words)
    assert not out.exists()
    # The version is there, and its reference is gone.
    (tmp_path / "serving").symlink_to(first_run.root / "serving")
    line = one_line(segue(*common, "--original"))
    assert line == f"the training songs' index of version {version} is no longer under {tmp_path}"


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--steps", 0), "steps 0"),
        (("--original", "--tries", 0), "tries 0"),
        (("--steps", -3), "steps -3"),
        (("--temperature", -1), "temperature -1"),
        (("--top-p", 0), "top_p 0"),
        (("--top-k", -2), "top_k -2"),
        (("--stream", "--paper-loop"), "choose one"),
        (("--model", "jazz"), "'jazz'"),
        (("--model-version", 3), "version 3"),
    ],
)
def test_what_cannot_be_asked_is_one_line(segue, one_line, target, prime, tmp_path, flags, words):
    out = tmp_path / "song.mid"
    line = one_line(segue("generate", "--prime", prime, "--target", target, "--out", out, *flags))
    assert words in line
    assert not out.exists()


def test_a_prime_that_is_no_midi_is_one_line(segue, one_line, target, chorales, tmp_path):
    letter = chorales / "odd" / "letter.mid"
    out = tmp_path / "song.mid"
    line = one_line(segue("generate", "--prime", letter, "--target", target, "--out", out))
    assert str(letter) in line
    assert not out.exists()


def test_a_port_in_use_is_one_line(segue, one_line, first_run):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        line = one_line(segue("serve", "--root", first_run.root, f"--port={port}"))
    assert str(port) in line
    assert "--port" in line


def test_the_client_needs_no_tensorflow(target, prime, tmp_path):
    probe = """
import sys
from pathlib import Path
from client.songs import GenerateRequest, generate_song
generate_song(GenerateRequest(Path(sys.argv[1]), prime=Path(sys.argv[2]), target=sys.argv[3]))
assert not {"tensorflow", "tfx", "apache_beam"} & set(sys.modules)
"""
    out = tmp_path / "song.mid"
    subprocess.run([sys.executable, "-c", probe, str(out), str(prime), target], check=True)
    # Up to a whole chord: an untrained model's may be a large one.
    assert STEPS - 20 < len(read_midi(out.read_bytes())) <= STEPS + 8


def test_events_of_one_call_chunks_and_steps_agree_over_the_wire(target, chorales):
    from client.connection import Connection
    from client.generation import GenerationClient, Sampling
    from client.priming import prime_from_file

    with Connection(target) as connection:
        client = GenerationClient(connection)
        codec = client.describe().codec
        paths = sorted(chorales.glob("*.mid"))[:3]
        primes = [prime_from_file(path, codec).events for path in paths]
        settings = [Sampling(seed=seed) for seed in (1, 2, 3)]
        together = client.generate(primes, STEPS, settings)
        for prime, sampling, made in zip(primes, settings, together, strict=True):
            (alone,) = client.generate([prime], STEPS, sampling)
            chunks = [part.events for part in client.stream(prime, STEPS, sampling, chunk=25)]
            steps = [part.events for part in client.step_loop(prime, STEPS, sampling)]
            assert np.array_equal(alone.events, made.events)
            assert np.array_equal(np.concatenate(chunks), made.events)
            assert np.array_equal(np.concatenate(steps), made.events)


def test_what_help_says_is_asked_for_is_what_the_client_asks_for():
    """Twice on purpose: to import the client takes longer than `--help` may."""
    from client.request import DEFAULT_STEPS, DEFAULT_TRIES
    from pipeline.generate_command import generate

    told = {option.name: option for option in generate.params}
    assert told["steps"].default == DEFAULT_STEPS
    assert f"(default: {DEFAULT_TRIES})" in told["tries"].help
