"""Versions come and go by a policy; models here are only strings that can close."""

import gc
import threading
import weakref

import pytest

from serving import errors
from serving.errors import ServingError
from serving.limits import Places
from serving.manager import ModelManager, State
from serving.policies import every, latest, specific


class Toy:
    def __init__(self, name):
        self.name = name
        self.closed = threading.Event()

    def close(self):
        self.closed.set()


class Loader:
    """Loads Toys; versions in `gates` wait for their event, those in `broken` fail."""

    def __init__(self):
        self.gates = {}
        self.broken = {}
        self.tries = []
        self.loaded = []

    def __call__(self, path):
        self.tries.append(path.name)
        if path.name in self.gates:
            assert self.gates[path.name].wait(20)
        if self.broken.get(path.name, 0):
            self.broken[path.name] -= 1
            raise errors.data_loss(f"{path.name} is damaged")
        self.loaded.append(Toy(path.name))
        return self.loaded[-1]


@pytest.fixture
def loader():
    return Loader()


@pytest.fixture
def manage(base, loader):
    managers = []

    def manage(**options):
        options = {"poll_seconds": 0, "load_retry_seconds": 0.01} | options
        managers.append(ModelManager("segue", base, loader, **options))
        return managers[-1]

    yield manage
    for gate in loader.gates.values():
        gate.set()
    for manager in managers:
        manager.stop()


def _states(manager):
    return {s.version: s.state for s in manager.statuses()}


def _served(manager):
    with manager.acquire() as (version, _):
        return version


def test_row_29_only_the_highest_version_is_loaded(base, manage, loader):
    for name in ("3", "10", "9"):
        (base / name).mkdir()
    manager = manage()
    manager.start()
    assert manager.wait_available(20) == 10
    assert _states(manager) == {10: State.AVAILABLE}
    assert loader.tries == ["10"]


def test_row_30_no_version_left_unloads(base, manage, loader, eventually):
    (base / "1").mkdir()
    manager = manage()
    manager.start()
    assert manager.wait_available(20) == 1
    (base / "1").rmdir()
    manager.poll()
    eventually(lambda: _states(manager) == {1: State.END})
    assert loader.loaded[0].closed.is_set()
    with pytest.raises(ServingError, match=r"Servable not found for request: Latest\(segue\)"):
        _served(manager)


def test_row_30_base_path_gone_changes_nothing(base, manage, loader):
    (base / "1").mkdir()
    manager = manage()
    manager.start()
    assert manager.wait_available(20) == 1
    base.rename(base.with_name("away"))
    manager.poll()
    assert _states(manager) == {1: State.AVAILABLE}
    assert not loader.loaded[0].closed.is_set()


def test_row_31_polling(base, manage, eventually):
    (base / "1").mkdir()
    manager = manage(poll_seconds=0.01)
    manager.start()
    (base / "2").mkdir()
    eventually(lambda: _states(manager) == {1: State.END, 2: State.AVAILABLE})


def test_row_31_zero_looks_once(base, manage):
    (base / "1").mkdir()
    manager = manage(poll_seconds=0)
    manager.start()
    assert manager.wait_available(20) == 1
    assert not [t for t in threading.enumerate() if t.name == "segue-watch"]


def test_row_32_the_old_version_serves_until_the_new_one_is_ready(base, manage, loader, eventually):
    (base / "1").mkdir()
    manager = manage()
    manager.start()
    manager.wait_available(20)
    loader.gates["2"] = threading.Event()
    (base / "2").mkdir()
    manager.poll()
    eventually(lambda: _states(manager) == {1: State.AVAILABLE, 2: State.LOADING})
    assert _served(manager) == 1
    loader.gates["2"].set()
    eventually(lambda: _states(manager) == {1: State.END, 2: State.AVAILABLE})
    assert _served(manager) == 2
    assert [s.version for s in manager.statuses()] == [2, 1]


