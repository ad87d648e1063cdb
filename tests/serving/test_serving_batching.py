"""Batched models: real Sessions, many callers, answers as if each were alone."""

import threading
import time
from concurrent import futures

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving.batching_parameters import BatchingParameters
from serving.errors import ServingError

# An hour: a batch that is not full would wait until the test's own time is up.
NEVER = 3_600_000_000


def _save_special(path):
    """A model whose signatures are unlike each other in what matters to a batcher."""
    import tensorflow as tf

    def signature(**inputs):
        return tf.function(
            input_signature=[
                tf.TensorSpec(shape, dtype, name=name) for name, (shape, dtype) in inputs.items()
            ]
        )

    class Special(tf.Module):
        @signature(x=([None], tf.float32))
        def strict(self, x):
            with tf.control_dependencies([tf.debugging.assert_non_negative(x, "x is negative")]):
                return {"y": tf.sqrt(x)}

        @signature(x=([None], tf.float32))
        def total(self, x):
            return {"y": tf.reduce_sum(x)}

        @signature(x=([None], tf.float32))
        def halved(self, x):
            return {"y": x[::2]}

        @signature(x=([None, None], tf.float32))
        def matrix(self, x):
            return {"y": x[:, 0] * 2.0, "width": tf.fill([tf.shape(x)[0]], tf.shape(x)[1])}

        @signature(x=([None], tf.float32), steps=([None], tf.int32))
        def loop(self, x, steps):
            """Counts up: as many columns as the largest of the steps."""
            columns = tf.while_loop(
                lambda i: i < tf.reduce_max(steps), lambda i: i + 1, [0], parallel_iterations=1
            )[0]
            return {"y": x[:, None] + tf.cast(tf.range(columns), tf.float32)[None]}

    special = Special()
    names = ("strict", "total", "halved", "matrix", "loop")
    tf.saved_model.save(special, str(path), signatures={n: getattr(special, n) for n in names})


@pytest.fixture(scope="module")
def special(tmp_path_factory):
    path = tmp_path_factory.mktemp("special") / "model"
    _save_special(path)
    return path


class Runs:
    """Told of each batch that is run; can hold the one that tells it."""

    def __init__(self):
        self.seen = []
        self.gate = threading.Event()
        self.gate.set()
        self.busy = threading.Event()

    def __call__(self, signature, rows, padded_rows):
        self.seen.append((signature, rows, padded_rows))
        self.busy.set()
        assert self.gate.wait(20)


@pytest.fixture
def batched(toys, special):
    """batched(path, length_input=..., **parameters): a BatchedModel that has `runs`."""
    from serving.batching import Batching
    from serving.loader import load

    made = []

    def batched(path=toys[2], length_input="steps", **parameters):
        runs = Runs()
        parameters = {"num_batch_threads": 1, "batch_timeout_micros": NEVER} | parameters
        batching = Batching(BatchingParameters(**parameters), length_input, runs)
        model = batching.wrap(load(path))
        model.runs, model.batching = runs, batching
        made.append(model)
        return model

    yield batched
    for model in made:
        model.runs.gate.set()
        model.close()
        model.batching.close()


def ask(model, signature, timeout=20.0, outputs=(), **inputs):
    """The outputs of one call, as lists; errors as the exceptions that they are."""
    from tensorflow import make_tensor_proto

    try:
        protos = {name: make_tensor_proto(value) for name, value in inputs.items()}
        found = model.predict(signature, protos, outputs, timeout)
    except ServingError as error:
        return error
    return {name: array.tolist() for name, array in found.items()}


def together(*calls):
    """The results of calls that go on at the same time, in their order."""
    with futures.ThreadPoolExecutor(len(calls)) as pool:
        return [one.result(60) for one in [pool.submit(call) for call in calls]]


def one(model, *values, **named):
    return lambda: ask(model, "one", x=np.float32(values), **named)


@pytest.fixture
def later():
    """later(call): a future of a call in a thread of its own."""
    pool = futures.ThreadPoolExecutor(64)
    yield pool.submit
    pool.shutdown()


@pytest.fixture
def hold(later, eventually):
    """hold(model): its only thread is held in a batch until `model.runs.gate` is set."""

    def hold(model, rows):
        model.runs.gate.clear()
        held = later(one(model, *range(rows)))
        assert model.runs.busy.wait(20)
        return held

    return hold


