"""ServingValidator: a candidate is served in a process of its own, and its songs judged."""

import dataclasses
import json
import logging
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.dsl.components.base.base_executor import BaseExecutor
from tfx.types import standard_artifacts
from tfx.utils import path_utils

from components.artifacts import MusicPanel, MusicReference, MusicVocabulary, Verdicts
from components.evaluator.settings import GateSettings
from components.evaluator.verdict import Verdict
from components.kept import REQUEST_FILE, Request
from components.model_card import CARD_JSON, CARD_TEXT
from components.reference_builder.executor import Executor as ReferenceBuilder
from components.serving_validator import executor as serving_validator
from components.serving_validator import panel as panels
from components.serving_validator.settings import PanelSettings
from music.errors import SegueError
from music.measures import PanelBounds
from music.midi import read_midi

ANYTHING = PanelBounds(max_copies=1.0, max_degenerate=1.0, min_coherence=0.0, min_tonality=0.0)
SETTINGS = PanelSettings(songs=4, steps=40, bounds=ANYTHING)
GIVEN = {
    "composer": "A. Tester", "rights": "all mine",
    "source": "", "license": "", "use": "", "contact": "",
}  # fmt: skip


@pytest.fixture(scope="module")
def album(make_song):
    return [make_song(number, 120 + number) for number in range(1, 10)]


@pytest.fixture(scope="module")
def songs(album, songs_artifact, tmp_path_factory):
    return songs_artifact(tmp_path_factory.mktemp("album"), album[:6], album[6:], shards=2)


@pytest.fixture(scope="module")
def known(vocabulary, tmp_path_factory):
    made = MusicVocabulary()
    made.uri = str(tmp_path_factory.mktemp("vocabulary"))
    Path(made.uri, "vocabulary.json").write_text(vocabulary("notes").to_json())
    return made


@pytest.fixture(scope="module")
def reference(songs, known, tmp_path_factory):
    made = MusicReference()
    made.uri = str(tmp_path_factory.mktemp("reference"))
    context = BaseBeamExecutor.Context(
        beam_pipeline_args=["--direct_running_mode=in_memory", "--direct_num_workers=1"],
        tmp_dir=str(tmp_path_factory.mktemp("tmp")),
    )
    inputs = {"songs": [songs], "vocabulary": [known]}
    ReferenceBuilder(context).Do(inputs, {"reference": [made]}, {"code": ""})
    return made


@pytest.fixture(scope="module")
def validate(songs, known, reference, exported, tmp_path_factory):
    """validate(settings, model, learned): (blessing, the panel's folder, what it says)."""

    def validate(settings=SETTINGS, model=None, learned=reference):
        tmp_path = tmp_path_factory.mktemp("validated")
        candidate, evaluation = standard_artifacts.Model(), standard_artifacts.ModelEvaluation()
        verdicts = Verdicts()
        candidate.uri = str(tmp_path / "model")
        shutil.copytree(model or exported("small").path, Path(candidate.uri, "Format-Serving"))
        evaluation.uri, verdicts.uri = str(tmp_path / "evaluation"), str(tmp_path / "verdicts")
        for artifact in (evaluation, verdicts):
            Path(artifact.uri).mkdir()
        # The gate has refused it: its songs are made all the same.
        Verdict(False, 3.25, -0.5, None, GateSettings()).write(evaluation.uri)
        summary = {
            "files": 12,
            "kept": 8,
            "repaired": 1,
            "rejected": 3,
            "notes": 1234,
            "music": "ab" * 32,
        }
        Path(verdicts.uri, "summary.json").write_text(json.dumps(summary))
        outcome, made = standard_artifacts.InfraBlessing(), MusicPanel()
        outcome.uri, made.uri = str(tmp_path / "blessing"), str(tmp_path / "panel")
        for artifact in (outcome, made):
            Path(artifact.uri).mkdir()
        inputs = {
            "model": [candidate], "evaluation": [evaluation], "songs": [songs],
            "verdicts": [verdicts], "vocabulary": [known], "reference": [learned],
        }  # fmt: skip
        card = json.dumps({"composer": "A. Tester", "rights": "all\nmine"})
        asked = Request({"training": {"epochs": 3}}, "", "folder", "start")
        properties = {
            "settings": json.dumps(settings.to_dict()),
            "card": card,
            "request": asked.to_json(),
            "code": "",
        }
        context = BaseExecutor.Context(tmp_dir=str(tmp_path / "tmp"))
        serving_validator.Executor(context).Do(
            inputs, {"blessing": [outcome], "panel": [made]}, properties
        )
        return outcome, Path(made.uri), json.loads(Path(made.uri, "panel.json").read_text())

    return validate


