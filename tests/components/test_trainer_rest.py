"""A song by REST: what the exported model answers there is what gRPC brings."""

import shutil
import socket

import grpc
import numpy as np
import requests
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from serving.config import ServerConfig
from serving.server import ModelServer

ROWS, STEPS = 3, 20


def request_arrays():
    prime = np.array([[0, 128, 0], [24, 60, 24]], np.int32)
    return {
        "prime": np.tile(prime, (ROWS, 1, 1)),
        "prime_length": np.full(ROWS, 2, np.int32),
        "steps": np.array([STEPS, 5, STEPS], np.int32),
        "temperature": np.ones(ROWS, np.float32),
        "top_k": np.zeros(ROWS, np.int32),
        "top_p": np.ones(ROWS, np.float32),
        "may_end": np.zeros(ROWS, bool),
        "seed": np.arange(ROWS, dtype=np.int64) + 2**62,
        "position": np.zeros(ROWS, np.int32),
    }


def test_generate_by_rest_is_generate_by_grpc(exported, tmp_path):
    shutil.copytree(exported("small").path, tmp_path / "segue" / "1")
    monitoring = tmp_path / "monitoring.config"
    monitoring.write_text("prometheus_config { enable: true }")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    arrays = request_arrays()
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "segue"
    request.model_spec.signature_name = "generate"
    for name, array in arrays.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(array))
    rows = [{name: array[i].tolist() for name, array in arrays.items()} for i in range(ROWS)]
    config = ServerConfig(
        tmp_path / "segue", port=0, rest_api_port=port, monitoring_config_file=monitoring
    )
    with (
        ModelServer(config) as server,
        grpc.insecure_channel(server.address) as channel,
        requests.Session() as session,
    ):
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        outputs = stub.Predict(request, timeout=60).outputs
        address = f"http://{server.rest_address}"
        by_rest = session.post(
            f"{address}/v1/models/segue:predict",
            json={"signature_name": "generate", "instances": rows},
            timeout=60,
        )
        page = session.get(f"{address}/monitoring/prometheus/metrics", timeout=60).text
    predictions = by_rest.json()["predictions"]
    for name in ("events", "log_prob", "state"):
        expected = tf.make_ndarray(outputs[name])
        found = np.array([row[name] for row in predictions], expected.dtype)
        np.testing.assert_array_equal(found, expected)
    # Both calls, without what lies past a row's own steps.
    total = 2 * (STEPS + 5 + STEPS)
    assert f':segue:serving:events_generated_total{{model_name="segue"}} {total}.0\n' in page