# ---- what callers get ----


def test_callers_at_the_same_time_share_a_run(batched):
    model = batched(max_batch_size=4)
    answers = together(*(one(model, value) for value in range(4)))
    assert answers == [{"y": [2.0 * value]} for value in range(4)]
    assert model.runs.seen == [("odd_method", 4, 4)]  # `one`, under its first name


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    asked=st.lists(
        st.tuples(
            st.sampled_from(["serving_default", "one", "column"]),
            st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=5),
        ),
        min_size=1,
        max_size=16,
    ),
    micros=st.sampled_from([0, 2000]),
    threads=st.integers(1, 3),
    allowed=st.sampled_from([(), (8,), (3, 5, 8)]),
)
def test_every_row_is_as_if_its_caller_were_alone(
    batched_plain, batched_pair, asked, micros, threads, allowed
):
    inputs = []
    for signature, values in asked:
        x = np.float32(values)
        if signature == "serving_default":
            inputs.append((signature, {"x": x, "bias": x[::-1].copy()}))
        else:
            inputs.append((signature, {"x": x[:, None] if signature == "column" else x}))
    model, close = batched_pair(
        max_batch_size=8,
        batch_timeout_micros=micros,
        num_batch_threads=threads,
        allowed_batch_sizes=allowed,
        max_enqueued_batches=1000,
    )
    try:
        answers = together(
            *(lambda s=s, feeds=feeds: ask(model, s, **feeds) for s, feeds in inputs)
        )
    finally:
        close()
    assert answers == [ask(batched_plain, s, **feeds) for s, feeds in inputs]


@pytest.fixture(scope="module")
def batched_plain(toys):
    from serving.loader import load

    model = load(toys[2])
    yield model
    model.close()


@pytest.fixture(scope="module")
def batched_pair(batched_plain):
    """batched_pair(**parameters): the plain model, batched, and what ends its threads."""
    from serving.batching import Batching

    def batched_pair(**parameters):
        batching = Batching(BatchingParameters(**parameters))
        return batching.wrap(batched_plain), batching.close

    return batched_pair


def test_a_lone_caller_waits_for_the_timeout_only(batched):
    model = batched(batch_timeout_micros=200_000)
    began = time.monotonic()
    assert one(model, 3)() == {"y": [6.0]}
    assert 0.2 <= time.monotonic() - began < 10


def test_batches_are_filled_up_to_an_allowed_size_and_cut_again(batched):
    model = batched(max_batch_size=8, allowed_batch_sizes=(4, 8), batch_timeout_micros=0)
    assert one(model, 1, 2, 3)() == {"y": [2.0, 4.0, 6.0]}
    assert one(model, 1, 2, 3, 4, 5)() == {"y": [2.0, 4.0, 6.0, 8.0, 10.0]}
    assert model.runs.seen == [("odd_method", 3, 4), ("odd_method", 5, 8)]


def test_a_request_without_rows_is_run_by_itself(batched):
    model = batched(max_batch_size=8, allowed_batch_sizes=(4, 8))
    assert one(model)() == {"y": []}
    assert model.runs.seen == []


def test_different_signatures_do_not_share_a_run(batched):
    model = batched(max_batch_size=2)
    column = lambda value: lambda: ask(model, "column", x=np.float32([[value]]))  # noqa: E731
    answers = together(one(model, 1), column(2), one(model, 3), column(4))
    assert answers == [{"y": [2.0]}, {"y": [[4.0]]}, {"y": [6.0]}, {"y": [[8.0]]}]
    assert sorted(model.runs.seen) == [("column", 2, 2), ("odd_method", 2, 2)]


def test_an_output_filter_that_is_no_signature_is_run_by_itself(batched):
    model = batched()
    x = np.float32([1, 2])
    assert ask(model, "", outputs=["y"], x=x, bias=x) == {"y": [3.0, 6.0]}
    assert model.runs.seen == []


def test_an_output_filter_in_any_order_is_the_signature(batched):
    model = batched(max_batch_size=2)
    x = np.float32([1, 2])
    answer = ask(model, "", outputs=["y", "unused"], x=x, bias=x)
    assert answer == {"y": [3.0, 6.0], "unused": [-1.0, -2.0]}
    assert model.runs.seen == [("serving_default", 2, 2)]


