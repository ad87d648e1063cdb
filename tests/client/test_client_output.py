"""Files are put in their place whole, or not at all."""

import os
import stat

import pytest

from client.output import write_atomically
from music.errors import SegueError


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    out = tmp_path / "song.mid"
    write_atomically(out, b"first")

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SegueError, match="cannot be written: No space left on device"):
        write_atomically(out, b"second")
    assert out.read_bytes() == b"first"
    assert os.listdir(tmp_path) == ["song.mid"]


def test_the_file_is_as_readable_as_any_other(tmp_path):
    out, other = tmp_path / "song.mid", tmp_path / "other"
    other.write_bytes(b"")
    write_atomically(out, b"bytes")
    assert stat.S_IMODE(out.stat().st_mode) == stat.S_IMODE(other.stat().st_mode)
