import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from serving import batch_tensors
from serving.errors import ServingError


@pytest.fixture
def refused():
    """refused(code, call, ...): the message of that error, which the call must end in."""

    def refused(code, call, *args):
        with pytest.raises(ServingError) as caught:
            call(*args)
        assert caught.value.code.name == code
        return caught.value.message

    return refused


def words(*values):
    array = np.empty(len(values), np.object_)
    array[:] = values
    return array


def test_rows_are_what_all_inputs_share(refused):
    assert batch_tensors.rows({"a": np.zeros((3, 2)), "b": np.zeros(3)}) == 3
    assert batch_tensors.rows({"a": np.zeros((0, 2))}) == 0
    code = "INVALID_ARGUMENT"
    assert refused(code, batch_tensors.rows, {}) == (
        "Batching Run() must have at least one input tensor"
    )
    assert refused(code, batch_tensors.rows, {"a": np.zeros(()), "b": np.zeros(2)}) == (
        "Batching Run() input tensors must have at least one dimension"
    )
    assert refused(code, batch_tensors.rows, {"a": np.zeros(3), "b": np.zeros(2)}) == (
        "Batching Run() input tensors must have equal 0th-dimension size"
    )


def test_rows_follow_each_other_and_the_last_requests_first_row_fills_up():
    merged = batch_tensors.merge([{"a": np.array([1, 2])}, {"a": np.array([3, 4])}], 6, False)
    assert merged["a"].tolist() == [1, 2, 3, 4, 3, 3]
    one = {"a": np.array([1, 2])}
    assert batch_tensors.merge([one], 2, False)["a"] is one["a"]


def test_strings_are_merged_as_they_are():
    merged = batch_tensors.merge([{"s": words(b"a\0")}, {"s": words(b"", b"ccc")}], 4, False)
    assert merged["s"].tolist() == [b"a\0", b"", b"ccc", b""]


def test_shorter_inputs_are_padded_with_their_own_first_element():
    short, long = np.array([[7, 8], [9, 9]]), np.array([[1, 2, 3]])
    merged = batch_tensors.merge([{"a": short}, {"a": long}], 4, True)
    assert merged["a"].tolist() == [[7, 8, 7], [9, 9, 7], [1, 2, 3], [1, 2, 3]]
    text = batch_tensors.merge(
        [{"s": words(b"x").reshape(1, 1)}, {"s": words(b"y", b"z").reshape(1, 2)}], 2, True
    )
    assert text["s"].tolist() == [[b"x", b"x"], [b"y", b"z"]]


def test_different_shapes_are_refused_without_padding(refused):
    requests = [{"a:0": np.zeros((1, 2))}, {"a:0": np.zeros((1, 3))}]
    assert refused("FAILED_PRECONDITION", batch_tensors.merge, requests, 2, False) == (
        "Tensors with name 'a:0' from different tasks have different shapes and padding is turned"
        " off.Set pad_variable_length_inputs to true, or ensure that all tensors with the same"
        " namehave equal dimensions starting with the first dim."
    )


def test_only_the_request_that_cannot_be_padded_is_refused():
    empty, some = np.zeros((1, 0)), np.zeros((1, 3))
    found = batch_tensors.refuse_unpaddable(
        [{"a": some}, {"a": empty}, {"a": np.zeros((1,) * 7)}, {"a": some}]
    )
    assert [error and error.message for error in found] == [
        None,
        "Got empty tensor in batch of non-empty tensors.",
        "Only tensors with rank from 1 to 6 can be padded.",
        None,
    ]
    assert batch_tensors.refuse_unpaddable([{"a": empty}, {"a": empty}]) == [None, None]


def test_padding_that_takes_gigabytes_is_not_worth_it():
    # A view of one element: nothing is really allocated here.
    wide = np.broadcast_to(np.float32(1), (1, 10**6))
    small = {"a": np.zeros((100, 1), np.float32)}
    assert not batch_tensors.worth_padding([small, {"a": wide}])
    assert batch_tensors.worth_padding([small, {"a": wide[:, : 10**5]}])
    assert batch_tensors.worth_padding([{"a": wide}])
    assert not batch_tensors.worth_padding([{"a": np.zeros(1)}, {"a": np.zeros((1, 1))}])


def test_outputs_have_the_rows_of_the_batch(refused):
    code = "FAILED_PRECONDITION"
    assert refused(code, batch_tensors.split, {"y": np.zeros(())}, [1], 1) == (
        "Batched output tensor has 0 dimensions"
    )
    assert refused(code, batch_tensors.split, {"y": np.zeros(3)}, [1, 1], 2) == (
        "Batched output tensor's 0th dimension does not equal the sum of the 0th dimension sizes"
        " of the input tensors"
    )


def test_parts_are_joined_if_they_agree(refused):
    parts = [{"y": np.array([[1], [2]])}, {"y": np.array([[3]])}]
    assert batch_tensors.join(parts)["y"].tolist() == [[1], [2], [3]]
    differ = [{"y": np.zeros((1, 2))}, {"y": np.zeros((1, 3))}]
    message = refused("FAILED_PRECONDITION", batch_tensors.join, differ)
    assert message.startswith("Tensor concat operation failed: ")


shapes = st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 4))
requests = st.lists(
    shapes.flatmap(lambda shape: arrays.arrays(np.int16, shape)), min_size=1, max_size=6
)


@settings(max_examples=200, deadline=None)
@given(requests, st.integers(0, 5))
def test_every_request_gets_its_own_rows_back(sent, spare):
    sizes = [len(array) for array in sent]
    total = sum(sizes) + spare
    merged = batch_tensors.merge([{"a": array} for array in sent], total, True)
    assert len(merged["a"]) == total
    for array, share in zip(sent, batch_tensors.split(merged, sizes, total), strict=True):
        _, height, width = array.shape
        assert np.array_equal(share["a"][:, :height, :width], array)
        outside = np.ones(share["a"].shape, bool)
        outside[:, :height, :width] = False
        assert (share["a"][outside] == array.flat[0]).all()
