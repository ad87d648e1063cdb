"""`segue demo`: the whole way in one command, here in a small size."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from music.midi import read_midi
from pipeline.demo import DemoSettings, commands


@pytest.mark.slow
def test_the_demo_ends_with_songs_of_250_notes_and_their_pictures(segue, tmp_path):
    root = tmp_path / "demo"
    ran = segue(
        "demo", "--root", root, "--chorales", 12, "--preset", "smoke", "--songs", 2, "--json"
    )
    assert ran.code == 0, ran.err
    songs = sorted((root / "songs").glob("*.mid"))
    assert [str(path) for path in songs] == [report["out"] for report in ran.json["songs"]]
    assert len(songs) == 2
    assert songs[0].read_bytes() != songs[1].read_bytes()
    for song in songs:
        assert 230 < len(read_midi(song.read_bytes())) <= 258  # the last chord is whole
        assert song.with_suffix(".svg").read_text().startswith("<svg")
    assert "on chorales it has never seen the model needs" in ran.err
    assert ran.json["blessed"]


def test_the_demo_is_the_default_preset_with_an_end(tmp_path):
    config = DemoSettings(tmp_path).configuration()
    assert config.preset == "default"
    assert config.model.units == (256, 512, 256)
    assert config.gate.max_nats_over_ngram == 0.0
    assert 0 < config.training.max_minutes < 10


def test_what_it_tells_to_type_next_names_its_root_so_that_songs_are_checked(tmp_path):
    settings = DemoSettings(tmp_path / "my demo")
    serve, generate = map(shlex.split, commands(settings).splitlines())
    assert serve == ["segue", "serve", "--root", str(settings.root), "&"]
    assert generate[:2] == ["segue", "generate"]
    assert generate[generate.index("--root") + 1] == str(settings.root)
    assert generate[generate.index("--data") + 1] == str(settings.data)
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    assert commands(DemoSettings(Path("segue-demo"))) in readme


@pytest.mark.parametrize("preset", ["default", "smoke"])
def test_its_card_says_whose_songs_they_are_and_by_what_right(tmp_path, preset):
    card = DemoSettings(tmp_path, preset=preset).configuration().card
    assert card.composer == "Johann Sebastian Bach"
    assert "music21's corpus" in card.source
    assert "restrictions on commercial use" in card.rights
    assert card.license == ""  # nobody has given the model one
