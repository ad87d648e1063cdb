"""What a server answers, row by row: any server, started by the binary's own flags.

The rows are those of what TensorFlow Serving 2.16 does, and so are the expected words
and numbers; nothing here is read from our server's code. Every test runs against the
embedded server as a process and, where it is on PATH, against `tensorflow_model_server`.
One process of each answers all of this file, which only asks.
"""

import grpc
import numpy as np
import pytest
import tensorflow as tf
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

LINEAR = {"x": [1.0, 2.0], "bias": [10.0, 10.0]}


def _examples(request, *values):
    request.model_spec.name = "segue"
    for value in values:
        example = request.input.example_list.examples.add()
        example.features.feature["x"].float_list.value.append(value)
    return request


def test_predict(asked):
    response = asked.predict(LINEAR)
    assert list(response.outputs["y"].float_val) == [12.0, 14.0]
    assert list(response.outputs["unused"].float_val) == [-1.0, -2.0]


def test_row_01_session_service_is_not_registered(asked, fails):
    run = asked.channel.unary_unary("/tensorflow.serving.SessionService/SessionRun")
    fails("UNIMPLEMENTED", run, b"", timeout=20)


def test_row_02_reflection_lists_the_services(asked):
    stub = reflection_pb2_grpc.ServerReflectionStub(asked.channel)
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    answer = next(stub.ServerReflectionInfo(iter([request]), timeout=20))
    names = {service.name for service in answer.list_services_response.service}
    assert names >= {"tensorflow.serving.PredictionService", "tensorflow.serving.ModelService"}
    assert "tensorflow.serving.SessionService" not in names


@pytest.mark.parametrize("service", ["ModelService", "PredictionService"])
def test_row_03_health(asked, service):
    stub = health_pb2_grpc.HealthStub(asked.channel)
    answer = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=20)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_row_03_health_knows_no_other_service(asked, fails):
    stub = health_pb2_grpc.HealthStub(asked.channel)
    fails("NOT_FOUND", stub.Check, health_pb2.HealthCheckRequest(service="segue"), timeout=20)


def test_row_04_no_model_spec(asked, fails):
    calls = {
        asked.prediction.Predict: predict_pb2.PredictRequest(),
        asked.prediction.Classify: classification_pb2.ClassificationRequest(),
        asked.prediction.Regress: regression_pb2.RegressionRequest(),
        asked.prediction.GetModelMetadata: get_model_metadata_pb2.GetModelMetadataRequest(),
        asked.model.GetModelStatus: get_model_status_pb2.GetModelStatusRequest(),
    }
    for call, request in calls.items():
        assert fails("INVALID_ARGUMENT", call, request, timeout=20) == "Missing ModelSpec"


def test_row_04_no_name(asked, fails):
    message = fails("INVALID_ARGUMENT", asked.predict, LINEAR, model="")
    assert message == "ModelSpec has no name specified."


def test_row_05_unknown_model_or_version(asked, fails):
    assert (
        fails("NOT_FOUND", asked.predict, LINEAR, model="m")
        == "Servable not found for request: Latest(m)"
    )
    assert (
        fails("NOT_FOUND", asked.predict, LINEAR, model="m", version=7)
        == "Servable not found for request: Specific(m, 7)"
    )
    assert (
        fails("NOT_FOUND", asked.predict, LINEAR, version=8)
        == "Servable not found for request: Specific(segue, 8)"
    )


def test_row_07_unknown_signature(asked, fails):
    message = fails("FAILED_PRECONDITION", asked.predict, LINEAR, "x")
    assert message == 'Serving signature key "x" not found.'


def test_row_08_method_name_is_not_checked(asked):
    response = asked.predict({"x": [4.0]}, "odd_method")
    assert list(response.outputs["y"].float_val) == [8.0]


def test_row_09_wrong_number_of_inputs(asked, fails):
    assert fails("INVALID_ARGUMENT", asked.predict, {"a": [1.0]}) == (
        "input size does not match signature: 1!=2 len({a}) != len({bias,x}). "
        "Sent extra: {a}. Missing but required: {bias,x}."
    )
    inputs = {"z": [1.0], "x": [1.0], "bias": [1.0]}
    assert fails("INVALID_ARGUMENT", asked.predict, inputs) == (
        "input size does not match signature: 3!=2 len({bias,x,z}) != len({bias,x}). "
        "Sent extra: {z}. Missing but required: {}."
    )


