"""Rows and columns: documented examples, round trips, and dtypes one by one."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

tf = pytest.importorskip("tensorflow")

from tensorflow.core.protobuf import meta_graph_pb2  # noqa: E402
from tensorflow_serving.apis import predict_pb2  # noqa: E402

from serving import json_tensors, tensors  # noqa: E402
from serving.errors import ServingError  # noqa: E402
from serving.json_tensors import Layout  # noqa: E402

INTEGERS = [np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint32, np.uint64]
FLOATS = [np.float32, np.float64]


def infos(**dtypes):
    return {
        name: meta_graph_pb2.TensorInfo(dtype=tf.as_dtype(dtype).as_datatype_enum)
        for name, dtype in dtypes.items()
    }


def read(document, **dtypes):
    request = predict_pb2.PredictRequest()
    layout = json_tensors.read_inputs(document, infos(**dtypes), request.inputs)
    return layout, {name: tensors.decode(proto) for name, proto in request.inputs.items()}


def written(layout, **arrays):
    response = predict_pb2.PredictResponse()
    for name, array in arrays.items():
        tensors.encode(array, response.outputs[name])
    return json.loads(json_tensors.write_outputs(response.outputs, layout))


def strings(*values):
    array = np.empty(len(values), object)
    array[:] = values
    return array


def refused(document, **dtypes):
    with pytest.raises(ServingError) as caught:
        read(document, **dtypes)
    return caught.value.code.name, caught.value.message


def arrays_of(dtype, min_dims=1):
    shapes = hnp.array_shapes(min_dims=min_dims, max_dims=4, max_side=4)
    if dtype == np.object_:
        return shapes.flatmap(
            lambda shape: st.lists(
                st.text(), min_size=int(np.prod(shape)), max_size=int(np.prod(shape))
            ).map(lambda texts: strings(*(t.encode() for t in texts)).reshape(shape))
        )
    return hnp.arrays(dtype, shapes)


DTYPES = st.sampled_from([*INTEGERS, *FLOATS, np.bool_, np.object_])


@settings(max_examples=200, deadline=None)
@given(DTYPES.flatmap(arrays_of))
def test_columns_go_out_and_come_back(array):
    body = json.dumps(written(Layout.COLUMN, x=array))
    document = {"inputs": json.loads(body)["outputs"]}
    if array.dtype.kind == "f" and not _exact(array):
        return
    layout, found = read(document, x=array.dtype if array.dtype != object else tf.string)
    assert layout is Layout.COLUMN
    np.testing.assert_array_equal(found["x"], array)


@settings(max_examples=200, deadline=None)
@given(DTYPES.flatmap(arrays_of), st.data())
def test_rows_go_out_and_come_back(array, data):
    other = data.draw(hnp.arrays(np.int32, (len(array), 2)))
    rows = written(Layout.ROW, x=array, other=other)["predictions"]
    assert len(rows) == len(array)
    if array.dtype.kind == "f" and not _exact(array):
        return
    dtype = array.dtype if array.dtype != object else tf.string
    layout, found = read({"instances": rows}, x=dtype, other=np.int32)
    assert layout is Layout.ROW
    np.testing.assert_array_equal(found["x"], array)
    np.testing.assert_array_equal(found["other"], other)


def _exact(array):
    # A written float32 is a double when it is read, and may be just over the largest.
    return np.isfinite(array).all() and (np.abs(array) < 3e38).all()


def test_the_documented_row_example():
    document = {
        "instances": [
            {
                "tag": "foo",
                "signal": [1, 2, 3, 4, 5],
                "sensor": [[1, 2], [3, 4]],
            },
            {
                "tag": "bar",
                "signal": [3, 4, 1, 2, 5],
                "sensor": [[4, 5], [6, 8]],
            },
        ]
    }
    layout, found = read(document, tag=tf.string, signal=tf.float32, sensor=tf.int64)
    assert layout is Layout.ROW
    assert found["tag"].tolist() == [b"foo", b"bar"]
    assert found["signal"].tolist() == [[1.0, 2.0, 3.0, 4.0, 5.0], [3.0, 4.0, 1.0, 2.0, 5.0]]
    assert found["sensor"].tolist() == [[[1, 2], [3, 4]], [[4, 5], [6, 8]]]


def test_the_documented_column_example():
    document = {
        "inputs": {
            "tag": ["foo", "bar"],
            "signal": [[1, 2, 3, 4, 5], [3, 4, 1, 2, 5]],
            "sensor": [[[1, 2], [3, 4]], [[4, 5], [6, 8]]],
        }
    }
    layout, found = read(document, tag=tf.string, signal=tf.float32, sensor=tf.int64)
    assert layout is Layout.COLUMN
    assert found["tag"].shape == (2,)
    assert found["signal"].shape == (2, 5)
    assert found["sensor"].shape == (2, 2, 2)


def test_the_documented_binary_example():
    document = {
        "instances": [
            {"image": {"b64": "aW1hZ2UgYnl0ZXM="}, "caption": "seaside"},
            {"image": {"b64": "YXdlc29tZSBpbWFnZSBieXRlcw=="}, "caption": "mountains"},
        ]
    }
    _, found = read(document, image=tf.string, caption=tf.string)
    assert found["image"].tolist() == [b"image bytes", b"awesome image bytes"]
    assert found["caption"].tolist() == [b"seaside", b"mountains"]


def test_binary_strings_of_a_sole_input():
    _, found = read({"instances": [{"b64": "AP8="}, {"b64": "AP8"}]}, x=tf.string)
    assert found["x"].tolist() == [b"\x00\xff", b"\x00\xff"]
    _, found = read({"inputs": {"b64": "AP8="}}, x=tf.string)
    assert found["x"].shape == ()
    assert found["x"][()] == b"\x00\xff"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"b64": "not base64!"}, "Unable to base64 decode"),
        ({"b64": "A"}, "Unable to base64 decode"),
        ({"b64": 1}, "not formatted correctly for base64 data"),
        ({"b64": "AA==", "more": 1}, "not formatted correctly for base64 data"),
    ],
)
def test_malformed_binary_is_refused(value, said):
    code, message = refused({"inputs": {"x": value, "y": 1}}, x=tf.string, y=tf.int32)
    assert code == "INVALID_ARGUMENT"
    assert said in message


def test_only_names_with_the_suffix_are_written_in_base64():
    out = written(Layout.COLUMN, a_bytes=strings(b"\x00\xff"), a=strings("é".encode()))
    assert out == {"outputs": {"a_bytes": [{"b64": "AP8="}], "a": ["é"]}}
    assert written(Layout.ROW, a_bytes=strings(b"a", b"b")) == {
        "predictions": [{"b64": "YQ=="}, {"b64": "Yg=="}]
    }


def test_scalars_and_empty_tensors():
    assert written(Layout.COLUMN, a=np.float32(0.1)) == {"outputs": 0.1}
    assert written(Layout.COLUMN, a=np.zeros((2, 0), np.int32)) == {"outputs": [[], []]}
    assert written(Layout.ROW, a=np.zeros((2, 0), np.int32)) == {"predictions": [[], []]}
    _, found = read({"inputs": {"a": [[], []], "b": 3}}, a=tf.float32, b=tf.int32)
    assert found["a"].shape == (2, 0)
    assert found["b"].shape == ()
    # Even of a dtype that has no JSON form: there is nothing to convert.
    _, found = read({"inputs": [[]]}, a=tf.half)
    assert (found["a"].dtype, found["a"].shape) == (np.float16, (1, 0))


def test_int64_is_exact():
    _, found = read({"instances": [2**63 - 1, -(2**63)]}, x=tf.int64)
    assert found["x"].tolist() == [2**63 - 1, -(2**63)]
    assert written(Layout.ROW, x=found["x"]) == {"predictions": [2**63 - 1, -(2**63)]}


def test_small_integers_keep_their_low_bits():
    # As the int32 of the binary's TensorProto does when it becomes a tensor.
    _, found = read({"instances": [255, -129]}, x=tf.int8)
    assert found["x"].tolist() == [-1, 127]


@pytest.mark.parametrize(
    ("value", "dtype", "name"),
    [
        (1.5, tf.int32, "int32"),
        (1.0, tf.int64, "int64"),
        (True, tf.int32, "int32"),
        (-1, tf.uint32, "uint32"),
        (-1, tf.uint64, "uint64"),
        (2**32, tf.uint32, "uint32"),
        (2**63, tf.int64, "int64"),
        (1, tf.bool, "bool"),
        (1, tf.string, "string"),
        ("1", tf.double, "double"),
        ({}, tf.float32, "float"),
        (None, tf.string, "string"),
    ],
)
def test_a_value_of_another_type_is_refused_by_name(value, dtype, name):
    code, message = refused({"inputs": {"x": [value], "y": 0}}, x=dtype, y=tf.int32)
    assert code == "INVALID_ARGUMENT"
    assert message.endswith(f"is not of expected type: {name}")


@pytest.mark.parametrize(
    ("dtype", "name", "digits"), [(tf.float32, "float", 24), (tf.double, "double", 53)]
)
def test_integers_that_a_float_cannot_hold_are_refused(dtype, name, digits):
    # What the binary takes ends one below the power of two.
    for value in (2**digits - 1, -(2**digits) + 1):
        assert read({"instances": [value]}, x=dtype)[1]["x"].tolist() == [value]
    for value in (2**digits, -(2**digits)):
        _, message = refused({"instances": [value]}, x=dtype)
        assert message.endswith(
            f"Cannot convert JSON value: {value} to {name} without loss of precision."
        )
    # With a point, it is a double and fits.
    assert read({"instances": [float(2**digits), 1]}, x=dtype)[1]["x"][0] == 2**digits


@pytest.mark.parametrize("dtype", [tf.half, tf.bfloat16, tf.complex64, tf.uint16])
def test_dtypes_without_a_json_form(dtype):
    code, message = refused({"inputs": {"x": [1], "y": 0}}, x=dtype, y=tf.int32)
    name = {"float16": "half"}.get(dtype.name, dtype.name)
    assert (code, message) == ("UNIMPLEMENTED", f"Conversion of JSON Value: 1 to type: {name}")
    with pytest.raises(ServingError) as caught:
        written(Layout.COLUMN, x=np.zeros(1, dtype.as_numpy_dtype))
    assert caught.value.message == f"Failed to write JSON value for tensor type: {name}"


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"a": np.int32(1)}, "Tensor name: a has no shape information "),
        ({"a": np.zeros(0, np.int32)}, "Tensor name: a has invalid batch size: 0"),
        (
            {"a": np.zeros(2, np.int32), "b": np.zeros(3, np.int32)},
            "Tensor name: b has inconsistent batch size: 3 expecting: 2",
        ),
        ({}, "Cannot convert empty tensor map to JSON"),
    ],
)
def test_rows_need_a_common_first_dimension(arrays, said):
    with pytest.raises(ServingError) as caught:
        written(Layout.ROW, **arrays)
    assert caught.value.code.name == "INVALID_ARGUMENT"
    assert caught.value.message == said


@settings(max_examples=300, deadline=None)
@given(
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["x", "y", "b64"]), inner, max_size=2)
        ),
        max_leaves=12,
    ),
    st.sampled_from(["instances", "inputs"]),
    st.sampled_from([tf.float32, tf.int32, tf.string, tf.bool, tf.half]),
)
def test_any_body_is_read_or_refused_and_never_a_crash(value, key, dtype):
    for names in (("x",), ("x", "y")):
        code = "OK"
        try:
            read({key: value}, **dict.fromkeys(names, dtype))
        except ServingError as error:
            code = error.code.name
        assert code in ("OK", "INVALID_ARGUMENT", "UNIMPLEMENTED")
