"""Classify's and Regress's examples as JSON, and their results.

A tf.Example is an object with a value, or a list of values, for each feature.
JSON has no types of its own, so the value decides the feature's kind: whole
numbers and booleans make an int64 list, numbers with a point a float list, text
and base64 objects a bytes list. See https://www.tensorflow.org/tfx/serving/api_rest
and the binary's util/json_tensor.cc.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from tensorflow.core.example import example_pb2, feature_pb2
from tensorflow_serving.apis import classification_pb2, input_pb2, regression_pb2

from serving import errors, json_text, json_values

_RESULTS = "results"
_KINDS = {"bytes_list": "bytes", "float_list": "float", "int64_list": "int64"}
_FLOAT = ("float", 2**24 - 1)


def read_examples(document: Mapping[str, Any], given: input_pb2.Input) -> None:
    """Reads the examples of a Classify or Regress request.

    Args:
      document: the parsed body, with `examples` and perhaps a shared `context`.
      given: the request's input, which is filled.

    Raises:
      ServingError: INVALID_ARGUMENT when there are none, or one is malformed.
    """
    examples = given.example_list.examples
    if "context" in document:
        with_context = given.example_list_with_context
        _read_example(document["context"], with_context.context)
        examples = with_context.examples
    if "examples" not in document:
        raise json_text.refused(
            document, "When method is classify, key 'examples' is expected and was not found"
        )
    values = document["examples"]
    if not isinstance(values, list):
        raise json_text.refused(document, "Expecting 'examples' value to be an list/array")
    if not values:
        raise json_text.refused(document, "'examples' value is an empty array")
    for value in values:
        _read_example(value, examples.add())


def write_classifications(result: classification_pb2.ClassificationResult) -> bytes:
    """`results`: for each example a list of [label, score]."""
    if not result.classifications:
        raise errors.invalid_argument("Cannot convert empty ClassificationResults to JSON")
    rows = [
        [[entry.label, _float32(entry.score)] for entry in row.classes]
        for row in result.classifications
    ]
    return json_text.dump({_RESULTS: rows})


def write_regressions(result: regression_pb2.RegressionResult) -> bytes:
    """`results`: a number for each example."""
    if not result.regressions:
        raise errors.invalid_argument("Cannot convert empty RegressionResults to JSON")
    return json_text.dump({_RESULTS: [_float32(entry.value) for entry in result.regressions]})


def _float32(value: float) -> Any:
    return json_text.writable(np.asarray(value, np.float32))


def _read_example(value: Any, example: example_pb2.Example) -> None:
    if not isinstance(value, dict):
        raise errors.invalid_argument(
            f"Example must be JSON object but got JSON {json_text.type_name(value)}"
        )
    for name, content in value.items():
        # Touched even if it stays empty: a feature without values is one, too.
        feature = example.features.feature[name]
        for item in content if isinstance(content, list) else [content]:
            _add(item, name, feature)


def _add(value: Any, name: str, feature: feature_pb2.Feature) -> None:
    if isinstance(value, str) or json_values.is_base64(value):
        raw = value.encode() if isinstance(value, str) else json_values.decode_base64(value)
        _list(feature, "bytes_list", name).append(raw)
    elif isinstance(value, float):
        values = _list(feature, "float_list", name)
        json_values.check_decimal(value, *_FLOAT)
        values.append(value)
    elif isinstance(value, int):
        values = _list(feature, "int64_list", name)
        if value >= 2**63:
            raise errors.invalid_argument(
                f"Feature: {name} has uint64 element. Only int64 is supported."
            )
        values.append(int(value))
    else:
        raise errors.invalid_argument(
            f"Feature: {name} has element with unexpected JSON type: {json_text.type_name(value)}"
        )


def _list(feature: feature_pb2.Feature, kind: str, name: str) -> Any:
    found = feature.WhichOneof("kind")
    if found not in (None, kind):
        raise errors.invalid_argument(
            f"Unexpected element type in feature: {name} expecting type: {_KINDS[found]}"
        )
    return getattr(feature, kind).value
