"""Configuration files of TensorFlow Serving: text-format protos, read with care.

The binary takes them for its models, batching, TLS and monitoring. A mistake in
one is a line for the person who wrote it, with the binary's words in it and the
place in the file.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from google.protobuf import text_format
from google.protobuf.message import Message

from music.errors import SegueError

MAX_BYTES = 16 * 2**20
_M = TypeVar("_M", bound=Message)


def read(path: Path, message: _M, flag: str, *, secret: bool = False) -> _M:
    """Reads a text-format file into `message`.

    Args:
      path: the file, at most 16 MiB of UTF-8.
      message: an empty message of the type that the file holds.
      flag: the flag that names the file, for the error.
      secret: the file holds keys: an error must not quote it.

    Returns:
      The message.

    Raises:
      SegueError: the file cannot be read, or it holds something else.
    """
    where = f"--{flag}={path}"
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise SegueError(f"{where} cannot be read: {error.strerror}") from error
    if len(raw) > MAX_BYTES:
        raise SegueError(f"{where} is larger than {MAX_BYTES} bytes; is it the right file?")
    what = f"Error parsing text-format {message.DESCRIPTOR.full_name}"
    try:
        text_format.Parse(raw.decode("utf-8"), message)
    except UnicodeDecodeError as error:
        raise SegueError(f"{where}: {what}: it is no UTF-8 text") from error
    except text_format.ParseError as error:
        place = f"line {error.GetLine()}, column {error.GetColumn()}"
        detail = place if secret else " ".join(str(error).split())
        # Its context would quote the line.
        raise SegueError(f"{where}: {what}: {detail}") from (None if secret else error)
    except RecursionError as error:
        raise SegueError(f"{where}: {what}: it is nested too deeply") from error
    return message