def test_classify_and_regress_are_batched(batched):
    from tensorflow_serving.apis import classification_pb2, regression_pb2

    from serving import inference

    model = batched(max_batch_size=2)

    def example(request, value):
        added = request.input.example_list.examples.add()
        added.features.feature["x"].float_list.value.append(value)
        return request

    def classify(value):
        request = example(classification_pb2.ClassificationRequest(), value)
        request.model_spec.signature_name = "classify"
        return inference.classify(model, request).result.classifications[0].classes[1].score

    def regress(value):
        request = example(regression_pb2.RegressionRequest(), value)
        request.model_spec.signature_name = "regress"
        return inference.regress(model, request).result.regressions[0].value

    asked = [lambda v=v, f=f: f(v) for v in (0.25, 0.5) for f in (classify, regress)]
    assert together(*asked) == [0.25, 0.5, 0.5, 1.0]
    assert sorted(model.runs.seen) == [("classify", 2, 2), ("regress", 2, 2)]


# ---- shapes ----


def test_inputs_share_their_first_dimension(batched):
    model = batched()
    two, three = np.float32([1, 2]), np.float32([1, 2, 3])
    for inputs, message in (
        ({"x": two, "bias": three}, "must have equal 0th-dimension size"),
        ({"x": two, "bias": np.float32(1)}, "must have at least one dimension"),
    ):
        error = ask(model, "", **inputs)
        assert error.code.name == "INVALID_ARGUMENT"
        assert error.message == f"Batching Run() input tensors {message}"


def test_other_dimensions_must_agree_without_padding(batched, special):
    model = batched(special, max_batch_size=2)
    narrow, wide = (np.ones((1, width), np.float32) for width in (2, 3))
    found = together(*(lambda x=x: ask(model, "matrix", x=x) for x in (narrow, wide)))
    assert [error.code.name for error in found] == ["FAILED_PRECONDITION"] * 2
    assert "from different tasks have different shapes and padding is turned off" in str(found[0])


def test_other_dimensions_are_padded_if_they_may_be(batched, special):
    model = batched(special, max_batch_size=2, pad_variable_length_inputs=True)
    narrow, wide = (np.full((1, width), width, np.float32) for width in (2, 3))
    found = together(*(lambda x=x: ask(model, "matrix", x=x) for x in (narrow, wide)))
    assert found == [{"y": [4.0], "width": [3]}, {"y": [6.0], "width": [3]}]
    assert model.runs.seen == [("matrix", 2, 2)]


def test_an_empty_input_among_others_fails_alone(batched, special):
    model = batched(special, max_batch_size=2, pad_variable_length_inputs=True)
    empty, wide = np.ones((1, 0), np.float32), np.ones((1, 3), np.float32)
    found = together(*(lambda x=x: ask(model, "matrix", x=x) for x in (empty, wide)))
    assert found[0].code.name == "INVALID_ARGUMENT"
    assert found[0].message == "Got empty tensor in batch of non-empty tensors."
    assert found[1] == {"y": [2.0], "width": [3]}


def test_padding_beyond_its_limit_runs_requests_one_by_one(batched, special, monkeypatch):
    from serving import batch_tensors

    monkeypatch.setattr(batch_tensors, "MAX_PADDING_BYTES", 3)
    model = batched(special, max_batch_size=2, pad_variable_length_inputs=True)
    narrow, wide = (np.full((1, width), width, np.float32) for width in (2, 3))
    found = together(*(lambda x=x: ask(model, "matrix", x=x) for x in (narrow, wide)))
    assert found == [{"y": [4.0], "width": [2]}, {"y": [6.0], "width": [3]}]


def test_outputs_have_the_first_dimension_of_the_inputs(batched, special):
    model = batched(special, max_batch_size=2)
    for signature, message in (
        ("total", "Batched output tensor has 0 dimensions"),
        (
            "halved",
            "Batched output tensor's 0th dimension does not equal the sum of the 0th dimension"
            " sizes of the input tensors",
        ),
    ):
        error = ask(model, signature, x=np.float32([1, 2]))
        assert error.code.name == "FAILED_PRECONDITION"
        assert error.message == message


