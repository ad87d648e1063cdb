"""Songs in a shared batch: Segue's own network behind the server's batcher.

Requests for songs differ in everything: primes, settings, lengths. In one padded batch
each caller must get the song that it would have got alone.
"""

from concurrent import futures
from pathlib import Path

import numpy as np
import pytest

SETTINGS = (
    {"temperature": 0.0},
    {"temperature": 1.1, "top_k": 5, "seed": 7},
    {"temperature": 0.8, "top_p": 0.9, "seed": -3, "position": 40},
    {"may_end": True, "seed": 12},
)


class Batches:
    """Told of each batch that is run."""

    def __init__(self):
        self.seen = []

    def __call__(self, signature, rows, padded_rows):
        self.seen.append((signature, rows, padded_rows))


@pytest.fixture(scope="module")
def model(exported):
    from serving.loader import load

    model = load(Path(exported("small").path))
    yield model
    model.close()


@pytest.fixture(scope="module")
def in_one_batch(model):
    """in_one_batch(signature, requests): their answers from a single batch."""
    from serving.batching import Batching
    from serving.batching_parameters import BatchingParameters

    def in_one_batch(signature, requests):
        rows = sum(len(request["seed"]) for request in requests)
        batches = Batches()
        batching = Batching(
            BatchingParameters(
                max_batch_size=rows,
                # An hour: it runs when it is full, and only then.
                batch_timeout_micros=3_600_000_000,
                pad_variable_length_inputs=True,
            ),
            on_run=batches,
        )
        together = batching.wrap(model)
        try:
            with futures.ThreadPoolExecutor(len(requests)) as pool:
                answers = list(pool.map(lambda r: predict(together, signature, r), requests))
        finally:
            batching.close()
        assert batches.seen == [(signature, rows, rows)]
        return answers

    return in_one_batch


def predict(model, signature, inputs):
    from tensorflow import make_tensor_proto

    return model.predict(
        signature, {name: make_tensor_proto(value) for name, value in inputs.items()}, (), 60.0
    )


@pytest.fixture(scope="module")
def requests(exported, events_of, settings):
    """Five requests for songs: 1 or 2 rows, primes of 3 to 11 events, 8 to 15 steps."""
    known = exported("small").vocabulary
    made = []
    for number, (length, steps) in enumerate(((3, 8), (11, 15), (7, 9), (5, 12), (4, 10))):
        rows = 2 if number == 2 else 1
        prime = np.stack([events_of(known, length, 10 * number + row) for row in range(rows)])
        made.append(
            {
                "prime": prime,
                "prime_length": np.full(rows, length - (number % 2), np.int32),
                "steps": np.full(rows, steps, np.int32),
                **settings(rows, **SETTINGS[number % len(SETTINGS)]),
            }
        )
    return made


def same(one, other):
    return one.shape == other.shape and one.tobytes() == other.tobytes()


def test_songs_of_one_padded_batch_are_those_of_callers_alone(model, requests, in_one_batch):
    answers = in_one_batch("generate", requests)
    longest = max(int(request["steps"].max()) for request in requests)
    for request, answer in zip(requests, answers, strict=True):
        alone = predict(model, "generate", request)
        steps = int(request["steps"].max())
        assert alone["events"].shape[1] == steps
        # As many as the longest of the batch: clients cut.
        assert answer["events"].shape[1] == longest
        assert same(answer["events"][:, :steps], alone["events"])
        assert same(answer["log_prob"][:, :steps], alone["log_prob"])
        assert same(answer["state"], alone["state"])
        assert (answer["events"][:, steps:] == -1).all()
        assert not answer["log_prob"][:, steps:].any()


def test_songs_go_on_in_a_shared_batch_as_they_would_alone(model, requests, in_one_batch):
    resumed = []
    for request in requests:
        begun = predict(model, "generate", request)
        last = request["steps"] - 1
        # A song that has ended has no event there; it goes on from its last one.
        ends = np.argmax(begun["events"][:, ::-1, 0] >= 0, axis=1)
        rows = np.arange(len(last))
        resumed.append(
            request
            | {
                "prime": begun["events"][rows, last - ends][:, None],
                "prime_length": np.ones_like(last),
                "position": request["position"] + request["steps"],
                "state": begun["state"],
            }
        )
    for request, answer in zip(resumed, in_one_batch("resume", resumed), strict=True):
        alone = predict(model, "resume", request)
        steps = int(request["steps"].max())
        assert same(answer["events"][:, :steps], alone["events"])
        assert same(answer["state"], alone["state"])


def test_single_steps_share_a_batch(model, exported, events_of, settings, in_one_batch):
    known = exported("small").vocabulary
    width = model.signatures["step"].inputs["state"].tensor_shape.dim[1].size
    rng = np.random.default_rng(3)
    requests = [
        {
            "event": events_of(known, 1, number),
            "state": rng.standard_normal((1, width)).astype(np.float32),
            **settings(1, **SETTINGS[number % len(SETTINGS)]),
        }
        for number in range(6)
    ]
    for request, answer in zip(requests, in_one_batch("step", requests), strict=True):
        alone = predict(model, "step", request)
        assert all(same(answer[name], alone[name]) for name in alone)


def test_a_song_that_is_refused_does_not_spoil_the_others(model, requests):
    from serving.batching import Batching
    from serving.batching_parameters import BatchingParameters
    from serving.errors import ServingError

    bad = requests[0] | {"temperature": np.array([-1.0], np.float32)}
    rows = sum(len(request["seed"]) for request in [*requests, bad])
    parameters = BatchingParameters(
        max_batch_size=rows, batch_timeout_micros=3_600_000_000, pad_variable_length_inputs=True
    )
    batches = Batches()
    batching = Batching(parameters, on_run=batches)
    together = batching.wrap(model)

    def ask(request):
        try:
            return predict(together, "generate", request)
        except ServingError as error:
            return error

    with futures.ThreadPoolExecutor(len(requests) + 1) as pool:
        *answers, refusal = list(pool.map(ask, [*requests, bad]))
    batching.close()
    assert batches.seen[0] == ("generate", rows, rows)
    assert refusal.code.name == "INVALID_ARGUMENT"
    for request, answer in zip(requests, answers, strict=True):
        assert same(answer["events"], predict(model, "generate", request)["events"])


def test_a_song_of_two_thousand_steps_does_not_hold_the_short_ones(model, requests):
    from serving.batching import Batching
    from serving.batching_parameters import BatchingParameters

    batches = Batches()
    batching = Batching(
        BatchingParameters(
            max_batch_size=2,
            batch_timeout_micros=3_600_000_000,
            pad_variable_length_inputs=True,
            num_batch_threads=2,
        ),
        on_run=batches,
    )
    together = batching.wrap(model)
    short = [requests[0], requests[1]]
    long = [request | {"steps": np.array([2000 - n], np.int32)} for n, request in enumerate(short)]
    with futures.ThreadPoolExecutor(4) as pool:
        asked = [short[0], long[0], short[1], long[1]]
        answers = list(pool.map(lambda r: predict(together, "generate", r), asked))
    batching.close()
    assert [answer["events"].shape[1] for answer in answers] == [15, 2000, 15, 2000]
    assert batches.seen == [("generate", 2, 2)] * 2
