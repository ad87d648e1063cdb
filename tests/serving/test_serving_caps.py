"""A server may allow less than its model; what is too much is refused with its flag."""

import numpy as np
import pytest

from serving.caps import Caps
from serving.errors import ServingError


def inputs(rows=2, prime=5, steps=(3, 9)):
    return {
        "prime": np.zeros((rows, prime, 3), np.int32),
        "prime_length": np.ones(rows, np.int32),
        "steps": np.array(steps, np.int32),
    }


def test_nothing_is_refused_without_caps():
    Caps().check(inputs(rows=5000, prime=9000, steps=[2**31 - 1]))


def test_what_is_allowed_is_let_through():
    Caps(rows=2, prime=5, steps=9).check(inputs())


@pytest.mark.parametrize(
    ("caps", "message"),
    [
        (Caps(rows=1), "rows must be at most 1 on this server (--max_rows), got 2"),
        (Caps(prime=4), "prime must be at most 4 on this server (--max_prime), got 5"),
        (Caps(steps=8), "steps must be at most 8 on this server (--max_steps), got 9"),
    ],
)
def test_too_much_is_refused(caps, message):
    with pytest.raises(ServingError) as caught:
        caps.check(inputs())
    assert caught.value.code.name == "INVALID_ARGUMENT"
    assert caught.value.message == message


def test_the_window_of_predict_next_is_a_prime():
    with pytest.raises(ServingError, match="prime must be at most 4"):
        Caps(prime=4).check({"events": np.zeros((1, 5, 3), np.int32)})


@pytest.mark.parametrize(
    "odd",
    [
        {"steps": np.array([], np.int32)},
        {"steps": np.array(["many"], object)},
        {"steps": np.int32(7)},
        {"prime": np.int32(7)},
        {"prime": np.zeros(3, np.int32)},
        {},
    ],
    ids=str,
)
def test_odd_inputs_are_left_to_the_graph(odd):
    Caps(rows=10, prime=10, steps=10).check(odd)


def test_a_server_keeps_its_caps(serve, base, push, connect, fails):
    push(base, 1)
    client = connect(serve(max_rows=2))
    assert client.one(1.0)[0] == 2.0
    message = fails("INVALID_ARGUMENT", client.predict, {"x": [1.0, 2.0, 3.0]}, "one")
    assert message == "rows must be at most 2 on this server (--max_rows), got 3"


def test_a_song_has_to_keep_the_caps_too(serve, base, exported, connect, fails):
    import shutil

    shutil.copytree(exported("small").path, base / "1")
    client = connect(serve(max_steps=10))
    song = {
        "prime": np.array([[[0, 60, 6]]], np.int32),
        "prime_length": np.ones(1, np.int32),
        "steps": np.array([10], np.int32),
        "temperature": np.ones(1, np.float32),
        "top_k": np.zeros(1, np.int32),
        "top_p": np.ones(1, np.float32),
        "may_end": np.zeros(1, bool),
        "seed": np.array([1]),
        "position": np.zeros(1, np.int32),
    }
    assert len(client.predict(song, "generate").outputs["log_prob"].float_val) == 10
    song["steps"] += 1
    message = fails("INVALID_ARGUMENT", client.predict, song, "generate")
    assert message == "steps must be at most 10 on this server (--max_steps), got 11"
