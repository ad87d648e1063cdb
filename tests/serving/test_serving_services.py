"""What a client sees: one test for each row of TensorFlow Serving's behaviour."""

import grpc
import numpy as np
import pytest
import tensorflow as tf
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from tensorflow.core.framework import tensor_pb2, types_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    predict_pb2,
    regression_pb2,
)

from serving import services
from serving.models import Models

LINEAR = {"x": [1.0, 2.0], "bias": [10.0, 10.0]}


def _examples(request, *values):
    request.model_spec.name = "segue"
    for value in values:
        example = request.input.example_list.examples.add()
        example.features.feature["x"].float_list.value.append(value)
    return request


def test_predict(client):
    response = client.predict(LINEAR)
    assert list(response.outputs["y"].float_val) == [12.0, 14.0]
    assert list(response.outputs["unused"].float_val) == [-1.0, -2.0]


def test_row_01_session_service_is_not_registered(client, fails):
    run = client.channel.unary_unary("/tensorflow.serving.SessionService/SessionRun")
    fails("UNIMPLEMENTED", run, b"", timeout=20)


def test_row_02_reflection_lists_the_services(client):
    stub = reflection_pb2_grpc.ServerReflectionStub(client.channel)
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    answer = next(stub.ServerReflectionInfo(iter([request]), timeout=20))
    names = {service.name for service in answer.list_services_response.service}
    assert names >= {
        "tensorflow.serving.PredictionService",
        "tensorflow.serving.ModelService",
        "grpc.health.v1.Health",
    }


@pytest.mark.parametrize("service", ["", "ModelService", "PredictionService"])
def test_row_03_health(client, service):
    stub = health_pb2_grpc.HealthStub(client.channel)
    answer = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=20)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_row_03_health_can_be_left_out(serve, push, base, connect, fails):
    push(base, 1)
    client = connect(serve(enable_grpc_healthcheck_service=False))
    stub = health_pb2_grpc.HealthStub(client.channel)
    fails("UNIMPLEMENTED", stub.Check, health_pb2.HealthCheckRequest(), timeout=20)


def test_row_04_no_model_spec(client, fails):
    calls = {
        client.prediction.Predict: predict_pb2.PredictRequest(),
        client.prediction.Classify: classification_pb2.ClassificationRequest(),
        client.prediction.Regress: regression_pb2.RegressionRequest(),
        client.prediction.GetModelMetadata: get_model_metadata_pb2.GetModelMetadataRequest(),
        client.model.GetModelStatus: get_model_status_pb2.GetModelStatusRequest(),
    }
    for call, request in calls.items():
        assert fails("INVALID_ARGUMENT", call, request, timeout=20) == "Missing ModelSpec"


def test_row_04_no_name(client, fails):
    message = fails("INVALID_ARGUMENT", client.predict, LINEAR, model="")
    assert message == "ModelSpec has no name specified."


def test_row_05_unknown_model_or_version(client, fails):
    assert (
        fails("NOT_FOUND", client.predict, LINEAR, model="m")
        == "Servable not found for request: Latest(m)"
    )
    assert (
        fails("NOT_FOUND", client.predict, LINEAR, model="m", version=7)
        == "Servable not found for request: Specific(m, 7)"
    )
    assert (
        fails("NOT_FOUND", client.predict, LINEAR, version=8)
        == "Servable not found for request: Specific(segue, 8)"
    )


def test_row_06_unknown_label(client, fails):
    request = client.request(LINEAR)
    request.model_spec.version_label = "X"
    message = fails("INVALID_ARGUMENT", client.prediction.Predict, request, timeout=20)
    assert message == "Unrecognized servable version label: X"


def test_row_07_unknown_signature(client, fails):
    message = fails("FAILED_PRECONDITION", client.predict, LINEAR, "x")
    assert message == 'Serving signature key "x" not found.'


def test_row_08_method_name_is_not_checked(client):
    response = client.predict({"x": [4.0]}, "odd_method")
    assert list(response.outputs["y"].float_val) == [8.0]


def test_row_09_wrong_number_of_inputs(client, fails):
    assert fails("INVALID_ARGUMENT", client.predict, {"a": [1.0]}) == (
        "input size does not match signature: 1!=2 len({a}) != len({bias,x}). "
        "Sent extra: {a}. Missing but required: {bias,x}."
    )
    inputs = {"z": [1.0], "x": [1.0], "bias": [1.0]}
    assert fails("INVALID_ARGUMENT", client.predict, inputs) == (
        "input size does not match signature: 3!=2 len({bias,x,z}) != len({bias,x}). "
        "Sent extra: {z}. Missing but required: {}."
    )


