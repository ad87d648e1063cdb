"""Row 37 of the serving contract: concurrent requests in batches, by the binary's flags.

Batches are made certain, not likely: a batch waits for an hour unless it is full, so
that an answer proves that requests shared a run (or that one did not need to).
"""

import re
import shutil
from concurrent import futures

import grpc
import numpy as np
import pytest

NEVER = 3_600_000_000
ECHO = {"f": "f4", "d": "f8", "i": "i4", "l": "i8", "b": "?", "h": "f2", "u": "u1", "c": "c8"}


@pytest.fixture(scope="module")
def models(toys, tmp_path_factory):
    folder = tmp_path_factory.mktemp("batched") / "segue"
    shutil.copytree(toys[2], folder / "7")
    return folder


@pytest.fixture(scope="module")
def start(launch, models, tmp_path_factory):
    """start(parameters): flags of a server with these batching parameters, and it itself."""

    def start(text, **launching):
        path = tmp_path_factory.mktemp("parameters") / "batching.txt"
        path.write_text(text)
        return launch(
            f"--model_base_path={models}",
            "--model_name=segue",
            "--enable_batching",
            f"--batching_parameters_file={path}",
            **launching,
        )

    return start


@pytest.fixture(scope="module")
def pairs_server(start):
    return start(
        "max_batch_size { value: 2 }"
        f" batch_timeout_micros {{ value: {NEVER} }}"
        " max_enqueued_batches { value: 1 }"
        " num_batch_threads { value: 2 }"
    )


@pytest.fixture
def pairs(pairs_server, connect):
    """A client of a server whose batches have two rows, whenever they come."""
    return connect(pairs_server)


@pytest.fixture(scope="module")
def padding_server(start):
    return start(
        "max_batch_size { value: 4 }"
        " allowed_batch_sizes: 4"
        f" batch_timeout_micros {{ value: {NEVER} }}"
        " num_batch_threads { value: 1 }"
        " pad_variable_length_inputs: true"
    )


@pytest.fixture
def padding(padding_server, connect):
    """The same with padding, and batches of exactly four rows."""
    return connect(padding_server)


def together(*calls):
    """What calls at the same time end in: results, or the codes and messages of errors."""

    def end(call):
        try:
            return call()
        except grpc.RpcError as error:
            return error.code().name, error.details()

    with futures.ThreadPoolExecutor(len(calls)) as pool:
        return [one.result(60) for one in [pool.submit(end, call) for call in calls]]


def one(client, *values, timeout=20):
    def call():
        response = client.predict({"x": np.float32(values)}, "one", timeout=timeout)
        return list(response.outputs["y"].float_val)

    return call


def echo(client, shape, value=1):
    """Asks for everything back, in all dtypes and that shape; the shapes that come back."""
    sent = {name: np.full(shape, value, dtype) for name, dtype in ECHO.items()}
    text = np.empty(shape, object)
    text[...] = b"%d" % value
    sent["s"] = text

    def call():
        response = client.predict(sent, "echo")
        return {
            name: (
                [dim.size for dim in tensor.tensor_shape.dim],
                list(tensor.int_val or tensor.string_val or tensor.float_val),
            )
            for name, tensor in response.outputs.items()
            if name in ("i", "s", "f")
        }

    return call


def test_row_37_requests_at_the_same_time_share_a_run(pairs):
    assert together(one(pairs, 1), one(pairs, 5)) == [[2.0], [10.0]]


def test_row_37_a_full_batch_does_not_wait(pairs):
    assert one(pairs, 3, 4)() == [6.0, 8.0]


def test_row_37_a_batch_that_is_not_full_waits(pairs):
    with futures.ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(one(pairs, 1))
        with pytest.raises(futures.TimeoutError):
            waiting.result(0.5)
        assert one(pairs, 5)() == [10.0]
        assert waiting.result(20) == [2.0]


def test_row_37_a_request_larger_than_a_batch_is_refused(pairs):
    assert together(one(pairs, 1, 2, 3)) == [
        ("INVALID_ARGUMENT", "Task size 3 is larger than maximum input batch size 2")
    ]


def test_row_37_inputs_share_dimension_0(pairs):
    def linear(x, bias):
        return lambda: pairs.predict({"x": x, "bias": bias})

    two, three = np.float32([1, 2]), np.float32([1, 2, 3])
    assert together(linear(two, three), linear(two, np.float32(1))) == [
        ("INVALID_ARGUMENT", "Batching Run() input tensors must have equal 0th-dimension size"),
        ("INVALID_ARGUMENT", "Batching Run() input tensors must have at least one dimension"),
    ]