def test_row_32_running_calls_keep_the_old_version_alive(base, manage, loader, eventually):
    (base / "1").mkdir()
    manager = manage()
    manager.start()
    manager.wait_available(20)
    with manager.acquire() as (version, model):
        (base / "2").mkdir()
        manager.poll()
        eventually(lambda: _states(manager) == {1: State.UNLOADING, 2: State.AVAILABLE})
        assert (version, model.closed.is_set()) == (1, False)
        assert _served(manager) == 2
        with pytest.raises(ServingError, match=r"Specific\(segue, 1\)"):
            manager.acquire(1).__enter__()
    eventually(lambda: _states(manager)[1] == State.END)
    assert model.closed.is_set()


def test_row_32_rollback_to_a_lower_version(base, manage, loader, eventually):
    (base / "1").mkdir()
    manager = manage()
    manager.start()
    manager.wait_available(20)
    (base / "2").mkdir()
    manager.poll()
    eventually(lambda: _states(manager) == {1: State.END, 2: State.AVAILABLE})
    loader.gates["1"] = threading.Event()
    (base / "2").rmdir()
    manager.poll()
    eventually(lambda: _states(manager) == {1: State.LOADING, 2: State.AVAILABLE})
    assert _served(manager) == 2
    loader.gates["1"].set()
    eventually(lambda: _states(manager) == {1: State.AVAILABLE, 2: State.END})
    assert _served(manager) == 1


def test_row_33_a_failed_load_is_retried(base, manage, loader):
    (base / "1").mkdir()
    loader.broken["1"] = 5
    manager = manage(max_num_load_retries=5)
    manager.start()
    assert manager.wait_available(20) == 1
    assert loader.tries == ["1"] * 6


def test_row_33_then_it_is_recorded_and_the_old_version_stays(base, manage, loader, eventually):
    (base / "1").mkdir()
    manager = manage(max_num_load_retries=2)
    manager.start()
    manager.wait_available(20)
    loader.broken["2"] = 100
    (base / "2").mkdir()
    manager.poll()
    eventually(lambda: _states(manager) == {1: State.AVAILABLE, 2: State.END})
    assert _served(manager) == 1
    assert loader.tries == ["1", "2", "2", "2"]
    error = manager.statuses()[0].error
    assert (error.number, error.message) == (15, "2 is damaged")
    # It is not tried again while its folder stays (a new try would wait) ...
    loader.gates["2"] = threading.Event()
    manager.poll()
    assert _states(manager) == {1: State.AVAILABLE, 2: State.END}
    # ... and is when it was gone in between.
    (base / "2").rmdir()
    manager.poll()
    loader.gates["2"].set()
    loader.broken["2"] = 0
    (base / "2").mkdir()
    manager.poll()
    eventually(lambda: _states(manager) == {1: State.END, 2: State.AVAILABLE})


def test_row_33_retries_end_when_a_newer_version_is_pushed(base, manage, loader, eventually):
    (base / "1").mkdir()
    loader.broken["1"] = 100
    manager = manage(load_retry_seconds=3600)
    manager.start()
    eventually(lambda: loader.tries == ["1"])
    (base / "2").mkdir()
    manager.poll()
    eventually(lambda: _states(manager) == {1: State.END, 2: State.AVAILABLE})
    assert manager.wait_available(20) == 2


def test_row_34_a_load_failure_ends_the_waiting(base, manage, loader):
    (base / "1").mkdir()
    loader.broken["1"] = 100
    manager = manage(max_num_load_retries=1)
    manager.start()
    with pytest.raises(ServingError, match="1 is damaged"):
        manager.wait_available(20)


def test_any_exception_of_a_loader_is_a_failed_load(base, manage):
    (base / "1").mkdir()
    manager = manage(max_num_load_retries=0)
    manager._load = lambda path: {}["nothing"]
    manager.start()
    with pytest.raises(ServingError, match="KeyError: 'nothing'"):
        manager.wait_available(20)


def test_waiting_can_time_out_or_be_given_up(base, manage, loader):
    (base / "1").mkdir()
    loader.gates["1"] = threading.Event()
    manager = manage()
    manager.start()
    assert manager.wait_available(0.01) is None
    assert manager.wait_available(give_up=lambda: True) is None


