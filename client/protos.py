"""The few messages that a client of TensorFlow Serving speaks, without TensorFlow.

The generated modules of `tensorflow-serving-api` import TensorFlow: seconds of
waiting and a gigabyte of wheel for eight small messages. They are written out
here instead, with the field names and numbers of TensorFlow's public protos
(tensorflow/core/framework/tensor.proto, tensor_shape.proto and
tensorflow_serving/apis/model.proto, predict.proto, get_model_status.proto), so
that their bytes are the same.

They live in a descriptor pool of their own. Protobuf refuses two definitions of
one full name in one pool, and a process that also loads TensorFlow (the tests,
the pipeline's components) has these names in the default pool already; apart
from each other they coexist, whichever is imported first.

Messages are partial on purpose: a field that no client needs (complex tensors,
streamed predictions) is skipped as unknown when it is read.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_Field = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    "float": _Field.TYPE_FLOAT,
    "double": _Field.TYPE_DOUBLE,
    "int32": _Field.TYPE_INT32,
    "int64": _Field.TYPE_INT64,
    "bool": _Field.TYPE_BOOL,
    "bytes": _Field.TYPE_BYTES,
    "string": _Field.TYPE_STRING,
}

# The numbers of tensorflow.DataType that Segue's signatures use. The field
# itself is declared int32: an enum is a varint too, and an open one at that.
DT_FLOAT = 1
DT_INT32 = 3
DT_STRING = 7
DT_INT64 = 9
DT_BOOL = 10

# States of a version in GetModelStatusResponse.
VERSION_STATES = {
    0: "UNKNOWN",
    10: "START",
    20: "LOADING",
    30: "AVAILABLE",
    40: "UNLOADING",
    50: "END",
}

PREDICT = "/tensorflow.serving.PredictionService/Predict"
GET_MODEL_STATUS = "/tensorflow.serving.ModelService/GetModelStatus"

# Each file: its package, what it imports, and its messages as
# {message: [(field, number, kind)]}. A kind is a scalar, a full message name,
# either of them after "repeated ", or "map MESSAGE" for a map from string.
_FILES: dict[str, tuple[str, tuple[str, ...], dict[str, list[tuple[str, int, str]]]]] = {
    "google/protobuf/wrappers.proto": (
        "google.protobuf",
        (),
        {"Int64Value": [("value", 1, "int64")]},
    ),
    "tensorflow/core/framework/tensor.proto": (
        "tensorflow",
        (),
        {
            "TensorShapeProto": [
                ("dim", 2, "repeated tensorflow.TensorShapeProto.Dim"),
                ("unknown_rank", 3, "bool"),
            ],
            "TensorShapeProto.Dim": [("size", 1, "int64"), ("name", 2, "string")],
            "TensorProto": [
                ("dtype", 1, "int32"),
                ("tensor_shape", 2, "tensorflow.TensorShapeProto"),
                ("version_number", 3, "int32"),
                ("tensor_content", 4, "bytes"),
                ("float_val", 5, "repeated float"),
                ("double_val", 6, "repeated double"),
                ("int_val", 7, "repeated int32"),
                ("string_val", 8, "repeated bytes"),
                ("int64_val", 10, "repeated int64"),
                ("bool_val", 11, "repeated bool"),
            ],
        },
    ),
    "tensorflow_serving/apis/predict.proto": (
        "tensorflow.serving",
        ("google/protobuf/wrappers.proto", "tensorflow/core/framework/tensor.proto"),
        {
            "ModelSpec": [
                ("name", 1, "string"),
                ("version", 2, "google.protobuf.Int64Value"),
                ("signature_name", 3, "string"),
                ("version_label", 4, "string"),
            ],
            "PredictRequest": [
                ("model_spec", 1, "tensorflow.serving.ModelSpec"),
                ("inputs", 2, "map tensorflow.TensorProto"),
                ("output_filter", 3, "repeated string"),
            ],
            "PredictResponse": [
                ("outputs", 1, "map tensorflow.TensorProto"),
                ("model_spec", 2, "tensorflow.serving.ModelSpec"),
            ],
            "StatusProto": [("error_code", 1, "int32"), ("error_message", 2, "string")],
            "ModelVersionStatus": [
                ("version", 1, "int64"),
                ("state", 2, "int32"),
                ("status", 3, "tensorflow.serving.StatusProto"),
            ],
            "GetModelStatusRequest": [("model_spec", 1, "tensorflow.serving.ModelSpec")],
            "GetModelStatusResponse": [
                ("model_version_status", 1, "repeated tensorflow.serving.ModelVersionStatus")
            ],
        },
    ),
}


def _add_field(message: descriptor_pb2.DescriptorProto, name: str, number: int, kind: str) -> None:
    field = message.field.add(name=name, number=number, label=_Field.LABEL_OPTIONAL)
    how, _, rest = kind.rpartition(" ")
    if how:
        field.label = _Field.LABEL_REPEATED
    if rest in _SCALARS:
        field.type = _SCALARS[rest]
        return
    field.type = _Field.TYPE_MESSAGE
    field.type_name = f".{rest}"


def _add_map(
    message: descriptor_pb2.DescriptorProto, full_name: str, name: str, number: int, value: str
) -> None:
    """A map is a repeated message of key (1) and value (2) that carries a mark."""
    entry = message.nested_type.add(name=f"{name.title()}Entry")
    entry.options.map_entry = True
    _add_field(entry, "key", 1, "string")
    _add_field(entry, "value", 2, value)
    _add_field(message, name, number, f"repeated {full_name}.{entry.name}")


def _build() -> dict[str, Any]:
    pool = descriptor_pool.DescriptorPool()
    names: list[str] = []
    for path, (package, imports, messages) in _FILES.items():
        file = descriptor_pb2.FileDescriptorProto(
            name=path, package=package, dependency=imports, syntax="proto3"
        )
        built: dict[str, descriptor_pb2.DescriptorProto] = {}
        for message_name, fields in messages.items():
            outer, _, short = message_name.rpartition(".")
            siblings = built[outer].nested_type if outer else file.message_type
            message = built[message_name] = siblings.add(name=short)
            full_name = f"{package}.{message_name}"
            names.append(full_name)
            for name, number, kind in fields:
                if kind.startswith("map "):
                    _add_map(message, full_name, name, number, kind[len("map ") :])
                else:
                    _add_field(message, name, number, kind)
        pool.AddSerializedFile(file.SerializeToString())
    # Protobuf 4.22 brought GetMessageClass; GetPrototype left with protobuf 5.
    # No one version has both, so neither is named where a type checker looks.
    get_class = getattr(message_factory, "GetMessageClass", None)
    if get_class is None:
        factory: Any = message_factory.MessageFactory(pool)
        get_class = factory.GetPrototype
    return {name: get_class(pool.FindMessageTypeByName(name)) for name in names}


# Message classes by full name. `Any`, since they are made while the program
# runs and no type checker can see their fields.
MESSAGES: dict[str, Any] = _build()

TensorShapeProto: Any = MESSAGES["tensorflow.TensorShapeProto"]
TensorProto: Any = MESSAGES["tensorflow.TensorProto"]
ModelSpec: Any = MESSAGES["tensorflow.serving.ModelSpec"]
PredictRequest: Any = MESSAGES["tensorflow.serving.PredictRequest"]
PredictResponse: Any = MESSAGES["tensorflow.serving.PredictResponse"]
GetModelStatusRequest: Any = MESSAGES["tensorflow.serving.GetModelStatusRequest"]
GetModelStatusResponse: Any = MESSAGES["tensorflow.serving.GetModelStatusResponse"]
