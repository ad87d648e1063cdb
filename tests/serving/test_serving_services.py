"""The services where they are our own: limits, refusals, and what no request may do.

What TensorFlow Serving does as well is in test_conformance_requests.py.
"""

import grpc
import numpy as np
import pytest
import tensorflow as tf
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tensorflow.core.framework import tensor_pb2, types_pb2
from tensorflow_serving.apis import (
    predict_pb2,
)

from serving import services
from serving.models import Models

LINEAR = {"x": [1.0, 2.0], "bias": [10.0, 10.0]}


def test_row_03_health_can_be_left_out(serve, push, base, connect, fails):
    push(base, 1)
    client = connect(serve(enable_grpc_healthcheck_service=False))
    stub = health_pb2_grpc.HealthStub(client.channel)
    fails("UNIMPLEMENTED", stub.Check, health_pb2.HealthCheckRequest(), timeout=20)


def test_row_06_unknown_label(client, fails):
    request = client.request(LINEAR)
    request.model_spec.version_label = "X"
    message = fails("INVALID_ARGUMENT", client.prediction.Predict, request, timeout=20)
    assert message == "Unrecognized servable version label: X"


def test_row_38_a_smaller_limit_is_kept(serve, base, push, connect, fails):
    push(base, 1)
    client = connect(serve(max_message_bytes=1000))
    fails("RESOURCE_EXHAUSTED", client.predict, {"x": np.ones(1000, np.float32)}, "one")


@pytest.mark.parametrize(
    "shape", [[-1], [2**40], [2**62, 2**62]], ids=["negative", "bomb", "overflow"]
)
def test_a_malformed_tensor_is_an_error_and_not_an_allocation(client, fails, shape):
    proto = tensor_pb2.TensorProto(dtype=types_pb2.DT_FLOAT, float_val=[1.0])
    for size in shape:
        proto.tensor_shape.dim.add().size = size
    message = fails("INVALID_ARGUMENT", client.predict, {"x": proto}, "one")
    assert message == "tensor parsing error: x"


def test_an_unexpected_exception_is_internal_and_one_line(fails, caplog):
    class Broken(Models):
        def acquire(self, spec):
            raise RuntimeError("two\nlines")

    class Context:
        def time_remaining(self):
            return None

        def add_callback(self, callback):
            return True

        def abort(self, code, details):
            raise grpc.RpcError(code, details)

    request = predict_pb2.PredictRequest()
    request.model_spec.name = "segue"
    with pytest.raises(grpc.RpcError) as caught:
        services.PredictionService(Broken([])).Predict(request, Context())
    assert caught.value.args == (
        grpc.StatusCode.INTERNAL,
        "Predict failed: RuntimeError: two lines",
    )
    assert "Traceback" in caplog.text


def test_a_call_without_a_deadline_is_answered(client):
    assert client.one(1.0, timeout=None) == (2.0, 7)


@pytest.mark.parametrize("shape", [(0,), (2, 0), ()])
def test_empty_tensors_and_scalars_go_through_in_every_dtype(client, shape):
    dtypes = {"f": "f4", "d": "f8", "i": "i4", "l": "i8", "b": "?", "h": "f2", "u": "u1", "c": "c8"}
    sent = {name: np.zeros(shape, dtype) for name, dtype in dtypes.items()}
    sent["s"] = np.full(shape, b"a\0", np.object_)
    outputs = client.predict(sent, "echo").outputs
    for name, array in sent.items():
        received = tf.make_ndarray(outputs[name])
        assert (received.shape, received.dtype) == (array.shape, array.dtype)
        np.testing.assert_array_equal(received, array)
