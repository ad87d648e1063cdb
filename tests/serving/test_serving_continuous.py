"""Songs that share the processor are the songs they are alone, to the bit."""

import json
import math
import threading
import time
import tracemalloc
from pathlib import Path

import grpc
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving import calls
from serving.continuous import (
    LONG_STEPS,
    SHORT_STEPS,
    ContinuousModel,
    ContinuousSettings,
)
from serving.errors import ServingError
from serving.loader import load
from serving.songs import facts_of

OUTPUTS = ("events", "log_prob", "state")


@pytest.fixture(scope="module")
def direct(exported):
    """direct(kind): that model, run call by call."""
    loaded = {}

    def direct(kind):
        if kind not in loaded:
            loaded[kind] = load(Path(exported(kind).path))
        return loaded[kind]

    yield direct
    for model in loaded.values():
        model.close()


@pytest.fixture
def continuous(direct):
    """continuous(kind, **settings): the same model, its songs sharing the processor."""
    opened = []

    def continuous(kind="small", **given):
        model = Shared(direct(kind))
        facts = facts_of(model.path, model.signatures)
        chosen = ContinuousSettings(**({"workers": 2, "max_rows": 8} | given))
        opened.append(ContinuousModel(model, facts, chosen))
        opened[-1].inner = model
        return opened[-1]

    yield continuous
    for model in opened:
        model.close()


class Shared:
    """A loaded model that several share: closing it once does not close it for all."""

    def __init__(self, model):
        self._model = model
        self.hook = lambda feeds: None
        self.runs = []

    def __getattr__(self, name):
        return getattr(self._model, name)

    def run_here(self, feeds, fetches):
        self.runs.append(feeds)
        self.hook(feeds)
        return self._model.run_here(feeds, fetches)

    def close(self):
        pass


def call(model, signature, outputs=None, timeout=None, **inputs):
    """One call by the names of the signature; the outputs by theirs."""
    definition = model.signatures[signature]
    outputs = outputs or sorted(definition.outputs)
    feeds = {definition.inputs[name].name: value for name, value in inputs.items()}
    fetches = [definition.outputs[name].name for name in outputs]
    return dict(zip(outputs, model.run(feeds, fetches, timeout), strict=True))


def song_inputs(rows, width=3, steps=10, seed=0, **changes):
    """Inputs of `generate` for some rows, each with settings of its own."""
    rng = np.random.default_rng(seed)
    if isinstance(steps, int):
        steps = rng.integers(0, steps + 1, rows) if rows > 1 else [steps]
    times, pitches = rng.choice([0, 3, 6, 12, 24], (2, rows, width)), rng.choice([48, 60, 64])
    prime = np.stack([times[0], np.full((rows, width), pitches), times[1]], axis=-1)
    inputs = {
        "prime": prime,
        "prime_length": rng.integers(1, width + 1, rows),
        "steps": steps,
        "temperature": rng.choice([0.0, 0.7, 1.0, 1.4], rows),
        "top_k": rng.choice([0, 5], rows),
        "top_p": rng.choice([1.0, 0.9], rows),
        "may_end": rng.random(rows) < 0.5,
        "seed": rng.integers(-(2**62), 2**62, rows),
        "position": rng.integers(0, 50, rows),
    } | changes
    dtypes = {"temperature": np.float32, "top_p": np.float32, "may_end": bool, "seed": np.int64}
    return {name: np.asarray(v, dtypes.get(name, np.int32)) for name, v in inputs.items()}


