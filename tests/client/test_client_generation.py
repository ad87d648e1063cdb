"""Songs in one call, in chunks and a call a note: the same songs."""

import concurrent.futures
import dataclasses
import json

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from client.connection import Answer, Connection
from client.generation import GenerationClient, Sampling
from music.codec import NotesCodec
from music.errors import SegueError

NOTES = {"name": "notes", "velocity": False, "part": False}
LIMITS = json.dumps(
    {
        "window": 75,
        "min_prime": 1,
        "max_prime": 9,
        "max_steps": 9,
        "max_batch": 9,
        "max_events": 99,
        "state_size": 8,
    }
).encode()


@pytest.fixture
def connect():
    opened = []

    def connect(server, **options):
        opened.append(Connection(server.target, **options))
        return GenerationClient(opened[-1])

    yield connect
    for connection in opened:
        connection.close()


@pytest.fixture
def client(toy, connect):
    return connect(toy)


def prime_of(length, start=0):
    events = np.zeros((length, 3), np.int32)
    events[0, 1] = 128
    for index in range(1, length):
        events[index] = (index % 5, 60 + (index + start) % 12, 12)
    return events


def joined(parts):
    parts = list(parts)
    return (
        np.concatenate([part.events for part in parts]),
        np.concatenate([part.log_prob for part in parts]),
    )


def assert_same_song(parts, whole):
    events, log_prob = joined(parts)
    assert np.array_equal(events, whole.events)
    assert np.array_equal(log_prob, whole.log_prob)


def error_of(call):
    with pytest.raises(SegueError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


# describe


def test_describe_tells_what_the_model_is(client):
    facts = client.describe()
    assert facts.codec == NotesCodec()
    assert facts.version == 3
    assert facts.limits.window == 75
    assert facts.training["nats"] == 2.31
    assert facts.lacks("resume") is None
    assert json.loads(json.dumps(facts.as_dict()))["codec"] == NOTES


def test_describe_asks_once(toy, client):
    client.describe()
    client.generate([prime_of(2)], 1)
    client.describe()
    assert [call[0] for call in toy.calls] == ["describe", "generate"]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([b"{}"] * 4, "something else than a text for each key"),
        ([b"{}", b"{", b"{}", b"{}", b"{}"], "a 'vocabulary' that is no JSON"),
        ([b"{}", b"{}", b"[]", b"{}", b"{}"], "a 'training' that is no JSON object"),
        ([b"{}"] * 5, "the limit window = None"),
        ([b"\xff"] * 5, "a 'codec' that is no JSON"),
        ([b'{"name": []}', b"{}", b"{}", LIMITS, b"{}"], "codec [] does not exist"),
        ([b'{"name": "x"}', b"{}", b"{}", LIMITS, b"{}"], "codec 'x' does not exist"),
        ([b"{}", b"{}", b"{}", LIMITS.replace(b"75", b'"75"'), b"{}"], "the limit window = 75"),
    ],
)
def test_a_description_that_cannot_be_is_told(toy, client, values, words):
    toy.tamper = lambda signature, outputs: {"values": np.array(values, object)}
    assert words in error_of(client.describe)


def test_a_model_of_another_codec_is_told(serve, connect, make_model):
    model = make_model(NOTES)
    model.codec_config = {"name": "spectral"}
    line = error_of(connect(serve({1: model})).describe)
    assert "codec 'spectral' does not exist" in line


# generate


def test_generate_asks_with_the_contracts_arrays(toy, client):
    sampling = Sampling(temperature=0.5, top_k=4, top_p=0.25, seed=-(2**63), may_end=True)
    client.generate([prime_of(2), prime_of(4)], [5, 7], [sampling, Sampling(seed=2**63 - 1)])
    signature, version, inputs = toy.calls[-1]
    assert (signature, version) == ("generate", 3)
    assert inputs["prime"].shape == (2, 4, 3)
    assert not inputs["prime"][0, 2:].any()
    assert {name: array.tolist() for name, array in inputs.items() if name != "prime"} == {
        "prime_length": [2, 4],
        "steps": [5, 7],
        "temperature": [0.5, 1.0],
        "top_k": [4, 0],
        "top_p": [0.25, 1.0],
        "may_end": [True, False],
        "seed": [-(2**63), 2**63 - 1],
        "position": [0, 0],
    }


