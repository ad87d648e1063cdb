"""The life of a server where it is our own: what it refuses to start on, and how it stops.

Swaps, retries and the rest of what TensorFlow Serving does as well are in
test_conformance_versions.py.
"""

import errno
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent import futures
from pathlib import Path

import grpc
import numpy as np
import pytest

import serving
from music.errors import SegueError
from serving.__main__ import main
from serving.config import ServerConfig
from serving.server import ModelServer

FOREVER = {"n": np.int32(2**31 - 1)}


@pytest.fixture
def taken_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_row_34_a_load_failure_ends_the_start(base):
    (base / "1").mkdir()
    config = ServerConfig(model_base_path=base, port=0, max_num_load_retries=0)
    with pytest.raises(SegueError) as caught:
        ModelServer(config).start()
    assert str(caught.value).startswith(
        f"model segue in {base} does not load: NOT_FOUND: Could not find SavedModel"
    )


def test_row_34_no_port_is_open_before_the_model_is(base, push):
    push(base, 1)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    seen = []

    class Watching(ModelServer):
        def _open(self, models):
            with socket.socket() as caller:
                seen.append(caller.connect_ex(("127.0.0.1", port)))
            seen.extend(status.state.name for status in self.manager.statuses())
            super()._open(models)

    with Watching(ServerConfig(model_base_path=base, port=port)) as server:
        assert seen == [errno.ECONNREFUSED, "AVAILABLE"]
        assert server.port == port


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda path: None, "the folder does not exist"),
        (lambda path: path.mkdir(), "it holds no version (a folder named by a number)"),
        (lambda path: path.write_text(""), "that is a file"),
    ],
)
def test_a_model_that_was_never_pushed(tmp_path, make, why):
    path = tmp_path / "serving" / "segue"
    path.parent.mkdir()
    make(path)
    with pytest.raises(SegueError) as caught:
        ModelServer(ServerConfig(model_base_path=path, port=0)).start()
    assert str(caught.value) == (
        f"no model at {path}: {why}; `segue pipeline run` trains and pushes one, "
        "--model_base_path names another folder"
    )


def test_it_can_wait_for_the_first_version(base, push, connect, eventually):
    server = ModelServer(ServerConfig(model_base_path=base, port=0, wait_for_model_seconds=60))
    with futures.ThreadPoolExecutor(1) as pool:
        version = pool.submit(server.start)
        push(base, 1)
        assert version.result(20) == 1
    assert connect(server).one(1.0) == (2.0, 1)
    server.stop(0)


def test_waiting_for_the_first_version_ends_with_a_stop(base):
    server = ModelServer(ServerConfig(model_base_path=base, port=0, wait_for_model_seconds=60))
    with futures.ThreadPoolExecutor(1) as pool:
        version = pool.submit(server.start)
        server.ask_to_stop()
        assert version.result(20) is None


def test_a_port_in_use_is_one_line(base, push, taken_port):
    push(base, 1)
    with pytest.raises(SegueError) as caught:
        ModelServer(ServerConfig(model_base_path=base, port=taken_port)).start()
    assert str(caught.value) == (
        f"port {taken_port} on 127.0.0.1 is already in use; stop its owner, or choose another "
        "with --port (0 takes any free one)"
    )


def test_two_servers_do_not_share_a_port(serve, base, push, monkeypatch):
    push(base, 1)
    first = serve()
    # The port may be taken between the early check and gRPC's own bind.
    monkeypatch.setattr("serving.server._check_port", lambda *_: None)
    with pytest.raises(SegueError, match=f"port {first.port} on 127.0.0.1 is already in use"):
        serve(port=first.port)


def test_a_foreign_host_is_one_line(base, push):
    push(base, 1)
    for host in ("203.0.113.7", "no.such.host.invalid"):
        with pytest.raises(SegueError, match=f"{host} is no address of this machine"):
            ModelServer(ServerConfig(model_base_path=base, host=host)).start()


def test_stopping_drains(serve, base, push, connect, eventually, fails):
    push(base, 1)
    server = serve()
    client = connect(server)
    long = client.prediction.Predict.future(
        client.request({"n": np.int32(100_000)}, "slow"), timeout=60
    )
    eventually(lambda: server.manager.calls)
    server.stop(60)
    assert long.result().outputs["n"].int_val[0] == 100_000
    fails("UNAVAILABLE", client.one, 1.0)


def test_stopping_cancels_what_outlasts_the_grace(serve, base, push, connect, eventually, fails):
    push(base, 1)
    server = serve()
    client = connect(server)
    endless = client.prediction.Predict.future(client.request(FOREVER, "slow"), timeout=60)
    eventually(lambda: server.manager.calls)
    server.stop(0.05)
    assert endless.code() is not grpc.StatusCode.OK
    eventually(lambda: server.manager.calls == 0)
    server.stop()  # once more does nothing


def test_no_thread_outlives_the_server(serve, base, push, connect, eventually):
    push(base, 1)
    server = serve()
    assert connect(server).one(1.0) == (2.0, 1)

    def threads():
        names = ("serving_", "segue-", "model-config")
        return {t for t in threading.enumerate() if t.name.startswith(names)}

    before = threads()
    assert before
    server.stop(1)
    eventually(lambda: not before & threads())


def test_health_turns_to_not_serving_before_the_stop(serve, base, push, connect, eventually):
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    push(base, 1)
    server = serve()
    client = connect(server)
    stub = health_pb2_grpc.HealthStub(client.channel)
    seen = []
    watch = stub.Watch(health_pb2.HealthCheckRequest(service="PredictionService"))
    thread = threading.Thread(target=lambda: _collect(watch, seen), daemon=True)
    thread.start()
    eventually(lambda: seen == [health_pb2.HealthCheckResponse.SERVING])
    began = time.monotonic()
    server.stop(60)  # a watch has no end of its own, and keeps nobody
    thread.join(20)
    assert time.monotonic() - began < 15
    assert seen == [
        health_pb2.HealthCheckResponse.SERVING,
        health_pb2.HealthCheckResponse.NOT_SERVING,
    ]


