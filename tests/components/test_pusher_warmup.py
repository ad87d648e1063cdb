"""A pushed version brings requests that a server can run, and that make its first call fast."""

import json
import statistics
import time
from pathlib import Path

import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from components.pusher.executor import push
from components.pusher.warmup import REQUESTS_FILE, requests, serialize, write_requests
from components.versions import version_path

STATEFUL = ["describe", "generate", "predict_next", "resume", "serving_default", "step"]
SLIDING = ["describe", "generate", "predict_next", "serving_default"]


@pytest.fixture
def pushed(exported, tmp_path):
    """pushed(kind): the folder of a version that was pushed."""

    def pushed(kind):
        folder = str(tmp_path / "serving" / "segue")
        return Path(version_path(folder, push(exported(kind).path, folder)))

    return pushed


def logs(version):
    records = tf.data.TFRecordDataset(str(version / REQUESTS_FILE))
    return [prediction_log_pb2.PredictionLog.FromString(r) for r in records.as_numpy_iterator()]


@pytest.mark.parametrize(("kind", "wanted"), [("small", STATEFUL), ("small paper", SLIDING)])
def test_every_signature_that_the_model_has_gets_a_request(pushed, kind, wanted):
    found = logs(pushed(kind))
    assert {log.WhichOneof("log_type") for log in found} == {"predict_log"}
    asked = [log.predict_log.request.model_spec.signature_name for log in found]
    assert sorted(set(asked)) == wanted
    assert len(found) <= 1000


def test_songs_are_asked_for_alone_and_in_batches(pushed):
    rows = {}
    for log in logs(pushed("small")):
        request = log.predict_log.request
        if "prime" in request.inputs:
            size = request.inputs["prime"].tensor_shape.dim[0].size
            rows.setdefault(request.model_spec.signature_name, set()).add(size)
    assert rows == {"generate": {1, 8}, "resume": {1, 8}}


def test_inputs_are_those_of_the_signatures(pushed, served):
    for log in logs(pushed("small")):
        request = log.predict_log.request
        signature = served("small").signatures[request.model_spec.signature_name]
        assert set(request.inputs) == set(signature.inputs)
        for name, info in signature.inputs.items():
            assert request.inputs[name].dtype == info.dtype, name


def test_the_same_model_gives_the_same_bytes(pushed):
    first, second = pushed("small"), pushed("small")
    assert first != second
    assert (first / REQUESTS_FILE).read_bytes() == (second / REQUESTS_FILE).read_bytes()


def test_requests_are_small(pushed):
    """A state of 2,048 zeros for 64 songs is told by one of them."""
    for kind in ("small", "small paper"):
        assert (pushed(kind) / REQUESTS_FILE).stat().st_size < 20_000


@pytest.mark.parametrize(("kind", "count"), [("small", 10), ("small paper", 6)])
def test_the_embedded_server_runs_every_request(pushed, kind, count):
    from serving.loader import load
    from serving.warmup import warm_up

    model = load(pushed(kind))
    try:
        assert warm_up(model) == count
    finally:
        model.close()


def test_the_name_of_the_model_does_not_matter(pushed):
    from serving.config import ServerConfig
    from serving.server import ModelServer

    version = pushed("small")
    config = ServerConfig(version.parent, port=0, model_name="bach", max_num_load_retries=0)
    with ModelServer(config) as server:
        assert [status.version for status in server.manager.statuses()] == [int(version.name)]


def test_the_first_calls_after_the_warm_up_are_like_the_later_ones(pushed):
    """Without it each signature's first call takes a hundred times as long."""
    from serving import inference
    from serving.loader import load
    from serving.warmup import warm_up

    version = pushed("small")
    facts = json.loads((version / "assets" / "segue.json").read_text())
    asked = {name: serialize(name, inputs) for name, inputs in reversed(requests(facts))}
    assert sorted(asked) == STATEFUL
    cold, warm = load(version), load(version)
    warm_up(warm)

    def seconds(model, record):
        log = prediction_log_pb2.PredictionLog.FromString(record)
        began = time.perf_counter()
        inference.replay(model, log)
        return time.perf_counter() - began

    try:
        for name, record in asked.items():
            first = seconds(warm, record)
            later = statistics.median(seconds(warm, record) for _ in range(9))
            without = seconds(cold, record)
            print(
                f"{name}: first {first * 1e3:.1f} ms, later {later * 1e3:.1f}, "
                f"without warm-up {without * 1e3:.1f}"
            )
            assert first < without / 4
            assert first < later + 0.05
    finally:
        cold.close()
        warm.close()


def test_a_model_with_requests_of_its_own_keeps_them(tmp_path):
    target = tmp_path / REQUESTS_FILE
    target.parent.mkdir()
    target.write_bytes(b"its own")
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets" / "segue.json").write_text("{}")
    assert write_requests(str(tmp_path)) == 0
    assert target.read_bytes() == b"its own"


@pytest.mark.parametrize("facts", [None, "{}", '{"codec": {"name": "notes"}}', "[]", "no JSON"])
def test_a_model_of_somebody_else_is_pushed_without(tmp_path, facts):
    if facts is not None:
        (tmp_path / "assets").mkdir()
        (tmp_path / "assets" / "segue.json").write_text(facts)
    assert write_requests(str(tmp_path)) == 0
    assert not (tmp_path / REQUESTS_FILE).exists()
