"""A gzip TFRecord file, written without TensorFlow.

A worker that only writes records would wait seconds for TensorFlow to be imported,
and hold half a gigabyte of it. The format is small (tensorflow/core/lib/io/
record_writer.h): of each record its length, a checksum of that, the bytes, and a
checksum of them.
"""

from __future__ import annotations

import gzip
import struct
from typing import BinaryIO

import google_crc32c

# Records are gathered to this many bytes, so that gzip is called seldom.
_BATCH = 2**18


class RecordWriter:
    """Writes records into a binary file that is open; the same records, the same bytes.

    Use it in a `with` statement; the file stays open.

    Args:
      file: to write to.
    """

    def __init__(self, file: BinaryIO):
        # Neither a name nor a date in the header.
        self._zip = gzip.GzipFile("", "wb", compresslevel=6, fileobj=file, mtime=0)
        self._waiting = bytearray()

    def write(self, record: bytes) -> None:
        """Appends a record."""
        length = struct.pack("<Q", len(record))
        self._waiting += length + _checksum(length) + record + _checksum(record)
        if len(self._waiting) >= _BATCH:
            self._flush()

    def _flush(self) -> None:
        self._zip.write(self._waiting)
        self._waiting = bytearray()

    def __enter__(self) -> RecordWriter:
        return self

    def __exit__(self, *_) -> None:
        self._flush()
        self._zip.close()


def _checksum(data: bytes) -> bytes:
    """CRC-32C, masked as TFRecord wants it: rotated by 15 bits, a constant added."""
    crc = google_crc32c.value(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)
