"""numpy arrays as TensorProtos, and back.

A tensor travels in one of two ways: `tensor_content`, the little-endian bytes
of the whole array, or the typed fields (`int_val`, `float_val`, ...), a number
each. Numbers are written the first way, which is one copy; model servers answer
in the second, so both are read. In the typed fields the last value stands for
all that would follow it (and no value at all for zeros): a few bytes can then
ask for any amount of memory, hence `MAX_ELEMENTS`.

Strings are bytes: an array of `str` is written as UTF-8, and what is read is an
object array of `bytes`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from client import protos

# Half a gibibyte of float32: far beyond any song, well within a laptop.
MAX_ELEMENTS = 1 << 27

# (TensorFlow's dtype number, numpy's little-endian type, typed field)
_NUMBERS: dict[int, tuple[np.dtype[Any], str]] = {
    protos.DT_INT32: (np.dtype("<i4"), "int_val"),
    protos.DT_INT64: (np.dtype("<i8"), "int64_val"),
    protos.DT_FLOAT: (np.dtype("<f4"), "float_val"),
    protos.DT_BOOL: (np.dtype("?"), "bool_val"),
}
_BY_NUMPY = {dtype.newbyteorder("="): number for number, (dtype, _) in _NUMBERS.items()}
_READABLE = "int32, int64, float32, bool and string"


def to_proto(array: Any) -> Any:
    """A TensorProto with an array's type, shape and values.

    Args:
      array: int32, int64, float32, bool, bytes or str, of any shape; what is
        not an array yet is made one. Other types are refused, not converted: a
        silent float64 -> float32 would hide a caller's mistake from the model.

    Raises:
      ValueError: the array has another type.
    """
    array = np.asarray(array)
    proto = protos.TensorProto()
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    number = _BY_NUMPY.get(array.dtype.newbyteorder("="))
    if number is not None:
        proto.dtype = number
        proto.tensor_content = array.astype(_NUMBERS[number][0], copy=False).tobytes()
    elif array.dtype.kind in "SUO":
        proto.dtype = protos.DT_STRING
        proto.string_val.extend(_as_bytes(value) for value in array.ravel().tolist())
    else:
        raise ValueError(f"arrays of {array.dtype} cannot be sent; only {_READABLE}")
    return proto


def _as_bytes(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode()
    raise ValueError(f"an array of strings holds {value!r}, a {type(value).__name__}")


def to_array(proto: Any, max_elements: int = MAX_ELEMENTS) -> np.ndarray:
    """The array that a TensorProto holds.

    Args:
      proto: a TensorProto, of this package or of TensorFlow's.
      max_elements: how many elements its shape may ask for.

    Returns:
      A writable array of int32, int64, float32 or bool, or an object array of
      bytes.

    Raises:
      ValueError: another type, an unknown or impossible shape, more elements
        than `max_elements`, or values that do not fit the shape.
    """
    shape = _shape(proto, max_elements)
    count = math.prod(shape)
    if proto.dtype == protos.DT_STRING:
        if proto.tensor_content:
            raise ValueError("a string tensor came as tensor_content; only string_val is read")
        texts = list(proto.string_val)
        _check_count(len(texts), count, shape)
        texts += [texts[-1] if texts else b""] * (count - len(texts))
        strings = np.empty(count, object)
        strings[:] = texts
        return strings.reshape(shape)
    if proto.dtype not in _NUMBERS:
        raise ValueError(f"a tensor of data type {proto.dtype} cannot be read; only {_READABLE}")
    dtype, field = _NUMBERS[proto.dtype]
    native = dtype.newbyteorder("=")
    if proto.tensor_content:
        if len(proto.tensor_content) != count * dtype.itemsize:
            raise ValueError(
                f"a tensor of shape {list(shape)} needs {count * dtype.itemsize} bytes of "
                f"content, got {len(proto.tensor_content)}"
            )
        return np.frombuffer(proto.tensor_content, dtype).astype(native).reshape(shape)
    values = getattr(proto, field)
    _check_count(len(values), count, shape)
    array = np.empty(count, native)
    array[: len(values)] = np.fromiter(values, native, count=len(values))
    array[len(values) :] = values[-1] if len(values) else 0
    return array.reshape(shape)


def _shape(proto: Any, max_elements: int) -> tuple[int, ...]:
    if proto.tensor_shape.unknown_rank:
        raise ValueError("a tensor of unknown rank cannot be read")
    shape = tuple(dim.size for dim in proto.tensor_shape.dim)
    if min(shape, default=0) < 0:
        raise ValueError(f"a tensor of shape {list(shape)} has an unknown size")
    if math.prod(shape) > max_elements:
        raise ValueError(
            f"a tensor of shape {list(shape)} has {math.prod(shape):,} elements; "
            f"at most {max_elements:,} are read"
        )
    return shape


def _check_count(values: int, count: int, shape: tuple[int, ...]) -> None:
    if values > count:
        raise ValueError(f"a tensor of shape {list(shape)} holds {values} values, not {count}")
