"""One frozen configuration: presets, overrides, and what is refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from music.errors import SegueError
from pipeline.configuration import (
    Configuration,
    code_fingerprint,
    load_configuration,
    preset_names,
)

HERE = Path("midi"), Path("root")


def load(preset="default", *overrides, **fields) -> Configuration:
    return load_configuration(*HERE, preset, overrides, **fields)


def test_the_three_presets_are_there_and_load():
    assert preset_names() == ["default", "paper", "smoke"]
    for name in preset_names():
        assert load(name).preset == name


def test_the_paper_preset_is_the_papers_experiment():
    config = load("paper")
    assert config.codec == {"name": "chords"}
    assert (config.window.length, config.window.form) == (75, "last")
    assert config.vocabulary.min_count == 10
    assert config.vocabulary.closed
    assert (config.training.batch_size, config.model.dropout) == (256, 0.5)
    assert (config.model.kind, config.model.units, config.model.dense) == (
        "paper",
        (256, 512, 256),
        256,
    )


def test_the_default_preset_has_the_papers_stack_and_a_profile_beside_it():
    config = load("default")
    assert config.model.units == (256, 512, 256)
    assert config.model.profile == 32
    assert config.window.form == "every"


def test_an_override_changes_one_value_and_keeps_the_others():
    plain, changed = load(), load("default", "training.epochs=3", "gate.max_nats=1e-1")
    assert changed.training == dataclasses.replace(plain.training, epochs=3)
    assert changed.gate.max_nats == 0.1


def test_folders_are_made_absolute():
    config = load()
    assert config.data == Path.cwd() / "midi"
    assert config.serving_dir == Path.cwd() / "root" / "serving" / "segue"


def test_a_configuration_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        load().preset = "other"


def test_a_yaml_file_of_the_users_is_a_preset_too(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("training: {epochs: 2}\ncodec: {name: notes, velocity: true}\n")
    config = load(str(path))
    assert (config.preset, config.training.epochs) == ("mine", 2)
    assert config.schema == "notes-velocity"


@pytest.mark.parametrize(
    ("preset", "overrides", "words"),
    [
        ("jazz", (), "preset 'jazz' does not exist; choose one of default, paper, smoke"),
        ("nowhere.yaml", (), "cannot read the preset nowhere.yaml: No such file"),
        ("default", ("training.epoch=3",), "setting training.epoch does not exist"),
        ("default", ("speed=3",), "setting speed does not exist"),
        ("default", ("training.epochs",), "is no setting; write key=value"),
        ("default", ("training.epochs=many",), "takes a value of type int, got 'many'"),
        ("default", ("training.epochs=0",), "epochs 0 is not allowed"),
        ("default", ("training=3",), "training is a group of settings, got 3"),
        ("default", ("window.length=0",), "window length 0 is outside 1..4096"),
        ("default", ("vocabulary.max_size=0",), "max_size 0 is not allowed"),
        ("default", ("split.eval_share=1.5",), "eval_share 1.5 is not allowed"),
        ("default", ("gate.max_nats=.nan",), "takes a finite number, got nan"),
        ("default", ("model.dropout=1.0",), "dropout 1.0 is not allowed"),
        ("default", ("codec.name=jazz",), "codec 'jazz' does not exist"),
        ("paper", ("codec.name=notes",), "does not go with codec 'notes'"),
        ("paper", ("window.form=every",), "does not go with window form 'every'"),
    ],
)
def test_what_cannot_be_is_one_line_that_names_it(preset, overrides, words):
    with pytest.raises(SegueError) as refusal:
        load(preset, *overrides)
    assert words in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_preset_that_is_there_and_is_called_otherwise_is_told_so(tmp_path):
    path = tmp_path / "mine.txt"
    path.write_text("training: {epochs: 2}\n")
    with pytest.raises(
        SegueError, match=r"is no YAML file by its name; .* ends in \.yaml or \.yml$"
    ):
        load(str(path))


def test_a_preset_that_is_no_yaml_is_one_line(tmp_path):
    path = tmp_path / "broken.yaml"
    path.write_text("training: [1,\n")
    with pytest.raises(SegueError, match="is not YAML") as refusal:
        load(str(path))
    assert "\n" not in str(refusal.value)


def test_the_code_fingerprint_is_stable():
    assert code_fingerprint() == code_fingerprint()


@pytest.mark.parametrize("key", ["data", "root", "preset", "cache"])
def test_what_is_given_when_a_run_starts_cannot_be_set_elsewhere(key):
    with pytest.raises(SegueError, match=f"setting {key} cannot be set here"):
        load("default", f"{key}=x")


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("training.epochs=[", "the value is not YAML"),
        ("model.units=[a,b,c]", "setting model.units[0] takes a value of type int, got 'a'"),
        ("model.units=[1.5,2,3]", "setting model.units[0] takes a value of type int, got 1.5"),
        ("training.clip_norm=.inf", "takes a finite number, got inf"),
        ("codec={name: [a]}", "codec ['a'] does not exist"),
        ("codec={name: notes, velocity: banana}", "takes options that are true or false"),
        ("{1: 2}=3", "does not exist"),
    ],
)
def test_values_of_another_kind_are_one_line(override, words):
    with pytest.raises(SegueError) as refusal:
        load("default", override)
    assert words in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_preset_that_is_no_text_is_one_line(tmp_path):
    path = tmp_path / "bytes.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SegueError, match="is not text in UTF-8"):
        load(str(path))


@pytest.mark.parametrize(
    "override",
    [
        "training.transpose=6",
        "training.weight_decay=0.5",
        "model.variational=true",
        "model.weight_drop=0.5",
        "model.event_dropout=0.1",
        "model.embedding=8",
    ],
)
def test_what_has_no_effect_on_the_papers_network_is_refused_there(override):
    name = override.partition("=")[0]
    with pytest.raises(SegueError, match=f"setting {name} has no effect on model kind 'paper'"):
        load("paper", override)
    load("default", override)


def test_what_has_no_effect_is_not_searched_either():
    search = "tuning={enabled: true, space: {training: {transpose: [0, 6]}}}"
    with pytest.raises(SegueError, match="training.transpose has no effect"):
        load("paper", search)
    load("default", search)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("training.epochs=-1", "training.epochs -1 is not allowed; it must be 1..100000"),
        ("training.seed=-1", "training.seed -1 is not allowed"),
        ("model.dropout=1.5", "model.dropout 1.5 is not allowed"),
        ("tuning={space: {model: {dropout: [1.5]}}}", "model.dropout 1.5 is not allowed"),
        ("tuning.trials=0", "tuning.trials 0 is not allowed"),
    ],
)
def test_a_value_that_is_not_allowed_is_named_with_its_group(override, words):
    with pytest.raises(SegueError) as caught:
        load("default", override)
    assert str(caught.value).startswith(words)


def test_a_preset_of_the_users_that_names_no_gate_has_that_of_the_default_preset(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("training: {epochs: 2}\n")
    assert load(str(path)).gate == load("default").gate
    assert load(str(path)).panel == load("default").panel
