"""Windows as serialized tf.train.Examples, written without protobuf objects.

Windows overlap: in the paper's form every event stands in 76 of them. Protobuf
would encode its numbers 76 times, one Python call each; here a song's column is
encoded once, and a window is a stretch of those bytes between a few constants.
The bytes are those of `SerializeToString(deterministic=True)`, map keys sorted.

The wire format (protobuf.dev, "Encoding") of the messages that are needed, each
`tag length value`, with the tags of tensorflow/core/example/{example,feature}.proto:

    Example    1: Features    Features   1: map entry, repeated (1: key, 2: Feature)
    Feature    1: BytesList   2: FloatList   3: Int64List
    *List      1: values (bytes one by one, numbers packed: all in one field)
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Iterator, Sequence

import numpy as np

from music.windows import Window, WindowSpec

_BYTES, _FLOATS, _INTS = 1, 2, 3  # the lists of a Feature


def serialized_windows(
    events: np.ndarray,
    spec: WindowSpec,
    song: str,
    names: Sequence[str],
    ngram_nll: np.ndarray | None = None,
) -> Iterator[tuple[Window, bytes]]:
    """The windows of one song, each with its serialized tf.train.Example.

    The features are those of `stages.to_example`.

    Args:
      events: int32[T, F] codes.
      spec: how the song is cut.
      song: its id.
      names: of the F fields.
      ngram_nll: float64[T], nats of each event under the n-gram; a window gets the
        mean over its scored events. None leaves the feature out.

    Raises:
      ValueError: a code is negative, or takes more than three bytes.
    """
    columns = {name: _Varints(events[:, column]) for column, name in enumerate(names)}
    told = song.encode()
    same = {"song": _head("song", _BYTES, len(told)) + told}
    order = sorted([*columns, "song", "offset", "scored"])
    if ngram_nll is not None:
        order = sorted([*order, "ngram_nll"])
    for window in spec.cut(events):
        start, stop = window.offset, window.offset + len(window.events)
        entries = []
        for name in order:
            if name in same:
                entries.append(same[name])
                continue
            kind = _INTS
            if name in columns:
                values = columns[name].between(start, stop)
            elif name == "ngram_nll" and ngram_nll is not None:
                kind, mean = _FLOATS, ngram_nll[stop - window.scored : stop].mean()
                values = struct.pack("<f", mean)
            else:
                values = _varint(start if name == "offset" else window.scored)
            entries += _head(name, kind, len(values)), values
        features = b"".join(entries)
        yield window, _tag(1) + _varint(len(features)) + features


class _Varints:
    """Numbers int[N] >= 0, below 2**21, as protobuf's varints, and stretches of them."""

    def __init__(self, numbers: np.ndarray):
        outside = numbers[(numbers < 0) | (numbers >= 1 << 21)]
        if len(outside):
            raise ValueError(f"codes of windows are 0..{(1 << 21) - 1}, got {outside[0]}")
        # Seven bits a byte, the lowest first; the high bit says that more follow.
        digits = np.stack([numbers & 127, numbers >> 7 & 127, numbers >> 14 & 127], axis=1)
        sizes = 1 + (numbers >= 1 << 7) + (numbers >= 1 << 14)
        place = np.arange(3)
        digits[place < sizes[:, None] - 1] |= 128
        self._bytes = digits[place < sizes[:, None]].astype(np.uint8).tobytes()
        self._starts = [0, *np.cumsum(sizes).tolist()]

    def between(self, first: int, stop: int) -> bytes:
        return self._bytes[self._starts[first] : self._starts[stop]]


def _varint(number: int) -> bytes:
    digits = bytearray()
    while number > 127:
        digits.append(number & 127 | 128)
        number >>= 7
    digits.append(number)
    return bytes(digits)


def _tag(number: int) -> bytes:
    return bytes([number << 3 | 2])  # 2: a length follows, then that many bytes


@functools.lru_cache(maxsize=4096)  # windows of one length share it
def _head(name: str, kind: int, size: int) -> bytes:
    """All that stands before the values of a map entry, `size` bytes of them."""
    head = b""
    for number in (1, kind, 2):  # values, list, Feature: from the inside out
        head = _tag(number) + _varint(len(head) + size) + head
    key = _tag(1) + _varint(len(name)) + name.encode()
    return _tag(1) + _varint(len(key) + len(head) + size) + key + head