def test_a_request_larger_than_a_batch_is_refused(batched):
    error = one(batched(max_batch_size=4), 1, 2, 3, 4, 5)()
    assert error.code.name == "INVALID_ARGUMENT"
    assert error.message == "Task size 5 is larger than maximum input batch size 4"


def test_a_large_request_is_run_in_parts_if_it_may_be(batched):
    model = batched(
        max_batch_size=8,
        max_execution_batch_size=3,
        enable_large_batch_splitting=True,
        batch_timeout_micros=0,
    )
    assert one(model, *range(8))() == {"y": [2.0 * value for value in range(8)]}
    assert model.runs.seen == [("odd_method", rows, rows) for rows in (3, 3, 2)]


def test_a_request_fails_with_any_of_its_parts(batched, special):
    model = batched(
        special,
        max_batch_size=4,
        max_execution_batch_size=2,
        enable_large_batch_splitting=True,
        batch_timeout_micros=0,
    )
    error = ask(model, "strict", x=np.float32([1, 1, 1, -1]))
    assert error.code.name == "INVALID_ARGUMENT"
    assert "x is negative" in error.message


# ---- neighbours ----


def test_a_request_that_fails_in_the_graph_fails_alone(batched, special):
    model = batched(special, max_batch_size=4)
    found = together(*(lambda x=x: ask(model, "strict", x=np.float32([x])) for x in (4, -1, 9, 16)))
    assert [found[0], *found[2:]] == [{"y": [2.0]}, {"y": [3.0]}, {"y": [4.0]}]
    assert found[1].code.name == "INVALID_ARGUMENT"
    assert "x is negative" in found[1].message
    assert model.runs.seen == [("strict", 4, 4)] + 4 * [("strict", 1, 1)]


@pytest.mark.parametrize(
    ("wrong", "code"),
    [(np.array([True]), "INVALID_ARGUMENT"), (np.ones((1, 2, 2), np.float32), None)],
    ids=["dtype", "shape"],
)
def test_a_request_that_contradicts_the_signature_runs_alone(batched, wrong, code):
    model = batched(max_batch_size=2)
    found = together(one(model, 1), one(model, 2), lambda: ask(model, "one", x=wrong))
    assert found[:2] == [{"y": [2.0]}, {"y": [4.0]}]
    if code is None:
        assert found[2] == {"y": [[[2.0, 2.0], [2.0, 2.0]]]}
    else:
        assert found[2].code.name == code
        assert "Expects arg[0] to be float but bool is provided" in found[2].message
    assert model.runs.seen == [("odd_method", 2, 2)]


def test_a_flood_on_one_signature_does_not_starve_another(batched, later, hold, eventually):
    model = batched(max_batch_size=1, max_enqueued_batches=100)
    held = hold(model, 1)
    flood = [later(one(model, value)) for value in range(30)]
    eventually(lambda: model.batching.queued == 30)
    quiet = later(lambda: ask(model, "column", x=np.float32([[5]])))
    eventually(lambda: model.batching.queued == 31)
    model.runs.gate.set()
    assert quiet.result(20) == {"y": [[10.0]]}
    for waiting in (held, *flood):
        assert "y" in waiting.result(20)
    assert [name for name, _, _ in model.runs.seen].index("column") <= 2


def test_long_rows_are_kept_from_short_ones(batched, special):
    model = batched(special, max_batch_size=2)
    steps = (3, 1000, 2, 600)
    found = together(
        *(lambda s=s: ask(model, "loop", x=np.float32([0]), steps=np.int32([s])) for s in steps)
    )
    # The columns that were computed are those of the batch's longest row.
    assert [len(answer["y"][0]) for answer in found] == [3, 1000, 3, 1000]
    assert model.runs.seen == [("loop", 2, 2)] * 2


def test_without_a_length_input_they_share_batches(batched, special):
    model = batched(special, length_input="", max_batch_size=2)
    found = together(
        *(lambda s=s: ask(model, "loop", x=np.float32([0]), steps=np.int32([s])) for s in (3, 600))
    )
    assert [len(answer["y"][0]) for answer in found] == [600, 600]


