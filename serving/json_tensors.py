"""Predict's tensors as JSON: a request body to TensorProtos, and the answer back.

There are two layouts. The row layout (`instances` -> `predictions`) is a list with
an entry a row: an object with a value for each input, or the bare value where the
signature has but one. The column layout (`inputs` -> `outputs`) holds each tensor
whole. Both are specified in https://www.tensorflow.org/tfx/serving/api_rest; what
the page leaves open, and every refusal, follows the binary's util/json_tensor.cc.

A tensor is converted as a whole where nothing is wrong with it: nested lists are
flattened a level at a time, and numpy does the rest. Only when that meets
something unexpected does a second, slow walk go through the values one by one,
in the order of the binary, to find what to complain of.
"""

from __future__ import annotations

import base64
import enum
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2, types_pb2
from tensorflow.core.protobuf import meta_graph_pb2

from serving import errors, json_text, json_values, tensors
from serving.errors import ServingError

_BYTES_SUFFIX = "_bytes"

Infos = Mapping[str, meta_graph_pb2.TensorInfo]


class Layout(enum.Enum):
    """How a request's tensors lie in its body; the answer lies alike."""

    ROW = "predictions"
    COLUMN = "outputs"


def read_inputs(
    document: Mapping[str, Any],
    infos: Infos,
    inputs: Mapping[str, tensor_pb2.TensorProto],
) -> Layout:
    """Reads the tensors of a Predict request.

    Args:
      document: the parsed body, with `instances` or `inputs`.
      infos: the inputs of the signature; their dtypes say what a number becomes.
      inputs: the map of a PredictRequest, which is filled.

    Raises:
      ServingError: INVALID_ARGUMENT when neither or both keys are there, or the
        values do not fit the signature; UNIMPLEMENTED for a dtype that has no
        JSON form.
    """
    infos = dict(infos)
    rows, columns = document.get("instances"), document.get("inputs")
    if "instances" in document and "inputs" in document:
        raise json_text.refused(
            document,
            "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist ",
        )
    if "instances" in document:
        if not isinstance(rows, list):
            raise json_text.refused(document, "Excepting 'instances' to be an list/array")
        if not rows:
            raise json_text.refused(document, "No values in 'instances' array")
        _read_rows(rows, infos, inputs)
        return Layout.ROW
    if "inputs" in document:
        _read_columns(columns, infos, inputs)
        return Layout.COLUMN
    raise errors.invalid_argument("Missing 'inputs' or 'instances' key")


def write_outputs(outputs: Mapping[str, tensor_pb2.TensorProto], layout: Layout) -> bytes:
    """The body of a Predict answer.

    Args:
      outputs: the tensors of a PredictResponse, in typed fields.
      layout: the request's. Tensors of a row layout share their first dimension.

    Raises:
      ServingError: INVALID_ARGUMENT when the outputs have no common first
        dimension, or a dtype that has no JSON form.
    """
    if not outputs:
        raise errors.invalid_argument("Cannot convert empty tensor map to JSON")
    arrays = {}
    for name in sorted(outputs):
        proto = outputs[name]
        if proto.dtype not in json_values.WRITABLE:
            raise errors.invalid_argument(
                f"Failed to write JSON value for tensor type: {json_values.dtype_name(proto.dtype)}"
            )
        arrays[name] = tensors.decode(proto)
    if layout is Layout.COLUMN:
        values = {name: _writable(name, array) for name, array in arrays.items()}
        return json_text.dump({layout.value: _sole_or_all(values)})
    size = _batch_size(arrays)
    rows = {name: _writable_rows(name, array) for name, array in arrays.items()}
    if len(rows) == 1:
        (only,) = rows.values()
        return json_text.dump({layout.value: only})
    return json_text.dump(
        {layout.value: [{name: rows[name][i] for name in rows} for i in range(size)]}
    )


