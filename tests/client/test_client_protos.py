"""The light messages against TensorFlow's own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from client import protos

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def theirs():
    from tensorflow.core.framework import tensor_pb2, tensor_shape_pb2
    from tensorflow_serving.apis import (
        get_model_status_pb2,
        model_pb2,
        predict_pb2,
        status_pb2,
    )

    return {
        "tensorflow.TensorProto": tensor_pb2.TensorProto,
        "tensorflow.TensorShapeProto": tensor_shape_pb2.TensorShapeProto,
        "tensorflow.TensorShapeProto.Dim": tensor_shape_pb2.TensorShapeProto.Dim,
        "tensorflow.serving.ModelSpec": model_pb2.ModelSpec,
        "tensorflow.serving.PredictRequest": predict_pb2.PredictRequest,
        "tensorflow.serving.PredictResponse": predict_pb2.PredictResponse,
        "tensorflow.serving.StatusProto": status_pb2.StatusProto,
        "tensorflow.serving.ModelVersionStatus": get_model_status_pb2.ModelVersionStatus,
        "tensorflow.serving.GetModelStatusRequest": get_model_status_pb2.GetModelStatusRequest,
        "tensorflow.serving.GetModelStatusResponse": get_model_status_pb2.GetModelStatusResponse,
    }


def wire_form(field):
    """What decides a field's bytes; an enum is written as an int32 is."""
    kind = field.TYPE_INT32 if field.type == field.TYPE_ENUM else field.type
    message = field.message_type.full_name if field.message_type else None
    return field.name, kind, field.label, message


def test_every_field_has_the_number_and_type_of_tensorflows(theirs):
    for name, other in theirs.items():
        their_fields = {field.number: wire_form(field) for field in other.DESCRIPTOR.fields}
        for field in protos.MESSAGES[name].DESCRIPTOR.fields:
            assert wire_form(field) == their_fields[field.number], f"{name}.{field.name}"
    assert set(protos.MESSAGES) - set(theirs) == {"google.protobuf.Int64Value"}


def test_data_types_and_states_are_tensorflows():
    from tensorflow.core.framework import types_pb2
    from tensorflow_serving.apis import get_model_status_pb2

    for name in ("DT_FLOAT", "DT_INT32", "DT_STRING", "DT_INT64", "DT_BOOL"):
        assert getattr(protos, name) == types_pb2.DataType.Value(name)
    states = get_model_status_pb2.ModelVersionStatus.State
    assert {number: name for name, number in states.items()} == protos.VERSION_STATES


def test_a_request_is_the_same_bytes_on_both_sides(theirs):
    ours = protos.PredictRequest()
    fill_request(ours)
    other = theirs["tensorflow.serving.PredictRequest"]()
    fill_request(other)
    assert ours.SerializeToString(deterministic=True) == other.SerializeToString(deterministic=True)
    assert other.FromString(ours.SerializeToString()) == other
    assert protos.PredictRequest.FromString(other.SerializeToString()) == ours


def fill_request(request):
    request.model_spec.name = "segue"
    request.model_spec.version.value = 7
    request.model_spec.signature_name = "generate"
    request.output_filter.append("events")
    tensor = request.inputs["seed"]
    tensor.dtype = protos.DT_INT64
    tensor.tensor_shape.dim.add(size=2)
    tensor.int64_val.extend([-1, 2**40])


def test_version_zero_is_told_apart_from_no_version():
    spec = protos.ModelSpec()
    assert not spec.HasField("version")
    spec.version.value = 0
    assert protos.ModelSpec.FromString(spec.SerializeToString()).HasField("version")


def test_fields_that_are_not_read_are_skipped(theirs):
    other = theirs["tensorflow.TensorProto"](dtype=3, int_val=[1], scomplex_val=[1.0, 2.0])
    assert list(protos.TensorProto.FromString(other.SerializeToString()).int_val) == [1]


@pytest.mark.parametrize(
    "imports",
    [
        "import client.protos; from tensorflow_serving.apis import predict_pb2",
        "from tensorflow_serving.apis import predict_pb2; import client.protos",
    ],
    ids=["ours-first", "theirs-first"],
)
def test_both_sets_of_messages_live_in_one_process(imports):
    code = (
        f"{imports}\n"
        "from client import tensors\n"
        "ours = client.protos.PredictRequest()\n"
        "ours.model_spec.version.value = 5\n"
        "ours.inputs['seed'].CopyFrom(tensors.to_proto([1, 2]))\n"
        "theirs = predict_pb2.PredictRequest.FromString(ours.SerializeToString())\n"
        "assert theirs.model_spec.version.value == 5\n"
        "assert tensors.to_array(theirs.inputs['seed']).tolist() == [1, 2]\n"
        "assert type(ours) is not type(theirs)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