def together(model, requests, signature="generate"):
    """All requests at once, a thread each."""
    answers = [None] * len(requests)

    def ask(place):
        answers[place] = call(model, signature, **requests[place])

    threads = [threading.Thread(target=ask, args=(place,)) for place in range(len(requests))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return answers


def same(one, other):
    """Whether two answers are alike to the bit."""
    pairs = [(one[name], other[name]) for name in one]
    return all(a.shape == b.shape and a.tobytes() == b.tobytes() for a, b in pairs)


# what comes out


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_every_row_is_what_it_is_alone(direct, continuous, data):
    kind = data.draw(st.sampled_from(["small", "ending"]))
    requests = [
        song_inputs(
            rows=data.draw(st.integers(1, 6)),
            width=data.draw(st.sampled_from([1, 2, 9, 20])),
            steps=data.draw(st.sampled_from([0, 1, SHORT_STEPS, SHORT_STEPS + 1])),
            seed=data.draw(st.integers(0, 1000)),
        )
        for _ in range(data.draw(st.integers(1, 5)))
    ]
    answers = together(continuous(kind), requests)
    for inputs, answer in zip(requests, answers, strict=True):
        assert same(call(direct(kind), "generate", **inputs), answer)


def test_songs_longer_than_any_run(direct, continuous):
    inputs = song_inputs(1, width=2, steps=2 * LONG_STEPS + 7)
    assert same(
        call(direct("small"), "generate", **inputs), call(continuous(), "generate", **inputs)
    )


def test_primes_longer_than_any_run(direct, continuous):
    inputs = song_inputs(3, width=1500, steps=[4, 0, 40], prime_length=[1500, 1025, 512], seed=4)
    model = continuous()
    assert same(call(direct("small"), "generate", **inputs), call(model, "generate", **inputs))
    assert len(model.inner.runs) > 3


def test_resume_and_step_take_their_turns_too(direct, continuous):
    model = continuous()
    first = song_inputs(4, steps=[5] * 4, seed=9, may_end=[False] * 4)
    first = call(direct("small"), "generate", **first)
    more = song_inputs(4, width=1, seed=10, prime=first["events"][:, -1:], prime_length=[1] * 4)
    more["state"] = first["state"]
    before = len(model.inner.runs)
    assert same(call(direct("small"), "resume", **more), call(model, "resume", **more))
    step = {
        name: more[name]
        for name in ("state", "temperature", "top_k", "top_p", "may_end", "seed", "position")
    }
    step["event"] = more["prime"][:, 0]
    assert same(call(direct("small"), "step", **step), call(model, "step", **step))
    assert len(model.inner.runs) > before


def test_only_the_outputs_that_are_asked_for_are_given(direct, continuous):
    inputs = song_inputs(2, steps=6)
    answer = call(continuous(), "generate", outputs=["log_prob"], **inputs)
    assert answer.keys() == {"log_prob"}
    assert same(call(direct("small"), "generate", outputs=["log_prob"], **inputs), answer)


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": [-1.0]},
        {"temperature": [math.nan]},
        {"top_k": [-1]},
        {"top_p": [0.0]},
        {"position": [-1]},
        {"steps": [-1]},
        {"steps": [100_001]},
        {"prime_length": [0]},
        {"prime_length": [4]},
        {"top_k": [1, 2]},
        {"prime": np.zeros((0, 3, 3))},
    ],
    ids=str,
)
def test_what_is_not_in_order_gets_the_graphs_own_answer(direct, continuous, wrong):
    inputs = song_inputs(1, **wrong)
    messages = []
    for model in (direct("small"), continuous()):
        with pytest.raises(ServingError) as caught:
            call(model, "generate", **inputs)
        assert caught.value.code == grpc.StatusCode.INVALID_ARGUMENT
        messages.append(caught.value.message)
    assert messages[0] == messages[1]


def test_other_signatures_go_to_the_model(direct, continuous):
    keys = np.array([b"codec"], object)
    assert call(continuous(), "describe", keys=keys) == call(direct("small"), "describe", keys=keys)


def test_a_model_without_a_state_is_left_alone(exported, direct):
    assert facts_of(Path(exported("small paper").path), direct("small paper").signatures) is None


def test_a_model_of_somebody_else_is_left_alone(tmp_path, direct):
    signatures = direct("small").signatures
    assert facts_of(tmp_path, signatures) is None
    (tmp_path / "assets").mkdir()
    for facts in ("", "[]", "{}", '{"signatures": {"resume": null, "step": null}}'):
        (tmp_path / "assets" / "segue.json").write_text(facts)
        assert facts_of(tmp_path, signatures) is None
    good = json.loads((direct("small").path / "assets" / "segue.json").read_text())
    (tmp_path / "assets" / "segue.json").write_text(json.dumps(good))
    assert facts_of(tmp_path, signatures) == good
    assert facts_of(tmp_path, {"generate": signatures["generate"]}) is None


# who is next


class Gate:
    """Stops the runs of a model until it is opened, and says when one has begun."""

    def __init__(self, model):
        self.begun, self.opened = threading.Semaphore(0), threading.Semaphore(0)
        model.inner.hook = self._pass

    def _pass(self, feeds):
        self.begun.release()
        assert self.opened.acquire(timeout=60)

    def wait(self):
        assert self.begun.acquire(timeout=60)

    def open(self, times=1):
        self.opened.release(times)


def start(model, inputs, signature="generate", **more):
    """A call in a thread; `.result` is its answer or its error."""

    def ask():
        try:
            thread.result = call(model, signature, **inputs, **more)
        except ServingError as error:
            thread.result = error

    thread = threading.Thread(target=ask)
    thread.start()
    return thread


def test_a_short_song_does_not_wait_for_a_long_one(continuous, eventually):
    model = continuous(workers=1)
    gate = Gate(model)
    long = start(model, song_inputs(8, width=1, steps=[2000] * 8, may_end=[False] * 8))
    gate.wait()
    short = start(model, song_inputs(1, width=1, steps=5, may_end=[False]))
    eventually(lambda: model.songs == 9)
    runs = 0
    while short.is_alive():
        gate.open()
        runs += 1
        short.join(0.05)
        if short.is_alive():
            gate.wait()
    assert runs <= 3
    assert long.is_alive()
    gate.open(1000)
    long.join(60)
    assert (long.result["events"] >= 0).all()