def test_row_09_signature_defaults_are_honoured(client, fails):
    response = client.predict({"x": [1.0]}, "with_default")
    assert list(response.outputs["y"].float_val) == [12.0]
    response = client.predict({"x": [1.0], "bias": [5.0]}, "with_default")
    assert list(response.outputs["y"].float_val) == [7.0]
    assert fails("INVALID_ARGUMENT", client.predict, {"bias": [1.0]}, "with_default") == (
        "Signature input alias: x(feed name: serving_default_x:0) not found in request and no "
        "default value provided. Inputs expected to be in the request {bias}, or default input "
        "alias set: bias"
    )


def test_row_10_wrong_names(client, fails):
    message = fails("INVALID_ARGUMENT", client.predict, {"x": [1.0], "a": [1.0]})
    assert message.startswith("Signature input alias: bias(feed name: serving_default_bias:0)")


def test_row_10_a_wrong_name_beside_a_default(client, fails):
    message = fails("INVALID_ARGUMENT", client.predict, {"x": [1.0], "a": [1.0]}, "with_default")
    assert message == ("Inputs contains invalid name. Used request inputs: x, request input: a,x")


def test_row_11_wrong_dtype(client, fails):
    message = fails("INVALID_ARGUMENT", client.predict, {"x": [True]}, "one")
    assert message == "Expects arg[0] to be float but bool is provided"


def test_row_12_shapes_are_not_checked_statically(client):
    # Declared [None, 1].
    assert list(client.predict({"x": [4.0]}, "column").outputs["y"].float_val) == [8.0]


def test_row_12_kernel_errors_pass_through(client, fails):
    inputs = {"x": [1.0, 2.0], "bias": [1.0, 2.0, 3.0]}
    message = fails("INVALID_ARGUMENT", client.predict, inputs)
    assert message.startswith("Incompatible shapes: [2] vs. [3]")


def test_row_13_output_filter(client, fails):
    assert set(client.predict(LINEAR, outputs=["y"]).outputs) == {"y"}
    assert set(client.predict(LINEAR, outputs=[]).outputs) == {"y", "unused"}
    assert fails("INVALID_ARGUMENT", client.predict, {"x": [1.0]}, "one", ["z"]) == (
        "output tensor alias not found in signature: z Outputs expected to be in the set {y}."
    )
    assert (
        fails("INVALID_ARGUMENT", client.predict, {"x": [1.0]}, "one", ["y", "y"])
        == "duplicate output tensor alias: y"
    )


def test_row_14_the_response_says_what_answered(client):
    spec = client.predict(LINEAR).model_spec
    assert (spec.name, spec.version.value, spec.signature_name) == ("segue", 7, "serving_default")
    spec = client.predict({"x": [1.0]}, "one", version=7).model_spec
    assert (spec.name, spec.version.value, spec.signature_name) == ("segue", 7, "one")
    assert not spec.version_label


def test_row_15_outputs_are_in_typed_fields(client):
    sent = {
        "f": np.float32([[1.5, 2.5]]),
        "d": np.float64([1e300]),
        "i": np.int32([[-1], [2]]),
        "l": np.int64(2**40),
        "b": np.array([True, False]),
        "s": np.array([b"a\0b", b""], np.object_),
        "h": np.float16([1.0]),
        "u": np.uint8([255]),
        "c": np.complex64([1 + 2j]),
    }
    outputs = client.predict(sent, "echo").outputs
    assert list(outputs["f"].float_val) == [1.5, 2.5]
    assert [dim.size for dim in outputs["f"].tensor_shape.dim] == [1, 2]
    assert list(outputs["d"].double_val) == [1e300]
    assert list(outputs["i"].int_val) == [-1, 2]
    assert list(outputs["l"].int64_val) == [2**40]
    assert list(outputs["l"].tensor_shape.dim) == []
    assert list(outputs["b"].bool_val) == [True, False]
    assert list(outputs["s"].string_val) == [b"a\0b", b""]
    assert list(outputs["h"].half_val) == [0x3C00]
    assert list(outputs["u"].int_val) == [255]
    assert list(outputs["c"].scomplex_val) == [1.0, 2.0]
    assert not any(proto.tensor_content for proto in outputs.values())
    for name, array in sent.items():
        np.testing.assert_array_equal(tf.make_ndarray(outputs[name]), array)