def test_row_09_signature_defaults_are_honoured(asked, fails):
    response = asked.predict({"x": [1.0]}, "with_default")
    assert list(response.outputs["y"].float_val) == [12.0]
    response = asked.predict({"x": [1.0], "bias": [5.0]}, "with_default")
    assert list(response.outputs["y"].float_val) == [7.0]
    assert fails("INVALID_ARGUMENT", asked.predict, {"bias": [1.0]}, "with_default") == (
        "Signature input alias: x(feed name: serving_default_x:0) not found in request and no "
        "default value provided. Inputs expected to be in the request {bias}, or default input "
        "alias set: bias"
    )


def test_row_10_wrong_names(asked, fails):
    message = fails("INVALID_ARGUMENT", asked.predict, {"x": [1.0], "a": [1.0]})
    assert message.startswith("Signature input alias: bias(feed name: serving_default_bias:0)")


def test_row_10_a_wrong_name_beside_a_default(asked, fails):
    message = fails("INVALID_ARGUMENT", asked.predict, {"x": [1.0], "a": [1.0]}, "with_default")
    assert message == ("Inputs contains invalid name. Used request inputs: x, request input: a,x")


def test_row_11_wrong_dtype(asked, fails):
    message = fails("INVALID_ARGUMENT", asked.predict, {"x": [True]}, "one")
    assert message == "Expects arg[0] to be float but bool is provided"


def test_row_12_shapes_are_not_checked_statically(asked):
    # Declared [None, 1].
    assert list(asked.predict({"x": [4.0]}, "column").outputs["y"].float_val) == [8.0]


def test_row_12_kernel_errors_pass_through(asked, fails):
    inputs = {"x": [1.0, 2.0], "bias": [1.0, 2.0, 3.0]}
    message = fails("INVALID_ARGUMENT", asked.predict, inputs)
    assert message.startswith("Incompatible shapes: [2] vs. [3]")


def test_row_13_output_filter(asked, fails):
    assert set(asked.predict(LINEAR, outputs=["y"]).outputs) == {"y"}
    assert set(asked.predict(LINEAR, outputs=[]).outputs) == {"y", "unused"}
    assert fails("INVALID_ARGUMENT", asked.predict, {"x": [1.0]}, "one", ["z"]) == (
        "output tensor alias not found in signature: z Outputs expected to be in the set {y}."
    )
    assert (
        fails("INVALID_ARGUMENT", asked.predict, {"x": [1.0]}, "one", ["y", "y"])
        == "duplicate output tensor alias: y"
    )


def test_row_14_the_response_says_what_answered(asked):
    spec = asked.predict(LINEAR).model_spec
    assert (spec.name, spec.version.value, spec.signature_name) == ("segue", 7, "serving_default")
    spec = asked.predict({"x": [1.0]}, "one", version=7).model_spec
    assert (spec.name, spec.version.value, spec.signature_name) == ("segue", 7, "one")
    assert not spec.version_label


def test_row_15_outputs_are_in_typed_fields(asked):
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
    outputs = asked.predict(sent, "echo").outputs
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


def test_row_15_a_large_output_is_in_typed_fields_too(asked):
    output = asked.predict({"x": np.zeros(5000, np.float32)}, "one").outputs["y"]
    assert len(output.float_val) == 5000
    assert not output.tensor_content


def test_row_16_long_messages_are_truncated(asked, fails):
    message = fails("FAILED_PRECONDITION", asked.predict, LINEAR, "s" * 2000)
    assert len(message) == 1024 + len("...TRUNCATED")
    assert message.startswith('Serving signature key "ssss')
    assert message.endswith("sss...TRUNCATED")


def _metadata(*fields, name="segue"):
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=fields)
    request.model_spec.name = name
    return request


def test_row_18_metadata(asked, toys):
    response = asked.prediction.GetModelMetadata(_metadata("signature_def"), timeout=20)
    assert (response.model_spec.name, response.model_spec.version.value) == ("segue", 7)
    assert set(response.metadata) == {"signature_def"}
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(signatures)
    assert set(signatures.signature_def) >= {"serving_default", "echo", "one"}
    assert signatures.signature_def["one"].inputs["x"].dtype == types_pb2.DT_FLOAT


def test_row_18_metadata_errors(asked, fails):
    call = asked.prediction.GetModelMetadata
    assert fails("INVALID_ARGUMENT", call, _metadata(), timeout=20) == (
        "GetModelMetadataRequest must specify at least one metadata_field"
    )
    assert fails("INVALID_ARGUMENT", call, _metadata("X"), timeout=20) == (
        "Metadata field X is not supported"
    )
    assert fails("NOT_FOUND", call, _metadata("signature_def", name="m"), timeout=20) == (
        "Servable not found for request: Latest(m)"
    )


