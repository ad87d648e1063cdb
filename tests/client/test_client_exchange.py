"""What a call does, step by step: no step is taken here, so no time passes."""

import grpc
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from client import exchange, protos
from client.exchange import Connect, Exchange, Pause, Send
from client.refusals import Failure
from client.security import Security
from music.errors import SegueError

KEYS = {"keys": np.array(["limits"])}
AWAY = Failure(grpc.StatusCode.UNAVAILABLE, "Socket closed")


@pytest.fixture
def clock(monkeypatch):
    """A clock that only goes on when it is told to."""

    class Clock:
        now = 1000.0

        def monotonic(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(exchange, "time", clock)
    return clock


def new(**options):
    settings = {"target": "a:1", "model": "segue", "version": None, "timeout": 60.0}
    return Exchange(**{**settings, "security": None, **options})


def answer(version=3):
    response = protos.PredictResponse()
    response.model_spec.version.value = version
    return response.SerializeToString()


def follow(steps, outcomes, clock, took=0.0):
    """Takes the steps; `outcomes` are those of the calls, in order. (steps, result)."""
    taken, outcome = [], None
    outcomes = iter(outcomes)
    try:
        while True:
            step = steps.send(outcome)
            taken.append(step)
            if isinstance(step, Connect):
                outcome = True
            elif isinstance(step, Pause):
                clock.now += step.seconds
            else:
                clock.now += took
                outcome = next(outcomes)
    except StopIteration as end:
        return taken, end.value
    except SegueError as error:
        return taken, str(error)


def kinds(taken):
    return [type(step).__name__ for step in taken]


def ask(made, **options):
    arguments = {"signature": "describe", "inputs": KEYS, "timeout": None, "outputs": ()}
    return made.call(**{**arguments, "version": None, **options})


def test_the_first_call_connects_and_later_ones_do_not(clock):
    made = new()
    assert kinds(follow(ask(made), [answer()], clock)[0]) == ["Connect", "Send"]
    taken, result = follow(ask(made), [answer(7)], clock)
    assert kinds(taken) == ["Send"]
    assert result.version == 7
    assert made.answered == 7


def test_the_wait_for_a_connection_is_short_and_within_the_timeout():
    assert next(ask(new())).seconds == exchange.CONNECT_SECONDS
    assert next(ask(new(), timeout=2)).seconds == 2


def test_one_that_is_away_is_asked_again_after_growing_pauses(clock):
    taken, result = follow(ask(new()), [AWAY, AWAY, AWAY, AWAY, answer()], clock)
    assert kinds(taken) == ["Connect", "Send", *["Pause", "Send"] * 4]
    pauses = [step.seconds for step in taken if isinstance(step, Pause)]
    for pause, nominal in zip(pauses, exchange.RETRY_PAUSES, strict=True):
        assert nominal * 0.75 <= pause <= nominal * 1.25
    assert pauses == sorted(pauses)
    assert len({step.request for step in taken if isinstance(step, Send)}) == 1
    assert result.version == 3


def test_clients_do_not_come_back_in_the_same_moment(clock):
    firsts = set()
    for _ in range(5):
        taken, _ = follow(ask(new()), [AWAY, answer()], clock)
        firsts.add(taken[2].seconds)
    assert len(firsts) == 5


def test_it_gives_up_after_the_last_pause(clock):
    taken, result = follow(ask(new()), [AWAY] * 9, clock)
    assert kinds(taken).count("Send") == 1 + len(exchange.RETRY_PAUSES)
    assert "the model server at a:1 stopped answering (Socket closed)" in result


@pytest.mark.parametrize(
    "code", [code for code in grpc.StatusCode if code.name not in ("OK", "UNAVAILABLE")]
)
def test_nothing_else_is_asked_again(clock, code):
    taken, result = follow(ask(new()), [Failure(code, "because")], clock)
    assert kinds(taken) == ["Connect", "Send"]
    assert "because" in result or code is grpc.StatusCode.DEADLINE_EXCEEDED


def test_one_that_never_answered_is_not_asked_again(clock):
    steps = ask(new())
    assert isinstance(next(steps), Connect)
    assert isinstance(steps.send(False), Send)
    with pytest.raises(SegueError, match="no model server answers at a:1"):
        steps.send(Failure(grpc.StatusCode.UNAVAILABLE, "Connection refused"))


@settings(max_examples=60, deadline=None)
@given(st.floats(0.05, 30), st.floats(0.0, 3))
def test_tries_and_pauses_stay_within_the_calls_timeout(timeout, took):
    class Clock:
        now = 50.0

        def monotonic(self):
            return self.now

    clock = Clock()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exchange, "time", clock)
        steps, outcome, result = ask(new(), timeout=timeout), None, None
        while result is None:
            try:
                step = steps.send(outcome)
            except SegueError as error:
                result = str(error)
                continue
            if isinstance(step, Connect):
                outcome = True
            elif isinstance(step, Pause):
                clock.now += step.seconds
                assert clock.now < 50.0 + timeout
            else:
                assert step.seconds <= max(50.0 + timeout - clock.now, 0.001)
                # A call takes as long as the server does, and no longer than it is given.
                clock.now += min(took, step.seconds)
                outcome = AWAY
    assert "stopped answering" in result
    assert clock.now <= 50.0 + timeout + 0.01


