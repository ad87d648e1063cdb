"""How requests are batched: the file behind `--batching_parameters_file`.

The format is TensorFlow Serving's: the BatchingParameters message as text, e.g.
`max_batch_size { value: 32 }`. The package with TensorFlow Serving's messages
leaves this one out, so it is described here, field by field, and protobuf's own
parser reads the text: its rules, its numbers, its refusals.

What the binary would find wrong when it loads a model, or never (sizes that do
not increase), is one `SegueError` line before anything is loaded. TensorFlow is
not needed for it, and not imported.
"""

from __future__ import annotations

import dataclasses
import os
from itertools import pairwise
from pathlib import Path
from typing import Any

from music.errors import SegueError

_FLAG = "--batching_parameters_file"
_MAX_FILE_BYTES = 2**20
_MESSAGE = "tensorflow.serving.BatchingParameters"
_INT64, _STRING, _BOOL = "Int64Value", "StringValue", "BoolValue"

# The fields of the message by their numbers: wrapped ones tell "not given" from
# zero; the two others are plain.
_WRAPPED = {
    "max_batch_size": (1, _INT64),
    "batch_timeout_micros": (2, _INT64),
    "max_enqueued_batches": (3, _INT64),
    "num_batch_threads": (4, _INT64),
    "thread_pool_name": (5, _STRING),
    "enable_large_batch_splitting": (8, _BOOL),
    "max_execution_batch_size": (9, _INT64),
}
_ALLOWED = ("allowed_batch_sizes", 6)
_PAD = ("pad_variable_length_inputs", 7)

_INT32_MAX = 2**31 - 1
_RANGES = {
    "max_batch_size": (1, _INT32_MAX),
    "batch_timeout_micros": (0, 3_600_000_000),
    "max_enqueued_batches": (0, _INT32_MAX),
    "num_batch_threads": (1, 1024),
    "max_execution_batch_size": (1, _INT32_MAX),
}


