"""Versions are parked, pinned and pruned by renaming, in an order that is safe to break off."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random

import pytest

from components import versions as names
from music.errors import SegueError
from pipeline import registry as registry_module
from pipeline.lock import exclusive
from pipeline.registry import Registry


def put(folder, name, nats=2.5, whole=True):
    """A folder that looks like a version."""
    version = folder / str(name)
    (version / "variables").mkdir(parents=True)
    (version / "assets").mkdir()
    if whole:
        (version / "saved_model.pb").write_bytes(b"graph")
    (version / "variables" / "variables.index").write_bytes(b"index")
    (version / "variables" / "variables.data-00000-of-00001").write_bytes(b"numbers")
    facts = {"training": {"preset": "default", "nats": nats}}
    (version / "assets" / "segue.json").write_text(json.dumps(facts))
    return version


@pytest.fixture
def root(tmp_path):
    """A root with the versions 10, 20 and 30."""
    for number in (10, 20, 30):
        put(tmp_path / "serving" / "segue", number)
    return tmp_path


@pytest.fixture
def folder(root):
    return root / "serving" / "segue"


@pytest.fixture
def registry(root, folder):
    return Registry(root, folder)


def listed(folder):
    return {name for name in os.listdir(folder) if not name.startswith(".")}


def states(registry):
    return {version.number: version.state for version in registry.versions()}


# looking


def test_the_highest_version_is_in_service_and_the_others_are_kept(registry):
    assert states(registry) == {30: "in service", 20: "kept", 10: "kept"}
    assert registry.notes(registry.versions()) == []


def test_a_version_tells_its_push_its_size_and_its_training(registry, folder):
    put(folder, 1_732_298_400, nats=1.875)
    newest = registry.versions()[0].as_dict()
    assert newest["pushed"] == "2024-11-22T18:00:00+00:00"
    assert newest["bytes"] == sum(
        path.stat().st_size for path in (folder / "1732298400").rglob("*") if path.is_file()
    )
    assert (newest["preset"], newest["nats"], newest["problem"]) == ("default", 1.875, None)


@pytest.mark.parametrize(
    "text", ["", "[]", '{"training": 3}', '{"training": {"nats": NaN, "preset": 7}}', "[" * 99999]
)
def test_facts_that_cannot_be_read_are_left_out(registry, folder, text):
    (folder / "30" / "assets" / "segue.json").write_text(text)
    newest = registry.versions()[0].as_dict()
    assert (newest["preset"], newest["nats"]) == (None, None)
    json.dumps(newest, allow_nan=False)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda path: (path / "saved_model.pb").unlink(), "saved_model.pb is missing"),
        (lambda path: (path / "saved_model.pb").write_bytes(b""), "saved_model.pb is empty"),
        (
            lambda path: (path / "variables" / "variables.index").unlink(),
            "variables/variables.index is missing",
        ),
        (
            lambda path: (path / "variables" / "variables.data-00000-of-00001").unlink(),
            "variables/variables.data-* is missing",
        ),
    ],
)
def test_a_damaged_version_is_told_and_taken_out_by_a_rollback(registry, folder, damage, words):
    damage(folder / "30")
    found = registry.versions()
    assert found[0].problem == words
    (note,) = registry.notes(found)
    assert note.startswith(f"version 30 does not load ({words})")
    assert registry.rollback().in_service == 20
    assert registry.notes(registry.versions()) == []
    with pytest.raises(SegueError, match="version 30 is damaged"):
        registry.rollback(30)


def test_a_folder_that_is_not_there_is_one_line(root):
    with pytest.raises(SegueError, match="`segue pipeline run` makes one"):
        Registry(root, root / "nowhere")
    assert not (root / "nowhere").exists()


# rolling back


def test_a_rollback_parks_what_is_above_the_version_before(registry, folder):
    change = registry.rollback()
    assert (change.in_service, change.parked, change.unparked) == (20, (30,), ())
    assert listed(folder) == {"10", "20", "30.parked"}
    assert states(registry) == {30: "parked", 20: "in service", 10: "kept"}
    assert registry.rollback().in_service == 10
    assert listed(folder) == {"10", "20.parked", "30.parked"}


def test_a_rollback_is_undone_by_going_to_the_parked_version(registry, folder):
    registry.rollback(10)
    assert listed(folder) == {"10", "20.parked", "30.parked"}
    change = registry.rollback(20)
    assert (change.in_service, change.parked, change.unparked) == (20, (), (20,))
    assert listed(folder) == {"10", "20", "30.parked"}
    registry.rollback(30)
    assert listed(folder) == {"10", "20", "30"}


def test_a_rollback_takes_nothing_damaged_for_the_version_before(registry, folder):
    (folder / "20" / "saved_model.pb").unlink()
    assert registry.rollback().in_service == 10


def test_what_cannot_be_rolled_back_to_is_one_line_with_the_known_ones(registry, folder):
    with pytest.raises(SegueError, match="no version 25 in .*; there are 30, 20, 10$"):
        registry.rollback(25)
    registry.rollback(10)
    with pytest.raises(SegueError, match="no version before 10 is kept in .*20 .parked., 10$"):
        registry.rollback()
    assert listed(folder) == {"10", "20.parked", "30.parked"}


def test_with_no_version_at_all_there_is_nothing_to_roll_back(tmp_path):
    registry = Registry(tmp_path, tmp_path)
    assert registry.versions() == []
    with pytest.raises(SegueError, match="no version is in service; it holds no version"):
        registry.rollback()


# pinning


def test_a_pin_puts_a_version_in_service_and_is_remembered(registry, folder):
    change = registry.pin(20)
    assert (change.in_service, change.parked) == (20, (30,))
    assert names.pinned_version(str(folder)) == 20
    assert [version.pinned for version in registry.versions()] == [False, True, False]
    assert registry.pin(30).unparked == (30,)
    assert names.pinned_version(str(folder)) == 30
    assert listed(folder) == {"10", "20", "30"}


def test_a_pinned_version_is_not_rolled_back(registry, folder):
    registry.pin(30)
    with pytest.raises(SegueError, match="30 is pinned; `segue models pin 20` pins 20 instead"):
        registry.rollback()
    assert listed(folder) == {"10", "20", "30"}


def test_unpin_puts_the_newest_back(registry, folder):
    registry.pin(10)
    put(folder, "40.parked")
    change = registry.unpin()
    assert (change.in_service, change.unparked) == (40, (40,))
    assert listed(folder) == {"10", "20.parked", "30.parked", "40"}
    assert names.pinned_version(str(folder)) is None
    with pytest.raises(SegueError, match="no version is pinned"):
        registry.unpin()


def test_unpin_passes_over_a_damaged_version(registry, folder):
    registry.pin(10)
    put(folder, "40.parked", whole=False)
    assert registry.unpin().in_service == 30


def test_a_version_that_is_not_there_cannot_be_pinned(registry, folder):
    with pytest.raises(SegueError, match="there is no version 7"):
        registry.pin(7)
    assert names.pinned_version(str(folder)) is None


@pytest.mark.parametrize("text", ["", "soon", "-3", "07", "9" * 30, "\x1b[31m"])
def test_a_damaged_pin_is_told_and_can_be_replaced_or_removed(registry, folder, text):
    pin = folder / ".pinned"
    pin.write_text(text)
    with pytest.raises(SegueError, match="which is no version; `segue models unpin` removes it"):
        registry.versions()
    registry.pin(20)
    assert pin.read_text() == "20\n"
    pin.write_text(text)
    assert registry.unpin().in_service == 30
    assert not pin.exists()


def test_a_pin_on_a_version_that_is_gone_is_told(registry, folder):
    (folder / ".pinned").write_text("7\n")
    (note,) = registry.notes(registry.versions())
    assert note.startswith("version 7 is pinned but not there")
    assert names.pin_in_force(str(folder)) is None


# pruning


def test_prune_deletes_the_oldest(registry, folder):
    assert registry.prune(3).deleted == ()
    pruned = registry.prune(2)
    assert pruned.deleted == (10,)
    assert pruned.bytes > 0
    assert set(os.listdir(folder)) == {"20", "30"}


def test_prune_keeps_what_is_in_service_and_what_is_pinned(registry, folder):
    registry.pin(10)
    put(folder, "40.parked")
    assert registry.prune(1).deleted == (20, 30)
    assert listed(folder) == {"10", "40.parked"}
    registry.unpin()
    registry.rollback()
    assert registry.prune(1).deleted == ()


def test_prune_keeps_the_newest_that_loads(registry, folder):
    (folder / "30" / "saved_model.pb").unlink()
    assert registry.prune(1).deleted == (10,)
    assert listed(folder) == {"20", "30"}


def test_a_dry_run_deletes_nothing(registry, folder, root):
    before = sorted(folder.rglob("*"))
    assert registry.prune(1, dry_run=True) == registry_module.Pruned((10, 20), 2 * 65)
    assert sorted(folder.rglob("*")) == before


def test_prune_deletes_nothing_that_was_never_a_model(registry, folder):
    for name in ("5", "007", "-1", "notes", "4.parked", "6.bak"):
        (folder / name).mkdir()
        (folder / name / "letter.txt").write_text("Dear Sebastian,")
    (folder / "3").write_text("a file")
    assert registry.prune(1).deleted == (10, 20)
    left = {"5", "007", "-1", "notes", "4.parked", "6.bak", "3", "30"}
    assert listed(folder) == left


def test_prune_unlinks_a_link_and_leaves_what_it_leads_to(registry, folder, tmp_path):
    elsewhere = put(tmp_path / "elsewhere", "model")
    (folder / "9").symlink_to(elsewhere)
    assert registry.prune(3).deleted == (9,)
    assert (elsewhere / "saved_model.pb").exists()


@pytest.mark.parametrize("keep", [0, -1])
def test_prune_keeps_at_least_one(registry, keep):
    with pytest.raises(SegueError, match="must be 1 or more"):
        registry.prune(keep)


# other processes


@pytest.mark.parametrize(
    "change",
    [
        lambda registry: registry.rollback(),
        lambda registry: registry.pin(10),
        lambda registry: registry.unpin(),
        lambda registry: registry.prune(1),
    ],
    ids=["rollback", "pin", "unpin", "prune"],
)
def test_a_change_does_not_mix_with_another(registry, folder, change, monkeypatch):
    monkeypatch.setattr(names, "PATIENCE", 0.1)
    before = listed(folder)
    with names.changing(str(folder)):
        with pytest.raises(SegueError, match="another command is changing the versions"):
            change(registry)
        assert listed(folder) == before
        assert states(registry)[30] == "in service"  # looking needs no lock


def test_a_run_that_holds_the_root_keeps_nobody_from_rolling_back(registry, root):
    with exclusive(root):
        assert registry.rollback().in_service == 20


class Killed(BaseException):
    pass


@contextlib.contextmanager
def dying_after(count, monkeypatch):
    """After this many changes to the file system the next one is not made, as by kill -9."""
    left = [count]

    def stops(real):
        def call(*args, **kwargs):
            if left[0] == 0:
                raise Killed
            left[0] -= 1
            return real(*args, **kwargs)

        return call

    with monkeypatch.context() as patch:
        for name in ("rename", "replace", "unlink", "rmdir"):
            patch.setattr(os, name, stops(getattr(os, name)))
        yield


COMMANDS = {
    "rollback": lambda registry, number: registry.rollback(number),
    "pin": lambda registry, number: registry.pin(number),
    "unpin": lambda registry, number: registry.unpin(),
    "prune": lambda registry, number: registry.prune(1),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_killed_between_its_steps_is_finished_by_giving_it_again(
    tmp_path, monkeypatch, command
):
    """At every step: a version stays in service, none is half there, and it can go on."""
    seed = int(os.environ.get("SEGUE_SEED", random.SystemRandom().randrange(2**32)))
    print("seed", seed)
    chance = random.Random(seed)
    died = 0
    for trial in itertools.count():
        if died == 20:
            break
        assert trial < 1000
        root = tmp_path / str(trial)
        folder = root / "serving" / "segue"
        served = chance.choice([10, 20, 30, 40])
        for number in (10, 20, 30, 40):
            parked = number != served and chance.random() < 0.5
            put(folder, f"{number}.parked" if parked else number)
        registry = Registry(root, folder)
        target = chance.choice([10, 20, 30])
        if command == "unpin":
            registry.pin(target)
        in_service = {v.number for v in registry.versions() if v.state == "in service"}
        try:
            with dying_after(chance.randrange(5), monkeypatch):
                COMMANDS[command](registry, target)
        except Killed:
            died += 1
        for name in listed(folder):  # what has a number is whole
            assert (folder / name / "saved_model.pb").exists()
            assert (folder / name / "variables" / "variables.index").exists()
        after = {v.number for v in registry.versions() if v.state == "in service"}
        wanted = {40} if command == "unpin" else in_service if command == "prune" else {target}
        assert after <= in_service | wanted
        assert after
        if command != "unpin" or (folder / ".pinned").exists():  # else it was through
            COMMANDS[command](registry, target)
        assert {v.number for v in registry.versions() if v.state == "in service"} == wanted
        assert not [name for name in os.listdir(folder) if name.startswith((".pru", ".pinning"))]
        assert registry.notes(registry.versions()) == []