def test_stop_unloads_and_cancels_retries(base, manage, loader, eventually):
    (base / "1").mkdir()
    manager = manage(load_retry_seconds=3600)
    manager.start()
    manager.wait_available(20)
    loader.broken["2"] = 100
    (base / "2").mkdir()
    manager.poll()
    eventually(lambda: "2" in loader.tries)
    manager.stop()
    assert loader.loaded[0].closed.is_set()
    assert not [t for t in threading.enumerate() if t.name.startswith("segue-")]


def test_a_load_that_ends_after_the_stop_is_closed_again(base, manage, loader, eventually):
    (base / "1").mkdir()
    loader.gates["1"] = threading.Event()
    manager = manage()
    manager.start()
    manager.stop(timeout=0)
    loader.gates["1"].set()
    eventually(lambda: loader.loaded and loader.loaded[0].closed.is_set())
    assert _states(manager) == {1: State.END}


def test_the_watcher_survives_a_file_system_that_misbehaves(base, manage, eventually, monkeypatch):
    (base / "1").mkdir()
    manager = manage(poll_seconds=0.01)
    manager.start()
    manager.wait_available(20)
    polls = []
    poll = manager.poll

    def misbehave():
        polls.append(1)
        if len(polls) == 1:
            raise RuntimeError("nobody expects this")
        poll()

    monkeypatch.setattr(manager, "poll", misbehave)
    (base / "2").mkdir()
    eventually(lambda: _states(manager).get(2) == State.AVAILABLE)


def _all(names, base):
    for name in names:
        (base / name).mkdir()


def test_row_29_all_versions_are_loaded(base, manage, loader, eventually):
    _all(("1", "2", "3"), base)
    manager = manage(policy=every())
    manager.start()
    eventually(lambda: _states(manager) == dict.fromkeys((1, 2, 3), State.AVAILABLE))
    assert _served(manager) == 3
    (base / "4").mkdir()
    manager.poll()
    eventually(lambda: _states(manager).get(4) == State.AVAILABLE)
    assert _states(manager)[1] == State.AVAILABLE


def test_row_32_another_policy_unloads_only_when_something_wanted_is_available(
    base, manage, loader, eventually
):
    _all(("1", "2", "3"), base)
    manager = manage(policy=specific([3]))
    manager.start()
    manager.wait_available(20)
    loader.gates["1"] = threading.Event()
    manager.reconfigure(base, specific([1]))
    eventually(lambda: _states(manager) == {1: State.LOADING, 3: State.AVAILABLE})
    assert _served(manager) == 3
    loader.gates["1"].set()
    eventually(lambda: _states(manager) == {1: State.AVAILABLE, 3: State.END})


def test_row_32_of_several_unwanted_versions_the_highest_is_kept(base, manage, loader, eventually):
    _all(("1", "2", "3"), base)
    manager = manage(policy=latest(2))
    manager.start()
    eventually(lambda: _states(manager) == {3: State.AVAILABLE, 2: State.AVAILABLE})
    loader.gates["1"] = threading.Event()
    manager.reconfigure(base, specific([1]))
    wanted = {1: State.LOADING, 2: State.END, 3: State.AVAILABLE}
    eventually(lambda: _states(manager) == wanted)
    loader.gates["1"].set()
    eventually(lambda: _states(manager)[3] == State.END)


def test_a_policy_that_wants_nothing_new_unloads_the_rest(base, manage, loader, eventually):
    _all(("1", "2"), base)
    manager = manage(policy=every())
    manager.start()
    eventually(lambda: set(_states(manager).values()) == {State.AVAILABLE})
    manager.reconfigure(base, latest(1))
    eventually(lambda: _states(manager) == {1: State.END, 2: State.AVAILABLE})
    assert loader.tries.count("2") == 1


def test_another_folder_brings_its_versions(base, manage, loader, tmp_path, eventually):
    _all(("1",), base)
    other = tmp_path / "other"
    other.mkdir()
    _all(("2",), other)
    manager = manage(poll_seconds=0.01)
    manager.start()
    manager.wait_available(20)
    manager.reconfigure(other, latest(1))
    eventually(lambda: _states(manager) == {1: State.END, 2: State.AVAILABLE})
    (base / "9").mkdir()  # which nobody looks at any more
    (other / "3").mkdir()
    eventually(lambda: _served(manager) == 3)
    assert 9 not in _states(manager)


