import os

import pytest

from music.errors import SegueError
from serving.batching_parameters import BatchingParameters, read

FULL = """
# as TensorFlow Serving's documentation writes it
max_batch_size { value: 32 }
batch_timeout_micros { value: 5000 }
max_enqueued_batches { value: 100 }
num_batch_threads { value: 3 }
thread_pool_name { value: "songs" }
allowed_batch_sizes: 8
allowed_batch_sizes: 16
pad_variable_length_inputs: true
enable_large_batch_splitting { value: true }
max_execution_batch_size { value: 16 }
"""


@pytest.fixture
def refused(tmp_path):
    """refused(text): the one line that a parameters file with that text is refused with."""

    def refused(text):
        path = tmp_path / "batching.txt"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        with pytest.raises(SegueError) as caught:
            read(path)
        line = str(caught.value)
        assert line.startswith(f"--batching_parameters_file={path}: ")
        assert "\n" not in line
        return line.split(": ", 1)[1]

    return refused


def test_all_fields_are_read(tmp_path):
    path = tmp_path / "batching.txt"
    path.write_text(FULL)
    assert read(path) == BatchingParameters(
        max_batch_size=32,
        batch_timeout_micros=5000,
        max_enqueued_batches=100,
        num_batch_threads=3,
        thread_pool_name="songs",
        allowed_batch_sizes=(8, 16),
        pad_variable_length_inputs=True,
        enable_large_batch_splitting=True,
        max_execution_batch_size=16,
    )


def test_without_a_file_the_defaults_are_the_binarys():
    found = read(None)
    assert (found.max_batch_size, found.batch_timeout_micros) == (1000, 0)
    assert found.max_enqueued_batches == 10
    assert found.num_batch_threads == len(os.sched_getaffinity(0))
    assert found.thread_pool_name == "model_server_batch_threads"
    assert found.allowed_batch_sizes == ()
    assert not found.pad_variable_length_inputs
    assert not found.enable_large_batch_splitting


def test_an_empty_file_is_all_defaults(tmp_path):
    path = tmp_path / "empty"
    path.touch()
    assert read(path) == BatchingParameters()


def test_a_batch_may_be_as_large_as_a_request_unless_requests_are_split():
    assert BatchingParameters(max_execution_batch_size=7).execution_batch_size == 1000
    split = BatchingParameters(enable_large_batch_splitting=True)
    assert split.execution_batch_size == 1000
    split = BatchingParameters(enable_large_batch_splitting=True, max_execution_batch_size=7)
    assert split.execution_batch_size == 7


def test_when_requests_are_split_the_last_allowed_size_is_that_of_a_batch():
    split = BatchingParameters(
        max_batch_size=1024,
        enable_large_batch_splitting=True,
        max_execution_batch_size=32,
        allowed_batch_sizes=(8, 32),
    )
    assert [split.padded(rows) for rows in (1, 9, 32)] == [8, 32, 32]


def test_rows_are_filled_up_to_the_next_allowed_size():
    some = BatchingParameters(max_batch_size=8, allowed_batch_sizes=(2, 8))
    assert [some.padded(rows) for rows in (1, 2, 3, 8)] == [2, 2, 8, 8]
    assert BatchingParameters().padded(3) == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "max_batch_size { value: 8 } allowed_batch_sizes: 4",
            "Last entry in allowed_batch_sizes must match max_batch_size; last entry was 4;"
            " expected 8",
        ),
        (
            "allowed_batch_sizes: 4",
            "Last entry in allowed_batch_sizes must match max_batch_size; last entry was 4;"
            " expected 1000",
        ),
        (
            "max_batch_size { value: 8 } allowed_batch_sizes: 8 enable_large_batch_splitting"
            " { value: true } max_execution_batch_size { value: 4 }",
            "Last entry in allowed_batch_sizes must be equal to max_execution_batch_size; last"
            " entry was 8; expected 4",
        ),
        (
            "max_batch_size { value: 8 } allowed_batch_sizes: 8 allowed_batch_sizes: 8",
            "allowed_batch_sizes [8, 8] are not positive and increasing",
        ),
        (
            "max_batch_size { value: 8 } allowed_batch_sizes: -1 allowed_batch_sizes: 8",
            "allowed_batch_sizes [-1, 8] are not positive and increasing",
        ),
        ("max_batch_size { value: 0 }", "max_batch_size 0 is not from 1 to 2147483647"),
        ("num_batch_threads { value: 0 }", "num_batch_threads 0 is not from 1 to 1024"),
        (
            "batch_timeout_micros { value: -1 }",
            "batch_timeout_micros -1 is not from 0 to 3600000000",
        ),
        (
            "max_enqueued_batches { value: -1 }",
            "max_enqueued_batches -1 is not from 0 to 2147483647",
        ),
        (
            "max_batch_size { value: 8 } enable_large_batch_splitting { value: true }"
            " max_execution_batch_size { value: 9 }",
            "max_execution_batch_size 9 is more than max_batch_size 8",
        ),
        (b"\xff\xfe", "it cannot be read: it is no text"),
        ("#" * (2**20 + 1), "it is longer than 1048576 bytes"),
    ],
)
def test_what_cannot_be_is_one_line(refused, text, message):
    assert refused(text) == message


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("max_batchsize { value: 8 }", 'has no field named "max_batchsize"'),
        ("max_batch_size: 8", "1:17"),
        ("max_batch_size { value: many }", "many"),
        ("max_batch_size { value: 99999999999999999999 }", "99999999999999999999"),
        ("max_batch_size {", "Error parsing"),
        ("max_batch_size { value: 1 } max_batch_size { value: 2 }", "max_batch_size"),
    ],
)
def test_what_is_no_such_text_is_one_line_with_the_known_fields(refused, text, part):
    message = refused(text)
    assert message.startswith("Error parsing text-format tensorflow.serving.BatchingParameters: ")
    assert part in message
    assert "known fields: max_batch_size, batch_timeout_micros" in message


def test_a_file_that_is_not_there_is_one_line(tmp_path):
    for path, reason in ((tmp_path / "no", "there is no such file"), (tmp_path, "that is no file")):
        with pytest.raises(SegueError) as caught:
            read(path)
        assert str(caught.value) == f"--batching_parameters_file={path}: {reason}"