def test_generate_gives_what_the_model_makes(toy, client):
    made = client.generate([prime_of(3)], 20, Sampling(seed=4))[0]
    row = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "may_end": False, "seed": 4}
    events, log_prob, number = toy.versions[3].song(prime_of(3), 20, {**row, "position": 0})
    assert np.array_equal(made.events, events)
    assert np.array_equal(made.log_prob, np.array(log_prob, np.float32))
    assert made.events.dtype == np.int32
    assert made.log_prob.dtype == np.float32
    assert made.state.shape == (2048,)
    assert made.state[0] == number


def test_a_row_does_not_depend_on_its_neighbours(client):
    primes = [prime_of(length, start=length) for length in (1, 5, 9, 2)]
    samplings = [Sampling(seed=seed, may_end=bool(seed % 2)) for seed in range(4)]
    steps = [30, 3, 0, 60]
    together = client.generate(primes, steps, samplings)
    for prime, n, sampling, row in zip(primes, steps, samplings, together, strict=True):
        alone = client.generate([prime], n, sampling)[0]
        assert np.array_equal(alone.events, row.events)
        assert np.array_equal(alone.log_prob, row.log_prob)
    assert [len(row) for row in together][1:3] == [3, 0]


def test_rows_are_cut_where_the_model_ends_the_song(client):
    samplings = [Sampling(seed=seed, may_end=True) for seed in range(8)]
    rows = client.generate([prime_of(3)] * 8, 200, samplings)
    assert all(0 < len(row) < 200 for row in rows)
    for row in rows:
        assert row.events[-1, 1] == 128
        assert (row.events[:-1, 1] < 128).all()
        assert len(row.log_prob) == len(row)


def test_rows_are_cut_where_a_server_ran_them_with_longer_ones(toy, client):
    alone = client.generate([prime_of(3)] * 2, [5, 9])

    def run_with_others(signature, outputs):
        padding = np.full((2, 11, 3), -1, np.int32)
        return {
            "events": np.concatenate([outputs["events"], padding], axis=1),
            "log_prob": np.pad(outputs["log_prob"], ((0, 0), (0, 11))),
            "state": outputs["state"],
        }

    toy.tamper = run_with_others
    together = client.generate([prime_of(3)] * 2, [5, 9])
    for left, right in zip(alone, together, strict=True):
        assert np.array_equal(left.events, right.events)
        assert np.array_equal(left.log_prob, right.log_prob)


def test_no_primes_make_no_songs(toy, client):
    assert client.generate([], 10) == []
    assert [call[0] for call in toy.calls] == ["describe"]


def test_whatever_fits_the_codec_may_be_a_prime(client):
    as_lists = client.generate([prime_of(3).tolist()], 4)[0]
    as_int64 = client.generate([prime_of(3).astype(np.int64)], 4)[0]
    assert np.array_equal(as_lists.events, as_int64.events)


@pytest.mark.parametrize(
    ("prime", "steps", "words"),
    [
        (np.zeros((0, 3), np.int32), 5, "the prime has 0 events; model 'segue' needs at least 1"),
        (prime_of(4001), 5, "the prime has 4,001 events; model 'segue' takes at most 4,000"),
        (np.zeros((5, 2), np.int32), 5, "reads [T, 3] codes, got shape [5, 2]"),
        (np.full((5, 3), 900), 5, "event 0: pitch 900 is outside 0..128"),
        (prime_of(3), -1, "steps -1 is outside 0..2000"),
        (prime_of(3), 2001, "steps 2001 is outside 0..2000"),
        (prime_of(3), 2.5, "steps 2.5 is outside"),
        (prime_of(3), True, "steps True is outside"),
    ],
)
def test_what_the_model_cannot_take_is_told_before_any_call(toy, client, prime, steps, words):
    calls = [
        lambda: client.generate([prime], steps),
        lambda: client.stream(prime, steps),
        lambda: client.step_loop(prime, steps),
        lambda: client.paper_loop(prime, steps),
    ]
    for call in calls:
        assert words in error_of(call)
    assert [call[0] for call in toy.calls] == ["describe"]


