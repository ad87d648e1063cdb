"""A server started as the deployment files start it, and asked as they ask it.

The flags, the configuration and the commands are taken from serving/docker-compose.yaml,
serving/kubernetes/ and serving/config/; only folders and ports are others here.
"""

import json
import shutil
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import yaml
from grpc_health.v1 import health_pb2, health_pb2_grpc

SERVING = Path(__file__).parents[2] / "serving"


@pytest.fixture(scope="module")
def compose():
    return yaml.safe_load((SERVING / "docker-compose.yaml").read_text())["services"]["serving"]


@pytest.fixture(scope="module")
def container():
    deployment = yaml.safe_load((SERVING / "kubernetes" / "deployment.yaml").read_text())
    return deployment["spec"]["template"]["spec"]["containers"][0]


class Deployed:
    """The server, its client, and the folder of its versions."""

    def __init__(self, server, client, base):
        self.server, self.client, self.base = server, client, base

    def get(self, path):
        """(status code, body) of a GET."""
        try:
            with urllib.request.urlopen(self.server.rest + path, timeout=20) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()


@pytest.fixture(scope="module")
def deployed(compose, launch, push, dial, tmp_path_factory):
    root = tmp_path_factory.mktemp("deployed")
    base = root / "models" / "segue"
    base.mkdir(parents=True)
    push(base, 1)
    shutil.copytree(SERVING / "config", root / "config")
    models = root / "config" / "models.config"
    text = models.read_text()
    assert '"/models/segue"' in text
    models.write_text(text.replace('"/models/segue"', f'"{base}"'))
    flags = [
        flag.replace("/etc/segue/", f"{root}/config/")
        for flag in compose["command"]
        if not flag.startswith(("--port=", "--rest_api_port="))
    ]
    server = launch(*flags, rest=True)
    return Deployed(server, dial(server.address), base)


def test_it_serves_the_model_of_its_configuration(deployed):
    assert deployed.client.one(1.0) == (2.0, 1)
    assert deployed.client.statuses() == [(1, 30, 0)]


def test_calls_share_a_run(deployed):
    calls = [
        deployed.client.prediction.Predict.future(
            deployed.client.request({"x": [float(row)] * 3}, "one"), timeout=20
        )
        for row in range(40)
    ]
    for row, call in enumerate(calls):
        assert list(call.result().outputs["y"].float_val) == [2.0 * row] * 3


def test_the_liveness_probe_is_answered(deployed, container):
    probe = container["livenessProbe"]["grpc"]
    stub = health_pb2_grpc.HealthStub(deployed.client.channel)
    answer = stub.Check(health_pb2.HealthCheckRequest(service=probe["service"]), timeout=20)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_metrics_are_where_the_files_say(deployed):
    prometheus = yaml.safe_load((SERVING / "config" / "prometheus.yaml").read_text())
    code, body = deployed.get(prometheus["scrape_configs"][0]["metrics_path"])
    assert code == 200
    assert ":tensorflow:serving:request_count" in body


def test_probes_follow_the_models_state(deployed, compose, container, eventually):
    ready = container["readinessProbe"]["httpGet"]["path"]
    assert container["startupProbe"]["httpGet"]["path"] == ready
    interpreter, option, script = compose["healthcheck"]["test"][1:]
    port = deployed.server.rest.rpartition(":")[2]
    command = [interpreter, option, script.replace("127.0.0.1/8501", f"127.0.0.1/{port}")]

    def healthy():
        return subprocess.run(command, timeout=20, check=False).returncode == 0

    code, body = deployed.get(ready)
    assert code == 200
    assert json.loads(body)["model_spec"]["name"] == "segue"
    assert healthy()
    # The last version goes: the server lives on, and nobody should send it calls.
    (deployed.base / "1").rename(deployed.base / ".1")
    eventually(lambda: deployed.get(ready)[0] == 404, within=60)
    assert not healthy()
    (deployed.base / ".1").rename(deployed.base / "1")
    eventually(lambda: deployed.get(ready)[0] == 200, within=60)
    assert healthy()