def test_a_retired_model_looks_no_more_and_can_come_back(base, manage, loader, eventually):
    _all(("1",), base)
    manager = manage(poll_seconds=0.01)
    manager.start()
    manager.wait_available(20)
    manager.retire()
    eventually(lambda: _states(manager) == {1: State.END})
    eventually(lambda: not [t for t in threading.enumerate() if t.name == "segue-watch"])
    manager.reconfigure(base, latest(1))
    assert manager.wait_available(20) == 1
    assert len([t for t in threading.enumerate() if t.name == "segue-watch"]) == 1


def test_a_version_that_is_wanted_again_while_it_unloads_comes_back(base, manage, loader):
    _all(("1",), base)
    manager = manage(poll_seconds=0)
    manager.start()
    manager.wait_available(20)
    with manager.acquire():
        manager.retire()
        manager.reconfigure(base, latest(1))
        assert _states(manager) == {1: State.UNLOADING}
    assert manager.wait_available(20) == 1
    assert loader.loaded[0].closed.is_set()
    assert loader.tries == ["1", "1"]


def test_an_old_failure_does_not_count_when_a_model_comes_back(base, manage, loader):
    _all(("1",), base)
    loader.broken["1"] = 1
    manager = manage(max_num_load_retries=0)
    manager.start()
    with pytest.raises(ServingError):
        manager.wait_available(20)
    manager.retire()
    manager.reconfigure(base, latest(1))
    assert manager.wait_available(20) == 1


def test_a_retired_model_that_is_still_loading_is_dropped(base, manage, loader, eventually):
    _all(("1",), base)
    loader.gates["1"] = threading.Event()
    manager = manage()
    manager.start()
    eventually(lambda: _states(manager) == {1: State.LOADING})
    manager.retire()
    loader.gates["1"].set()
    eventually(lambda: _states(manager) == {1: State.END})
    assert loader.loaded[0].closed.is_set()


def test_loads_wait_for_their_place(base, manage, loader, eventually):
    _all(("1", "2", "3"), base)
    for name in ("1", "2", "3"):
        loader.gates[name] = threading.Event()
    manager = manage(policy=every(), loads=Places(1))
    manager.start()
    eventually(lambda: len(loader.tries) == 1)
    states = list(_states(manager).values())
    assert states.count(State.LOADING) == 1
    assert states.count(State.START) == 2
    for gate in loader.gates.values():
        gate.set()
    eventually(lambda: set(_states(manager).values()) == {State.AVAILABLE})


def test_a_bad_version_does_not_keep_the_place_between_its_tries(base, manage, loader, eventually):
    _all(("1", "2"), base)
    loader.broken["2"] = 100
    manager = manage(policy=every(), loads=Places(1), load_retry_seconds=3600)
    manager.start()
    eventually(lambda: _states(manager) == {1: State.AVAILABLE, 2: State.LOADING})


def test_a_version_that_waits_for_a_place_gives_up_when_nobody_wants_it(
    base, manage, loader, eventually
):
    _all(("1",), base)
    loads = Places(1)
    assert loads.take()
    manager = manage(loads=loads)
    manager.start()
    eventually(lambda: _states(manager) == {1: State.START})
    manager.retire()
    eventually(lambda: _states(manager) == {1: State.END})
    assert loader.tries == []


def test_an_unloaded_model_leaves_no_memory_behind(serve, base, push, connect, eventually):
    """A graph is a circle of objects, which only a collection frees."""
    push(base, 1)
    server = serve()
    client = connect(server)
    assert client.one(1.0) == (2.0, 1)
    with server.manager.acquire(1) as (_, model):
        graph = weakref.ref(model._session.graph)
    del model
    gc.disable()
    try:
        push(base, 2)
        eventually(lambda: client.statuses() == [(2, 30, 0), (1, 50, 0)])
        eventually(lambda: graph() is None)
    finally:
        gc.enable()
