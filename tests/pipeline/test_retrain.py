"""Whether there is anything to do, and from where: by what lies under a root."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from components.kept import KEPT_VOCABULARY_FILE, REQUEST_FILE, WEIGHTS_FILE, Request, start_of
from components.midi_parser.reader import music_digest
from music.corpus import export
from music.errors import SegueError
from music.folder import fingerprint
from music.midi import read_midi, write_midi
from pipeline.configuration import load_configuration
from pipeline.history import RunHistory
from pipeline.retrain import ALL, asked_settings, make_plan, remember
from pipeline.retrain_command import retrain_overrides


@pytest.fixture(scope="module")
def songs(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("songs")
    export("bach", folder, limit=3, parts=4)
    return folder


@pytest.fixture
def data(songs, tmp_path) -> Path:
    """Two songs; the third of `songs` is not among them."""
    folder = tmp_path / "midi"
    folder.mkdir()
    for path in sorted(songs.iterdir())[:2]:
        shutil.copy(path, folder)
    return folder


def configuration(data, *overrides, warm="served", **fields):
    root = data.parent / "root"
    asked = [*retrain_overrides(warm, False), *overrides]
    return load_configuration(data, root, "smoke", asked, **fields)


def music_of(data) -> str:
    return music_digest({read_midi(path.read_bytes()).fingerprint() for path in data.glob("*.mid")})


def push(config, number, start="", parked=False) -> Path:
    """A version as a Pusher leaves it, as far as a plan looks at it."""
    version = config.serving_dir / f"{number}{'.parked' if parked else ''}"
    (version / "assets.extra").mkdir(parents=True)
    (version / "saved_model.pb").write_bytes(b"")
    (version / KEPT_VOCABULARY_FILE).write_text("{}")
    shape = json.dumps(dataclasses.asdict(config.model)).encode()
    np.savez(version / WEIGHTS_FILE, model=np.frombuffer(shape, np.uint8), number=np.array(number))
    request = Request(
        asked_settings(config, start), music_of(config.data), fingerprint(config.data), start
    )
    (version / REQUEST_FILE).write_text(request.to_json())
    return version


def test_a_run_that_does_not_look_is_told_nothing(data):
    config = configuration(data, warm=None)
    push(config, 7)
    assert make_plan(config) == ALL
    assert make_plan(configuration(data, warm="none")) == ALL


def test_in_an_empty_root_a_training_begins_from_scratch(data):
    plan = make_plan(configuration(data))
    assert (plan.start, plan.nothing, plan.version) == ("", "", None)
    assert plan.content == fingerprint(data)
    assert plan.news == "nothing is in service yet; the training begins from scratch"


@pytest.mark.parametrize("warm", ["served", "none"])
def test_the_same_music_and_settings_are_nothing_new(data, warm):
    config = configuration(data, "retrain.if_new=true", warm=warm)
    push(config, 7)
    plan = make_plan(config)
    assert plan.nothing == (
        "nothing is new: version 7 was made of this music with these settings; nothing is pushed"
    )
    assert (plan.version, plan.content, plan.start) == (7, fingerprint(data), "")


def rename(data):
    path = min(data.glob("*.mid"))
    path.rename(data / "another name.mid")


def touch(data):
    os.utime(min(data.glob("*.mid")), (1, 1))


def move(data):
    (data / "sub").mkdir()
    min(data.glob("*.mid")).rename(data / "sub" / "moved.mid")


def copy(data):
    shutil.copy(min(data.glob("*.mid")), data / "0.mid")


def transpose(data):
    song = read_midi(min(data.glob("*.mid")).read_bytes())
    (data / "0 up.mid").write_bytes(write_midi(song.transpose(2)))


def letter(data):
    (data / "letter.mid").write_text("Dear Sebastian,")


@pytest.mark.parametrize("change", [rename, touch, move, copy, transpose, letter])
def test_what_adds_no_music_is_nothing_new(data, change):
    config = configuration(data)
    push(config, 7)
    before = fingerprint(data)
    change(data)
    plan = make_plan(config)
    assert plan.version == 7
    # Of the files as they were then, so that every step is found again.
    assert plan.content == before


def test_a_new_song_begins_from_the_version_in_service(data, songs):
    config = configuration(data)
    push(config, 5)
    served = push(config, 7)
    shutil.copy(max(songs.iterdir()), data)
    plan = make_plan(config)
    assert not plan.nothing
    assert plan.start == start_of(str(served))
    assert plan.content == fingerprint(data)
    assert plan.news == (
        "other music than those of version 7; the training begins from the weights in service"
    )
    cold = make_plan(configuration(data, "retrain.if_new=true", warm="none"))
    assert (cold.start, cold.nothing) == ("", "")


def test_a_song_that_was_taken_away_is_a_change_even_back_to_an_older_version_s_music(data, songs):
    config = configuration(data)
    push(config, 5)
    shutil.copy(max(songs.iterdir()), data)
    push(config, 7)
    (data / max(songs.iterdir()).name).unlink()
    plan = make_plan(config)
    assert not plan.nothing
    assert "other music than those of version 7" in plan.news


def test_other_settings_are_something_new_and_named(data):
    config = configuration(data)
    push(config, 7)
    plan = make_plan(configuration(data, "training.epochs=4", "gate.max_nats=11"))
    assert plan.news.startswith("other settings (gate, training) than those of version 7; ")
    # Where and how fast it runs is no setting of what it makes.
    assert make_plan(configuration(data, "shards=3")).nothing


def test_how_to_go_on_counts_where_the_version_went_on_itself(data):
    config = configuration(data)
    push(config, 7)
    assert make_plan(configuration(data, "retrain.epochs=2")).nothing
    shutil.rmtree(config.serving_dir / "7")
    push(config, 8, start="a" * 64)
    assert make_plan(config).start == "a" * 64
    assert make_plan(config).version == 8
    plan = make_plan(configuration(data, "retrain.epochs=2"))
    assert plan.news.startswith("other settings (retrain) than those of version 8; ")


def test_what_a_person_rolled_back_or_a_pin_parked_is_not_made_again(data, songs):
    config = configuration(data)
    push(config, 7)
    shutil.copy(max(songs.iterdir()), data)
    push(config, 9, parked=True)
    plan = make_plan(config)
    assert plan.version == 9
    assert plan.nothing.startswith("nothing is new: version 9, which is parked, was made of ")


def test_without_cache_there_is_always_something_to_do(data):
    config = configuration(data, cache=False)
    served = push(config, 7)
    plan = make_plan(config)
    assert (plan.nothing, plan.start) == ("", start_of(str(served)))


def test_a_damaged_or_missing_request_makes_a_training_more(data):
    config = configuration(data)
    version = push(config, 7)
    (version / REQUEST_FILE).write_text('{"settings": {}')
    plan = make_plan(config)
    assert plan.news.startswith("version 7 does not say what it was made of; the training begins")
    assert plan.start == start_of(str(version))


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("model.units=[24,40,24]", "the weights of version 7 do not fit: its model.units is (24, "),
        ("model.profile=8", "the weights of version 7 do not fit: its model.profile is 0, this "),
        ("model.activation=tanh", "the weights of version 7 do not fit: its model.activation is "),
        ("vocabulary.min_count=3", "vocabulary {'min_count': 3, "),
        # Weights would know songs that they are to be judged by.
        ("split.salt=b", "split {'eval_share': 0.1, 'salt': 'b'} does not go with a warm start"),
        ("split.eval_share=0.2", "split {'eval_share': 0.2, "),
    ],
)
def test_what_weights_do_not_fit_is_one_line_with_the_way_out(data, override, words):
    push(configuration(data), 7)
    with pytest.raises(SegueError) as error:
        make_plan(configuration(data, override))
    assert str(error.value).startswith(words)
    assert str(error.value).endswith("--warm-start none")
    # From scratch it goes; and what has no shape may be another.
    assert make_plan(configuration(data, override, "retrain.if_new=true", warm="none")).news
    assert make_plan(configuration(data, "model.dropout=0.3")).start


def test_a_version_that_keeps_no_weights_is_one_line(data):
    version = push(configuration(data), 7)
    (version / WEIGHTS_FILE).unlink()
    config = configuration(data, "training.epochs=4")
    with pytest.raises(SegueError, match="version 7 keeps no weights to begin from"):
        make_plan(config)


def test_a_plan_loads_neither_tensorflow_nor_beam(data):
    push(configuration(data), 7)
    check = (
        "import sys; from pathlib import Path\n"
        "from pipeline.configuration import load_configuration\n"
        "from pipeline.retrain import make_plan\n"
        "asked = ['retrain.warm_start=served']\n"
        "config = load_configuration(Path(sys.argv[1]), Path(sys.argv[2]), 'smoke', asked)\n"
        "assert make_plan(config).version == 7\n"
        "sys.exit(' '.join({'tfx', 'tensorflow', 'apache_beam'} & set(sys.modules)) or 0)"
    )
    config = configuration(data)
    done = subprocess.run(
        [sys.executable, "-c", check, str(data), str(config.root)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


# ---- what the gates refused ----


@pytest.fixture
def ended(first_run, tmp_path):
    """ended(blessed): the history of a run whose Evaluator said so."""
    from components.evaluator.verdict import Verdict
    from pipeline.history import last_run

    history = last_run(first_run.left / "metadata.sqlite")
    real = Path(history.outputs["Evaluator", "evaluation"])
    real = real if real.is_dir() else first_run.root / Path(*real.parts[-4:])

    def ended(blessed: bool) -> RunHistory:
        folder = tmp_path / f"evaluation-{blessed}"
        if not folder.exists():
            shutil.copytree(real, folder)
        dataclasses.replace(Verdict.read(str(real)), blessed=blessed).write(str(folder))
        outputs = {**history.outputs, ("Evaluator", "evaluation"): str(folder)}
        return dataclasses.replace(history, outputs=outputs)

    return ended


def test_what_the_gates_refused_is_not_tried_again_until_something_changes(
    first_run, ended, data, songs
):
    config = dataclasses.replace(configuration(data), data=first_run.data)
    push(config, 7)
    # A song more than version 7 was made of: those of the real run.
    request = Request(asked_settings(config), "0" * 64, "", "")
    (config.serving_dir / "7" / REQUEST_FILE).write_text(request.to_json())
    plan = make_plan(config)
    assert plan.news
    remember(config, plan, ended(blessed=False))
    again = make_plan(config)
    assert again.nothing.startswith("nothing is new: what this music and these settings make of ")
    assert (again.version, again.content, again.start) == (None, plan.content, plan.start)
    # Other settings, other music, another version in service: another try.
    assert make_plan(dataclasses.replace(config, ngram_order=3)).news
    assert make_plan(dataclasses.replace(config, data=data)).news
    shutil.copytree(config.serving_dir / "7", config.serving_dir / "8")
    with open(config.serving_dir / "8" / KEPT_VOCABULARY_FILE, "a") as file:
        file.write(" ")
    assert make_plan(config).news
    # And what passed is forgotten.
    shutil.rmtree(config.serving_dir / "8")
    assert make_plan(config).nothing
    remember(config, plan, ended(blessed=True))
    assert make_plan(config).news
