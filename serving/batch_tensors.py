"""The arrays of several requests become one batch, and its outputs theirs again.

The arithmetic of batching, apart from its queues and threads: inputs ("feeds") are
arrays by the names of their tensors; the first dimension counts rows. What is
refused, and in which words, is that of TensorFlow Serving's BatchingSession.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from serving import errors
from serving.errors import ServingError

Arrays = Mapping[str, np.ndarray]

# What padding may add to the inputs of one batch: one long request must not make
# gigabytes of a thousand short ones.
MAX_PADDING_BYTES = 256 * 2**20

# As far as the binary's padding goes (its Eigen kernels).
_MAX_PADDED_RANK = 6


def rows(feeds: Arrays) -> int:
    """The size of the first dimension that all inputs share.

    Raises:
      ServingError: INVALID_ARGUMENT when there is none.
    """
    if not feeds:
        raise errors.invalid_argument("Batching Run() must have at least one input tensor")
    if any(not array.ndim for array in feeds.values()):
        raise errors.invalid_argument(
            "Batching Run() input tensors must have at least one dimension"
        )
    sizes = {len(array) for array in feeds.values()}
    if len(sizes) > 1:
        raise errors.invalid_argument(
            "Batching Run() input tensors must have equal 0th-dimension size"
        )
    return sizes.pop()


def refuse_unpaddable(requests: Sequence[Arrays]) -> list[ServingError | None]:
    """For each request of a batch: why its inputs cannot be padded, or None.

    An input without elements has no first one to pad it with, which only matters
    beside others that have some.
    """
    some = {name for feeds in requests for name, array in feeds.items() if array.size}
    refusals: list[ServingError | None] = []
    for feeds in requests:
        refusal = None
        if any(array.ndim > _MAX_PADDED_RANK for array in feeds.values()):
            refusal = errors.invalid_argument("Only tensors with rank from 1 to 6 can be padded.")
        elif any(name in some and not array.size for name, array in feeds.items()):
            refusal = errors.invalid_argument("Got empty tensor in batch of non-empty tensors.")
        refusals.append(refusal)
    return refusals


def worth_padding(requests: Sequence[Arrays]) -> bool:
    """Whether padding can make one batch of these, and takes no memory to speak of."""
    if len(requests) < 2:
        return True
    added = 0
    for name in requests[0]:
        arrays = [feeds[name] for feeds in requests]
        if len({array.ndim for array in arrays}) > 1:
            return False
        row = math.prod(_widest(arrays))
        added += sum((len(array) * row - array.size) * array.itemsize for array in arrays)
    return added <= MAX_PADDING_BYTES


def merge(requests: Sequence[Arrays], padded_rows: int, pad: bool) -> dict[str, np.ndarray]:
    """The inputs of a batch.

    Args:
      requests: their rows follow each other in this order; at least one request,
        and one row in each.
      padded_rows: rows of the batch. Those that no request has repeat the first
        row of the last one, which is a valid row wherever there is one.
      pad: whether inputs that are smaller than others, beyond the first dimension,
        are filled up with their own first element; they have equal ranks then.

    Raises:
      ServingError: FAILED_PRECONDITION for inputs that differ beyond the first
        dimension, and are not to be padded.
    """
    merged = {}
    for name in requests[0]:
        arrays = [feeds[name] for feeds in requests]
        if len({array.shape[1:] for array in arrays}) == 1:
            tail = arrays[0].shape[1:]
        elif pad:
            tail = _widest(arrays)
        else:
            raise errors.failed_precondition(
                f"Tensors with name '{name}' from different tasks have different shapes and padding"
                " is turned off.Set pad_variable_length_inputs to true, or ensure that all tensors"
                " with the same namehave equal dimensions starting with the first dim."
            )
        if len(arrays) == 1 and len(arrays[0]) == padded_rows:
            merged[name] = arrays[0]
            continue
        whole = np.empty((padded_rows, *tail), arrays[0].dtype)
        first = end = 0
        for array in arrays:
            first, end = end, end + len(array)
            if array.shape[1:] != tail:
                whole[first:end] = array.flat[0]
            box = (slice(first, end), *map(slice, array.shape[1:]))
            whole[box] = array
        whole[end:] = whole[first]
        merged[name] = whole
    return merged


def split(outputs: Arrays, sizes: Sequence[int], padded_rows: int) -> list[dict[str, np.ndarray]]:
    """Each request's rows of a batch's outputs, as views.

    Args:
      outputs: by name; their rows are those of `merge`.
      sizes: rows of each request.
      padded_rows: rows of the batch; what the requests leave is dropped.

    Raises:
      ServingError: FAILED_PRECONDITION for an output with another number of rows.
    """
    for array in outputs.values():
        if not array.ndim:
            raise errors.failed_precondition("Batched output tensor has 0 dimensions")
        if len(array) != padded_rows:
            raise errors.failed_precondition(
                "Batched output tensor's 0th dimension does not equal the sum of the 0th dimension"
                " sizes of the input tensors"
            )
    shares, end = [], 0
    for size in sizes:
        first, end = end, end + size
        shares.append({name: array[first:end] for name, array in outputs.items()})
    return shares


def join(parts: Sequence[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The outputs of a request that ran in parts.

    Raises:
      ServingError: FAILED_PRECONDITION when they differ beyond the first dimension.
    """
    if len(parts) == 1:
        return parts[0]
    try:
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    except ValueError as error:
        raise errors.failed_precondition(
            f"Tensor concat operation failed: {errors.one_line(error)}"
        ) from error


def _widest(arrays: Sequence[np.ndarray]) -> tuple[int, ...]:
    """The largest size of each dimension but the first."""
    return tuple(max(sizes) for sizes in zip(*(a.shape[1:] for a in arrays), strict=True))
