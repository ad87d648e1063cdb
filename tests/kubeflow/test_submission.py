"""What is really sent to Kubeflow Pipelines, and what is told of its answers.

kfp's own client talks to a small server in this process, which speaks the few calls of
the v2 API that a submission takes.
"""

from __future__ import annotations

import json
import socket
import time
import urllib.parse
from pathlib import Path
from typing import Any

import pytest

from kubeflow.submission import Endpoint, Kubeflow, Submission, check_endpoint
from music.errors import SegueError

TOKEN = "secret-token"


class Backend:
    """A server of the API; what it was asked, and how its runs go.

    `looks` are the answers to looks at a run, the last one for ever: a state, and the
    states of tasks; None is a failure of the server.
    """

    def __init__(self):
        self.requests: list[tuple[str, str, dict, Any]] = []
        self.looks: list[tuple[str, dict[str, str]] | None] = [("SUCCEEDED", {})]
        self.error: dict | None = None
        self.refusal: tuple[int, dict] | None = None

    def answer(self, method, path, headers, body):
        if headers.get("Authorization") != f"Bearer {TOKEN}":
            return 401, {"error": "no such user"}
        parts = urllib.parse.urlsplit(path)
        query = dict(urllib.parse.parse_qsl(parts.query))
        value = json.loads(body) if body else None
        self.requests.append((method, parts.path, query, value))
        match method, parts.path:
            case "GET", "/apis/v2beta1/healthz":
                return 200, {"multi_user": True}
            case "GET", "/apis/v2beta1/experiments":
                return 200, {}
            case "POST", "/apis/v2beta1/experiments":
                return 200, {**value, "experiment_id": "e-1"}
            case "POST", "/apis/v2beta1/runs":
                return self.refusal or (200, {**value, "run_id": "r-1"})
            case "GET", "/apis/v2beta1/runs/r-1":
                return self.look()
        return 404, {"error": "not found"}

    def look(self):
        found = self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]
        if found is None:
            return 503, {"error": "restarting"}
        state, tasks = found
        details = [{"display_name": name, "state": one} for name, one in tasks.items()]
        run = {"run_id": "r-1", "state": state, "run_details": {"task_details": details}}
        return 200, {**run, **({"error": self.error} if self.error else {})}

    def sent(self, method, path):
        (found,) = [one for one in self.requests if one[:2] == (method, f"/apis/v2beta1/{path}")]
        return found[2:]


@pytest.fixture
def backend(serve_api):
    made = Backend()
    made.url = serve_api(made.answer)
    return made


@pytest.fixture
def kubeflow(backend):
    return Kubeflow(Endpoint(backend.url, TOKEN, "team-1"))


def test_a_run_is_asked_for_with_everything_that_was_said(kubeflow, backend, package):
    arguments = {"data": "/segue/midi", "epochs": 3, "set": ["a=b"]}
    wanted = Submission(package, arguments, "bach", "bach 1", "minio://b/x", "runner")
    assert kubeflow.submit(wanted) == "r-1"
    query, _ = backend.sent("GET", "experiments")
    assert query["namespace"] == "team-1"
    assert json.loads(query["filter"])["predicates"][0]["stringValue"] == "bach"
    _, experiment = backend.sent("POST", "experiments")
    assert experiment == {"display_name": "bach", "namespace": "team-1"}
    _, run = backend.sent("POST", "runs")
    spec = run.pop("pipeline_spec")
    assert run == {
        "experiment_id": "e-1",
        "display_name": "bach 1",
        "runtime_config": {"parameters": arguments, "pipeline_root": "minio://b/x"},
        "service_account": "runner",
    }
    assert spec["pipeline_spec"]["pipelineInfo"] == {"name": "two"}
    assert "kubernetes" in spec["platform_spec"]["platforms"]


def test_the_client_says_nothing_of_its_own(kubeflow, package, capfd):
    kubeflow.submit(Submission(package, {}))
    assert capfd.readouterr() == ("", "")