def test_two_versions_have_queues_of_their_own_and_share_the_threads(toys):
    from serving.batching import Batching
    from serving.loader import load

    runs = Runs()
    batching = Batching(
        BatchingParameters(max_batch_size=2, batch_timeout_micros=NEVER, num_batch_threads=2,
                           thread_pool_name="shared"), on_run=runs
    )  # fmt: skip
    models = [batching.wrap(load(toys[factor])) for factor in (2, 3)]
    asked = [one(model, value) for value in (1, 10) for model in models]
    assert together(*asked) == [{"y": [2.0]}, {"y": [3.0]}, {"y": [20.0]}, {"y": [30.0]}]
    assert runs.seen == [("odd_method", 2, 2)] * 2
    names = {t.name for t in threading.enumerate() if t.name.startswith("shared_")}
    assert names == {"shared_0", "shared_1"}
    models[0].close()
    assert together(one(models[1], 1), one(models[1], 2)) == [{"y": [3.0]}, {"y": [6.0]}]
    models[1].close()
    batching.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("shared_")]


# ---- limits, time, and callers that leave ----


def test_a_full_queue_refuses(batched, later, hold, eventually):
    model = batched(max_batch_size=2, max_enqueued_batches=2)
    held = hold(model, 2)
    waiting = [later(one(model, 1, 2)) for _ in range(2)]
    eventually(lambda: model.batching.queued == 2)
    error = one(model, 3)()
    assert error.code.name == "RESOURCE_EXHAUSTED"
    assert error.message.startswith(
        "The batch scheduling queue to which this task was submitted is full"
    )
    model.runs.gate.set()
    assert [call.result(20)["y"] for call in (held, *waiting)] == [[0.0, 2.0]] + 2 * [[2.0, 4.0]]


def test_out_of_time_in_the_queue_is_told_at_once_and_not_run(batched, later, hold):
    model = batched(max_batch_size=1)
    held = hold(model, 1)
    began = time.monotonic()
    error = one(model, 1, timeout=0.1)()
    assert 0.1 <= time.monotonic() - began < 10
    assert error.code.name == "DEADLINE_EXCEEDED"
    assert error.message == "Run() timeout exceeded while waiting in batching queue"
    assert model.batching.queued == 0
    model.runs.gate.set()
    assert held.result(20) == {"y": [0.0]}
    assert one(model, 5)() == {"y": [10.0]}
    assert len(model.runs.seen) == 2


def test_no_time_at_all_is_not_queued(batched):
    model = batched(batch_timeout_micros=0)
    assert one(model, 1, timeout=0.0)().code.name == "DEADLINE_EXCEEDED"
    assert model.runs.seen == []


def test_a_batch_has_the_latest_deadline_of_its_callers(batched, special):
    model = batched(special, length_input="", max_batch_size=2)

    def loop(steps, timeout):
        return lambda: ask(model, "loop", timeout, x=np.float32([0]), steps=np.int32([steps]))

    # A million rounds take much longer than 50 ms, and far less than a minute.
    hasty, patient = together(loop(1, 0.05), loop(1_000_000, 60.0))
    assert hasty.code.name == "DEADLINE_EXCEEDED"
    assert patient["y"][0][-1] == 999_999.0


def test_a_batch_ends_with_the_last_deadline(batched, special):
    model = batched(special, max_batch_size=1)
    began = time.monotonic()
    error = ask(model, "loop", 0.3, x=np.float32([0]), steps=np.int32([2**30]))
    assert error.code.name == "DEADLINE_EXCEEDED"
    assert time.monotonic() - began < 10
    # The run itself ended: its thread is free for the next one.
    assert ask(model, "strict", x=np.float32([4])) == {"y": [2.0]}


def test_a_caller_that_leaves_is_taken_out_of_the_queue(batched, later, hold, eventually):
    from serving import calls

    class Context:
        def add_callback(self, callback):
            self.leave = callback
            return True

    model, context = batched(max_batch_size=1), Context()
    held = hold(model, 1)

    def call():
        with calls.following(context):
            return one(model, 1)()

    waiting = later(call)
    eventually(lambda: model.batching.queued == 1)
    context.leave()
    assert waiting.result(20).code.name == "CANCELLED"
    assert model.batching.queued == 0
    model.runs.gate.set()
    assert held.result(20) == {"y": [0.0]}
    assert len(model.runs.seen) == 1


