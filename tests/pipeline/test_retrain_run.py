"""A run that comes back: nothing new is nothing pushed; a new song goes on from what is served."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from components.kept import KEPT_VOCABULARY_FILE, REQUEST_FILE, start_of
from music.corpus import export

NIGHTLY = ("pipeline", "run", "--preset", "smoke", "--warm-start", "served")
# In a process of their own some would be slow to come; the whole pipeline runs once here.
pytestmark = pytest.mark.timeout(1800)


def versions(root: Path) -> list[str]:
    return sorted(path.name for path in (root / "serving" / "segue").iterdir())


def only(folder: Path, pattern: str) -> Path:
    (found,) = folder.glob(pattern)
    return found


def test_a_night_without_new_music_pushes_nothing_and_says_so_in_one_line(
    segue, first_run, tmp_path
):
    version = first_run.outcome["version"]
    before, logs = versions(first_run.root), len(list((first_run.root / "logs").iterdir()))
    ran = segue(*NIGHTLY, "--data", first_run.data, "--root", first_run.root)
    assert ran.code == 0, ran.err
    assert ran.err == ""
    assert ran.out == (
        f"nothing is new: version {version} was made of this music with these settings; "
        "nothing is pushed\n"
    )
    # The same files under other names, and one that is no music.
    moved = tmp_path / "moved"
    for number, path in enumerate(sorted(first_run.data.rglob("*.*"))):
        (moved / f"{number % 3}").mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, moved / f"{number % 3}" / f"{number}.mid")
    (moved / "letter.mid").write_text("Dear Sebastian, again,")
    ran = segue(*NIGHTLY, "--data", moved, "--root", first_run.root, "--json")
    assert (ran.code, ran.json["version"]) == (0, version)
    assert ran.json["nothing"].startswith("nothing is new: ")
    assert versions(first_run.root) == before
    # Nor a log a night, for years.
    assert len(list((first_run.root / "logs").iterdir())) == logs


class Night(NamedTuple):
    """A night with new songs, in a root with the first run's model in service."""

    data: Path
    root: Path
    served: Path
    outcome: dict[str, Any]
    log: str

    def file(self, pattern: str) -> Any:
        return json.loads(only(self.root / "pipeline", pattern).read_text())


@pytest.fixture(scope="module")
def night(segue, first_run, tmp_path_factory) -> Night:
    folder = tmp_path_factory.mktemp("night")
    data, root = folder / "midi", folder / "root"
    shutil.copytree(first_run.data, data)
    (shown,) = [export("bach", folder / "all", limit=18, parts=4)[16:]]
    for path in shown:
        shutil.copy(path, data)
    number = str(first_run.outcome["version"])
    served = root / "serving" / "segue" / number
    shutil.copytree(first_run.root / "serving" / "segue" / number, served)
    shutil.copytree(first_run.root / "cache", root / "cache")
    ran = segue(*NIGHTLY, "--data", data, "--root", root, "--set", "retrain.epochs=2", "--json")
    assert ran.code == 0, ran.err
    return Night(data, root, served, ran.json, ran.err)


def test_the_vocabulary_is_the_served_one_to_the_byte(night):
    made = only(night.root / "pipeline", "VocabularyBuilder/vocabulary/*/vocabulary.json")
    pushed = night.served.with_name(str(night.outcome["version"]))
    frozen = (night.served / KEPT_VOCABULARY_FILE).read_bytes()
    assert made.read_bytes() == frozen
    assert (pushed / KEPT_VOCABULARY_FILE).read_bytes() == frozen
    assert "VocabularyBuilder  codec notes, the vocabulary of the version in service: " in night.log


def test_the_training_begins_from_the_served_weights(night, first_run):
    history = night.file("Trainer/model_run/*/history.json")
    gate = night.file("Evaluator/evaluation/*/gate.json")
    # What TFMA measures of the served model on the same windows, by its own graph.
    service = gate["nats"] - gate["nats_minus_service"]
    assert history["start_nats"] == pytest.approx(service, abs=1e-3)
    assert history["settings"]["start"] == start_of(str(night.served))
    assert history["settings"]["training"]["epochs"] == len(history["epochs"]) == 2
    # The first of those that the tests have trained in that root.
    runs = (first_run.root / "pipeline" / "Trainer" / "model_run").iterdir()
    first = min(runs, key=lambda path: int(path.name))
    scratch = json.loads((first / "history.json").read_text())
    assert history["epochs"][0]["loss"] < scratch["epochs"][0]["loss"] - 0.5
    assert f"held-out {history['start_nats']:.3f} nats an event before the first step" in night.log


def test_the_gates_compare_with_the_served_model_and_a_new_version_is_pushed(night):
    assert night.outcome["blessed"]
    assert "the model in service" in night.outcome["gate"]
    assert len(versions(night.root)) == 2
    assert int(versions(night.root)[1]) == night.outcome["version"] > int(night.served.name)
    pushed = night.served.with_name(str(night.outcome["version"]))
    asked = json.loads((pushed / REQUEST_FILE).read_text())
    before = json.loads((night.served / REQUEST_FILE).read_text())
    assert asked["start"] == start_of(str(night.served))
    assert before["start"] == ""
    assert asked["music"] != before["music"]
    assert start_of(str(pushed)) != start_of(str(night.served))
    assert "Retrain            other music than those of version" in night.log


def test_the_night_after_has_nothing_to_do_though_another_version_is_served(segue, night):
    (path,) = night.data.glob("odd/letter.mid")
    path.rename(path.with_name("a letter.mid"))
    ran = segue(
        *NIGHTLY, "--data", night.data, "--root", night.root, "--set", "retrain.epochs=2", "--json"
    )
    assert ran.code == 0, ran.err
    assert ran.json["version"] == night.outcome["version"]
    assert ran.json["nothing"].startswith("nothing is new: ")
    assert len(versions(night.root)) == 2