def test_a_run_is_followed_task_by_task_to_its_end(kubeflow, backend):
    backend.looks = [
        ("PENDING", {}),
        ("RUNNING", {"root": "RUNNING", "Configure-driver": "SUCCEEDED", "Configure": "RUNNING"}),
        ("RUNNING", {"Configure": "RUNNING"}),
        None,
        ("RUNNING", {"Configure": "SUCCEEDED", "MidiParser": "RUNNING"}),
        ("SUCCEEDED", {"Configure": "SUCCEEDED", "MidiParser": "SUCCEEDED"}),
    ]
    lines = []
    states = kubeflow.follow("r-1", lines.append, interval=0.01)
    assert states == {"Configure": "SUCCEEDED", "MidiParser": "SUCCEEDED"}
    assert lines == [
        "Configure: running",
        "Configure: succeeded",
        "MidiParser: running",
        "MidiParser: succeeded",
    ]


def test_a_run_that_fails_is_one_line_with_the_task_and_a_link(kubeflow, backend):
    backend.looks = [("FAILED", {"Configure": "SUCCEEDED", "Trainer": "FAILED"})]
    backend.error = {"code": 2, "message": "no node\nhas a GPU"}
    with pytest.raises(SegueError) as error:
        kubeflow.follow("r-1", print, interval=0.01)
    assert str(error.value) == (
        f"the run has failed at Trainer: no node has a GPU; see {backend.url}/#/runs/details/r-1"
    )


def test_an_endpoint_that_goes_away_ends_the_wait(kubeflow, backend):
    backend.looks = [None]
    with pytest.raises(SegueError, match=r"refuses the request \(503 restarting\)"):
        kubeflow.follow("r-1", print, interval=0.01)


def test_what_the_backend_refuses_is_its_own_words_in_one_line(kubeflow, backend, package):
    backend.refusal = 400, {"error_message": "Validate create run request failed.: bad\nname"}
    with pytest.raises(SegueError) as error:
        kubeflow.submit(Submission(package, {}))
    assert str(error.value) == (
        f"{backend.url} refuses the request (400 Validate create run request failed.: bad name)"
    )


@pytest.mark.parametrize(("token", "held"), [("", "a call without a token"), ("x", "the token")])
def test_a_token_that_is_refused_is_one_line(backend, token, held):
    with pytest.raises(SegueError, match=rf"refuses {held} \(401 Unauthorized\); give another"):
        check_endpoint(Endpoint(backend.url, token))


def test_an_endpoint_that_is_not_there_is_one_line_within_seconds():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and nobody listens
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        began = time.monotonic()
        with pytest.raises(SegueError, match=f"^nobody answers at {url} "):
            Kubeflow(Endpoint(url))
        assert time.monotonic() - began < 20


def test_an_endpoint_that_is_silent_is_one_line_within_seconds():
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        began = time.monotonic()
        with pytest.raises(SegueError, match=r"^nobody answers at .*timed out"):
            Kubeflow(Endpoint(f"http://127.0.0.1:{silent.getsockname()[1]}"))
        assert time.monotonic() - began < 20


def test_another_server_is_not_taken_for_kubeflow(backend):
    with pytest.raises(SegueError, match=r"^there is no Kubeflow Pipelines 2 at .* \(404"):
        check_endpoint(Endpoint(f"{backend.url}/pipeline", TOKEN))


@pytest.mark.parametrize(
    "url",
    ["", "127.0.0.1:8888", "ftp://a", "http://", "http://a:port", "http://a/?b", "http://a\n"],
)
def test_what_is_no_url_is_refused_before_anybody_is_called(url):
    with pytest.raises(SegueError, match=r"^endpoint .* is not allowed"):
        Endpoint(url)


def test_tokens_and_names_are_checked_and_a_token_is_never_shown():
    with pytest.raises(SegueError, match="the token holds what no header can"):
        Endpoint("http://a", "x\ny")
    assert TOKEN not in repr(Endpoint("http://a", TOKEN))
    with pytest.raises(SegueError, match="^namespace 'Team' is not allowed"):
        Endpoint("http://a", "", "Team")
    with pytest.raises(SegueError, match="^run name ' ' is not allowed"):
        Submission(Path("a.yaml"), {}, run_name=" ")


