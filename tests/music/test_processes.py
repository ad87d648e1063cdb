"""Work by several processes: in order, and only where it is worth their start."""

import os

from music.processes import mapper

# Where a process looks for itself.
SELF = "/proc/self"


def test_few_songs_are_worked_on_here():
    with mapper(19, worth=20) as each:
        assert list(each(os.path.realpath, [SELF] * 3)) == [os.path.realpath(SELF)] * 3


def test_many_songs_go_to_processes_and_come_back_in_order(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    with mapper(40, worth=20, chunk=2) as each:
        assert os.path.realpath(SELF) not in set(each(os.path.realpath, [SELF] * 40))
        assert list(each(os.path.basename, [f"/{n}" for n in range(40)])) == [*map(str, range(40))]


def test_one_core_is_no_reason_for_processes(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    with mapper(10_000, worth=20) as each:
        assert each is map
