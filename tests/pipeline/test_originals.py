"""The training songs of a served model, found again under its root."""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest

from client.generation import GenerationClient
from components.model_card import CARD_JSON
from components.versions import version_path
from music.errors import SegueError
from pipeline.local_model import SavedModel
from pipeline.originals import find_check, find_original


@pytest.fixture(scope="module")
def facts(first_run):
    with SavedModel.in_service(first_run.root).open() as model:
        return GenerationClient(model).describe()


@pytest.fixture
def root(first_run, tmp_path):
    """What is looked at of a root, to be changed."""
    for name in ("serving", "pipeline/ReferenceBuilder"):
        shutil.copytree(first_run.root / name, tmp_path / name)
    return tmp_path


def card_of(root, facts):
    return Path(version_path(str(root / "serving" / "segue"), facts.version), CARD_JSON)


def test_the_reference_is_found_and_opened(root, facts):
    found = find_original(root, facts)
    assert found.folder.is_relative_to(root)
    assert len(found.sha256) == 64
    assert find_check(root, facts).bound == found.open().bound


def test_the_composer_is_the_one_that_was_given(root, facts):
    path = card_of(root, facts)
    card = json.loads(path.read_text())
    for given, composer in (({"composer": "Bach"}, "Bach"), ({"composer": ""}, None), ({}, None)):
        path.write_text(json.dumps({**card, "given": given}))
        assert find_original(root, facts).composer == composer


def test_a_server_that_tells_no_version_cannot_be_looked_up(root, facts):
    with pytest.raises(SegueError, match="does not tell the model's version"):
        find_original(root, dataclasses.replace(facts, version=None))


def test_another_root_or_version_is_told(root, facts, tmp_path):
    with pytest.raises(SegueError, match="there is no version 5 with a model card under"):
        find_original(root, dataclasses.replace(facts, version=5))
    with pytest.raises(SegueError, match="there is no version"):
        find_original(tmp_path / "none", facts)
    other = dataclasses.replace(facts, training={**facts.training, "parameters": 1})
    with pytest.raises(SegueError, match="is another model than the one that is served"):
        find_original(root, other)


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", '{"model": 3}', "[" * 100_000])
def test_a_damaged_card_is_told(root, facts, text):
    card_of(root, facts).write_text(text)
    with pytest.raises(SegueError, match="the model card .* is damaged"):
        find_original(root, facts)


def test_a_card_that_was_given_nonsense_is_damaged(root, facts):
    path = card_of(root, facts)
    path.write_text(json.dumps({**json.loads(path.read_text()), "given": ["x"]}))
    with pytest.raises(SegueError, match="is damaged"):
        find_original(root, facts)


def test_a_reference_that_is_damaged_or_gone_is_told(root, facts):
    found = find_original(root, facts)
    for path in found.folder.iterdir():
        path.write_bytes(b"other")
    with pytest.raises(SegueError, match="is damaged"):
        find_original(root, facts)
    shutil.rmtree(root / "pipeline")
    with pytest.raises(SegueError, match="is no longer under"):
        find_original(root, facts)
