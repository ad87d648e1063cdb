"""TensorProto to numpy and back, as TensorFlow Serving reads and writes them.

`tf.make_ndarray` and `tf.make_tensor_proto` are close, but a server needs more
of them and less. More: a request is not to be trusted, so a shape that promises
more than it sends must not be able to order gigabytes. Less: they go through
Python floats or write `tensor_content`, while TensorFlow Serving answers in
typed fields (`float_val`, ...), and a batch of carried states is 131,072 floats
(8.5 ms each way as Python floats, 0.1 ms as bytes).

The speed comes from one fact of the wire format: a packed float or double field
is the array's little-endian memory behind a tag and a length. So such fields are
written with `MergeFromString`, and read from the end of `SerializeToString`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2, tensor_shape_pb2, types_pb2

# A TensorProto may hold fewer values than its shape has elements; the last one
# then repeats (none at all: zeros). That is how constants travel, and how forty
# bytes could ask for a terabyte. Expanded tensors above this are refused; those
# that bring all their values are bounded by the message size alone.
MAX_EXPANDED_BYTES = 64 * 2**20

# numpy's limit (TensorFlow's own is 254, but no client makes such tensors).
MAX_RANK = 32

# What TensorFlow keeps for a short string, at least.
_STRING_BYTES = 24


@dataclasses.dataclass(frozen=True)
class _Kind:
    """How one dtype lies in a TensorProto."""

    enum: int
    field: str  # the repeated field of its values
    dtype: np.dtype  # of the array
    stored: np.dtype  # of the field's values, two a complex number


def _kind(enum: int, field: str, dtype, stored=None) -> _Kind:
    return _Kind(enum, field, np.dtype(dtype), np.dtype(stored or dtype))


_KINDS = {
    kind.enum: kind
    for kind in (
        _kind(types_pb2.DT_FLOAT, "float_val", np.float32),
        _kind(types_pb2.DT_DOUBLE, "double_val", np.float64),
        _kind(types_pb2.DT_INT8, "int_val", np.int8, np.int64),
        _kind(types_pb2.DT_INT16, "int_val", np.int16, np.int64),
        _kind(types_pb2.DT_INT32, "int_val", np.int32, np.int64),
        _kind(types_pb2.DT_UINT8, "int_val", np.uint8, np.int64),
        _kind(types_pb2.DT_UINT16, "int_val", np.uint16, np.int64),
        _kind(types_pb2.DT_INT64, "int64_val", np.int64),
        _kind(types_pb2.DT_UINT32, "uint32_val", np.uint32),
        _kind(types_pb2.DT_UINT64, "uint64_val", np.uint64),
        _kind(types_pb2.DT_BOOL, "bool_val", np.bool_),
        _kind(types_pb2.DT_STRING, "string_val", np.object_),
        _kind(types_pb2.DT_HALF, "half_val", np.float16, np.uint16),
        _kind(types_pb2.DT_BFLOAT16, "half_val", tf.bfloat16.as_numpy_dtype, np.uint16),
        _kind(types_pb2.DT_COMPLEX64, "scomplex_val", np.complex64, np.float32),
        _kind(types_pb2.DT_COMPLEX128, "dcomplex_val", np.complex128, np.float64),
    )
}
_KIND_OF_ARRAY = {kind.dtype: kind for kind in _KINDS.values()}

# Wire type 2 (length-delimited) tags of the fields that are plain memory.
_FIELDS = tensor_pb2.TensorProto.DESCRIPTOR.fields_by_name
_MEMORY_TAGS = {
    name: bytes([_FIELDS[name].number << 3 | 2])
    for name in ("float_val", "double_val", "scomplex_val", "dcomplex_val")
}


def decode(proto: tensor_pb2.TensorProto, most_expanded: int = MAX_EXPANDED_BYTES) -> np.ndarray:
    """The array that a TensorProto stands for.

    Reads typed fields and `tensor_content`. Fewer values than the shape has are
    filled up with the last one (with zeros if there is none), as TensorFlow does.

    Args:
      proto: any TensorProto, however malformed.
      most_expanded: bytes that a tensor may come to which sends fewer values than
        its shape has.

    Returns:
      An array of the proto's shape and dtype; strings as bytes objects in an
      array of dtype object. It may be read-only.

    Raises:
      ValueError: an unknown dtype or shape, more values than the shape has,
        content of the wrong length, or an expansion over `most_expanded`.
    """
    kind = _KINDS.get(proto.dtype)
    if kind is None:
        raise ValueError(f"dtype {proto.dtype} cannot be sent to a server")
    shape = _shape(proto.tensor_shape)
    count = math.prod(shape)
    if proto.tensor_content:
        flat = _from_content(proto.tensor_content, kind, count)
    else:
        flat = _from_field(proto, kind, count, most_expanded)
    return flat.reshape(shape)


def encode(array: np.ndarray, proto: tensor_pb2.TensorProto) -> None:
    """Writes an array into an empty TensorProto, in typed fields.

    Args:
      array: of any dtype that a TensorProto has a typed field for; dtype object
        holds bytes (or str, written as UTF-8).
      proto: the message to fill: dtype, shape and values.

    Raises:
      ValueError: the dtype has no typed field.
    """
    kind = _KIND_OF_ARRAY.get(array.dtype)
    if kind is None:
        raise ValueError(f"arrays of {array.dtype} cannot be sent to a client")
    proto.dtype = kind.enum
    proto.tensor_shape.SetInParent()
    for size in array.shape:
        proto.tensor_shape.dim.add().size = size
    if not array.size:
        return
    tag = _MEMORY_TAGS.get(kind.field)
    if tag is not None:
        memory = np.ascontiguousarray(array, kind.dtype.newbyteorder("<")).tobytes()
        proto.MergeFromString(b"".join((tag, _varint(len(memory)), memory)))
        return
    values: Iterable
    if kind.enum == types_pb2.DT_STRING:
        values = (v.encode() if isinstance(v, str) else v for v in array.ravel().tolist())
    elif kind.field == "half_val":
        values = np.ascontiguousarray(array).view(np.uint16).ravel().tolist()
    else:
        values = array.ravel().tolist()
    getattr(proto, kind.field).extend(values)


def _shape(proto: tensor_shape_pb2.TensorShapeProto) -> tuple[int, ...]:
    if proto.unknown_rank:
        raise ValueError("the shape has no rank")
    if len(proto.dim) > MAX_RANK:
        raise ValueError(f"{len(proto.dim)} dimensions; at most {MAX_RANK} can be read")
    shape = tuple(dim.size for dim in proto.dim)
    # The second condition keeps shapes like [0, 2**62, 2**62] from numpy.
    if any(size < 0 for size in shape) or math.prod(max(s, 1) for s in shape) >= 2**62:
        raise ValueError(f"the shape {list(shape)} is none")
    return shape


def _from_content(content: bytes, kind: _Kind, count: int) -> np.ndarray:
    if kind.enum == types_pb2.DT_STRING:
        return _strings(_split_strings(content, count))
    if len(content) != count * kind.dtype.itemsize:
        raise ValueError(
            f"{len(content)} bytes for {count} elements of {kind.dtype.itemsize} bytes"
        )
    if kind.dtype == np.bool_:
        return np.frombuffer(content, np.uint8) != 0
    return np.frombuffer(content, kind.dtype)


def _from_field(
    proto: tensor_pb2.TensorProto, kind: _Kind, count: int, most_expanded: int
) -> np.ndarray:
    values = getattr(proto, kind.field)
    parts = 2 if kind.dtype.kind == "c" else 1
    sent, odd = divmod(len(values), parts)
    if odd:
        raise ValueError("a complex number lacks its imaginary part")
    if sent > count:
        raise ValueError(f"{sent} values for {count} elements")
    if sent < count:
        size = kind.dtype.itemsize
        if kind.enum == types_pb2.DT_STRING:
            size = max(_STRING_BYTES, len(values[-1]) if sent else 0)
        if count * size > most_expanded:
            raise ValueError(
                f"{sent} values sent for {count} elements; expanded they would take"
                f" {count * size} bytes of at most {most_expanded}"
            )
    if kind.enum == types_pb2.DT_STRING:
        flat = _strings(list(values))
    elif kind.field in _MEMORY_TAGS:
        flat = _memory(proto, kind, sent)
    else:
        stored = np.fromiter(values, kind.stored, count=sent)
        flat = stored.view(kind.dtype) if kind.field == "half_val" else stored.astype(kind.dtype)
    if sent == count:
        return flat
    whole = np.empty(count, kind.dtype)
    whole[:sent] = flat
    whole[sent:] = flat[-1] if sent else (b"" if kind.enum == types_pb2.DT_STRING else 0)
    return whole


def _memory(proto: tensor_pb2.TensorProto, kind: _Kind, sent: int) -> np.ndarray:
    """The values of a packed field, taken from the message's own serialization."""
    size = sent * kind.dtype.itemsize
    head = _MEMORY_TAGS[kind.field] + _varint(size)
    wire = proto.SerializeToString()
    start = len(wire) - size
    # Fields are written in the order of their numbers and the values come last,
    # unless the sender filled fields of other dtypes as well, or unknown ones.
    if not sent or wire[max(0, start - len(head)) : start] != head:
        stored = np.fromiter(getattr(proto, kind.field), kind.stored)
        return stored.view(kind.dtype)
    return np.frombuffer(wire, kind.dtype.newbyteorder("<"), offset=start)


def _strings(values: list[bytes]) -> np.ndarray:
    flat = np.empty(len(values), np.object_)
    flat[:] = values
    return flat


def _split_strings(content: bytes, count: int) -> list[bytes]:
    """Strings in tensor_content: all lengths as varints, then all bytes."""
    lengths, at = [], 0
    if count > len(content):
        raise ValueError(f"{len(content)} bytes for {count} strings")
    for _ in range(count):
        length = shift = 0
        while True:
            if at >= len(content) or shift > 28:
                raise ValueError("the lengths of the strings cannot be read")
            byte = content[at]
            at += 1
            length |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
        lengths.append(length)
    if at + sum(lengths) != len(content):
        raise ValueError(f"{len(content) - at} bytes for strings of {sum(lengths)}")
    values = []
    for length in lengths:
        values.append(content[at : at + length])
        at += length
    return values


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)