def test_the_init_op_is_in_the_metadata_and_cannot_be_run(asked, fails):
    # As in TensorFlow Serving: the graph's map is given out whole, and the
    # runtime has no tensor for an operation without outputs.
    message = fails("OUT_OF_RANGE", asked.predict, {}, "__saved_model_init_op")
    assert message == "Node 'NoOp' (type: 'NoOp', num of outputs: 0) does not have output 0"


def test_row_19_status(asked, fails):
    assert asked.statuses() == [(7, 30, 0)]
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "segue"
    request.model_spec.version.value = 7
    (status,) = asked.model.GetModelStatus(request, timeout=20).model_version_status
    assert status.HasField("status")
    request.model_spec.version.value = 8
    assert fails("NOT_FOUND", asked.model.GetModelStatus, request, timeout=20) == (
        "Could not find version 8 of model segue"
    )
    assert fails("NOT_FOUND", asked.statuses, "m") == "Could not find any versions of model m"


def test_row_22_classify(asked):
    request = _examples(classification_pb2.ClassificationRequest(), 0.25, 1.0)
    request.model_spec.signature_name = "classify"
    response = asked.prediction.Classify(request, timeout=20)
    assert [
        [(c.label, c.score) for c in row.classes] for row in response.result.classifications
    ] == [[("low", 0.75), ("high", 0.25)], [("low", 0.0), ("high", 1.0)]]
    assert response.model_spec.version.value == 7
    assert response.model_spec.signature_name == "classify"


def test_row_22_regress(asked):
    request = _examples(regression_pb2.RegressionRequest(), 0.25, 1.0)
    request.model_spec.signature_name = "regress"
    response = asked.prediction.Regress(request, timeout=20)
    assert [r.value for r in response.result.regressions] == [0.5, 2.0]


def test_row_22_examples_share_a_context(asked):
    request = regression_pb2.RegressionRequest()
    request.model_spec.name = "segue"
    request.model_spec.signature_name = "regress"
    given = request.input.example_list_with_context
    given.context.features.feature["x"].float_list.value.append(3.0)
    given.examples.add()
    own = given.examples.add()
    own.features.feature["x"].float_list.value.append(5.0)
    response = asked.prediction.Regress(request, timeout=20)
    assert [r.value for r in response.result.regressions] == [6.0, 10.0]


@pytest.mark.parametrize(
    ("call", "request_type"),
    [
        ("Classify", classification_pb2.ClassificationRequest),
        ("Regress", regression_pb2.RegressionRequest),
    ],
)
def test_row_22_errors(asked, fails, call, request_type):
    def message(signature, *values):
        request = _examples(request_type(), *values)
        request.model_spec.signature_name = signature
        return fails("INVALID_ARGUMENT", getattr(asked.prediction, call), request, timeout=20)

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


def test_row_23_multi_inference_over_one_input(asked):
    request = _tasks(("segue", "classify", "classify"), ("segue", "scores", "classify"))
    both, scores = asked.prediction.MultiInference(request, timeout=20).results
    classes = both.classification_result.classifications[0].classes
    assert [(c.label, c.score) for c in classes] == [("low", 0.75), ("high", 0.25)]
    classes = scores.classification_result.classifications[0].classes
    assert [(c.label, c.score) for c in classes] == [("", 0.75), ("", 0.25)]
    assert scores.model_spec.signature_name == "scores"
    assert scores.model_spec.version.value == 7


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
def test_row_23_errors(asked, fails, tasks, code, message):
    call = asked.prediction.MultiInference
    assert fails(code, call, _tasks(*tasks), timeout=20) == message


def test_row_38_messages_may_be_larger_than_four_mebibytes(asked):
    x = np.ones(2_000_000, np.float32)
    output = asked.predict({"x": x}, "one").outputs["y"]
    assert len(output.float_val) == 2_000_000


def test_row_38_a_client_of_the_default_limit_cannot_receive_them(asked, fails):
    # grpc's own default, 4 MiB, is the client's: both sides have to raise it.
    with grpc.insecure_channel(asked.address) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        request = asked.request({"x": np.ones(2_000_000, np.float32)}, "one")
        message = fails("RESOURCE_EXHAUSTED", stub.Predict, request, timeout=20)
    assert "8000" in message