def test_row_37_other_dimensions_are_equal(pairs):
    found = together(echo(pairs, (1, 2)), echo(pairs, (1, 3)))
    assert [code for code, _ in found] == ["FAILED_PRECONDITION"] * 2
    for _, message in found:
        assert re.search(
            "^Tensors with name '.*' from different tasks have different shapes and padding is"
            " turned off",
            message,
        )


def test_row_37_padding_repeats_the_first_element(padding):
    found = together(echo(padding, (2, 1), value=7), echo(padding, (2, 3), value=9))
    for answer, value in zip(found, (7, 9), strict=True):
        assert answer == {
            "i": ([2, 3], [value] * 6),
            "f": ([2, 3], [float(value)] * 6),
            "s": ([2, 3], [b"%d" % value] * 6),
        }


def test_row_37_padding_fails_on_an_empty_tensor(padding):
    found = together(echo(padding, (1, 0)), echo(padding, (3, 2)))
    assert found[0] == (
        "INVALID_ARGUMENT",
        "Got empty tensor in batch of non-empty tensors.",
    )


def test_row_37_an_output_filter_that_is_no_signature_bypasses_the_batcher(pairs):
    # One row of two: in the queue it would wait for the other.
    inputs = {"x": np.float32([3]), "bias": np.float32([1])}
    response = pairs.predict(inputs, outputs=["y"])
    assert list(response.outputs["y"].float_val) == [7.0]


def test_row_37_an_output_filter_of_all_outputs_does_not(pairs):
    def linear(value, *outputs):
        inputs = {"x": np.float32([value]), "bias": np.float32([1])}
        return lambda: list(pairs.predict(inputs, outputs=outputs).outputs["y"].float_val)

    with futures.ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(linear(3, "y", "unused"))
        with pytest.raises(futures.TimeoutError):
            waiting.result(0.5)
        assert linear(4)() == [9.0]
        assert waiting.result(20) == [7.0]


def test_row_37_allowed_batch_sizes_are_filled_up_and_cut(start, connect):
    client = connect(
        start(
            "max_batch_size { value: 8 } allowed_batch_sizes: 3 allowed_batch_sizes: 8"
            " batch_timeout_micros { value: 0 }"
        )
    )
    assert one(client, 1)() == [2.0]
    assert one(client, 1, 2, 3, 4)() == [2.0, 4.0, 6.0, 8.0]
    # Without a timeout nobody waits for company.
    assert together(*(one(client, value) for value in range(20))) == [
        [2.0 * value] for value in range(20)
    ]


def test_row_37_a_full_queue_refuses(pairs, eventually):
    with futures.ThreadPoolExecutor(1) as pool:
        # One batch may wait, and one row keeps it open; two more do not fit.
        waiting = pool.submit(one(pairs, 1))

        def refusal():
            nonlocal waiting
            if waiting.done():  # it came behind the two, and was refused itself
                waiting = pool.submit(one(pairs, 1))
            ended = together(one(pairs, 2, 3))[0]
            # Sooner than the row that is to be in their way, they are a batch.
            return None if ended == [4.0, 6.0] else ended

        code, message = eventually(refusal)
        assert code in ("RESOURCE_EXHAUSTED", "UNAVAILABLE")  # by the release
        assert message.startswith(
            "The batch scheduling queue to which this task was submitted is full"
        )
        assert one(pairs, 5)() == [10.0]
        assert waiting.result(20) == [2.0]


def test_row_37_without_the_flag_a_parameters_file_is_an_error(launch, models, tmp_path):
    path = tmp_path / "batching.txt"
    path.write_text("max_batch_size { value: 2 }")
    server = launch(
        f"--model_base_path={models}",
        "--model_name=segue",
        f"--batching_parameters_file={path}",
        wait=False,
    )
    assert server.process.wait(60) != 0
    assert "batching_parameters_file" in server.log.read_text()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("max_batchsize { value: 2 }", "max_batchsize"),
        (
            "max_batch_size { value: 8 } allowed_batch_sizes: 4",
            "Last entry in allowed_batch_sizes must match max_batch_size; last entry was 4;"
            " expected 8",
        ),
    ],
)
def test_row_37_a_bad_parameters_file_ends_the_start(start, text, message):
    server = start(text, wait=False)
    assert server.process.wait(60) != 0
    assert message in server.log.read_text()