def test_row_15_a_large_output_is_in_typed_fields_too(client):
    output = client.predict({"x": np.zeros(5000, np.float32)}, "one").outputs["y"]
    assert len(output.float_val) == 5000
    assert not output.tensor_content


def test_row_16_long_messages_are_truncated(client, fails):
    message = fails("FAILED_PRECONDITION", client.predict, LINEAR, "s" * 2000)
    assert len(message) == 1024 + len("...TRUNCATED")
    assert message.startswith('Serving signature key "ssss')
    assert message.endswith("sss...TRUNCATED")


def test_row_17_the_deadline_reaches_the_run(client, shared_server, fails, eventually):
    # Some minutes of counting, if nobody stops it.
    inputs = {"n": np.int32(2**31 - 1)}
    fails("DEADLINE_EXCEEDED", client.predict, inputs, "slow", timeout=0.2)
    eventually(lambda: shared_server.manager.calls == 0)


def _metadata(*fields, name="segue"):
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=fields)
    request.model_spec.name = name
    return request


def test_row_18_metadata(client, toys):
    response = client.prediction.GetModelMetadata(_metadata("signature_def"), timeout=20)
    assert (response.model_spec.name, response.model_spec.version.value) == ("segue", 7)
    assert set(response.metadata) == {"signature_def"}
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(signatures)
    assert set(signatures.signature_def) >= {"serving_default", "echo", "one"}
    assert signatures.signature_def["one"].inputs["x"].dtype == types_pb2.DT_FLOAT


def test_row_18_metadata_errors(client, fails):
    call = client.prediction.GetModelMetadata
    assert fails("INVALID_ARGUMENT", call, _metadata(), timeout=20) == (
        "GetModelMetadataRequest must specify at least one metadata_field"
    )
    assert fails("INVALID_ARGUMENT", call, _metadata("X"), timeout=20) == (
        "Metadata field X is not supported"
    )
    assert fails("NOT_FOUND", call, _metadata("signature_def", name="m"), timeout=20) == (
        "Servable not found for request: Latest(m)"
    )


def test_the_init_op_is_in_the_metadata_and_cannot_be_run(client, fails):
    # As in TensorFlow Serving: the graph's map is given out whole, and the
    # runtime has no tensor for an operation without outputs.
    message = fails("OUT_OF_RANGE", client.predict, {}, "__saved_model_init_op")
    assert message == "Node 'NoOp' (type: 'NoOp', num of outputs: 0) does not have output 0"


def test_row_19_status(client, fails):
    assert client.statuses() == [(7, 30, 0)]
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "segue"
    request.model_spec.version.value = 7
    (status,) = client.model.GetModelStatus(request, timeout=20).model_version_status
    assert status.HasField("status")
    request.model_spec.version.value = 8
    assert fails("NOT_FOUND", client.model.GetModelStatus, request, timeout=20) == (
        "Could not find version 8 of model segue"
    )
    assert fails("NOT_FOUND", client.statuses, "m") == "Could not find any versions of model m"


def test_reconfiguring_is_unimplemented(client, fails):
    request = model_management_pb2.ReloadConfigRequest()
    fails("UNIMPLEMENTED", client.model.HandleReloadConfigRequest, request, timeout=20)


def test_row_22_classify(client):
    request = _examples(classification_pb2.ClassificationRequest(), 0.25, 1.0)
    request.model_spec.signature_name = "classify"
    response = client.prediction.Classify(request, timeout=20)
    assert [
        [(c.label, c.score) for c in row.classes] for row in response.result.classifications
    ] == [[("low", 0.75), ("high", 0.25)], [("low", 0.0), ("high", 1.0)]]
    assert response.model_spec.version.value == 7
    assert response.model_spec.signature_name == "classify"


def test_row_22_regress(client):
    request = _examples(regression_pb2.RegressionRequest(), 0.25, 1.0)
    request.model_spec.signature_name = "regress"
    response = client.prediction.Regress(request, timeout=20)
    assert [r.value for r in response.result.regressions] == [0.5, 2.0]


