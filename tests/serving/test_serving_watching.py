"""A call is watched alike by whichever door it comes; events are counted once."""

import logging

import grpc
import numpy as np
import pytest

pytest.importorskip("tensorflow")

from tensorflow_serving.apis import predict_pb2

from serving import tensors, watching
from serving.metrics import Metrics
from serving.watching import Call


def noted(**outputs):
    """The call, and how many events its server has counted."""
    metrics = Metrics()
    request, response = predict_pb2.PredictRequest(), predict_pb2.PredictResponse()
    tensors.encode(np.zeros((3, 2), np.int32), request.inputs["prime"])
    for name, array in outputs.items():
        tensors.encode(array, response.outputs[name])
    response.model_spec.version.value = 7
    call = Call(watching.GRPC, "Predict", model="segue")
    watching.note_predict(metrics, call, request, response)
    (total,) = [
        line.split()[-1]
        for line in metrics.page().decode().splitlines()
        if line.startswith(":segue:serving:events_generated_total")
    ] or ["0"]
    return call, float(total)


def test_events_are_the_rows_that_are_not_minus_one():
    events = np.array(
        [
            [[0, 60, 24], [24, 62, 24], [12, 128, 0]],
            [[0, 60, 24], [-1, -1, -1], [-1, -1, -1]],
        ],
        np.int32,
    )
    call, total = noted(events=events, log_prob=np.zeros((2, 3), np.float32))
    assert total == 4
    assert (call.rows, call.version) == (3, 7)


def test_a_single_event_counts():
    assert noted(event=np.array([[0, 60, 24], [-1, -1, -1]], np.int32))[1] == 1


@pytest.mark.parametrize(
    "outputs",
    [
        {"y": np.array([[1, 2]], np.int32)},
        {"events": np.zeros((2, 0, 3), np.int32)},
        {"events": np.int32(3)},
        {"events": np.array([1.0, 2.0], np.float32)},
        {"events": np.array([[1.0, 2.0]], np.float32)},
    ],
)
def test_other_outputs_are_no_events(outputs):
    assert noted(**outputs)[1] == 0


def test_a_failed_call_keeps_its_code_and_is_one_line(caplog):
    metrics = Metrics()
    metrics.watch(lambda: [("segue", [])])
    call = Call(watching.REST, "predict", model="segue")

    def fail():
        with watching.watched(metrics, call):
            call.code, call.message = grpc.StatusCode.NOT_FOUND, "no such thing"
            raise ZeroDivisionError

    with caplog.at_level(logging.DEBUG, "serving.watching"), pytest.raises(ZeroDivisionError):
        fail()
    (record,) = caplog.records
    assert record.getMessage().startswith("REST predict segue: NOT_FOUND in ")
    assert b'{model_name="segue",status="NOT_FOUND"} 1.0' in metrics.page()


def test_grpc_calls_are_logged_with_their_fields(serve, base, push, connect, fails, caplog):
    push(base, 1)
    client = connect(serve())
    with caplog.at_level(logging.DEBUG, "serving.watching"):
        client.predict({"x": np.ones(3, np.float32)}, "one")
        fails("NOT_FOUND", client.predict, {"x": [1.0]}, "one", model="nobody")
        client.statuses()
    good, bad, status = [record.segue_fields for record in caplog.records]
    assert good.pop("ms") > 0
    assert good == {
        "entrypoint": "GRPC",
        "method": "Predict",
        "model": "segue",
        "version": 1,
        "rows": 3,
        "code": "OK",
    }
    assert bad["code"] == "NOT_FOUND"
    assert bad["error"] == "Servable not found for request: Latest(nobody)"
    assert status["method"] == "GetModelStatus"