@pytest.fixture(scope="module")
def fair(validate):
    return validate()


def is_blessed(blessing):
    marked = set(os.listdir(blessing.uri))
    # What is blessed has its model beside, as TFX's Pusher wants it.
    assert marked in ({"INFRA_BLESSED", "stamped_model"}, {"INFRA_NOT_BLESSED"})
    blessed = "INFRA_BLESSED" in marked
    for name in ("blessed", "has_model"):
        assert blessing.get_int_custom_property(name) == int(blessed)
    return blessed


def test_a_model_that_serves_and_keeps_to_its_bounds_is_blessed(fair, album):
    blessing, folder, told = fair
    assert is_blessed(blessing)
    assert told["reasons"] == []
    assert told["given"] == GIVEN
    assert told["server"] in ("embedded", "tensorflow_model_server")
    assert 0 < told["seconds"] < 10
    assert len(told["songs"]) == len(told["sections"]) == 4
    # Sections of held-out songs only.
    assert {one["id"] for one in told["sections"]} <= {song.id for song in album[6:]}
    found = sorted(path.name for path in folder.glob("song-*.mid"))
    assert found == [f"song-{number:02d}.mid" for number in range(1, 5)]
    for number, name in enumerate(found):
        song = read_midi((folder / name).read_bytes())
        assert len(song) == told["songs"][number]["notes"] > 20
    assert "segue serving: model candidate" in (folder / "server.log").read_text()


def test_the_same_candidate_makes_the_same_panel_and_is_told_in_a_line(fair, validate, caplog):
    with caplog.at_level(logging.INFO, "segue.progress"):
        first, second = fair, validate()
    assert any(line.startswith("ServingValidator: blessed: served in") for line in caplog.messages)
    for number in range(1, 5):
        name = f"song-{number:02d}.mid"
        assert (first[1] / name).read_bytes() == (second[1] / name).read_bytes()
    assert {**first[2], "seconds": 0} == {**second[2], "seconds": 0}


def test_bounds_that_are_missed_refuse_it_with_every_reason(validate):
    strict = dataclasses.replace(ANYTHING, min_coherence=1.0)
    settings = dataclasses.replace(SETTINGS, bounds=strict, max_seconds=1e-6)
    blessing, folder, told = validate(settings)
    assert not is_blessed(blessing)
    coherent, slow = told["reasons"]
    assert coherent.startswith("overlap with real songs")
    assert slow.startswith("a song of 40 events took ")
    assert slow.endswith("(at most 1e-06)")
    # The panel is there to be heard all the same, and what a person gave for the card.
    assert len(list(folder.glob("song-*.mid"))) == 4
    assert told["given"] == GIVEN


