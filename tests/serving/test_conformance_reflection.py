"""A client that is written from TensorFlow Serving's public documentation alone.

It imports none of its messages: what they are, the server itself tells (row 2). The
fields and numbers below are those of the documented APIs: `predict.proto`,
`get_model_status.proto`, `get_model_metadata.proto`, `tensor.proto`.
"""

import grpc
import pytest

PREDICTION = "tensorflow.serving.PredictionService"
MODEL = "tensorflow.serving.ModelService"
DT_FLOAT = 1


@pytest.fixture
def documented(asked, reflect):
    return reflect(asked.address)


def test_row_01_02_services_and_methods_are_the_documented_ones(documented):
    assert documented.services() >= {PREDICTION, MODEL}
    assert documented.methods(PREDICTION) == {
        "Predict",
        "Classify",
        "Regress",
        "MultiInference",
        "GetModelMetadata",
    }
    assert documented.methods(MODEL) == {"GetModelStatus", "HandleReloadConfigRequest"}


def test_row_02_every_file_of_a_service_is_told(documented):
    documented.methods(PREDICTION)
    documented.methods(MODEL)
    # Messages in files that the services' files import, at several removes.
    for name in (
        "tensorflow.TensorProto",
        "tensorflow.Example",
        "tensorflow.SignatureDef",
        "tensorflow.serving.SignatureDefMap",
        "tensorflow.serving.ModelServerConfig",
        "google.protobuf.Any",
        "google.protobuf.Int64Value",
    ):
        assert documented.pool.FindMessageTypeByName(name).full_name == name


def test_a_model_is_listed(documented):
    answer = documented.call(MODEL, "GetModelStatus", model_spec={"name": "segue"})
    (status,) = answer.model_version_status
    states = type(status).DESCRIPTOR.fields_by_name["state"].enum_type.values_by_number
    assert (status.version, states[status.state].name) == (7, "AVAILABLE")


def test_a_model_is_inspected(documented):
    answer = documented.call(
        PREDICTION,
        "GetModelMetadata",
        model_spec={"name": "segue"},
        metadata_field=["signature_def"],
    )
    (packed,) = answer.metadata.values()
    assert packed.type_url == "type.googleapis.com/tensorflow.serving.SignatureDefMap"
    signatures = documented.message("tensorflow.serving.SignatureDefMap")
    signatures.ParseFromString(packed.value)
    linear = signatures.signature_def["serving_default"]
    assert {name: info.dtype for name, info in linear.inputs.items()} == {
        "x": DT_FLOAT,
        "bias": DT_FLOAT,
    }


def test_a_model_is_called(documented):
    documented.methods(PREDICTION)

    def row(*values):
        shape = {"dim": [{"size": len(values)}]}
        return documented.message(
            "tensorflow.TensorProto", dtype=DT_FLOAT, tensor_shape=shape, float_val=values
        )

    tensors = {"x": row(1.0, 2.0), "bias": row(10.0, 10.0)}
    answer = documented.call(PREDICTION, "Predict", model_spec={"name": "segue"}, inputs=tensors)
    assert list(answer.outputs["y"].float_val) == [12.0, 14.0]
    assert answer.model_spec.version.value == 7


def test_an_error_is_a_status_with_a_message(documented):
    with pytest.raises(grpc.RpcError) as caught:
        documented.call(MODEL, "GetModelStatus", model_spec={"name": "m"})
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    assert caught.value.details() == "Could not find any versions of model m"
