"""Toy SavedModels, servers over loopback, and ways to wait without sleeping.

The toy model is saved once a session and copied into version folders, as a
pusher does it: under a dotted name first, renamed when all is there.
"""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import NamedTuple

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def _toy_module(factor):
    import tensorflow as tf

    def signature(**inputs):
        return tf.function(
            input_signature=[
                tf.TensorSpec(shape, dtype, name=name) for name, (shape, dtype) in inputs.items()
            ]
        )

    class Toy(tf.Module):
        def __init__(self):
            super().__init__()
            self.factor = tf.Variable(float(factor))

        @signature(x=([None], tf.float32), bias=([None], tf.float32))
        def linear(self, x, bias):
            return {"y": x * self.factor + bias, "unused": -x}

        @signature(x=([None, 1], tf.float32))
        def column(self, x):
            return {"y": x * self.factor}

        @signature(
            f=(None, tf.float32),
            d=(None, tf.float64),
            i=(None, tf.int32),
            l=(None, tf.int64),
            b=(None, tf.bool),
            s=(None, tf.string),
            h=(None, tf.float16),
            u=(None, tf.uint8),
            c=(None, tf.complex64),
        )
        def echo(self, f, d, i, l, b, s, h, u, c):  # noqa: E741
            inputs = {"f": f, "d": d, "i": i, "l": l, "b": b, "s": s, "h": h, "u": u, "c": c}
            return {name: tf.identity(value) for name, value in inputs.items()}

        @signature(x=([None], tf.float32))
        def one(self, x):
            return {"y": x * self.factor}

        @signature(n=([], tf.int32))
        def slow(self, n):
            return {"n": tf.while_loop(lambda i: i < n, lambda i: i + 1, [0])[0]}

        def _read(self, inputs):
            feature = tf.io.FixedLenFeature([], tf.float32, default_value=0.0)
            return tf.io.parse_example(inputs, {"x": feature})["x"]

        @signature(inputs=([None], tf.string))
        def classify(self, inputs):
            x = self._read(inputs)
            classes = tf.tile([["low", "high"]], [tf.size(x), 1])
            return {"classes": classes, "scores": tf.stack([1.0 - x, x], axis=1)}

        @signature(inputs=([None], tf.string))
        def regress(self, inputs):
            return {"outputs": self._read(inputs) * self.factor}

    return Toy()


def _save_toy(factor, path):
    import tensorflow as tf
    from tensorflow.core.protobuf import saved_model_pb2

    toy = _toy_module(factor)
    tf.saved_model.save(
        toy,
        str(path),
        signatures={
            "serving_default": toy.linear,
            "column": toy.column,
            "echo": toy.echo,
            "one": toy.one,
            "slow": toy.slow,
            "classify": toy.classify,
            "regress": toy.regress,
        },
    )
    # tf.saved_model.save writes no default inputs and one method name; newer
    # exporters and older ones do otherwise, so put both in by hand.
    graph = path / "saved_model.pb"
    saved = saved_model_pb2.SavedModel.FromString(graph.read_bytes())
    signatures = saved.meta_graphs[0].signature_def
    signatures["with_default"].CopyFrom(signatures["serving_default"])
    signatures["with_default"].defaults["bias"].CopyFrom(tf.make_tensor_proto([10.0]))
    # MultiInference's tasks must share their input tensor, so one more that does.
    signatures["scores"].CopyFrom(signatures["classify"])
    del signatures["scores"].outputs["classes"]
    signatures["odd_method"].CopyFrom(signatures["one"])
    signatures["odd_method"].method_name = "nobody/knows/this"
    graph.write_bytes(saved.SerializeToString())


@pytest.fixture(scope="session")
def toys(tmp_path_factory):
    """Two saved toy models by their factor: `y = factor * x + bias`."""
    root = tmp_path_factory.mktemp("toys")
    for factor in (2, 3):
        _save_toy(factor, root / str(factor))
    return {factor: root / str(factor) for factor in (2, 3)}