def _read_rows(rows: list[Any], infos: Infos, inputs: Mapping[str, tensor_pb2.TensorProto]) -> None:
    if not isinstance(rows[0], dict) and len(infos) > 1:
        raise errors.invalid_argument(
            "instances is a plain list, but expecting list of objects as multiple "
            "input tensors required as per tensorinfo_map"
        )
    columns: Mapping[str, list[Any]] = {}
    if not _is_named(rows[0]):
        if not any(map(_is_named, rows)):
            columns = {min(infos): rows}
    elif all(_is_named(row) and row.keys() == infos.keys() for row in rows):
        columns = {name: [row[name] for row in rows] for name in infos}
    arrays = {name: _array(column, infos[name].dtype) for name, column in columns.items()}
    if not arrays or any(array is None for array in arrays.values()):
        _refuse_rows(rows, infos)
    for name, array in arrays.items():
        tensors.encode(array, inputs[name])


def _read_columns(value: Any, infos: Infos, inputs: Mapping[str, tensor_pb2.TensorProto]) -> None:
    if not _is_named(value):
        if len(infos) > 1:
            raise errors.invalid_argument(
                "inputs is a plain value/list, but expecting an object as multiple "
                "input tensors required as per tensorinfo_map"
            )
        value = {min(infos): value}
    for name in sorted(infos):
        if name not in value:
            raise errors.invalid_argument(f"Missing named input: {name} in 'inputs' object.")
        array = _array(value[name], infos[name].dtype)
        if array is None:
            _refuse(value[name], json_values.first_shape(value[name]), infos[name].dtype)
        tensors.encode(array, inputs[name])


def _is_named(value: Any) -> bool:
    """Whether a value is an object of tensors, not one string in base64."""
    return isinstance(value, dict) and not json_values.is_base64(value)


def _array(value: Any, dtype: int) -> Any:
    """An array of the value, or None when something is wrong with it."""
    flattened = _flatten(value)
    if flattened is None:
        return None
    shape, items = flattened
    if dtype not in json_values.WRITABLE and items:
        return None
    flat = _convert(items, dtype)
    return None if flat is None else flat.reshape(shape)


def _flatten(value: Any) -> tuple[tuple[int, ...], list[Any]] | None:
    """Shape and leaves of nested lists; None when they are ragged.

    Raises:
      ServingError: INVALID_ARGUMENT when they are nested too deep for an array.
    """
    shape: list[int] = []
    items = [value]
    while items and type(items[0]) is list:
        size = len(items[0])
        if set(map(type, items)) != {list} or set(map(len, items)) != {size}:
            return None
        shape.append(size)
        if len(shape) > tensors.MAX_RANK:
            raise errors.invalid_argument(
                f"A tensor of more than {tensors.MAX_RANK} dimensions cannot be read"
            )
        items = list(itertools.chain.from_iterable(items))
    return tuple(shape), items


def _convert(items: list[Any], dtype: int) -> np.ndarray | None:
    """A flat array of JSON values; None when one of them does not fit the dtype."""
    kinds = set(map(type, items))
    as_numpy = tf.as_dtype(dtype).as_numpy_dtype
    if dtype == types_pb2.DT_STRING:
        if not kinds <= {str, dict} or (dict in kinds and not _all_base64(items)):
            return None
        flat = np.empty(len(items), np.object_)
        flat[:] = [json_values.decode_base64(v) if type(v) is dict else v.encode() for v in items]
        return flat
    if dtype == types_pb2.DT_BOOL:
        return np.array(items, np.bool_) if kinds <= {bool} else None
    if dtype in json_values.INTEGERS:
        low, high = json_values.INTEGERS[dtype]
        if not kinds <= {int} or (items and not low <= min(items) <= max(items) <= high):
            return None
        wide = np.array(items, np.uint64 if dtype == types_pb2.DT_UINT64 else np.int64)
        return wide.astype(as_numpy)
    if not items:
        return np.empty(0, as_numpy)
    if not kinds <= {int, float}:
        return None
    largest = json_values.FLOATS[dtype][1]
    numbers = np.array(items, np.float64)
    bound = largest if int in kinds else float(np.finfo(as_numpy).max)
    if (np.abs(numbers[np.isfinite(numbers)]) > bound).any() and not _all_fit(items, dtype):
        return None
    return numbers.astype(as_numpy)


def _all_base64(items: list[Any]) -> bool:
    return all(json_values.is_base64(item) for item in items if type(item) is dict)


