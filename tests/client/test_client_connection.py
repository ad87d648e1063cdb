"""What a connection sends, and the line that each refusal becomes."""

import http.server
import socket
import threading
import time

import grpc
import numpy as np
import pytest

from client import exchange
from client.connection import Connection
from music.errors import SegueError

KEYS = {"keys": np.array(["codec", "limits"])}


@pytest.fixture
def nobody():
    """A port of this machine at which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return f"127.0.0.1:{port}"


@pytest.fixture
def quick_retries(monkeypatch):
    monkeypatch.setattr(exchange, "RETRY_PAUSES", (0.01, 0.02, 0.04))


def refused(connection, signature="describe", inputs=KEYS, **options):
    with pytest.raises(SegueError) as caught:
        connection.predict(signature, inputs, **options)
    line = str(caught.value)
    assert "\n" not in line
    return line


def test_named_arrays_go_out_and_come_back(toy):
    with Connection(toy.target) as connection:
        assert connection.resolved_version is None
        outputs = connection.predict("describe", KEYS)
        assert list(outputs) == ["values"]
        assert outputs["values"].shape == (2,)
        assert b'"window": 75' in outputs["values"][1]
        assert connection.resolved_version == 3


def test_the_newest_version_answers_unless_one_is_named(serve, make_model):
    config = {"name": "notes"}
    server = serve({2: make_model(config), 5: make_model(config)})
    for version, answered in [(None, 5), (2, 2), (5, 5)]:
        with Connection(server.target, version=version) as connection:
            assert connection.call("describe", KEYS).version == answered
    with Connection(server.target) as connection:
        assert connection.call("describe", KEYS, version=2).version == 2


def test_a_server_that_names_no_version_is_understood(serve):
    server = serve(answer_version=False)
    with Connection(server.target) as connection:
        assert connection.call("describe", KEYS).version is None


def test_only_the_outputs_asked_for_come_back(toy):
    inputs = {
        "events": np.zeros((1, 2, 3), np.int32),
        "temperature": np.ones(1, np.float32),
        "top_k": np.zeros(1, np.int32),
        "top_p": np.ones(1, np.float32),
        "may_end": np.zeros(1, bool),
        "seed": np.zeros(1, np.int64),
        "position": np.zeros(1, np.int32),
    }
    with Connection(toy.target) as connection:
        assert set(connection.predict("predict_next", inputs)) == {"event", "log_prob"}
        assert set(connection.predict("predict_next", inputs, outputs=["event"])) == {"event"}


def test_status_lists_the_versions(serve, make_model):
    server = serve({2: make_model({"name": "notes"}), 5: make_model({"name": "notes"})})
    with Connection(server.target) as connection:
        listed = connection.status()
    assert [(item.version, item.state, item.error) for item in listed] == [
        (5, "AVAILABLE", ""),
        (2, "AVAILABLE", ""),
    ]


def test_a_message_beyond_grpcs_default_limit_passes(toy):
    many = {"keys": np.array(["limits"] * 60_000)}
    with Connection(toy.target) as connection:
        assert len(connection.predict("describe", many)["values"]) == 60_000


def test_no_server_is_told_at_once(nobody):
    begun = time.monotonic()
    with Connection(nobody) as connection:
        line = refused(connection)
    assert line == (
        f"no model server answers at {nobody}; start one with `segue serve --root DIR`, "
        "or name another with --target"
    )
    assert time.monotonic() - begun < 3


def test_a_server_that_says_nothing_is_given_up_within_seconds(monkeypatch):
    monkeypatch.setattr(exchange, "CONNECT_SECONDS", 0.5)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        begun = time.monotonic()
        with Connection(f"127.0.0.1:{silent.getsockname()[1]}") as connection:
            assert "nothing came back for 0.5 s; start one with" in refused(connection)
        assert time.monotonic() - begun < 3


def test_a_rest_port_is_told_apart_from_no_server():
    class Quiet(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

    rest = http.server.HTTPServer(("127.0.0.1", 0), Quiet)
    thread = threading.Thread(target=rest.serve_forever)
    thread.start()
    try:
        with Connection(f"127.0.0.1:{rest.server_port}") as connection:
            assert "does not speak gRPC; name a model server's gRPC port" in refused(connection)
    finally:
        rest.shutdown()
        thread.join()
        rest.server_close()


def test_an_unknown_host_is_named():
    with Connection("no-such-host.invalid:8500", timeout=3) as connection:
        line = refused(connection)
    assert "no-such-host.invalid:8500" in line
    assert "--target" in line


def test_a_missing_socket_file_is_nobody(tmp_path):
    with Connection(f"unix:{tmp_path}/none.sock") as connection:
        assert "no model server answers at unix:" in refused(connection)


def test_a_server_of_something_else_is_told(serve):
    import concurrent.futures

    other = grpc.server(concurrent.futures.ThreadPoolExecutor(1))
    port = other.add_insecure_port("127.0.0.1:0")
    other.start()
    try:
        with Connection(f"127.0.0.1:{port}") as connection:
            assert "is no model server" in refused(connection)
    finally:
        other.stop(0).wait()


def test_an_unknown_model_is_named(toy):
    with Connection(toy.target, model="bach") as connection:
        line = refused(connection)
    assert line.startswith(f"no model 'bach' is served at {toy.target}")
    assert "Latest(bach)" in line
    assert "--model" in line


def test_an_unknown_version_is_told_with_those_that_are_there(serve, make_model):
    server = serve({3: make_model({"name": "notes"}), 9: make_model({"name": "notes"})})
    with Connection(server.target, version=7) as connection:
        line = refused(connection)
    assert line.startswith(f"version 7 of model 'segue' is not served at {server.target}")
    assert "it has 9, 3" in line
    assert "--model-version" in line


def test_an_unknown_signature_is_named(toy):
    with Connection(toy.target) as connection:
        line = refused(connection, "sing")
    assert "cannot answer 'sing'" in line
    assert 'key "sing" not found' in line


def test_the_servers_words_for_a_bad_request_are_kept_on_one_line(toy):
    toy.failures.append((grpc.StatusCode.INVALID_ARGUMENT, "first\n  second" + " x" * 400))
    with Connection(toy.target) as connection:
        line = refused(connection)
    assert line.startswith(f"model 'segue' at {toy.target} refuses the request: first second x")
    assert line.endswith("...")
    assert len(line) < 400


def test_a_wrong_dtype_is_refused_by_the_server(toy):
    with Connection(toy.target) as connection:
        line = refused(connection, inputs={"keys": np.zeros(1, np.int32)})
    assert "Expects arg[0] to be object but int32 is provided" in line


def test_a_slow_answer_is_told_with_its_seconds(toy):
    toy.before = lambda: time.sleep(1)
    with Connection(toy.target, timeout=0.4) as connection:
        line = refused(connection)
    assert "gave no answer within 0.4 s" in line
    assert "--timeout" in line
    toy.before = None
    with Connection(toy.target) as connection:
        connection.predict("describe", KEYS)
        toy.before = lambda: time.sleep(1)
        assert "within 0.3 s" in refused(connection, timeout=0.3)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "has no room for the request (because)"),
        (grpc.StatusCode.INTERNAL, "failed with INTERNAL (because)"),
        (grpc.StatusCode.UNKNOWN, "failed with UNKNOWN (because)"),
        (grpc.StatusCode.CANCELLED, "failed with CANCELLED (because)"),
        (grpc.StatusCode.PERMISSION_DENIED, "failed with PERMISSION_DENIED (because)"),
    ],
)
def test_every_other_refusal_is_one_line(toy, code, words):
    toy.failures.append((code, "because"))
    with Connection(toy.target) as connection:
        line = refused(connection)
    assert toy.target in line
    assert words in line


def test_an_exception_in_the_server_is_one_line(toy):
    toy.tamper = lambda signature, outputs: 1 / 0
    with Connection(toy.target) as connection:
        assert "failed with UNKNOWN" in refused(connection)


def test_an_unreadable_output_is_named(toy):
    toy.tamper = lambda signature, outputs: {"values": np.zeros(2, np.float64)}
    with Connection(toy.target) as connection:
        line = refused(connection)
    assert f"at {toy.target} answered an unreadable output 'values'" in line


def test_a_moment_of_absence_is_bridged(toy, quick_retries):
    with Connection(toy.target) as connection:
        connection.predict("describe", KEYS)
        toy.failures += [(grpc.StatusCode.UNAVAILABLE, "restarting")] * 3
        connection.predict("describe", KEYS)
        assert not toy.failures


def test_a_longer_absence_is_told(toy, quick_retries):
    with Connection(toy.target) as connection:
        connection.predict("describe", KEYS)
        toy.failures += [(grpc.StatusCode.UNAVAILABLE, "restarting")] * 5
        line = refused(connection)
    assert f"{toy.target} stopped answering (restarting)" in line
    assert len(toy.failures) == 1


def test_retries_end_with_the_timeout(toy, monkeypatch):
    monkeypatch.setattr(exchange, "RETRY_PAUSES", (30.0,))
    with Connection(toy.target) as connection:
        connection.predict("describe", KEYS)
        toy.failures.append((grpc.StatusCode.UNAVAILABLE, "restarting"))
        begun = time.monotonic()
        assert "stopped answering" in refused(connection, timeout=2)
    assert time.monotonic() - begun < 2


def test_other_refusals_are_not_repeated(toy, quick_retries):
    with Connection(toy.target) as connection:
        connection.predict("describe", KEYS)
        toy.failures += [(grpc.StatusCode.INTERNAL, "broken")] * 2
        refused(connection)
    assert len(toy.failures) == 1


def test_a_restarted_server_is_found_again(serve):
    first = serve()
    with Connection(first.target) as connection:
        connection.predict("describe", KEYS)
        first.stop()
        second = serve(port=first.port)
        connection.predict("describe", KEYS)
        assert [call[0] for call in second.calls] == ["describe"]


def test_a_server_that_came_late_is_found_by_the_same_connection(serve, nobody):
    with Connection(nobody) as connection:
        assert "no model server answers" in refused(connection)
        serve(port=int(nobody.rpartition(":")[2]))
        deadline = time.monotonic() + 5
        while True:
            try:
                connection.predict("describe", KEYS)
                break
            except SegueError:
                assert time.monotonic() < deadline
                time.sleep(0.1)


def test_threads_may_share_a_connection(toy):
    import concurrent.futures

    with (
        Connection(toy.target) as connection,
        concurrent.futures.ThreadPoolExecutor(8) as pool,
    ):
        answers = list(pool.map(lambda _: connection.call("describe", KEYS).version, range(32)))
    assert answers == [3] * 32


def test_a_closed_connection_says_so(toy):
    connection = Connection(toy.target)
    connection.close()
    assert "is closed" in refused(connection)
    connection.close()


@pytest.mark.parametrize(
    "target", ["", "host", "8500", "http://127.0.0.1:8500", "host:0", "host:65536", "a b:1"]
)
def test_a_target_that_cannot_be_is_told_before_any_call(target):
    with pytest.raises(SegueError, match="is not HOST:PORT, as in 127.0.0.1:8500"):
        Connection(target)


@pytest.mark.parametrize(
    "target",
    ["host:1", "10.0.0.1:8500", "[::1]:8500", "dns:///a.b:80", "unix:/tmp/x", "ipv4:1.2.3.4:5"],
)
def test_targets_that_grpc_knows_are_taken(target):
    Connection(target).close()


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf"), 1e9])
def test_a_timeout_outside_its_range_is_told(timeout):
    with pytest.raises(SegueError, match="is outside 0 < seconds"):
        Connection(timeout=timeout)


def test_other_settings_outside_their_range_are_told():
    with pytest.raises(SegueError, match="model version -1"):
        Connection(version=-1)
    with pytest.raises(SegueError, match="name is empty"):
        Connection(model="")


def test_an_input_that_cannot_travel_is_the_callers_bug(toy):
    with Connection(toy.target) as connection, pytest.raises(ValueError, match="float64"):
        connection.predict("describe", {"keys": np.zeros(1)})