def test_a_batch_that_does_not_match_or_fit_is_told(client):
    assert "2 steps were given for 1 primes" in error_of(
        lambda: client.generate([prime_of(2)], [1, 2])
    )
    assert "1 sampling settings were given for 2 primes" in error_of(
        lambda: client.generate([prime_of(2)] * 2, 1, [Sampling()])
    )
    assert "17 songs in one call are too many; model 'segue' takes 1..16" in error_of(
        lambda: client.generate([prime_of(2)] * 17, 1)
    )
    assert "chunk 0 is outside" in error_of(lambda: client.stream(prime_of(2), 1, chunk=0))


@pytest.mark.parametrize(
    ("name", "array", "words"),
    [
        ("events", None, "answered nothing as 'events'"),
        ("events", np.zeros((1, 4, 3), np.int32), "answered int32[1, 4, 3] as 'events'"),
        ("events", np.zeros((1, 5, 3), np.float32), "answered float32[1, 5, 3] as 'events'"),
        ("log_prob", np.zeros((1, 4), np.float32), "not float32[1, 5]"),
        ("state", np.zeros((1, 9), np.float32), "not float32[1, 2048]"),
        ("events", np.full((1, 5, 3), 2000, np.int32), "an impossible event from 'generate'"),
    ],
)
def test_an_answer_that_breaks_the_contract_is_told(toy, client, name, array, words):
    client.describe()
    changed = {} if array is None else {name: array}
    toy.tamper = lambda signature, outputs: {
        **{key: value for key, value in outputs.items() if key != name},
        **changed,
    }
    assert words in error_of(lambda: client.generate([prime_of(2)], 5))


# the other ways


@pytest.mark.parametrize("chunk", [1, 2, 7, 25, 40, 1000])
@pytest.mark.parametrize("may_end", [False, True])
def test_a_stream_is_the_same_song_as_one_call(toy, client, chunk, may_end):
    for seed in range(3):
        sampling = Sampling(seed=seed, may_end=may_end)
        whole = client.generate([prime_of(6)], 40, sampling)[0]
        parts = list(client.stream(prime_of(6), 40, sampling, chunk=chunk))
        assert_same_song(parts, whole)
        assert all(len(part) == chunk for part in parts[:-1])
        assert np.array_equal(parts[-1].state, whole.state)


@pytest.mark.parametrize("may_end", [False, True])
def test_a_step_loop_is_the_same_song_as_one_call(client, may_end):
    for seed in range(3):
        sampling = Sampling(seed=seed, may_end=may_end, temperature=0.8)
        whole = client.generate([prime_of(6)], 40, sampling)[0]
        parts = list(client.step_loop(prime_of(6), 40, sampling))
        assert_same_song(parts, whole)
        assert all(len(part) == 1 for part in parts)
        assert np.array_equal(parts[-1].state, whole.state)


def test_a_song_that_is_longer_begins_as_the_shorter(client):
    short = client.generate([prime_of(2)], 30, Sampling(seed=1))[0]
    long = client.generate([prime_of(2)], 90, Sampling(seed=1))[0]
    assert np.array_equal(long.events[:30], short.events)


def test_a_stream_stops_asking_once_the_song_has_ended(toy, client):
    toy.versions[3].ends_one_in = 1
    parts = list(client.stream(prime_of(2), 100, Sampling(may_end=True), chunk=1))
    assert [len(part) for part in parts] == [1]
    assert [call[0] for call in toy.calls] == ["describe", "generate"]


