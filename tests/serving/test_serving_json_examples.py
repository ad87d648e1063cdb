"""Examples and results of Classify and Regress."""

import json

import pytest

pytest.importorskip("tensorflow")

from tensorflow_serving.apis import (
    classification_pb2,
    input_pb2,
    regression_pb2,
)

from serving import json_examples
from serving.errors import ServingError


def read(document):
    given = input_pb2.Input()
    json_examples.read_examples(document, given)
    return given


def test_the_documented_features():
    given = read(
        {
            "context": {"shared": "text"},
            "examples": [
                {
                    "floats": [1.0, 2.5],
                    "ints": [1, -2],
                    "flag": True,
                    "texts": ["a", {"b64": "AP8="}],
                    "sole": 3,
                    "empty": [],
                }
            ],
        }
    )
    assert given.WhichOneof("kind") == "example_list_with_context"
    (example,) = given.example_list_with_context.examples
    features = example.features.feature
    assert list(features["floats"].float_list.value) == [1.0, 2.5]
    assert list(features["ints"].int64_list.value) == [1, -2]
    assert list(features["flag"].int64_list.value) == [1]
    assert list(features["texts"].bytes_list.value) == [b"a", b"\x00\xff"]
    assert list(features["sole"].int64_list.value) == [3]
    assert features["empty"].WhichOneof("kind") is None
    shared = given.example_list_with_context.context.features.feature["shared"]
    assert list(shared.bytes_list.value) == [b"text"]


def test_without_a_context_the_list_is_plain():
    given = read({"examples": [{"x": 1.5}, {}]})
    assert given.WhichOneof("kind") == "example_list"
    assert len(given.example_list.examples) == 2


@pytest.mark.parametrize(
    ("values", "kind"),
    [([1, 1.0], "int64"), ([1.0, 1], "float"), (["a", True], "bytes"), ([True, "a"], "int64")],
)
def test_a_feature_has_values_of_one_kind(values, kind):
    with pytest.raises(ServingError) as caught:
        read({"examples": [{"x": values}]})
    assert caught.value.code.name == "INVALID_ARGUMENT"
    assert caught.value.message == (f"Unexpected element type in feature: x expecting type: {kind}")


@pytest.mark.parametrize(
    ("value", "name"), [(None, "Null"), ([[1]], "Array"), ([{"a": 1}], "Object")]
)
def test_other_values_are_refused(value, name):
    with pytest.raises(ServingError) as caught:
        read({"examples": [{"x": value}]})
    assert caught.value.message == f"Feature: x has element with unexpected JSON type: {name}"


def test_a_float_that_is_too_large_is_refused():
    with pytest.raises(ServingError, match="Cannot convert JSON value: 1e\\+39 to float without"):
        read({"examples": [{"x": 1e39}]})


def test_results():
    result = classification_pb2.ClassificationResult()
    row = result.classifications.add()
    row.classes.add(label="a", score=0.1)
    row.classes.add(label="", score=float("nan"))
    text = json_examples.write_classifications(result)
    assert text == b'{"results":[[["a",0.1],["",NaN]]]}'
    numbers = regression_pb2.RegressionResult()
    for value in (0.1, 2):
        numbers.regressions.add(value=value)
    assert json.loads(json_examples.write_regressions(numbers)) == {"results": [0.1, 2.0]}


def test_no_results_are_an_error_as_in_the_binary():
    with pytest.raises(ServingError, match="Cannot convert empty ClassificationResults to JSON"):
        json_examples.write_classifications(classification_pb2.ClassificationResult())
    with pytest.raises(ServingError, match="Cannot convert empty RegressionResults to JSON"):
        json_examples.write_regressions(regression_pb2.RegressionResult())
