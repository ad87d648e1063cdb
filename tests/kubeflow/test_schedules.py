"""Recurring runs: what is really sent to Kubeflow Pipelines, and what its answers come to.

kfp's own client talks to a small server in this process that keeps recurring runs as the
v2 API does: any number of them may have one name.
"""

from __future__ import annotations

import json
import urllib.parse

import pytest

from kubeflow.schedules import Schedules
from kubeflow.submission import Endpoint, Kubeflow, Submission
from music.errors import SegueError

RUNS = "/apis/v2beta1/recurringruns"


class Backend:
    """A server of the API. `kept` are its recurring runs by id; `asked` every call's method."""

    def __init__(self):
        self.kept: dict[str, dict] = {}
        self.experiments: dict[str, str] = {}
        self.asked: list[str] = []
        self.refusal: tuple[int, dict] | None = None
        self.page = 100

    def answer(self, method, path, headers, body):
        body = json.loads(body or "null")
        parts = urllib.parse.urlsplit(path)
        query = dict(urllib.parse.parse_qsl(parts.query))
        self.asked.append(f"{method} {parts.path}")
        match method, parts.path:
            case "GET", "/apis/v2beta1/healthz":
                return 200, {"multi_user": False}
            case "GET", "/apis/v2beta1/experiments":
                wanted = json.loads(query["filter"])["predicates"][0]["stringValue"]
                found = [
                    {"display_name": name, "experiment_id": one}
                    for name, one in self.experiments.items()
                    if name == wanted
                ]
                return 200, {"experiments": found} if found else {}
            case "POST", "/apis/v2beta1/experiments":
                made = f"e-{len(self.experiments) + 1}"
                self.experiments[body["display_name"]] = made
                return 200, {**body, "experiment_id": made}
            case "POST", "/apis/v2beta1/recurringruns":
                if self.refusal:
                    return self.refusal
                made = f"s-{len(self.asked)}"
                self.kept[made] = {**body, "recurring_run_id": made, "status": "ENABLED"}
                return 200, self.kept[made]
            case "GET", "/apis/v2beta1/recurringruns":
                there = [
                    one
                    for one in self.kept.values()
                    if one["experiment_id"] == query["experiment_id"]
                ]
                start = int(query.get("page_token") or 0)
                # The API spells this name so, and no other.
                page = {"recurringRuns": there[start : start + self.page]}
                if start + self.page < len(there):
                    page["next_page_token"] = str(start + self.page)
                return 200, page
            case "DELETE", name if name.startswith(f"{RUNS}/"):
                return (200, {}) if self.kept.pop(name.rpartition("/")[2], None) else (404, {})
        return 404, {"error": "not found"}


@pytest.fixture
def backend(serve_api):
    made = Backend()
    made.url = serve_api(made.answer)
    return made


@pytest.fixture
def schedules(backend):
    return Schedules(Kubeflow(Endpoint(backend.url)), "bach")


def wanted(package, name="nightly", **values):
    arguments = {"data": "/segue/midi", "set": ["retrain.warm_start=served"]}
    return Submission(package, arguments, "bach", name, **values)


def test_a_recurring_run_is_asked_for_one_at_a_time_and_without_catching_up(
    schedules, backend, package
):
    made, replaced = schedules.put(
        wanted(package, pipeline_root="minio://b/x", service_account="runner"), "0 3 * * *"
    )
    assert replaced == []
    sent = backend.kept[made]
    assert sent["display_name"] == "nightly"
    assert sent["experiment_id"] == "e-1"
    assert sent["trigger"] == {"cron_schedule": {"cron": "0 0 3 * * *"}}
    # kfp's client sends the number as text, as protobuf's JSON has an int64.
    assert int(sent["max_concurrency"]) == 1
    assert sent["no_catchup"] is True
    assert sent["mode"] == "ENABLE"
    assert sent["service_account"] == "runner"
    assert sent["runtime_config"] == {
        "parameters": {"data": "/segue/midi", "set": ["retrain.warm_start=served"]},
        "pipeline_root": "minio://b/x",
    }
    assert sent["pipeline_spec"]["pipeline_spec"]["pipelineInfo"] == {"name": "two"}