def test_closing_answers_who_waits_without_delay(batched, later, eventually):
    model = batched(max_batch_size=100)
    waiting = [later(one(model, value)) for value in range(3)]
    eventually(lambda: model.batching.queued == 3)
    model.close()
    assert [call.result(20) for call in waiting] == [{"y": [2.0 * value]} for value in range(3)]
    assert one(model, 1)().code.name == "UNAVAILABLE"


# ---- in a server ----


@pytest.fixture
def parameters_file(tmp_path):
    def parameters_file(text):
        path = tmp_path / "batching.txt"
        path.write_text(text)
        return path

    return parameters_file


def test_a_server_batches_what_comes_at_the_same_time(serve, push, base, connect, parameters_file):
    push(base, 1)
    server = serve(
        enable_batching=True,
        batching_parameters_file=parameters_file(
            f"max_batch_size {{ value: 24 }} batch_timeout_micros {{ value: {NEVER} }}"
        ),
    )
    client = connect(server)
    # Only a whole batch is ever run: none would be answered otherwise.
    found = together(*(lambda v=v: client.one(v) for v in range(24)))
    assert found == [(2.0 * value, 1) for value in range(24)]


def test_a_client_that_hangs_up_leaves_the_queue(
    serve, push, base, connect, parameters_file, eventually
):
    push(base, 1)
    server = serve(
        enable_batching=True,
        batching_parameters_file=parameters_file(
            f"max_batch_size {{ value: 2 }} batch_timeout_micros {{ value: {NEVER} }}"
        ),
    )
    client = connect(server)
    request = client.request({"x": [1.0]}, "one")
    waiting = client.prediction.Predict.future(request, timeout=60)
    eventually(lambda: server._batching.queued == 1)
    waiting.cancel()
    eventually(lambda: server._batching.queued == 0)
    assert together(lambda: client.one(1), lambda: client.one(2)) == [(2.0, 1), (4.0, 1)]


def test_a_server_stops_while_callers_wait_in_the_queue(
    serve, push, base, connect, parameters_file, eventually
):
    push(base, 1)
    server = serve(
        enable_batching=True,
        batching_parameters_file=parameters_file(
            f"max_batch_size {{ value: 2 }} batch_timeout_micros {{ value: {NEVER} }}"
        ),
    )
    client = connect(server)
    waiting = client.prediction.Predict.future(client.request({"x": [1.0]}, "one"), timeout=60)
    eventually(lambda: server._batching.queued == 1)
    began = time.monotonic()
    server.stop(0.1)
    assert time.monotonic() - began < 9
    assert server._batching.queued == 0
    assert waiting.code().name in ("CANCELLED", "UNAVAILABLE")


def test_a_swap_of_warm_versions_leaves_no_caller_behind(
    serve, push, base, connect, parameters_file, eventually
):
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

    def warm(folder):
        request = predict_pb2.PredictRequest()
        request.model_spec.name, request.model_spec.signature_name = "segue", "one"
        request.inputs["x"].CopyFrom(tf.make_tensor_proto([1.0]))
        log = prediction_log_pb2.PredictionLog()
        log.predict_log.request.CopyFrom(request)
        (folder / "assets.extra").mkdir()
        with tf.io.TFRecordWriter(
            str(folder / "assets.extra" / "tf_serving_warmup_requests")
        ) as writer:
            writer.write(log.SerializeToString())

    push(base, 1, change=warm)
    server = serve(
        enable_batching=True,
        batching_parameters_file=parameters_file("batch_timeout_micros { value: 1000 }"),
    )
    client = connect(server)
    swapped = threading.Event()

    def keep_asking():
        versions = set()
        while not swapped.is_set() or 2 not in versions:
            value, version = client.one(1)
            assert value == {1: 2.0, 2: 3.0}[version]
            versions.add(version)
        return versions

    with futures.ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(keep_asking) for _ in range(4)]
        push(base, 2, factor=3, change=warm)
        eventually(lambda: {v: s for v, s, _ in client.statuses()}[1] == 50)
        swapped.set()
        assert all(2 in one.result(20) for one in asking)
