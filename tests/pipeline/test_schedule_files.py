"""The lines for cron and systemd: commands that exist, and what a schedule must say."""

from __future__ import annotations

import configparser
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from kubeflow.cron import to_six_fields
from pipeline.cli import pipeline_run
from pipeline.lock import Busy

FOLDER = Path(__file__).parents[2] / "docs" / "schedule"


def unit(name: str) -> configparser.ConfigParser:
    parsed = configparser.ConfigParser(interpolation=None)
    parsed.optionxform = str  # type: ignore[assignment]
    parsed.read_string((FOLDER / name).read_text())
    return parsed


def options_of(command: str) -> dict:
    program, *arguments = shlex.split(command)
    assert program.endswith("/segue")
    assert arguments[:2] == ["pipeline", "run"]
    return pipeline_run.make_context("run", arguments[2:]).params


def test_the_service_runs_a_warm_start_and_takes_a_busy_root_for_no_failure():
    service = unit("segue-retrain.service")["Service"]
    options = options_of(service["ExecStart"])
    assert (options["engine"], options["warm_start"]) == ("local", "served")
    assert service["Type"] == "oneshot"
    assert int(service["SuccessExitStatus"]) == Busy.exit_code
    assert unit("segue-retrain.timer")["Timer"]["OnCalendar"] == "*-*-* 03:00:00"


def test_the_line_of_the_crontab_is_one_command_at_a_time_of_day():
    (line,) = [one for one in (FOLDER / "segue.crontab").read_text().splitlines() if one[0] != "#"]
    fields, command = line.split(None, 5)[:5], line.split(None, 5)[5]
    assert to_six_fields(" ".join(fields)) == "0 0 3 * * *"
    assert "%" not in command  # a line's end, to cron
    command, _, log = command.partition(" >> ")
    options = options_of(command.removeprefix("nice -n 10 "))
    assert options["warm_start"] == "served"
    assert log == "/srv/segue/nightly.log 2>&1"
    service = unit("segue-retrain.service")["Service"]
    assert options == options_of(service["ExecStart"])


def test_systemd_takes_the_units(tmp_path):
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("no systemd-analyze on the PATH")
    for name in ("segue-retrain.service", "segue-retrain.timer"):
        text = (FOLDER / name).read_text()
        (tmp_path / name).write_text(text.replace("/opt/segue/.venv/bin/segue", "/bin/true"))
    done = subprocess.run(
        [program, "verify", str(tmp_path / "segue-retrain.timer")], capture_output=True, text=True
    )
    assert "Unknown" not in done.stderr, done.stderr