@pytest.fixture(scope="session")
def push(toys):
    """push(base, version, factor=2): a version of the toy model, put there atomically."""

    def push(base, version, factor=2, change=lambda folder: None):
        hidden = base / f".{version}.tmp"
        shutil.copytree(toys[factor], hidden)
        change(hidden)
        os.rename(hidden, base / str(version))

    return push


@pytest.fixture
def base(tmp_path):
    folder = tmp_path / "segue"
    folder.mkdir()
    return folder


@pytest.fixture
def serve(base):
    """serve(**config): a running ModelServer on the folder `base`, stopped at the end."""
    from serving.config import ServerConfig
    from serving.server import ModelServer

    servers = []

    def serve(**config):
        config = {
            "model_base_path": base,
            "port": 0,
            "file_system_poll_wait_seconds": 0.05,
        } | config
        server = ModelServer(ServerConfig(**config))
        servers.append(server)
        server.start()
        return server

    yield serve
    for server in servers:
        server.stop(0)


class Client:
    """Stubs on one channel, with short names for what the tests do a lot."""

    def __init__(self, address):
        import grpc
        from tensorflow_serving.apis import (
            model_service_pb2_grpc,
            prediction_service_pb2_grpc,
        )

        unlimited = [
            ("grpc.max_receive_message_length", -1),
            ("grpc.max_send_message_length", -1),
        ]
        self.address = address
        self.channel = grpc.insecure_channel(address, options=unlimited)
        self.prediction = prediction_service_pb2_grpc.PredictionServiceStub(self.channel)
        self.model = model_service_pb2_grpc.ModelServiceStub(self.channel)

    def request(self, inputs, signature="", outputs=(), model="segue", version=None):
        import tensorflow as tf
        from tensorflow.core.framework import tensor_pb2
        from tensorflow_serving.apis import predict_pb2

        request = predict_pb2.PredictRequest()
        request.model_spec.name = model
        request.model_spec.signature_name = signature
        if version is not None:
            request.model_spec.version.value = version
        for name, value in inputs.items():
            if not isinstance(value, tensor_pb2.TensorProto):
                value = tf.make_tensor_proto(value)
            request.inputs[name].CopyFrom(value)
        request.output_filter.extend(outputs)
        return request

    def predict(self, inputs, signature="", outputs=(), timeout=20, **spec):
        return self.prediction.Predict(
            self.request(inputs, signature, outputs, **spec), timeout=timeout
        )

    def one(self, x, **spec):
        """The toy's `one` signature: factor * x, and the version that answered."""
        response = self.predict({"x": [float(x)]}, "one", **spec)
        return response.outputs["y"].float_val[0], response.model_spec.version.value

    def statuses(self, model="segue"):
        from tensorflow_serving.apis import get_model_status_pb2

        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = model
        answer = self.model.GetModelStatus(request, timeout=20)
        return [(s.version, s.state, s.status.error_code) for s in answer.model_version_status]


@pytest.fixture
def connect():
    """connect(server or address): a Client, closed at the end."""
    clients = []

    def connect(server):
        clients.append(Client(server if isinstance(server, str) else server.address))
        return clients[-1]

    yield connect
    for client in clients:
        client.channel.close()


@pytest.fixture(scope="session")
def shared_server(toys, tmp_path_factory):
    """One server for all tests that only ask: version 7 of the toy with factor 2."""
    from serving.config import ServerConfig
    from serving.server import ModelServer

    folder = tmp_path_factory.mktemp("shared") / "segue"
    shutil.copytree(toys[2], folder / "7")
    with ModelServer(ServerConfig(model_base_path=folder, port=0)) as server:
        yield server


@pytest.fixture(scope="session")
def client(shared_server):
    client = Client(shared_server.address)
    yield client
    client.channel.close()


@pytest.fixture(scope="session")
def fails():
    """fails(code, call, ...): calls, demands that gRPC status, returns its message."""
    import grpc

    def fails(code, call, *args, **kwargs):
        with pytest.raises(grpc.RpcError) as caught:
            call(*args, **kwargs)
        assert caught.value.code().name == code, caught.value.details()
        return caught.value.details()

    return fails