def test_songs_share_the_cores_unless_told_otherwise(serve, base, exported, connect, fails):
    shutil.copytree(exported("small").path, base / "1")
    inputs = {
        "prime": np.array([[[0, 60, 6]]] * 3, np.int32),
        "prime_length": np.ones(3, np.int32),
        "steps": np.array([40, 3, 0], np.int32),
        "temperature": np.ones(3, np.float32),
        "top_k": np.zeros(3, np.int32),
        "top_p": np.ones(3, np.float32),
        "may_end": np.zeros(3, bool),
        "seed": np.array([1, 2, 3]),
        "position": np.zeros(3, np.int32),
    }
    answers = []
    for flags in (
        {},
        {"enable_continuous_batching": False},
        {"enable_batching": True},
        {"enable_batching": True, "enable_continuous_batching": False},
    ):
        server = serve(**flags)
        client = connect(server)
        answers.append(client.predict(inputs, "generate").outputs)
        # The metrics tell which signature ran.
        page = server.metrics.page().decode()
        shared = flags.get("enable_continuous_batching", True)
        ran = re.findall(r'batch_size_count.*signature="(\w+)"', page)
        assert ran == ["resume" if shared else "generate"]
    for other in answers[1:]:
        for name, proto in answers[0].items():
            assert proto == other[name]
    narrow = connect(serve(continuous_max_queued_rows=2))
    message = fails("INVALID_ARGUMENT", narrow.predict, inputs, "generate")
    assert "at most 2 rows on this server (--continuous_max_queued_rows), got 3" in message


def _collect(watch, seen):
    try:
        for answer in watch:
            seen.append(answer.status)
    except grpc.RpcError:
        pass


@pytest.fixture
def start_process(base, tmp_path, eventually):
    """start_process(*flags): (process, address) of a server that answers."""
    processes = []

    def start(*flags):
        port_file = tmp_path / f"port-{len(processes)}"
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "serving",
                "--port=0",
                "--model_base_path",
                str(base),
                f"--port-file={port_file}",
                *flags,
            ],
            cwd=Path(serving.__file__).parents[1],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        eventually(lambda: port_file.exists() or process.poll() is not None, within=60)
        assert process.poll() is None, process.stderr.read()
        return process, f"127.0.0.1:{int(port_file.read_text())}"

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def test_row_41_ctrl_c_is_quiet_even_when_a_call_never_ends(start_process, base, push, connect):
    push(base, 3)
    process, address = start_process("--grace_seconds=0.2")
    client = connect(address)
    endless = client.prediction.Predict.future(client.request(FOREVER, "slow"), timeout=60)
    assert client.one(1.0) == (2.0, 3)
    process.send_signal(signal.SIGINT)
    _out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert endless.code() is not grpc.StatusCode.OK


def test_row_44_flags_are_spelled_both_ways(monkeypatch):
    configs = []
    monkeypatch.setattr("serving.__main__._serve", lambda config, *_: configs.append(config) or 0)
    assert main(["--port=8600", "--model_name=m", "--model_base_path=/m"]) == 0
    assert main(["--port", "8600", "--model_name", "m", "--model_base_path", "/m"]) == 0
    assert configs[0] == configs[1]
    assert configs[0] == ServerConfig(model_base_path="/m", port=8600, model_name="m")
    assert main(["--model_base_path=/m", "--enable_model_warmup=false"]) == 0
    assert main(["--model_base_path=/m", "--enable_grpc_healthcheck_service"]) == 0
    assert configs[2] == ServerConfig(model_base_path="/m", enable_model_warmup=False)
    assert configs[3] == ServerConfig(model_base_path="/m")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (
            [],
            "no model to serve: give its folder with --model_base_path, or several with"
            " --model_config_file",
        ),
        (["--model_base_path=/m", "--prot=1"], "unknown flag --prot; did you mean --port?"),
        (
            ["--model_base_path=/m", "--port=x"],
            "argument --port: invalid int value: 'x'; see --help",
        ),
        (
            ["--model_base_path=/m", "--enable_model_warmup=maybe"],
            "argument --enable_model_warmup: maybe is neither true nor false; see --help",
        ),
        (
            ["--model_base_path=/m", "--port=70000"],
            "--port=70000 is not a whole number from 0 to 65535",
        ),
    ],
)
def test_a_wrong_flag_is_one_line_and_code_1(capsys, argv, message):
    assert main(argv) == 1
    assert capsys.readouterr().err == f"segue: {message}\n"


def test_a_missing_model_is_reported_without_tensorflow(tmp_path):
    code = (
        "import sys; from serving.__main__ import main; "
        f"code = main(['--port=0', '--model_base_path={tmp_path}/none']); "
        "assert 'tensorflow' not in sys.modules; sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(serving.__file__).parents[1],
        env=os.environ | {"PYTHONPATH": "."},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"segue: no model at {tmp_path}/none: ")


def test_a_port_file_that_cannot_be_written_is_one_line(base, push, tmp_path, capsys, monkeypatch):
    push(base, 1)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    path = tmp_path / "no-folder" / "port"
    code = main(["--port=0", f"--model_base_path={base}", f"--port_file={path}"])
    assert code == 1
    assert capsys.readouterr().err == (
        f"segue: --port_file={path} cannot be written: No such file or directory\n"
    )
