import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from serving import loader, warmup
from serving.errors import ServingError


def _log(signature="one", x=1.0):
    log = prediction_log_pb2.PredictionLog()
    request = log.predict_log.request
    request.model_spec.name = "any"
    request.model_spec.signature_name = signature
    request.inputs["x"].CopyFrom(tf.make_tensor_proto([x]))
    return log.SerializeToString()


def _write(folder, records):
    (folder / "assets.extra").mkdir()
    with tf.io.TFRecordWriter(str(folder / warmup.REQUESTS_FILE)) as writer:
        for record in records:
            writer.write(record)


@pytest.fixture
def model(toys):
    model = loader.load(toys[2])
    yield model
    model.close()


@pytest.fixture
def warm(model, tmp_path):
    """Warms the toy up with these records; the folder is another one."""

    def warm(*records):
        _write(tmp_path, records)
        model.path = tmp_path
        return warmup.warm_up(model)

    return warm


def test_without_a_file_nothing_is_run(model):
    assert warmup.warm_up(model) == 0


def test_row_36_every_record_is_run(warm, model, monkeypatch):
    seen = []
    run = model.predict
    monkeypatch.setattr(
        model, "predict", lambda *args: seen.append(args[1]["x"].float_val[0]) or run(*args)
    )
    assert warm(_log(x=1.0), _log(x=2.0)) == 2
    assert seen == [1.0, 2.0]


def test_each_record_can_be_run_several_times(model, tmp_path, monkeypatch):
    _write(tmp_path, [_log(x=1.0), _log(x=2.0)])
    model.path = tmp_path
    seen = []
    run = model.predict
    monkeypatch.setattr(
        model, "predict", lambda *args: seen.append(args[1]["x"].float_val[0]) or run(*args)
    )
    assert warmup.warm_up(model, 3) == 2
    assert seen == [1.0] * 3 + [2.0] * 3


def test_row_36_examples_are_run_too(warm):
    logs = [prediction_log_pb2.PredictionLog() for _ in range(3)]
    for log, signature in zip(logs[:2], ["classify", "regress"], strict=True):
        request = getattr(log, f"{signature}_log").request
        request.model_spec.signature_name = signature
        request.input.example_list.examples.add()
    task = logs[2].multi_inference_log.request.tasks.add(method_name="tensorflow/serving/classify")
    task.model_spec.name = "any"
    task.model_spec.signature_name = "classify"
    logs[2].multi_inference_log.request.input.example_list.examples.add()
    assert warm(*(log.SerializeToString() for log in logs)) == 3


def test_row_36_at_most_a_thousand_records(warm):
    with pytest.raises(ServingError, match=r"exceeds the maximum \(1000\)") as caught:
        warm(*[b""] * 1001)
    assert caught.value.code.name == "INVALID_ARGUMENT"


def test_row_36_a_thousand_records_are_allowed(warm):
    assert warm(*[b""] * 1000) == 1000


def test_row_36_a_failing_record_is_an_error(warm):
    with pytest.raises(ServingError, match='Serving signature key "x" not found.'):
        warm(_log(), _log("x"))


def test_row_36_a_session_run_cannot_be_replayed(warm):
    log = prediction_log_pb2.PredictionLog()
    log.session_run_log.SetInParent()
    with pytest.raises(ServingError, match="Unsupported log_type for warmup: 5") as caught:
        warm(log.SerializeToString())
    assert caught.value.code.name == "UNIMPLEMENTED"


def test_row_36_a_record_of_other_bytes_is_an_error(warm):
    with pytest.raises(ServingError, match="Failed to parse warmup record"):
        warm(b"\xff\xff\xff")


def test_row_36_a_file_of_other_bytes_is_data_loss(model, tmp_path):
    (tmp_path / "assets.extra").mkdir()
    (tmp_path / warmup.REQUESTS_FILE).write_bytes(b"no TFRecord at all")
    model.path = tmp_path
    with pytest.raises(ServingError, match="verify your warmup data") as caught:
        warmup.warm_up(model)
    assert caught.value.code.name == "DATA_LOSS"


def test_row_36_warm_up_can_be_switched_off(serve, base, push, connect):
    push(base, 1, change=lambda folder: _write(folder, [_log("x")]))
    assert connect(serve(enable_model_warmup=False)).one(1.0) == (2.0, 1)
