"""What a server counts, as Prometheus reads it."""

import shutil
import socket
import threading
from concurrent import futures

import grpc
import numpy as np
import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from serving.errors import not_found
from serving.manager import State, VersionStatus
from serving.metrics import Metrics

PAGE = "/monitoring/prometheus/metrics"
COUNT = ":tensorflow:serving:request_count"
# What Python's parser calls a counter, whatever stands on the page.
PARSED_COUNT = COUNT + "_total"
LATENCY = ":tensorflow:serving:request_latency"


def samples(text):
    """Values of all samples by name and labels; demands that a parser takes the text."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def sample(page, name, **labels):
    return page.get((name, frozenset(labels.items())), 0.0)


# ---- row 27: any server ----


@pytest.fixture(scope="module")
def watched(launch, toys, tmp_path_factory):
    """A process with the metrics page, and version 7 of the toy."""
    folder = tmp_path_factory.mktemp("metrics")
    shutil.copytree(toys[2], folder / "segue" / "7")
    monitoring = folder / "monitoring.config"
    monitoring.write_text("prometheus_config { enable: true }")
    server = launch(
        "--model_name=segue",
        f"--model_base_path={folder / 'segue'}",
        f"--monitoring_config_file={monitoring}",
        rest=True,
    )
    yield server
    server.stop()


@pytest.fixture
def page(watched):
    """page(): the samples that the server shows now."""

    def page():
        answer = requests.get(watched.rest + PAGE, timeout=30)
        assert answer.status_code == 200
        assert answer.headers["Content-Type"].startswith("text/plain")
        return samples(answer.text)

    return page


def test_row_27_requests_are_counted_by_model_and_status(watched, page, connect, fails):
    def count(status):
        return sample(page(), PARSED_COUNT, model_name="segue", status=status)

    good, bad = count("OK"), count("INVALID_ARGUMENT")
    client = connect(watched.address)
    client.one(1.0)
    body = {"signature_name": "one", "instances": [1.0]}
    address = f"{watched.rest}/v1/models/segue:predict"
    requests.post(address, json=body, timeout=30)
    assert count("OK") == good + 2
    fails("INVALID_ARGUMENT", client.predict, {"a": [1.0]}, "one")
    requests.post(address, json={}, timeout=30)
    assert count("INVALID_ARGUMENT") == bad + 2


def test_row_27_latency_is_a_histogram_in_microseconds(watched, page, connect):
    def latency(suffix, entrypoint, api, **labels):
        return sample(
            page(),
            LATENCY + suffix,
            model_name="segue",
            API=api,
            entrypoint=entrypoint,
            **labels,
        )

    before = {
        "GRPC": latency("_count", "GRPC", "Predict"),
        "REST": latency("_count", "REST", "predict"),
    }
    connect(watched.address).one(1.0)
    body = {"signature_name": "one", "instances": [1.0]}
    requests.post(f"{watched.rest}/v1/models/segue:predict", json=body, timeout=30)
    for entrypoint, api in (("GRPC", "Predict"), ("REST", "predict")):
        count = latency("_count", entrypoint, api)
        assert count == before[entrypoint] + 1
        assert latency("_bucket", entrypoint, api, le="+Inf") == count
        # A call takes more than 10 us, and less than 10 s.
        assert 10 < latency("_sum", entrypoint, api) / count < 1e7
    bounds = sorted(
        float(dict(labels)["le"])
        for name, labels in page()
        if name == LATENCY + "_bucket" and ("entrypoint", "REST") in labels
        if ("API", "predict") in labels
    )
    assert bounds[:4] == [10, 18, 32.4, 58.32]
    assert len(bounds) == 34


def test_row_27_the_types_are_told(watched):
    requests.get(f"{watched.rest}/v1/models/segue", timeout=30)
    text = requests.get(watched.rest + PAGE, timeout=30).text
    assert f"# TYPE {COUNT} counter\n{COUNT}{{" in text
    assert f"# TYPE {LATENCY} histogram\n" in text


def test_row_27_without_the_file_there_is_no_page(serve, base, push, spare_port):
    push(base, 1)
    server = serve(rest_api_port=spare_port)
    assert requests.get(f"http://{server.rest_address}{PAGE}", timeout=30).status_code == 404


# ---- ours ----


@pytest.fixture
def served(serve, base, push, spare_port, tmp_path):
    """served(**config): a server with its page under /metrics, and page()."""
    push(base, 1)
    monitoring = tmp_path / "monitoring.config"
    monitoring.write_text('prometheus_config { enable: true path: "/metrics" }')

    def served(**config):
        server = serve(rest_api_port=spare_port, monitoring_config_file=monitoring, **config)
        address = f"http://{server.rest_address}/metrics"
        return server, lambda: samples(requests.get(address, timeout=30).text)

    return served


def test_models_that_are_not_served_take_no_memory(served, connect, fails):
    server, page = served()
    client = connect(server)
    for number in range(50):
        fails("NOT_FOUND", client.predict, {"x": [1.0]}, "one", model=f"invented{number}")
        requests.get(f"http://{server.rest_address}/v1/models/made-up-{number}", timeout=30)
    found = page()
    assert sample(found, PARSED_COUNT, model_name="", status="NOT_FOUND") == 100
    names = {dict(labels).get("model_name") for _, labels in found}
    assert names == {"", "segue", None}


def test_states_of_versions(served, push, base, eventually):
    _, page = served()

    def state(version, state):
        return sample(
            page(),
            ":segue:serving:model_version_state",
            model_name="segue",
            version=str(version),
            state=state,
        )

    assert state(1, "AVAILABLE") == 1
    push(base, 2)
    eventually(lambda: state(2, "AVAILABLE") == 1)
    eventually(lambda: state(1, "AVAILABLE") == 0)
    assert state(1, "END") == 0


def test_rows_of_a_run_and_its_time(served, connect):
    server, page = served()
    client = connect(server)
    client.predict({"x": np.ones((3, 1), np.float32)}, "column")
    client.predict({"x": np.ones((5, 1), np.float32)}, "column")
    client.predict({"n": np.int32(1)}, "slow")
    found = page()
    rows = {"model_name": "segue", "signature": "column"}
    assert sample(found, ":segue:serving:batch_size_count", **rows) == 2
    assert sample(found, ":segue:serving:batch_size_sum", **rows) == 8
    assert sample(found, ":segue:serving:batch_size_bucket", le="4.0", **rows) == 1
    rows["signature"] = "slow"
    assert sample(found, ":segue:serving:batch_size_sum", **rows) == 1
    runtime = {"model_name": "segue", "API": "Predict", "runtime": "TF1"}
    assert sample(found, ":tensorflow:serving:runtime_latency_count", **runtime) == 3


def test_runs_of_the_warm_up_are_not_counted(served, push, base, eventually, tmp_path):
    import tensorflow as tf
    from tensorflow_serving.apis import prediction_log_pb2

    log = prediction_log_pb2.PredictionLog()
    request = log.predict_log.request
    request.model_spec.name = "segue"
    request.model_spec.signature_name = "one"
    request.inputs["x"].CopyFrom(tf.make_tensor_proto([1.0]))

    def warm(folder):
        (folder / "assets.extra").mkdir()
        path = folder / "assets.extra" / "tf_serving_warmup_requests"
        with tf.io.TFRecordWriter(str(path)) as writer:
            writer.write(log.SerializeToString())

    server, page = served()
    push(base, 2, change=warm)
    eventually(lambda: server.manager.statuses()[0].state == State.AVAILABLE)
    eventually(lambda: server.manager.statuses()[0].version == 2)
    assert not [name for name, _ in page() if name.startswith(":segue:serving:batch_size")]


def test_calls_in_flight(served, connect, eventually):
    server, page = served()

    def in_flight():
        return sample(page(), ":segue:serving:calls_in_flight", entrypoint="GRPC")

    call = connect(server).prediction.Predict.future(
        connect(server).request({"n": np.int32(2**31 - 1)}, "slow"), timeout=60
    )
    eventually(lambda: in_flight() == 1)
    server.manager.stop(0)  # ends the run that would never end
    with pytest.raises(grpc.RpcError):
        call.result(30)
    eventually(lambda: in_flight() == 0)


def test_two_servers_count_apart(served, serve, connect):
    server, page = served()
    other = serve()
    connect(other).one(1.0)
    assert sample(page(), PARSED_COUNT, model_name="segue", status="OK") == 0
    connect(server).one(1.0)
    assert sample(page(), PARSED_COUNT, model_name="segue", status="OK") == 1
    assert b'status="OK"} 1.0' in other.metrics.page()


def test_the_page_holds_everything_others_count():
    metrics = Metrics()
    failed = VersionStatus(3, State.END, not_found("gone"))
    gone = VersionStatus(2, State.END)
    metrics.watch(lambda: [("segue", [failed, gone, VersionStatus(1, State.AVAILABLE)])])
    metrics.observe_run("segue", "generate", 64)
    metrics.count_events("segue", 250)
    metrics.count_events("segue", 8)
    metrics.set_queue(5)
    metrics.set_queue(3)
    found = samples(metrics.page().decode())
    assert sample(found, ":segue:serving:events_generated_total", model_name="segue") == 258
    assert sample(found, ":segue:serving:queue_length") == 3
    state = ":segue:serving:model_version_state"
    assert [dict(labels)["version"] for name, labels in found if name == state] == ["3", "1"]
    assert not [name for name, _ in found if name.endswith("_created")]


def test_many_threads_lose_no_count():
    metrics = Metrics()
    metrics.watch(lambda: [("segue", [])])

    def count():
        for _ in range(500):
            metrics.call_began("REST")
            metrics.call_ended("REST", "predict", "segue", "OK", 0.001, True)

    threads = [threading.Thread(target=count) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = samples(metrics.page().decode())
    assert sample(found, PARSED_COUNT, model_name="segue", status="OK") == 4000
    assert sample(found, ":segue:serving:calls_in_flight", entrypoint="REST") == 0


def test_batches_are_counted_as_they_are_run(served, tmp_path, connect):
    parameters = tmp_path / "batching.config"
    parameters.write_text(
        "max_batch_size { value: 4 } batch_timeout_micros { value: 60000000 }"
        " num_batch_threads { value: 1 } max_enqueued_batches { value: 8 }"
    )
    server, page = served(enable_batching=True, batching_parameters_file=parameters)
    rows = {"model_name": "segue", "signature": "column"}
    body = {"signature_name": "column", "instances": [[1.0], [2.0]]}
    address = f"http://{server.rest_address}/v1/models/segue:predict"
    with futures.ThreadPoolExecutor(1) as pool:
        # Half a batch by REST waits for the half that gRPC brings.
        waiting = pool.submit(requests.post, address, json=body, timeout=50)
        client = connect(server)
        client.predict({"x": np.ones((2, 1), np.float32)}, "column", timeout=50)
        assert waiting.result().json() == {"predictions": [[2.0], [4.0]]}
    found = page()
    assert sample(found, ":segue:serving:batch_size_count", **rows) == 1
    assert sample(found, ":segue:serving:batch_size_sum", **rows) == 4
    assert sample(found, ":segue:serving:queue_length") == 0


def test_the_queue_is_seen_while_it_waits(served, tmp_path, eventually):
    parameters = tmp_path / "batching.config"
    parameters.write_text(
        "max_batch_size { value: 4 } batch_timeout_micros { value: 60000000 }"
        " num_batch_threads { value: 1 } max_enqueued_batches { value: 8 }"
    )
    server, page = served(enable_batching=True, batching_parameters_file=parameters)
    host, port = server.rest_address.split(":")

    def length():
        return sample(page(), ":segue:serving:queue_length")

    body = b'{"signature_name": "one", "instances": [1.0]}'
    with socket.create_connection((host, int(port))) as client:
        client.sendall(
            b"POST /v1/models/segue:predict HTTP/1.1\r\nContent-Length: %d\r\n\r\n%b"
            % (len(body), body)
        )
        eventually(lambda: length() == 1)
    # It hung up, and so does not wait any more.
    eventually(lambda: length() == 0)