def test_row_22_examples_share_a_context(client):
    request = regression_pb2.RegressionRequest()
    request.model_spec.name = "segue"
    request.model_spec.signature_name = "regress"
    given = request.input.example_list_with_context
    given.context.features.feature["x"].float_list.value.append(3.0)
    given.examples.add()
    own = given.examples.add()
    own.features.feature["x"].float_list.value.append(5.0)
    response = client.prediction.Regress(request, timeout=20)
    assert [r.value for r in response.result.regressions] == [6.0, 10.0]


@pytest.mark.parametrize(
    ("call", "request_type"),
    [
        ("Classify", classification_pb2.ClassificationRequest),
        ("Regress", regression_pb2.RegressionRequest),
    ],
)
def test_row_22_errors(client, fails, call, request_type):
    def message(signature, *values):
        request = _examples(request_type(), *values)
        request.model_spec.signature_name = signature
        return fails("INVALID_ARGUMENT", getattr(client.prediction, call), request, timeout=20)

    assert message("x", 1.0) == "No signature was found with the name: x"
    assert message("", 1.0) == "Expected one input Tensor."
    kind = {"Classify": "classification", "Regress": "regression"}[call]
    assert message("one", 1.0).startswith(f"No {kind} inputs found in SignatureDef: ")
    assert message({"Classify": "classify", "Regress": "regress"}[call]) == "Input is empty."


def _tasks(*tasks):
    request = inference_pb2.MultiInferenceRequest()
    for name, signature, method in tasks:
        task = request.tasks.add(method_name=f"tensorflow/serving/{method}")
        task.model_spec.name = name
        task.model_spec.signature_name = signature
    example = request.input.example_list.examples.add()
    example.features.feature["x"].float_list.value.append(0.25)
    return request


def test_row_23_multi_inference_over_one_input(serve, base, push, connect):
    # Tasks must share their input tensor, so let both signatures read the same.
    def share_input(folder):
        from tensorflow.core.protobuf import saved_model_pb2

        graph = folder / "saved_model.pb"
        saved = saved_model_pb2.SavedModel.FromString(graph.read_bytes())
        signatures = saved.meta_graphs[0].signature_def
        signatures["scores"].CopyFrom(signatures["classify"])
        del signatures["scores"].outputs["classes"]
        graph.write_bytes(saved.SerializeToString())

    push(base, 1, change=share_input)
    client = connect(serve())
    request = _tasks(("segue", "classify", "classify"), ("segue", "scores", "classify"))
    both, scores = client.prediction.MultiInference(request, timeout=20).results
    classes = both.classification_result.classifications[0].classes
    assert [(c.label, c.score) for c in classes] == [("low", 0.75), ("high", 0.25)]
    classes = scores.classification_result.classifications[0].classes
    assert [(c.label, c.score) for c in classes] == [("", 0.75), ("", 0.25)]
    assert scores.model_spec.signature_name == "scores"
    assert scores.model_spec.version.value == 1


@pytest.mark.parametrize(
    ("tasks", "code", "message"),
    [
        ([], "INVALID_ARGUMENT", "ModelSpec has no name specified."),
        (
            [("segue", "classify", "classify"), ("other", "regress", "regress")],
            "INVALID_ARGUMENT",
            "All ModelSpecs in a MultiInferenceRequest must access the same model name.",
        ),
        (
            [("segue", "classify", "classify"), ("", "regress", "regress")],
            "INVALID_ARGUMENT",
            "Found ModelSpec with an empty model name.",
        ),
        (
            [("segue", "classify", "classify")] * 2,
            "INVALID_ARGUMENT",
            "Duplicate evaluation of signature: classify",
        ),
        (
            [("segue", "x", "classify")],
            "INVALID_ARGUMENT",
            "Requested signature not found in model graph: x",
        ),
        (
            [("segue", "classify", "predict")],
            "UNIMPLEMENTED",
            "Unsupported signature method_name: tensorflow/serving/predict",
        ),
        (
            [("segue", "classify", "classify"), ("segue", "regress", "regress")],
            "INVALID_ARGUMENT",
            "Input tensor must be the same for all Signatures.",
        ),
    ],
)
def test_row_23_errors(client, fails, tasks, code, message):
    call = client.prediction.MultiInference
    assert fails(code, call, _tasks(*tasks), timeout=20) == message


def test_row_38_messages_may_be_larger_than_four_mebibytes(client):
    x = np.ones(2_000_000, np.float32)
    output = client.predict({"x": x}, "one").outputs["y"]
    assert len(output.float_val) == 2_000_000


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
