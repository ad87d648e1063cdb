import shutil

import numpy as np
import pytest
import tensorflow as tf

from serving import limits, loader
from serving.errors import ServingError


@pytest.fixture(scope="module")
def model(toys):
    model = loader.load(toys[2])
    yield model
    model.close()


def _fails(code, call, *args, **kwargs):
    with pytest.raises(ServingError) as caught:
        call(*args, **kwargs)
    assert caught.value.code.name == code, caught.value.message
    return caught.value.message


def test_predict_gives_arrays_by_output_name(model):
    inputs = {"x": tf.make_tensor_proto([3.0]), "bias": tf.make_tensor_proto([1.0])}
    outputs = model.predict("", inputs)
    assert {name: array.tolist() for name, array in outputs.items()} == {
        "y": [7.0],
        "unused": [-3.0],
    }
    assert list(model.predict("serving_default", inputs, ["y"])) == ["y"]


def test_variables_and_graphs_of_two_versions_are_apart(model, toys):
    other = loader.load(toys[3])
    inputs = {"x": tf.make_tensor_proto([1.0])}
    assert model.predict("one", inputs)["y"].tolist() == [2.0]
    assert other.predict("one", inputs)["y"].tolist() == [3.0]
    other.close()
    assert model.predict("one", inputs)["y"].tolist() == [2.0]


def test_row_11_the_argument_counts_in_the_order_of_feed_names(model):
    wrong, right = tf.make_tensor_proto([True]), tf.make_tensor_proto([1.0])
    assert _fails("INVALID_ARGUMENT", model.predict, "", {"x": wrong, "bias": right}) == (
        "Expects arg[1] to be float but bool is provided"
    )
    assert _fails("INVALID_ARGUMENT", model.predict, "", {"x": right, "bias": wrong}) == (
        "Expects arg[0] to be float but bool is provided"
    )


def test_row_17_a_timeout_ends_the_run(model):
    inputs = {"n": tf.make_tensor_proto(np.int32(2**31 - 1))}
    message = _fails("DEADLINE_EXCEEDED", model.predict, "slow", inputs, timeout=0.1)
    assert message == "Timed out waiting for notification"
    _fails("DEADLINE_EXCEEDED", model.predict, "slow", inputs, timeout=-1.0)


def test_a_timeout_that_is_long_enough_changes_nothing(model):
    inputs = {"n": tf.make_tensor_proto(np.int32(10))}
    assert model.predict("slow", inputs, timeout=1e12)["n"] == 10


def test_closing_cancels_a_run(toys, eventually):
    import threading

    model = loader.load(toys[2])
    failure = []

    def run():
        try:
            model.predict("slow", {"n": tf.make_tensor_proto(np.int32(2**31 - 1))})
        except ServingError as error:
            failure.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    # The first lookup of the output is the last thing before the run.
    eventually(lambda: len(model._handles) >= 2)
    model.close()
    thread.join(20)
    assert failure
    assert failure[0].code.name == "CANCELLED"


def test_no_saved_model_is_not_found(tmp_path):
    message = _fails("NOT_FOUND", loader.load, tmp_path)
    assert message == (
        "Could not find SavedModel .pb or .pbtxt at supplied export directory path: "
        f"{tmp_path}. Check that the directory exists and that you have the right permissions "
        "for accessing it."
    )


def test_a_damaged_graph_is_data_loss(tmp_path):
    (tmp_path / "saved_model.pb").write_bytes(b"\xff\xff\xff")
    message = _fails("DATA_LOSS", loader.load, tmp_path)
    assert message == f"Can't parse {tmp_path / 'saved_model.pb'} as binary proto"


def test_a_graph_of_another_tag_is_not_found(toys, tmp_path):
    from tensorflow.core.protobuf import saved_model_pb2

    saved = saved_model_pb2.SavedModel.FromString((toys[2] / "saved_model.pb").read_bytes())
    saved.meta_graphs[0].meta_info_def.tags[:] = ["train"]
    (tmp_path / "saved_model.pb").write_bytes(saved.SerializeToString())
    message = _fails("NOT_FOUND", loader.load, tmp_path)
    assert message.startswith("Could not find meta graph def matching supplied tags: { serve }")


def test_missing_variables_are_an_error_of_the_load(toys, tmp_path):
    shutil.copytree(toys[2], tmp_path / "1")
    shutil.rmtree(tmp_path / "1" / "variables")
    message = _fails("DATA_LOSS", loader.load, tmp_path / "1")
    assert message == f"The variables of {tmp_path / '1'} are not there"


def test_damaged_variables_are_an_error_of_the_load(toys, tmp_path):
    shutil.copytree(toys[2], tmp_path / "1")
    (tmp_path / "1" / "variables" / "variables.index").write_bytes(b"nothing")
    _fails("DATA_LOSS", loader.load, tmp_path / "1")


def test_all_inputs_together_expand_to_so_much_at_most(model):
    """A few bytes that stand for 48 MiB are allowed once, not for each input."""
    large = {"x": 12 * 2**20, "bias": 1}
    inputs = {}
    for name, size in large.items():
        inputs[name] = tf.make_tensor_proto([1.0])
        inputs[name].tensor_shape.dim[0].size = size
    assert model.predict("", inputs, ["y"])["y"].shape == (12 * 2**20,)
    inputs["bias"].tensor_shape.dim[0].size = 12 * 2**20
    assert _fails("INVALID_ARGUMENT", model.predict, "", inputs) == "tensor parsing error: x"


def test_all_requests_together_expand_to_so_much_at_most(model, monkeypatch):
    monkeypatch.setattr(loader, "_expanded", limits.Room(60 * 2**20))
    proto = tf.make_tensor_proto([1.0])
    proto.tensor_shape.dim[0].size = 10 * 2**20
    slow = {"n": tf.make_tensor_proto(np.int32(5))}
    assert len(model.predict("one", {"x": proto})["y"]) == 10 * 2**20
    with loader._expanded.hold(30 * 2**20):
        message = _fails("RESOURCE_EXHAUSTED", model.predict, "one", {"x": proto})
        assert "of 62914560 bytes" in message
        model.predict("slow", slow)  # what is sent in full needs no room
    assert len(model.predict("one", {"x": proto})["y"]) == 10 * 2**20