def test_a_model_that_does_not_load_is_refused_for_not_serving(validate, exported, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(exported("small").path, broken)
    (broken / "saved_model.pb").write_bytes(b"no graph")
    blessing, folder, told = validate(model=broken)
    assert not is_blessed(blessing)
    (reason,) = told["reasons"]
    assert reason.startswith("the model server did not come up")
    assert not list(folder.glob("*.mid"))
    assert told["given"] == GIVEN


@pytest.mark.parametrize("name", ["index.zip", "reference.json"])
def test_a_reference_that_was_cut_off_since_is_one_line_before_a_server_starts(
    validate, reference, tmp_path, name
):
    learned = MusicReference()
    learned.uri = str(tmp_path / "reference")
    shutil.copytree(reference.uri, learned.uri)
    path = Path(learned.uri, name)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(SegueError) as told:
        validate(learned=learned)
    assert str(told.value) == (
        f"{path} is damaged, or of another version; run the pipeline again, with --no-cache"
    )


def test_what_is_blessed_is_the_model_with_its_warm_up_and_its_card(fair, exported):
    blessing, _, told = fair
    made = Path(path_utils.stamped_model_path(blessing.uri))
    given = Path(exported("small").path)
    for path in given.rglob("*"):
        if path.is_file():
            assert (made / path.relative_to(given)).read_bytes() == path.read_bytes()
    extra = sorted(path.name for path in (made / "assets.extra").iterdir())
    assert extra == [
        "model_card.json",
        "model_card.md",
        "request.json",
        "tf_serving_warmup_requests",
    ]
    asked = Request.from_json((made / REQUEST_FILE).read_text())
    assert asked == Request({"training": {"epochs": 3}}, "ab" * 32, "folder", "start")
    card = json.loads((made / CARD_JSON).read_text())
    assert card["given"]["rights"] == "all mine"
    assert card["data"]["trained_on"] == 6
    assert card["data"]["held_out"] == 3
    assert card["likelihood"]["nats"] == 3.25
    assert card["originality"]["runs"] == [one["run"] for one in told["songs"]]
    assert "songs after A. Tester" in (made / CARD_TEXT).read_text()


def test_a_model_that_begins_with_more_than_a_song_has_is_refused_with_a_reason(
    album, vocabulary, exported
):
    class Facts:
        codec = exported("small").model.codec
        limits = type("Limits", (), {"min_prime": 1000, "window": 6})

    with pytest.raises(SegueError, match="no held-out song has the 1,000 events"):
        panels.sections(album, Facts, vocabulary("notes"), SETTINGS)


def test_sections_are_those_of_the_songs_whatever_their_order(album, vocabulary, exported):
    class Facts:
        codec = exported("small").model.codec
        limits = type("Limits", (), {"min_prime": 1, "window": 6})

    known = vocabulary("notes")
    first = panels.sections(album, Facts, known, SETTINGS)
    second = panels.sections(album[::-1], Facts, known, SETTINGS)
    for one, other in zip(first, second, strict=True):
        assert (one.song.id, one.offset) == (other.song.id, other.offset)
        np.testing.assert_array_equal(one.events, other.events)
        assert len(one.events) == 6
    # Every held-out song before any of them again, and that from elsewhere.
    many = dataclasses.replace(SETTINGS, songs=2 * len(album))
    turns = panels.sections(album, Facts, known, many)
    for turn in (turns[: len(album)], turns[len(album) :]):
        assert {one.song.id for one in turn} == {song.id for song in album}
    assert len({(one.song.id, one.offset) for one in turns}) > 1.5 * len(album)


def test_a_server_that_is_too_slow_is_no_verdict(validate):
    settings = dataclasses.replace(SETTINGS, server_seconds=0.05)
    with pytest.raises(SegueError, match="within 0.05 s; panel.server_seconds allows more"):
        validate(settings)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"songs": 0}, "songs 0"),
        ({"steps": 5}, "steps 5"),
        ({"max_seconds": 0.0}, "max_seconds"),
        ({"server_seconds": 1e300}, "server_seconds"),
        ({"server_seconds": float("nan")}, "server_seconds"),
        ({"top_p": 0.0}, "top_p 0.0"),
        ({"top_p": 1e-60}, "top_p 1e-60"),
    ],
)
def test_settings_that_cannot_be_are_refused(given, words):
    with pytest.raises(SegueError, match=words):
        PanelSettings(**given)


def test_settings_travel_as_json():
    settings = PanelSettings(songs=3, bounds=PanelBounds(max_copies=0.5))
    assert PanelSettings.from_dict(json.loads(json.dumps(settings.to_dict()))) == settings