def test_a_calls_own_timeout_goes_before_the_connections(clock):
    made = new(timeout=9.0)
    for timeout, seconds in [(None, 9.0), (2.5, 2.5), (100, 100.0)]:
        taken, _ = follow(ask(made, timeout=timeout), [answer()], clock)
        assert taken[-1].seconds == seconds
    taken, result = follow(
        ask(made, timeout=0.5), [Failure(grpc.StatusCode.DEADLINE_EXCEEDED, "")], clock
    )
    assert "gave no answer within 0.5 s" in result


def test_a_connection_that_was_closed_meanwhile_asks_no_more(clock):
    made = new()
    steps = ask(made)
    next(steps)
    steps.send(True)
    made.closed = True
    with pytest.raises(SegueError, match="the connection to a:1 was closed during a call"):
        steps.send(AWAY)
    with pytest.raises(SegueError, match="the connection to a:1 is closed; open another"):
        next(ask(made))


def test_an_answer_that_is_no_message_is_one_line(clock):
    _, result = follow(ask(new()), [b"\xff\xff\xff"], clock)
    assert "what answers at a:1 is no model server (its answer cannot be read)" in result


def test_of_several_it_is_said_that_it_was_one_of_them(clock):
    several = new(target="a:1,b:2")
    _, result = follow(ask(several), [Failure(grpc.StatusCode.INTERNAL, "broken")], clock)
    assert result.startswith("one of the model servers at a:1,b:2 failed with INTERNAL (broken)")
    _, result = follow(ask(several), [AWAY] * 9, clock)
    assert result.startswith("all model servers at a:1,b:2 stopped answering (Socket closed)")
    missing = Failure(grpc.StatusCode.NOT_FOUND, "not found")
    _, result = follow(ask(several, version=7), [missing, AWAY], clock)
    assert "version 7 of model 'segue' is not served at a:1,b:2 (not found)" in result
    assert "wait until every target has it" in result


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("Peer name a is not in peer certificate", "the certificate of a:1 is not for a; give a"),
        ("last error: UNKNOWN: Ssl handshake failed", "TLS with what answers at a:1 fails (last"),
        ("CERTIFICATE_VERIFY_FAILED: certificate has expired: OK", "(certificate has expired)"),
        ("SSL_ERROR_SSL: WRONG_VERSION_NUMBER: Invalid", "at a:1 does not speak TLS"),
        ("Connection reset by peer", "at a:1 hangs up after TLS began"),
        ("Connection refused", "no model server answers at a:1;"),
    ],
)
def test_what_older_and_newer_grpc_say_of_tls_is_understood(words, told):
    steps = ask(new(security=Security()))
    next(steps)
    steps.send(False)
    with pytest.raises(SegueError) as caught:
        steps.send(Failure(grpc.StatusCode.UNAVAILABLE, words))
    assert told in str(caught.value)
