"""Single JSON values: which fit a dtype, and the words when one does not.

The rules of TensorFlow Serving's util/json_tensor.cc. Whole tensors are converted
in `json_tensors`; the walk here, value by value, finds what to complain of when
that did not go through.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from tensorflow.core.framework import types_pb2

from serving import errors, json_text, tensors

B64 = "b64"
_INT32 = (-(2**31), 2**31 - 1)

_FLOAT32_MAX = float(np.finfo(np.float32).max)

# What fits in a JSON number of each integer dtype. The small ones take any int32,
# and keep its low bits, as the binary's TensorProto does.
INTEGERS = {
    types_pb2.DT_INT8: _INT32,
    types_pb2.DT_UINT8: _INT32,
    types_pb2.DT_INT16: _INT32,
    types_pb2.DT_INT32: _INT32,
    types_pb2.DT_INT64: (-(2**63), 2**63 - 1),
    types_pb2.DT_UINT32: (0, 2**32 - 1),
    types_pb2.DT_UINT64: (0, 2**64 - 1),
}
# The name and the largest integer that the binary takes for a float dtype: one
# below 2**digits, so that every integer is exact.
FLOATS = {
    types_pb2.DT_FLOAT: ("float", 2**24 - 1),
    types_pb2.DT_DOUBLE: ("double", 2**53 - 1),
}
# Where the name is not the enum's, in small letters.
_DTYPE_NAMES = {types_pb2.DT_INVALID: "INVALID"}
WRITABLE = frozenset(
    {*INTEGERS, *FLOATS, types_pb2.DT_BOOL, types_pb2.DT_STRING},
)


def decode_base64(value: Any) -> bytes:
    """The bytes of a `{"b64": "..."}` object; padding may be left out.

    Raises:
      ServingError: INVALID_ARGUMENT when it is none.
    """
    if not is_base64(value):
        raise json_text.refused(value, "not formatted correctly for base64 data")
    text = "".join(value[B64].split()).rstrip("=")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise errors.invalid_argument("Unable to base64 decode") from error


def is_base64(value: Any) -> bool:
    """Whether a parsed value has the form of a base64 object."""
    return isinstance(value, dict) and len(value) == 1 and isinstance(value.get(B64), str)


def check_decimal(value: float, name: str, largest: int) -> None:
    """Refuses a number that a float dtype would not keep.

    Raises:
      ServingError: INVALID_ARGUMENT.
    """
    if isinstance(value, int):
        fits = abs(value) <= largest
    else:
        fits = name != "float" or not math.isfinite(value) or abs(value) <= _FLOAT32_MAX
    if not fits:
        raise errors.invalid_argument(
            f"Cannot convert JSON value: {json_text.show(value)} to {name}"
            " without loss of precision."
        )


def check(value: Any, level: int, shape: Sequence[int], dtype: int) -> None:
    """Goes through a value that should be a tensor, to the first thing that is wrong.

    Args:
      value: nested lists, or a single value.
      level: how deep in the tensor the value lies; 0 is all of it.
      shape: what the tensor should have.
      dtype: what its values should fit.

    Raises:
      ServingError: INVALID_ARGUMENT, or UNIMPLEMENTED for a dtype that has no JSON
        form; nothing is raised when nothing is wrong.
    """
    if not isinstance(value, list):
        if level != len(shape):
            raise json_text.refused(
                value,
                f"found at incorrect level: {level + 1} in the JSON DOM."
                f" Expected at level: {len(shape)}",
            )
        _check_value(value, dtype)
        return
    if level >= len(shape):
        raise errors.invalid_argument(
            f"Encountered list at unexpected level: {level} expected < {len(shape)}"
        )
    if len(value) != shape[level]:
        raise errors.invalid_argument(
            f"Encountered list at unexpected size: {len(value)} at level: {level}"
            f" expected size: {shape[level]}"
        )
    for item in value:
        check(item, level + 1, shape, dtype)


def _check_value(value: Any, dtype: int) -> None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if isinstance(value, dict):
        fits = dtype == types_pb2.DT_STRING
        if fits:
            decode_base64(value)
    elif dtype not in WRITABLE:
        raise errors.unimplemented(
            f"Conversion of JSON Value: {json_text.show(value)} to type: {dtype_name(dtype)}"
        )
    elif dtype == types_pb2.DT_STRING:
        fits = isinstance(value, str)
    elif dtype == types_pb2.DT_BOOL:
        fits = isinstance(value, bool)
    elif dtype in INTEGERS:
        low, high = INTEGERS[dtype]
        fits = number and isinstance(value, int) and low <= value <= high
    else:
        fits = number
        if fits:
            check_decimal(value, *FLOATS[dtype])
    if not fits:
        raise json_text.refused(
            value,
            f"Type: {json_text.type_name(value)} is not of expected type: {dtype_name(dtype)}",
        )


def first_shape(value: Any) -> tuple[int, ...]:
    """The shape that a tensor should have, going by the first of each list."""
    shape: list[int] = []
    while isinstance(value, list) and len(shape) <= tensors.MAX_RANK:
        shape.append(len(value))
        value = value[0] if value else None
    return tuple(shape)


def dtype_name(dtype: int) -> str:
    """The name that messages of the runtime give a dtype."""
    return _DTYPE_NAMES.get(dtype) or types_pb2.DataType.Name(dtype).removeprefix("DT_").lower()