def _all_fit(items: list[Any], dtype: int) -> bool:
    try:
        for item in items:
            json_values.check_decimal(item, *json_values.FLOATS[dtype])
    except ServingError:
        return False
    return True


def _refuse_rows(rows: list[Any], infos: Infos) -> NoReturn:
    """Finds the first row that is wrong, and says so as the binary does."""
    named = _is_named(rows[0])
    seen: dict[str, tuple[int, ...]] = {}
    for number, row in enumerate(rows):
        what = f"Failed to process element: {number}"
        if named != _is_named(row):
            found = "object but got list" if named else "value/list but got object"
            raise errors.invalid_argument(f"Expecting {found} at item {number} of input list")
        if not named:
            name = min(infos)
            _wrapped(lambda: _check_row(row, name, infos, seen), f"{what} of 'instances' list.")  # noqa: B023
            continue
        for key, value in row.items():
            _wrapped(
                lambda: _check_row(value, key, infos, seen),  # noqa: B023
                f"{what} key: {key} of 'instances' list.",
            )
        if row.keys() != infos.keys():
            raise errors.invalid_argument(
                f"{what} of 'instances' list. JSON object: {json_text.show(row)} must only have"
                f" keys: {','.join(sorted(infos))}"
            )
    raise errors.internal("the instances could not be read")


def _wrapped(check: Callable[[], None], what: str) -> None:
    try:
        check()
    except ServingError as error:
        raise errors.invalid_argument(
            f"{what} Error: {error.code.name}: {error.message}"
        ) from error


def _check_row(value: Any, name: str, infos: Infos, seen: dict[str, tuple[int, ...]]) -> None:
    if name not in infos:
        raise errors.invalid_argument(f"JSON object: does not have named input: {name}")
    shape = json_values.first_shape(value)
    if _array(value, infos[name].dtype) is None:
        _refuse(value, shape, infos[name].dtype)
    first = seen.setdefault(name, shape)
    if math.prod(first) != math.prod(shape):
        raise errors.invalid_argument(
            f"Expecting tensor size: {math.prod(first)} but got: {math.prod(shape)}"
        )
    if first != shape:
        raise errors.invalid_argument(
            f"Expecting shape {_shape_name(first)} but got: {_shape_name(shape)}"
        )


def _refuse(value: Any, shape: Sequence[int], dtype: int) -> NoReturn:
    """Finds the first value of a tensor that is wrong, and says what is."""
    json_values.check(value, 0, shape, dtype)
    raise errors.internal(f"a tensor of {json_values.dtype_name(dtype)} could not be read")


def _batch_size(arrays: Mapping[str, np.ndarray]) -> int:
    size = 0
    for name, array in arrays.items():
        if not array.ndim:
            raise errors.invalid_argument(f"Tensor name: {name} has no shape information ")
        if not len(array):
            raise errors.invalid_argument(f"Tensor name: {name} has invalid batch size: 0")
        if size and len(array) != size:
            raise errors.invalid_argument(
                f"Tensor name: {name} has inconsistent batch size: {len(array)} expecting: {size}"
            )
        size = len(array)
    return size


def _sole_or_all(values: Mapping[str, Any]) -> Any:
    return next(iter(values.values())) if len(values) == 1 else values


def _writable_rows(name: str, array: np.ndarray) -> list[Any]:
    if array.dtype == np.object_:
        return _writable(name, array)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        return [json_text.writable(np.asarray(row)) for row in array]
    return list(np.ascontiguousarray(array))


def _writable(name: str, array: np.ndarray) -> Any:
    if array.dtype != np.object_:
        return json_text.writable(array)
    write = _as_base64 if name.endswith(_BYTES_SUFFIX) else _as_text
    written = np.empty(array.size, np.object_)
    written[:] = [write(value) for value in array.ravel()]
    return written.reshape(array.shape).tolist()


def _as_base64(value: bytes) -> dict[str, str]:
    return {json_values.B64: base64.b64encode(value).decode()}


def _as_text(value: bytes) -> str:
    return value.decode("utf-8", "replace")


def _shape_name(shape: Sequence[int]) -> str:
    return "[" + ",".join(map(str, shape)) + "]"
