"""Who does the work: as configured, else by how much there is."""

import os

import pytest

from components.engine import WORTH_PROCESSES, chosen, direct_arguments

LONG, SHORT = WORTH_PROCESSES + 1, WORTH_PROCESSES - 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["--runner=FlinkRunner", "--parallelism=4"],
        ["--direct_num_workers=3"],
        ["--direct_running_mode=multi_threading"],
        ["--runner", "DirectRunner"],
    ],
)
def test_what_is_configured_is_followed(arguments):
    assert chosen(arguments)
    assert direct_arguments(arguments, LONG) == arguments


def test_long_work_is_done_by_a_process_a_core(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert direct_arguments(["--x=1"], LONG) == [
        "--x=1", "--direct_running_mode=multi_processing", "--direct_num_workers=6"
    ]  # fmt: skip


@pytest.mark.parametrize(("cores", "seconds"), [(6, SHORT), (1, LONG)])
def test_short_work_and_a_single_core_need_no_processes(monkeypatch, cores, seconds):
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    assert direct_arguments([], seconds) == [
        "--direct_running_mode=in_memory", "--direct_num_workers=1"
    ]  # fmt: skip