def test_a_large_request_does_not_keep_a_small_one_waiting(continuous, eventually):
    model = continuous(workers=1)
    gate = Gate(model)
    large = start(model, song_inputs(64, width=1, steps=[40] * 64, may_end=[False] * 64))
    gate.wait()
    small = start(model, song_inputs(1, width=1, steps=20, may_end=[False]))
    eventually(lambda: model.songs == 65)
    gate.open(2)  # the run under way, and the next, which the small one is in
    small.join(60)
    assert not small.is_alive()
    assert large.is_alive()
    gate.open(1000)
    large.join(60)


def test_a_large_request_is_split_over_the_workers(continuous):
    model = continuous(workers=2, max_rows=64)
    gate = Gate(model)
    large = start(model, song_inputs(20, width=1, steps=[10] * 20, may_end=[False] * 20))
    gate.wait()
    gate.wait()  # both run at the same time
    gate.open(1000)
    large.join(60)
    first, second = model.inner.runs[:2]
    name = model.signatures["resume"].inputs["seed"].name
    assert len(first[name]) == len(second[name]) == 10


def test_rows_of_one_run_have_primes_of_about_one_length(continuous, eventually):
    model = continuous(workers=1, max_rows=64)
    gate = Gate(model)
    busy = start(model, song_inputs(1, width=1, steps=1))
    gate.wait()
    lengths = [1, 1, 3, 4, 70, 90, 1]
    waiting = [
        start(model, song_inputs(1, width=n, steps=3, prime_length=[n], may_end=[False]))
        for n in lengths
    ]
    eventually(lambda: model.songs == 1 + len(lengths))
    gate.open(1000)
    for thread in [busy, *waiting]:
        thread.join(60)
    name = model.signatures["resume"].inputs["prime_length"].name
    for feeds in model.inner.runs:
        spread = {int(n - 1).bit_length() for n in feeds[name]}
        assert len(spread) == 1


# ends


def test_what_is_too_much_is_refused_and_what_was_taken_is_finished(continuous, eventually):
    model = continuous(workers=1, max_queued_rows=4)
    gate = Gate(model)
    first = start(model, song_inputs(3, width=1, steps=[5] * 3))
    gate.wait()
    with pytest.raises(ServingError) as caught:
        call(model, "generate", **song_inputs(2, width=1, steps=[5] * 2))
    assert caught.value.code == grpc.StatusCode.RESOURCE_EXHAUSTED
    gate.open(1000)
    first.join(60)
    assert set(first.result) == set(OUTPUTS)
    call(model, "generate", **song_inputs(4, width=1, steps=[5] * 4))


def test_the_memory_of_what_waits_has_a_bound(continuous, eventually):
    model = continuous(workers=1, max_queued_events=100)
    gate = Gate(model)
    first = start(model, song_inputs(1, width=1, steps=40))
    gate.wait()
    with pytest.raises(ServingError) as caught:
        call(model, "generate", **song_inputs(2, width=1, steps=[35, 35]))
    assert caught.value.code == grpc.StatusCode.RESOURCE_EXHAUSTED
    gate.open(1000)
    first.join(60)
    call(model, "generate", **song_inputs(2, width=1, steps=[35, 35]))


@pytest.mark.parametrize(
    "limit", [{"max_queued_rows": 1}, {"max_queued_events": 50}], ids=["rows", "events"]
)
def test_what_could_never_be_taken_is_no_matter_of_waiting(continuous, limit):
    with pytest.raises(ServingError) as caught:
        call(continuous(**limit), "generate", **song_inputs(2, width=1, steps=[50, 50]))
    assert caught.value.code == grpc.StatusCode.INVALID_ARGUMENT


def test_what_is_refused_takes_no_memory(continuous):
    model = continuous(max_queued_events=1000)
    inputs = song_inputs(20, width=1, steps=[90_000] * 20)
    tracemalloc.start()
    try:
        with pytest.raises(ServingError):
            call(model, "generate", **inputs)
        assert tracemalloc.get_traced_memory()[1] < 5 * 2**20
    finally:
        tracemalloc.stop()


def test_a_new_song_joins_soon_whatever_the_number_of_large_requests(continuous, eventually):
    model = continuous(workers=1, max_rows=8)
    gate = Gate(model)
    many = [
        start(model, song_inputs(4, width=1, steps=[40] * 4, may_end=[False] * 4))
        for _ in range(30)
    ]
    gate.wait()
    eventually(lambda: model.songs == 120)
    new = start(model, song_inputs(1, width=1, steps=1))
    eventually(lambda: model.songs == 121)
    # Every request has its turn before any has its second: 31 of them, 8 a run.
    gate.open(6)
    new.join(60)
    assert not new.is_alive()
    gate.open(10_000)
    for thread in many:
        thread.join(60)