@pytest.fixture(scope="session")
def eventually():
    """eventually(condition): its first true value, within 20 seconds."""

    def eventually(condition, within=20.0):
        deadline = time.monotonic() + within
        pause = threading.Event()
        while True:
            value = condition()
            if value:
                return value
            assert time.monotonic() < deadline, "it did not happen in time"
            pause.wait(0.01)

    return eventually


@pytest.fixture(scope="session")
def server_config():
    """server_config(name=(base, options), ...): a ModelServerConfig of TensorFlow models.

    Options are fields of ModelConfig; `policy=("latest", 2)`, `("all",)` or
    `("specific", 1, 3)` is short for a model_version_policy.
    """
    from tensorflow_serving.config import model_server_config_pb2

    def server_config(**models):
        config = model_server_config_pb2.ModelServerConfig()
        config.model_config_list.SetInParent()
        for name, given in models.items():
            folder, options = given if isinstance(given, tuple) else (given, {})
            policy, *numbers = options.get("policy", ("latest", 0))
            fields = {"name": name, "model_platform": "tensorflow"} | {
                key: value for key, value in options.items() if key != "policy"
            }
            model = config.model_config_list.config.add(base_path=str(folder), **fields)
            choice = getattr(model.model_version_policy, policy)
            choice.SetInParent()
            if policy == "latest" and numbers[0]:
                choice.num_versions = numbers[0]
            elif policy == "specific":
                choice.versions.extend(numbers)
        return config

    return server_config


# ---- conformance: any server, as a process, by TensorFlow Serving's own flags ----

BINARY = "tensorflow_model_server"


class Launched(NamedTuple):
    """A server process that answers."""

    process: subprocess.Popen
    address: str
    rest: str  # http://host:port, or "" without --rest_api_port
    log: Path

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def free_port() -> int:
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def spare_port():
    """A port that nobody listens on."""
    return free_port()


@pytest.fixture(
    scope="session",
    params=["embedded", *([BINARY] if shutil.which(BINARY) else [])],
)
def launch(request, tmp_path_factory):
    """launch(*flags, rest=False, wait=True): a server, started by the flags of the binary.

    The embedded one and, where it is on PATH, `tensorflow_model_server` itself: what a
    test demands of one it demands of the other. With `wait=False` the process is handed
    over before its port is open.
    """
    command = [BINARY] if request.param == BINARY else [sys.executable, "-m", "serving"]
    started = []

    def launch(*flags, rest=False, wait=True):
        port, rest_port = free_port(), free_port() if rest else 0
        ports = [f"--port={port}"] + ([f"--rest_api_port={rest_port}"] if rest else [])
        log = tmp_path_factory.mktemp("launched") / "log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                [*command, *ports, *flags],
                cwd=Path(__file__).parents[2],
                stdout=out,
                stderr=out,
            )
        url = f"http://127.0.0.1:{rest_port}" if rest else ""
        server = Launched(process, f"127.0.0.1:{port}", url, log)
        started.append(server)
        deadline = time.monotonic() + 60
        while wait and not all(_answers(p) for p in (port, rest_port) if p):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        return server

    yield launch
    for server in started:
        server.stop()


def _answers(port):
    with contextlib.closing(socket.socket()) as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="session")
def dial():
    """dial(address): a Client, closed with the session."""
    clients = []

    def dial(address):
        clients.append(Client(address))
        return clients[-1]

    yield dial
    for client in clients:
        client.channel.close()


@pytest.fixture(scope="session")
def asked(launch, toys, tmp_path_factory, dial):
    """A client of the one process for tests that only ask: version 7 of the toy, factor 2."""
    folder = tmp_path_factory.mktemp("asked") / "segue"
    shutil.copytree(toys[2], folder / "7")
    server = launch(
        "--model_name=segue",
        f"--model_base_path={folder}",
        "--enable_grpc_healthcheck_service=true",
    )
    return dial(server.address)


@pytest.fixture
def only_embedded(request):
    """For what the embedded server does otherwise than the binary, on purpose."""
    if request.node.callspec.params["launch"] == BINARY:
        pytest.skip(f"{BINARY} does otherwise")