def test_one_of_the_same_name_is_replaced_and_others_stay(schedules, backend, package):
    first, _ = schedules.put(wanted(package), "0 3 * * *")
    other, _ = schedules.put(wanted(package, "weekly"), "0 4 * * SUN")
    elsewhere, _ = Schedules(Kubeflow(Endpoint(backend.url)), "other").put(
        wanted(package), "0 5 * * *"
    )
    second, replaced = schedules.put(wanted(package), "30 2 * * *")
    assert replaced == [first]
    assert set(backend.kept) == {second, other, elsewhere}
    # The new one is there before the old one goes.
    calls = [call for call in backend.asked if call.startswith(("POST /apis/v2beta1/rec", "DEL"))]
    assert [call.split()[0] for call in calls] == ["POST"] * 4 + ["DELETE"]


def test_a_schedule_that_is_refused_leaves_the_one_that_works(schedules, backend, package):
    first, _ = schedules.put(wanted(package), "0 3 * * *")
    backend.refusal = 400, {"error_message": "bad\ncron"}
    with pytest.raises(SegueError, match=r"refuses the request \(400 bad cron\)"):
        schedules.put(wanted(package), "0 4 * * *")
    asked = len(backend.asked)
    with pytest.raises(SegueError, match="^schedule 'soon' is not allowed"):
        schedules.put(wanted(package), "soon")
    assert len(backend.asked) == asked
    assert set(backend.kept) == {first}


def test_all_pages_are_listed_by_name(schedules, backend, package):
    assert schedules.all() == []
    backend.page = 2
    for name in ("c", "a", "e", "b", "d"):
        schedules.put(wanted(package, name), "0 3 * * *")
    found = schedules.all()
    assert [one.name for one in found] == list("abcde")
    assert {one.cron for one in found} == {"0 0 3 * * *"}
    assert {one.state for one in found} == {"enabled"}


def test_a_name_is_deleted_wherever_it_stands_and_one_that_is_not_there_is_told(
    schedules, backend, package
):
    first, _ = schedules.put(wanted(package), "0 3 * * *")
    # As two people at once, or the UI, may leave it.
    backend.kept["s-x"] = {**backend.kept[first], "recurring_run_id": "s-x"}
    assert sorted(schedules.delete("nightly")) == sorted([first, "s-x"])
    assert backend.kept == {}
    schedules.put(wanted(package, "weekly"), "0 3 * * *")
    with pytest.raises(SegueError) as error:
        schedules.delete("nightly")
    assert str(error.value) == (
        "there is no recurring run 'nightly' in the experiment bach; there: weekly"
    )


# ---- the commands ----

RUN = ("pipeline", "run", "--engine", "kubeflow", "--preset", "smoke", "--data", "/segue/midi")
COMMON = (*RUN, "--image", "segue:1")


def test_the_command_makes_lists_and_deletes_a_schedule(segue, backend):
    at = ("--endpoint", backend.url)
    ran = segue(
        *COMMON, *at, "--run-name", "nightly", "--warm-start", "served", "--if-new",
        "--schedule", "0 3 * * *", "--json",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    (made,) = backend.kept
    assert ran.json == {"schedule": made, "name": "nightly", "cron": "0 3 * * *", "replaced": []}
    assert backend.kept[made]["runtime_config"]["parameters"]["set"] == [
        "retrain.warm_start=served",
        "retrain.if_new=true",
    ]
    assert "POST /apis/v2beta1/runs" not in backend.asked  # nothing runs now
    assert segue("pipeline", "schedules", *at).out == f"nightly  0 0 3 * * *  enabled  {made}\n"
    assert segue("pipeline", "unschedule", "nightly", *at, "--json").json == {"deleted": [made]}
    assert segue("pipeline", "schedules", *at, "--json").json == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--schedule", "0 25 * * *"], "schedule '0 25 * * *' is not allowed: '25' is no hour"),
        (["--schedule", "0 3 * * *"], "there is nowhere to run it; give --endpoint URL"),
        (
            ["--schedule", "0 3 * * *", "--compile-only", "a.yaml"],
            "--schedule does not go with --compile-only",
        ),
        (["--schedule", "0 3 * * *", "--detach"], "--schedule does not go with --detach"),
        (["--warm-start", "served", "--tune"], "retrain.warm_start 'served' does not go with a"),
    ],
)
def test_what_is_refused_is_refused_before_anybody_is_called(segue, one_line, arguments, words):
    assert one_line(segue(*COMMON, *arguments)).startswith(words)


def test_a_schedule_goes_with_a_cluster_alone(segue, one_line, tmp_path):
    ran = segue("pipeline", "run", "--data", tmp_path, "--schedule", "0 3 * * *")
    assert one_line(ran) == "--schedule goes with --engine kubeflow; leave it out"