# ---- the command ----

CLUSTER = ("pipeline", "run", "--engine", "kubeflow", "--preset", "smoke")
COMMON = (*CLUSTER, "--data", "/segue/midi", "--image", "segue:1")


def test_the_command_compiles_submits_and_follows(segue, backend):
    backend.looks = [("SUCCEEDED", {"Configure": "SUCCEEDED"})]
    ran = segue(
        *COMMON, "--endpoint", backend.url, "--token", TOKEN, "--namespace", "team-1",
        "--experiment", "bach", "--run-name", "first", "--set", "split.salt=b",
        "--set", "kubeflow.tasks.Trainer.gpu=1", "--json",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    link = f"{backend.url}/#/runs/details/r-1"
    assert ran.json == {
        "run": "r-1", "name": "segue", "link": link, "tasks": {"Configure": "SUCCEEDED"}
    }  # fmt: skip
    assert ran.err.splitlines() == [f"run r-1 of segue: {link}", "Configure: succeeded"]
    _, run = backend.sent("POST", "runs")
    assert run["display_name"] == "first"
    assert run["runtime_config"]["parameters"] == {
        "data": "/segue/midi",
        "root": "/segue/root",
        "preset": "smoke",
        "epochs": 0,
        "set": ["split.salt=b"],
    }
    executors = run["pipeline_spec"]["pipeline_spec"]["deploymentSpec"]["executors"]
    resources = executors["Trainer_executor"]["container"]["resources"]
    assert resources["accelerator"] == {"type": "nvidia.com/gpu", "count": "1"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--endpoint", "http://127.0.0.1:9"], "nobody answers at http://127.0.0.1:9 "),
        (["--endpoint", "127.0.0.1:9"], "endpoint '127.0.0.1:9' is not allowed"),
        ([], "there is nowhere to run it; give --endpoint URL, or --compile-only"),
        (["--image", "Segue"], "kubeflow.image 'Segue' is not allowed"),
        (["--set", "kubeflow.name=Segue"], "pipeline name 'Segue' is not allowed"),
        (["--set", "trainin.epochs=1"], "setting trainin does not exist"),
        (["--preset", "none"], "preset 'none' does not exist"),
        (["--preset", "mine.yaml"], "preset mine.yaml is a file of this machine"),
        (["--data", "midi"], "data 'midi' is not allowed; on a cluster it must be an absolute"),
        (["--root", "/other"], "root /other lies on no volume"),
        (["--compile-only", "x.json"], "x.json is not allowed"),
    ],
)
def test_what_is_refused_is_refused_at_once_in_one_line(segue, one_line, arguments, words):
    began = time.monotonic()
    line = one_line(segue(*COMMON, *arguments))
    assert line.startswith(words)
    assert time.monotonic() - began < 20


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--runner=NopeRunner"], "beam_pipeline_args: Beam has no runner 'NopeRunner'"),
        (
            ["--runner=FlinkRunner", "--flink_master=flink:8081", "--environment_config=segue:1"],
            "Beam's workers would not see the artifacts of minio://mlpipeline/v2/artifacts; mount",
        ),
    ],
)
def test_what_beams_workers_could_not_do_is_one_line(segue, one_line, arguments, words):
    line = one_line(segue(*COMMON, *(f"--beam={one}" for one in arguments)))
    assert line.startswith(words)


def test_the_cluster_s_options_are_refused_on_this_machine(segue, one_line, tmp_path):
    for option in ("image", "endpoint"):
        ran = segue("pipeline", "run", "--data", tmp_path, f"--{option}", "segue:1")
        assert one_line(ran) == f"--{option} goes with --engine kubeflow; leave it out"
    ran = segue("pipeline", "run", "--data", tmp_path, "--set", "kubeflow.name=a")
    assert one_line(ran).startswith("--set kubeflow.name=a goes with --engine kubeflow")
