"""TFRecord files without TensorFlow: TensorFlow reads them, and writes the same."""

import gzip
import io

import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from components.window_generator import tfrecord
from components.window_generator.tfrecord import RecordWriter


def written(records):
    file = io.BytesIO()
    with RecordWriter(file) as writer:
        for record in records:
            writer.write(record)
    assert not file.closed
    return file.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("records")


@settings(deadline=None, max_examples=40)
@given(records=st.lists(st.binary(max_size=300), max_size=20))
def test_the_bytes_are_tensorflows(folder, records):
    theirs = str(folder / "theirs.gz")
    with tf.io.TFRecordWriter(theirs, "GZIP") as writer:
        for record in records:
            writer.write(record)
    ours = folder / "ours.gz"
    ours.write_bytes(written(records))
    with gzip.open(theirs) as file:
        assert gzip.decompress(ours.read_bytes()) == file.read()
    read = tf.data.TFRecordDataset(str(ours), "GZIP").as_numpy_iterator()
    assert list(read) == records


def test_the_same_records_give_the_same_bytes_and_no_date():
    data = written([b"a", b"b"])
    assert data == written([b"a", b"b"])
    assert data[4:8] == bytes(4)  # RFC 1952: the time of modification


def test_many_records_are_written_as_they_come(monkeypatch):
    monkeypatch.setattr(tfrecord, "_BATCH", 100)
    records = [bytes([number % 256]) * 30 for number in range(1000)]
    together = written(records)
    monkeypatch.setattr(tfrecord, "_BATCH", 10**9)
    assert gzip.decompress(together) == gzip.decompress(written(records))


def test_a_file_that_breaks_off_is_noticed(folder):
    path = folder / "broken.gz"
    path.write_bytes(gzip.compress(gzip.decompress(written([b"abc" * 50]))[:-7]))
    with pytest.raises(tf.errors.DataLossError):
        list(tf.data.TFRecordDataset(str(path), "GZIP").as_numpy_iterator())
