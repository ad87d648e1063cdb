"""The paper's preset through the pipeline and the server, with small layers."""

from __future__ import annotations

import numpy as np
import pytest

from music.corpus import export
from music.midi import read_midi

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def midi(tmp_path_factory):
    folder = tmp_path_factory.mktemp("paper-midi")
    export("bach", folder, limit=12, parts=4)
    return folder


@pytest.fixture(scope="module")
def paper(segue, serve, midi, tmp_path_factory):
    """(address, root) of a served model of the paper's kind."""
    root = tmp_path_factory.mktemp("paper") / "root"
    settings = {
        "model.units": "[16,16,16]",
        "model.dense": "16",
        "training.epochs": "1",
        "training.batch_size": "64",
        "training.learning_rate": "0.01",
        "gate.max_nats_over_ngram": "6",
        "panel.bounds.min_coherence": "0",
        "panel.bounds.min_tonality": "0",
    }
    flags = [item for key, value in settings.items() for item in ("--set", f"{key}={value}")]
    ran = segue(
        "pipeline", "run", "--preset", "paper", "--data", midi, "--root", root, "--json", *flags
    )
    assert ran.code == 0, ran.err
    return serve(root), root


@pytest.fixture
def prime(midi):
    return sorted(midi.glob("*.mid"))[0]


def test_one_greedy_call_and_250_calls_make_the_same_song(segue, paper, prime, tmp_path):
    songs = []
    for flag in ("--json", "--paper-loop"):
        out = tmp_path / f"song{flag}.mid"
        ran = segue(
            "generate", "--prime", prime, "--target", paper[0], "--temperature", 0,
            "--out", out, flag,
        )  # fmt: skip
        assert ran.code == 0, ran.err
        songs.append(read_midi(out.read_bytes()).notes)
    assert len(np.unique(songs[0][:, 0])) == 250
    assert np.array_equal(*songs)


def test_a_prime_of_fewer_than_75_events_is_one_line(segue, one_line, paper, prime, tmp_path):
    flags = ("--target", paper[0], "--out", tmp_path / "song.mid", "--prime-length", 40)
    line = one_line(segue("generate", "--prime", prime, *flags))
    assert "40 events" in line
    assert "at least 75" in line
    assert not list(tmp_path.iterdir())


def test_streaming_is_refused_with_the_reason(segue, one_line, paper, prime, tmp_path):
    flags = ("--target", paper[0], "--out", tmp_path / "song.mid", "--stream")
    line = one_line(segue("generate", "--prime", prime, *flags))
    assert "slides a window" in line


def test_another_codec_on_the_same_root_is_refused_before_any_work(segue, paper, midi):
    ran = segue("pipeline", "run", "--preset", "smoke", "--data", midi, "--root", paper[1])
    assert ran.code == 1
    assert ran.err.splitlines()[-1].endswith("they cannot be compared; choose another --root")
    assert "epoch" not in ran.err