def test_a_stream_hands_on_state_last_event_and_position(toy, client):
    parts = list(client.stream(prime_of(6), 12, Sampling(seed=3), chunk=5))
    resumes = [inputs for signature, _, inputs in toy.calls if signature == "resume"]
    assert [inputs["position"].tolist() for inputs in resumes] == [[5], [10]]
    assert [inputs["steps"].tolist() for inputs in resumes] == [[5], [2]]
    for part, inputs in zip(parts, resumes, strict=False):
        assert inputs["prime"].tolist() == [[part.events[-1].tolist()]]
        assert inputs["prime_length"].tolist() == [1]
        assert np.array_equal(inputs["state"], part.state[None])


def test_no_steps_are_an_empty_song(client):
    assert list(client.stream(prime_of(2), 0)) == []
    assert list(client.step_loop(prime_of(2), 0)) == []
    assert list(client.paper_loop(prime_of(2), 0)) == []
    assert len(client.generate([prime_of(2)], 0)[0]) == 0


def test_the_papers_loop_sends_the_last_window_a_call_a_note(toy, client):
    toy.versions[3].limits["window"] = 4
    parts = list(client.paper_loop(prime_of(2), 6, Sampling(seed=9)))
    calls = [inputs for signature, _, inputs in toy.calls if signature == "predict_next"]
    # Windows that are not full yet are asked in two parts, so that no batcher pads them.
    assert [inputs["events"].shape[1] for inputs in calls] == [2, 2, 3, 3, 4, 4, 4, 4]
    calls = [calls[0], calls[2], *calls[4:]]
    assert [inputs["position"].item() for inputs in calls] == list(range(6))
    heard = np.concatenate([prime_of(2), joined(parts)[0]])
    for index, inputs in enumerate(calls):
        end = 2 + index
        assert np.array_equal(inputs["events"][0], heard[max(0, end - 4) : end])
    assert all(part.state is None for part in parts)


def test_the_papers_loop_ends_with_the_song(toy, client):
    toy.versions[3].ends_one_in = 1
    assert len(list(client.paper_loop(prime_of(2), 6, Sampling(may_end=True)))) == 1


def test_the_papers_model_makes_one_song_by_loop_and_by_call(paper, connect):
    client = connect(paper)
    prime = np.arange(40, 60, dtype=np.int32)[:, None]
    whole = client.generate([prime], 30, Sampling(seed=5))[0]
    assert whole.state is None
    assert_same_song(client.paper_loop(prime, 30, Sampling(seed=5)), whole)


def test_a_lacking_signature_is_told_with_the_models_reason(paper, connect):
    client = connect(paper)
    prime = np.arange(40, 60, dtype=np.int32)[:, None]
    for call, name in [(client.stream, "resume"), (client.step_loop, "step")]:
        line = error_of(lambda call=call: call(prime, 5))
        assert f"cannot '{name}': the paper preset slides a window" in line
    del paper.versions[1].signatures["predict_next"]
    fresh = connect(paper)
    assert "the model does not list it" in error_of(lambda: fresh.paper_loop(prime, 5))


def test_a_prime_shorter_than_the_papers_window_is_told(paper, connect):
    client = connect(paper)
    prime = np.arange(40, 47, dtype=np.int32)[:, None]
    line = error_of(lambda: client.generate([prime], 5))
    assert "the prime has 7 events; model 'segue' needs at least 8" in line


# versions


def test_a_song_is_ended_by_the_version_that_began_it(serve, connect, make_model):
    server = serve({3: make_model(NOTES)})
    client = connect(server)
    whole = client.generate([prime_of(4)], 10, Sampling(seed=1))[0]
    parts = client.stream(prime_of(4), 10, Sampling(seed=1), chunk=4)
    first = next(parts)
    server.versions[4] = make_model(NOTES, ends_one_in=2)
    assert_same_song([first, *parts], whole)
    assert {version for _, version, _ in server.calls} == {3}
    assert connect(server).describe().version == 4


def test_a_version_that_goes_away_meanwhile_is_told(serve, connect, make_model):
    server = serve({3: make_model(NOTES)})
    parts = connect(server).stream(prime_of(4), 10, chunk=4)
    next(parts)
    server.versions = {4: make_model(NOTES)}
    line = error_of(lambda: next(parts))
    assert "version 3 of model 'segue' is not served" in line
    assert "it has 4" in line


