import contextlib

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tensorflow.core.framework import tensor_pb2, types_pb2

from serving import tensors

_DTYPES = [
    np.float32, np.float64, np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16,
    np.uint32, np.uint64, np.bool_, np.float16, np.complex64, np.complex128,
]  # fmt: skip


def _encoded(array):
    proto = tensor_pb2.TensorProto()
    tensors.encode(np.asarray(array), proto)
    return proto


@given(
    st.sampled_from(_DTYPES).flatmap(
        lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0))
    )
)
def test_decode_undoes_encode(array):
    decoded = tensors.decode(_encoded(array))
    assert decoded.dtype == array.dtype
    np.testing.assert_array_equal(decoded, array)


@given(hnp.arrays(np.float32, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0)))
def test_encode_writes_what_tensorflow_reads(array):
    np.testing.assert_array_equal(tf.make_ndarray(_encoded(array)), array)


@given(st.lists(st.binary(max_size=300), max_size=5))
def test_strings_keep_their_bytes(values):
    array = np.array(values, np.object_)
    assert tensors.decode(_encoded(array)).tolist() == values


def test_bfloat16_round_trip():
    array = np.array([1.5, -2.0], tf.bfloat16.as_numpy_dtype)
    proto = _encoded(array)
    assert proto.dtype == types_pb2.DT_BFLOAT16
    assert list(proto.half_val) == [0x3FC0, 0xC000]
    np.testing.assert_array_equal(tensors.decode(proto), array)


def test_row_15_values_stand_in_typed_fields_with_their_shape():
    proto = _encoded(np.float32([[1.0, 2.0, 3.0]]))
    assert list(proto.float_val) == [1.0, 2.0, 3.0]
    assert [dim.size for dim in proto.tensor_shape.dim] == [1, 3]
    assert not proto.tensor_content
    assert list(_encoded(np.int32([-1, 7])).int_val) == [-1, 7]
    assert list(_encoded(np.int64([2**40])).int64_val) == [2**40]
    assert list(_encoded(np.array([True, False])).bool_val) == [True, False]
    assert list(_encoded(np.array([b"a\0b"], np.object_)).string_val) == [b"a\0b"]
    assert list(_encoded(np.uint8([255])).int_val) == [255]
    assert list(_encoded(np.complex64([1 + 2j])).scomplex_val) == [1.0, 2.0]
    assert _encoded(np.float32(4.0)).HasField("tensor_shape")


def test_an_array_that_is_not_contiguous_is_written_in_its_own_order():
    array = np.arange(6, dtype=np.float32).reshape(2, 3).T
    assert list(_encoded(array).float_val) == [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]


def test_decode_reads_tensor_content():
    proto = tf.make_tensor_proto(np.arange(6, dtype=np.int32).reshape(2, 3))
    assert proto.tensor_content
    assert tensors.decode(proto).tolist() == [[0, 1, 2], [3, 4, 5]]


def test_decode_reads_strings_in_tensor_content():
    proto = tensor_pb2.TensorProto(dtype=types_pb2.DT_STRING)
    proto.tensor_shape.dim.add().size = 3
    long = b"x" * 200
    proto.tensor_content = bytes([2, 0]) + b"\xc8\x01" + b"ab" + long
    assert tensors.decode(proto).tolist() == [b"ab", b"", long]


def _proto(dtype, shape, **fields):
    proto = tensor_pb2.TensorProto(dtype=dtype, **fields)
    proto.tensor_shape.SetInParent()
    for size in shape:
        proto.tensor_shape.dim.add().size = size
    return proto


def test_the_last_value_fills_the_shape():
    proto = _proto(types_pb2.DT_FLOAT, [4], float_val=[1.0, 2.0])
    assert tensors.decode(proto).tolist() == [1.0, 2.0, 2.0, 2.0]
    proto = _proto(types_pb2.DT_STRING, [2], string_val=[b"a"])
    assert tensors.decode(proto).tolist() == [b"a", b"a"]


def test_no_values_are_zeros():
    assert tensors.decode(_proto(types_pb2.DT_INT32, [2])).tolist() == [0, 0]
    assert tensors.decode(_proto(types_pb2.DT_STRING, [2])).tolist() == [b"", b""]


def test_stray_fields_of_other_dtypes_are_not_read():
    proto = _proto(types_pb2.DT_FLOAT, [2], float_val=[1.0, 2.0], int64_val=[9] * 5)
    assert tensors.decode(proto).tolist() == [1.0, 2.0]
    # An unknown field (number 99) behind the values.
    proto = tensor_pb2.TensorProto.FromString(
        _proto(types_pb2.DT_FLOAT, [2], float_val=[1.0, 2.0]).SerializeToString()
        + b"\x9a\x06\x04abcd"
    )
    assert tensors.decode(proto).tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("proto", "reason"),
    [
        (_proto(types_pb2.DT_INVALID, [1]), "dtype 0"),
        (_proto(types_pb2.DT_RESOURCE, [1]), "dtype 20"),
        (_proto(types_pb2.DT_FLOAT_REF, [1], float_val=[1.0]), "dtype 101"),
        (_proto(4711, [1]), "dtype 4711"),
        (_proto(types_pb2.DT_FLOAT, [-1], float_val=[1.0]), "shape"),
        (_proto(types_pb2.DT_FLOAT, [2**62, 4]), "shape"),
        (_proto(types_pb2.DT_FLOAT, [0, 2**62, 2**62]), "shape"),
        (_proto(types_pb2.DT_FLOAT, [1] * 40, float_val=[1.0]), "dimensions"),
        (_proto(types_pb2.DT_FLOAT, [2], float_val=[1.0, 2.0, 3.0]), "3 values for 2"),
        (_proto(types_pb2.DT_FLOAT, [2], tensor_content=b"12345"), "5 bytes"),
        (_proto(types_pb2.DT_FLOAT, [2**40], float_val=[1.0]), "expanded"),
        (_proto(types_pb2.DT_INT64, [2**40]), "expanded"),
        (_proto(types_pb2.DT_STRING, [2**16], string_val=[b"x" * 2**16]), "expanded"),
        (_proto(types_pb2.DT_STRING, [2**40], tensor_content=b"abc"), "strings"),
        (_proto(types_pb2.DT_STRING, [2], tensor_content=b"\xff\xff"), "lengths"),
        (_proto(types_pb2.DT_STRING, [1], tensor_content=b"\x09ab"), "strings of 9"),
        (_proto(types_pb2.DT_COMPLEX64, [1], scomplex_val=[1.0]), "imaginary"),
    ],
)
def test_a_malformed_tensor_is_refused_without_being_built(proto, reason):
    with pytest.raises(ValueError, match=reason):
        tensors.decode(proto)


def test_an_unknown_rank_is_refused():
    proto = _proto(types_pb2.DT_FLOAT, [], float_val=[1.0])
    proto.tensor_shape.unknown_rank = True
    with pytest.raises(ValueError, match="rank"):
        tensors.decode(proto)


@given(st.binary(max_size=60))
def test_no_bytes_crash_the_decoder(data):
    proto = tensor_pb2.TensorProto()
    try:
        proto.ParseFromString(data)
    except Exception:
        return
    with contextlib.suppress(ValueError):
        tensors.decode(proto)


def test_an_array_without_a_typed_field_is_refused():
    with pytest.raises(ValueError, match="datetime64"):
        tensors.encode(np.zeros(1, "datetime64[s]"), tensor_pb2.TensorProto())
