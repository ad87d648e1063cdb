"""numpy arrays through TensorProtos, and TensorFlow's reading of the same."""

import hypothesis.extra.numpy as npst
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from client import protos
from client.tensors import to_array, to_proto

NUMBERS = [np.int32, np.int64, np.float32, np.bool_]
numbers = st.sampled_from(NUMBERS).flatmap(
    lambda dtype: npst.arrays(dtype, npst.array_shapes(min_dims=0, max_dims=3, min_side=0))
)
strings = npst.arrays(
    object, npst.array_shapes(min_dims=0, max_dims=2, min_side=0), elements=st.binary(max_size=5)
)


def same(left, right):
    assert left.dtype == right.dtype
    assert left.shape == right.shape
    assert left.tobytes() == right.tobytes() if left.dtype != object else (left == right).all()


@given(numbers)
def test_numbers_survive_the_way_there_and_back(array):
    same(to_array(to_proto(array)), array)


@given(strings)
def test_bytes_survive_the_way_there_and_back(array):
    same(to_array(to_proto(array)), array)


@settings(max_examples=50, deadline=None)
@given(numbers)
def test_tensorflow_reads_what_is_written(array):
    import tensorflow as tf

    theirs = tf.make_tensor_proto(array).FromString(to_proto(array).SerializeToString())
    same(tf.make_ndarray(theirs), array)


@settings(max_examples=50, deadline=None)
@given(st.one_of(numbers, strings))
def test_what_tensorflow_writes_is_read(array):
    import tensorflow as tf

    theirs = tf.make_tensor_proto(array, dtype=tf.string if array.dtype == object else None)
    same(to_array(protos.TensorProto.FromString(theirs.SerializeToString())), array)
    same(to_array(theirs), array)


@pytest.mark.parametrize(
    ("dtype", "field", "values"),
    [
        ("int32", "int_val", [1, -2, 3, 4, 5, 6]),
        ("int64", "int64_val", [1, -(2**40), 3, 4, 5, 6]),
        ("float32", "float_val", [0.5, -1.5, 0, 1, 2, 3]),
        ("bool", "bool_val", [True, False, True, True, False, False]),
        ("string", "string_val", [b"a", b"", b"\x00", b"d", b"e", b"f"]),
    ],
)
@pytest.mark.parametrize("given_values", [0, 1, 4, 6])
def test_typed_fields_are_read_as_tensorflow_reads_them(dtype, field, values, given_values):
    import tensorflow as tf

    theirs = tf.make_tensor_proto(0)
    theirs.Clear()
    theirs.dtype = tf.as_dtype(dtype).as_datatype_enum
    for size in (2, 3):
        theirs.tensor_shape.dim.add(size=size)
    getattr(theirs, field).extend(values[:given_values])
    ours = to_array(protos.TensorProto.FromString(theirs.SerializeToString()))
    if given_values or dtype != "string":
        same(ours, tf.make_ndarray(theirs))
    else:
        assert ours.tolist() == [[b""] * 3] * 2


def test_text_is_written_as_utf8():
    assert to_array(to_proto(np.array(["é", "b"]))).tolist() == ["é".encode(), b"b"]


def test_byte_order_and_strides_of_the_caller_do_not_matter():
    array = np.arange(6, dtype=">i4").reshape(2, 3).T
    assert to_array(to_proto(array)).tolist() == array.tolist()


def test_what_is_read_may_be_written_to():
    array = to_array(to_proto(np.zeros(3, np.int32)))
    array[0] = 1


@pytest.mark.parametrize("dtype", [np.float64, np.int16, np.complex64])
def test_other_types_are_refused(dtype):
    with pytest.raises(ValueError, match="cannot be sent; only int32"):
        to_proto(np.zeros(2, dtype))


def test_an_object_array_of_something_else_is_refused():
    with pytest.raises(ValueError, match="holds 3, a int"):
        to_proto(np.array([b"a", 3], object))


def proto(dtype=protos.DT_INT32, shape=(2, 3), **fields):
    made = protos.TensorProto(dtype=dtype, **fields)
    for size in shape:
        made.tensor_shape.dim.add(size=size)
    return made


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (proto(dtype=2), "data type 2 cannot be read"),
        (proto(shape=(-1, 3)), "unknown size"),
        (proto(tensor_content=b"1234"), "needs 24 bytes of content, got 4"),
        (proto(int_val=[1] * 7), "holds 7 values, not 6"),
        (proto(dtype=protos.DT_STRING, tensor_content=b"x"), "only string_val"),
        (proto(dtype=protos.DT_STRING, string_val=[b"x"] * 7), "holds 7 values"),
        (proto(shape=(2**20, 2**20), int_val=[1]), "1,099,511,627,776 elements; at most"),
    ],
)
def test_a_tensor_that_cannot_be_says_why(bad, words):
    with pytest.raises(ValueError, match=words):
        to_array(bad)


def test_unknown_rank_is_refused():
    bad = proto(shape=())
    bad.tensor_shape.unknown_rank = True
    with pytest.raises(ValueError, match="unknown rank"):
        to_array(bad)


def test_one_value_may_not_ask_for_more_than_the_limit():
    assert to_array(proto(shape=(10,), int_val=[7]), max_elements=10).tolist() == [7] * 10
    with pytest.raises(ValueError, match="at most 9"):
        to_array(proto(shape=(10,), int_val=[7]), max_elements=9)