# without a server


class InProcess:
    """A `Caller` that is no connection: the model is asked where it lies."""

    target, model = "this process", "toy"

    def __init__(self, made):
        self.made, self.asked = made, []

    def call(self, signature, inputs, timeout=None, outputs=(), version=None):
        self.asked.append((signature, timeout, version))
        if signature == "describe":
            inputs = {"keys": [key.encode() for key in inputs["keys"].tolist()]}
        answer = self.made.run(signature, inputs)
        return Answer({name: answer[name] for name in outputs or answer}, 5)


@pytest.mark.parametrize("way", ["generate", "stream", "step_loop", "paper_loop"])
def test_a_model_in_this_process_makes_the_songs_of_a_served_one(toy, client, make_model, way):
    caller = InProcess(make_model(NOTES))
    alone = GenerationClient(caller)
    assert alone.describe().model == "toy"
    arguments = ([prime_of(4)] if way == "generate" else prime_of(4), 20, Sampling(seed=2))
    events, log_prob = joined(getattr(alone, way)(*arguments))
    expected_events, expected_log_prob = joined(getattr(client, way)(*arguments))
    assert np.array_equal(events, expected_events)
    assert np.array_equal(log_prob, expected_log_prob)
    assert {version for _, _, version in caller.asked[1:]} == {5}


def test_a_model_in_this_process_is_named_in_errors(make_model):
    caller = InProcess(make_model(NOTES))
    client = GenerationClient(caller)
    client.describe()
    caller.made.run = lambda signature, inputs: {}
    line = error_of(lambda: client.generate([prime_of(2)], 5))
    assert line.startswith("model 'toy' at this process answered nothing as 'events'")


def test_a_calls_timeout_is_that_of_the_description_before_it(make_model):
    caller = InProcess(make_model(NOTES))
    GenerationClient(caller).generate([prime_of(2)], 5, timeout=2.5)
    assert [timeout for _, timeout, _ in caller.asked] == [2.5, 2.5]


def test_threads_that_ask_at_first_all_ask_one_description(toy, client):
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        made = pool.map(lambda _: client.generate([prime_of(3)], 9), range(16))
        assert len(list(made)) == 16
    assert [signature for signature, _, _ in toy.calls].count("describe") == 1


# sampling


@pytest.mark.parametrize(
    ("field", "value", "allowed"),
    [
        ("temperature", -0.1, "0..100"),
        ("temperature", 101, "0..100"),
        ("temperature", float("nan"), "0..100"),
        ("temperature", "hot", "0..100"),
        ("temperature", True, "0..100"),
        ("top_k", -1, "0..2147483647"),
        ("top_k", 2**31, "0..2147483647"),
        ("top_k", 1.5, "0..2147483647"),
        ("top_p", 0, "0 < top_p <= 1"),
        ("top_p", 1.01, "0 < top_p <= 1"),
        ("top_p", 1e-60, "0 < top_p <= 1"),
        ("seed", 2**63, "-9223372036854775808..9223372036854775807"),
        ("seed", 0.5, "-9223372036854775808..9223372036854775807"),
        ("may_end", 1, "neither true nor false"),
    ],
)
def test_a_setting_outside_its_range_is_told(field, value, allowed):
    line = error_of(lambda: Sampling(**{field: value}))
    assert line.startswith(f"{field} {value!r}" if field == "may_end" else f"{field} {value}")
    assert allowed in line


@settings(max_examples=50)
@given(
    st.floats(0, 100),
    st.integers(0, 2**31 - 1),
    st.floats(1e-6, 1),
    st.integers(-(2**63), 2**63 - 1),
    st.booleans(),
)
def test_settings_inside_their_ranges_are_taken(temperature, top_k, top_p, seed, may_end):
    made = Sampling(temperature, top_k, top_p, seed, may_end)
    assert json.loads(json.dumps(made.as_dict())) == dataclasses.asdict(made)