def test_a_worker_outlives_what_cannot_be_moved_on(continuous, monkeypatch):
    model = continuous(workers=1)
    songs = model._songs
    monkeypatch.setattr(songs, "move_on", lambda *_: 1 / 0)
    with pytest.raises(ServingError) as caught:
        call(model, "generate", **song_inputs(2, steps=[3, 3]))
    assert caught.value.code == grpc.StatusCode.INTERNAL
    monkeypatch.undo()
    call(model, "generate", **song_inputs(2, steps=[3, 3]))


def test_a_deadline_ends_the_work(continuous, eventually):
    model = continuous()
    began = time.monotonic()
    with pytest.raises(ServingError) as caught:
        call(model, "generate", timeout=0.3, **song_inputs(2, steps=[90_000] * 2, may_end=[0, 0]))
    assert caught.value.code == grpc.StatusCode.DEADLINE_EXCEEDED
    assert time.monotonic() - began < 5
    assert model.songs == 0
    eventually(lambda: not _grows(model))


def test_a_deadline_does_not_end_the_work_of_others(direct, continuous):
    model = continuous(workers=1)
    inputs = song_inputs(1, steps=3000, may_end=[False])
    other = start(model, inputs)
    with pytest.raises(ServingError):
        call(model, "generate", timeout=0.05, **song_inputs(1, steps=90_000, may_end=[False]))
    other.join(60)
    assert same(call(direct("small"), "generate", **inputs), other.result)


def _grows(model):
    runs = len(model.inner.runs)
    time.sleep(0.3)
    return len(model.inner.runs) > runs


class Hangup:
    """A call's context whose caller goes when told to."""

    def __init__(self):
        self.callbacks = []

    def add_callback(self, callback):
        self.callbacks.append(callback)
        return True

    def go(self):
        for callback in self.callbacks:
            callback()


def test_nobody_works_for_a_caller_who_has_gone(continuous, eventually):
    model, context, result = continuous(), Hangup(), []

    def ask():
        with calls.following(context), pytest.raises(ServingError) as caught:
            call(model, "generate", **song_inputs(1, steps=90_000, may_end=[False]))
        result.append(caught.value.code)

    thread = threading.Thread(target=ask)
    thread.start()
    eventually(lambda: model.inner.runs)
    context.go()
    thread.join(10)
    assert result == [grpc.StatusCode.CANCELLED]
    assert model.songs == 0
    eventually(lambda: not _grows(model))


def test_a_run_that_fails_fails_for_its_own_request_alone(continuous, eventually):
    model = continuous(workers=1)
    gate = Gate(model)
    busy = start(model, song_inputs(1, width=1, steps=1))
    gate.wait()
    seed = model.signatures["resume"].inputs["seed"].name

    def fail_13(feeds):
        if 13 in feeds[seed]:
            raise ServingError(grpc.StatusCode.INTERNAL, "thirteen")

    threads = [
        start(model, song_inputs(1, width=1, steps=4, may_end=[False]) | {"seed": np.array([n])})
        for n in (12, 13, 14)
    ]
    eventually(lambda: model.songs == 4)
    model.inner.hook = fail_13
    gate.open(1000)
    for thread in [busy, *threads]:
        thread.join(60)
    assert (threads[0].result["events"] >= 0).all()
    assert threads[1].result.message == "thirteen"
    assert (threads[2].result["events"] >= 0).all()


def test_closing_answers_who_waits(continuous):
    model = continuous(workers=1)
    threads = [
        start(model, song_inputs(2, steps=[90_000] * 2, may_end=[False] * 2)) for _ in range(3)
    ]
    while model.songs < 6:
        time.sleep(0.01)
    model.close()
    for thread in threads:
        thread.join(30)
        assert thread.result.code == grpc.StatusCode.UNAVAILABLE
    with pytest.raises(ServingError) as caught:
        call(model, "generate", **song_inputs(1))
    assert caught.value.code == grpc.StatusCode.UNAVAILABLE


def test_closing_answers_who_was_let_in_and_does_not_wait_yet(continuous, monkeypatch):
    """Between the two a request takes its memory, and the workers may end."""
    model = continuous(workers=1)
    let_in, go_on = threading.Event(), threading.Event()

    def allocate(self):
        let_in.set()
        go_on.wait(30)

    monkeypatch.setattr("serving.songs.Request.allocate", allocate)
    thread = start(model, song_inputs(1))
    assert let_in.wait(30)
    model.close()
    go_on.set()
    thread.join(30)
    assert thread.result.code == grpc.StatusCode.UNAVAILABLE