def _cores() -> int:
    """The processors that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        return os.cpu_count() or 1


@dataclasses.dataclass(frozen=True)
class BatchingParameters:
    """What BatchingParameters says; the defaults are TensorFlow Serving's.

    Attributes:
      max_batch_size: most rows of one request, and of a batch unless large
        requests are split.
      batch_timeout_micros: how long a batch may wait for more requests, from its
        first one on; 0 runs what is there as soon as a thread is free.
      max_enqueued_batches: batches that may wait in one queue; requests beyond
        are refused.
      num_batch_threads: batches that run at the same time, over all models and
        signatures.
      thread_pool_name: begins the threads' names.
      allowed_batch_sizes: sizes that batches are filled up to, increasing; the
        last one is max_batch_size, or max_execution_batch_size when requests are
        split. Empty: any size.
      pad_variable_length_inputs: whether inputs of different sizes (beyond the
        first dimension) are filled up to share a batch.
      enable_large_batch_splitting: whether a request may be run in parts.
      max_execution_batch_size: most rows of a batch when requests are split;
        None for max_batch_size.
    """

    max_batch_size: int = 1000
    batch_timeout_micros: int = 0
    max_enqueued_batches: int = 10
    num_batch_threads: int = dataclasses.field(default_factory=_cores)
    thread_pool_name: str = "batch_threads"
    allowed_batch_sizes: tuple[int, ...] = ()
    pad_variable_length_inputs: bool = False
    enable_large_batch_splitting: bool = False
    max_execution_batch_size: int | None = None

    def __post_init__(self) -> None:
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise SegueError(f"{name} {value} is not from {low} to {high}")
        allowed = self.allowed_batch_sizes
        if allowed:
            if allowed[0] < 1 or any(a >= b for a, b in pairwise(allowed)):
                raise SegueError(
                    f"allowed_batch_sizes {_listed(allowed)} are not positive and increasing"
                )
            if allowed[-1] != self.execution_batch_size:
                # When requests are split, a batch has another size than a request.
                splits = self.enable_large_batch_splitting
                must = "be equal to max_execution_batch_size" if splits else "match max_batch_size"
                raise SegueError(
                    f"Last entry in allowed_batch_sizes must {must}; last entry was "
                    f"{allowed[-1]}; expected {self.execution_batch_size}"
                )
        if self.enable_large_batch_splitting and self.execution_batch_size > self.max_batch_size:
            raise SegueError(
                f"max_execution_batch_size {self.max_execution_batch_size} is more than"
                f" max_batch_size {self.max_batch_size}"
            )

    @property
    def execution_batch_size(self) -> int:
        """Most rows of a batch that runs."""
        if self.enable_large_batch_splitting and self.max_execution_batch_size is not None:
            return self.max_execution_batch_size
        return self.max_batch_size

    def padded(self, rows: int) -> int:
        """The rows that a batch of `rows` is filled up to: the next allowed size."""
        return next((size for size in self.allowed_batch_sizes if size >= rows), rows)


def read(path: str | os.PathLike[str] | None) -> BatchingParameters:
    """Reads a parameters file.

    Args:
      path: a file with BatchingParameters as text; None for the defaults.

    Raises:
      SegueError: the file cannot be read, is no such text, or asks for what
        cannot be; one line that names the file.
    """
    if path is None:
        return BatchingParameters(thread_pool_name="model_server_batch_threads")
    try:
        return BatchingParameters(**_parse(_read_text(Path(path))))
    except SegueError as error:
        raise SegueError(f"{_FLAG}={path}: {error}") from error


def _read_text(path: Path) -> str:
    try:
        if not path.is_file():
            raise SegueError("there is no such file" if not path.exists() else "that is no file")
        with path.open("rb") as file:
            raw = file.read(_MAX_FILE_BYTES + 1)
        if len(raw) > _MAX_FILE_BYTES:
            raise SegueError(f"it is longer than {_MAX_FILE_BYTES} bytes")
        return raw.decode()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise SegueError(f"it cannot be read: {reason}") from error


def _parse(text: str) -> dict[str, Any]:
    """The fields that a text gives, by name."""
    from google.protobuf import text_format

    message = _message_class()()
    try:
        text_format.Parse(text, message)
    except text_format.ParseError as error:
        raise SegueError(
            f"Error parsing text-format {_MESSAGE}: {' '.join(str(error).split())}; known fields:"
            f" {', '.join(field.name for field in message.DESCRIPTOR.fields)}"
        ) from error
    given = {name: getattr(message, name).value for name in _WRAPPED if message.HasField(name)}
    given[_ALLOWED[0]] = tuple(getattr(message, _ALLOWED[0]))
    given[_PAD[0]] = getattr(message, _PAD[0])
    return given


def _message_class() -> Any:
    """The class of BatchingParameters, made of its description."""
    from google.protobuf import descriptor_pb2, message_factory, wrappers_pb2

    wrappers = descriptor_pb2.FileDescriptorProto()
    wrappers_pb2.DESCRIPTOR.CopyToProto(wrappers)
    file = descriptor_pb2.FileDescriptorProto(
        name="segue/batching_parameters.proto",
        package=_MESSAGE.rpartition(".")[0],
        dependency=[wrappers.name],
        syntax="proto3",
    )
    message = file.message_type.add(name=_MESSAGE.rpartition(".")[2])
    kinds = descriptor_pb2.FieldDescriptorProto
    for name, (number, wrapper) in _WRAPPED.items():
        message.field.add(
            name=name,
            number=number,
            label=kinds.LABEL_OPTIONAL,
            type=kinds.TYPE_MESSAGE,
            type_name=f".google.protobuf.{wrapper}",
        )
    message.field.add(
        name=_ALLOWED[0], number=_ALLOWED[1], label=kinds.LABEL_REPEATED, type=kinds.TYPE_INT64
    )
    message.field.add(
        name=_PAD[0], number=_PAD[1], label=kinds.LABEL_OPTIONAL, type=kinds.TYPE_BOOL
    )
    # A pool of its own: a package that brings the real message is not in the way.
    return message_factory.GetMessages([wrappers, file])[_MESSAGE]


def _listed(sizes: tuple[int, ...]) -> str:
    return "[" + ", ".join(map(str, sizes)) + "]"
