"""In an event loop: the songs, refusals and retries of the synchronous client."""

import asyncio
import functools
import socket
import threading
import time

import grpc
import numpy as np
import pytest

from client import exchange
from client.aio import AsyncConnection, AsyncGenerationClient
from client.connection import Connection
from client.generation import GenerationClient, Sampling
from music.errors import SegueError

KEYS = {"keys": np.array(["codec", "limits"])}
PRIME = np.array([[0, 128, 0], [0, 60, 12], [6, 64, 12]], np.int32)


def in_a_loop(test):
    """A test that is a coroutine."""

    @functools.wraps(test)
    def run(*arguments, **options):
        asyncio.run(asyncio.wait_for(test(*arguments, **options), 60))

    return run


async def refused(awaitable):
    with pytest.raises(SegueError) as caught:
        await awaitable
    assert "\n" not in str(caught.value)
    return str(caught.value)


async def parts_of(stream):
    return [part async for part in stream]


@pytest.fixture
def nobody():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


@in_a_loop
async def test_named_arrays_go_out_and_come_back(toy):
    async with AsyncConnection(toy.target) as connection:
        assert connection.resolved_version is None
        outputs = await connection.predict("describe", KEYS)
        assert b'"window": 75' in outputs["values"][1]
        assert connection.resolved_version == 3
        assert (await connection.call("describe", KEYS, version=3)).version == 3
        assert [item.version for item in await connection.status()] == [3]
        large = await connection.predict("describe", {"keys": np.array(["limits"] * 60_000)})
        assert len(large["values"]) == 60_000


@pytest.mark.parametrize("way", ["generate", "stream", "step_loop", "paper_loop"])
@pytest.mark.parametrize("may_end", [False, True])
def test_a_song_is_the_synchronous_clients(toy, way, may_end):
    sampling = Sampling(seed=4, may_end=may_end)
    arguments = ([PRIME, PRIME[:2]] if way == "generate" else PRIME, 40, sampling)
    with Connection(toy.target) as connection:
        expected = list(getattr(GenerationClient(connection), way)(*arguments))
    asked = [signature for signature, _, _ in toy.calls]
    toy.calls.clear()

    async def make():
        async with AsyncConnection(toy.target) as connection:
            made = getattr(AsyncGenerationClient(connection), way)(*arguments)
            return await made if way == "generate" else await parts_of(made)

    made = asyncio.run(make())
    assert len(made) == len(expected) > 0
    for left, right in zip(made, expected, strict=True):
        assert np.array_equal(left.events, right.events)
        assert np.array_equal(left.log_prob, right.log_prob)
        assert np.array_equal(left.state, right.state)
    assert [signature for signature, _, _ in toy.calls] == asked


@in_a_loop
async def test_many_songs_at_a_time_over_one_channel_are_those_of_one_at_a_time(toy):
    with Connection(toy.target) as connection:
        client = GenerationClient(connection)
        expected = [client.generate([PRIME], 50, Sampling(seed=seed))[0] for seed in range(64)]
    toy.calls.clear()
    async with AsyncConnection(toy.target) as connection:
        client = AsyncGenerationClient(connection)
        songs = await asyncio.gather(
            *(client.generate([PRIME], 50, Sampling(seed=seed)) for seed in range(64))
        )
    for (made,), whole in zip(songs, expected, strict=True):
        assert np.array_equal(made.events, whole.events)
    # All of them asked at first, one for all.
    assert [signature for signature, _, _ in toy.calls].count("describe") == 1


@in_a_loop
async def test_a_song_is_ended_by_the_version_that_began_it(serve, make_model):
    server = serve({3: make_model({"name": "notes"})})
    async with AsyncConnection(server.target) as connection:
        parts = AsyncGenerationClient(connection).stream(PRIME, 12, chunk=4)
        await anext(parts)
        server.versions[4] = make_model({"name": "notes"})
        await parts_of(parts)
    assert {version for _, version, _ in server.calls} == {3}


@in_a_loop
async def test_what_the_model_cannot_take_is_told_before_any_call(toy):
    async with AsyncConnection(toy.target) as connection:
        client = AsyncGenerationClient(connection)
        for call in (
            client.generate([PRIME], -1),
            parts_of(client.stream(PRIME, -1)),
            parts_of(client.step_loop(PRIME, -1)),
            parts_of(client.paper_loop(PRIME, -1)),
        ):
            assert "steps -1 is outside 0..2000" in await refused(call)
        assert await client.generate([], 10) == []
    assert [signature for signature, _, _ in toy.calls] == ["describe"]


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (grpc.StatusCode.INTERNAL, "failed with INTERNAL (because)"),
        (grpc.StatusCode.INVALID_ARGUMENT, "refuses the request: because"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "has no room for the request (because)"),
        # Which gRPC raises as if the task had been cancelled.
        (grpc.StatusCode.CANCELLED, "failed with CANCELLED (because)"),
    ],
)
@in_a_loop
async def test_a_refusal_is_one_line_and_is_not_asked_again(toy, code, words):
    toy.failures += [(code, "because")] * 2
    async with AsyncConnection(toy.target) as connection:
        assert words in await refused(connection.predict("describe", KEYS))
    assert len(toy.failures) == 1


@in_a_loop
async def test_a_version_that_is_not_there_is_told_with_those_that_are(toy):
    async with AsyncConnection(toy.target, version=7) as connection:
        line = await refused(connection.predict("describe", KEYS))
    assert line.startswith(f"version 7 of model 'segue' is not served at {toy.target}")
    assert "it has 3" in line


@in_a_loop
async def test_no_server_is_told_at_once(nobody):
    begun = time.monotonic()
    async with AsyncConnection(nobody) as connection:
        line = await refused(connection.predict("describe", KEYS))
    assert line.startswith(f"no model server answers at {nobody}; start one with")
    assert time.monotonic() - begun < 3


@in_a_loop
async def test_a_server_that_says_nothing_is_given_up_within_seconds(monkeypatch):
    monkeypatch.setattr(exchange, "CONNECT_SECONDS", 0.5)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        async with AsyncConnection(f"127.0.0.1:{silent.getsockname()[1]}") as connection:
            line = await refused(connection.predict("describe", KEYS))
    assert "nothing came back for 0.5 s" in line


@in_a_loop
async def test_a_slow_answer_is_told_with_its_seconds(toy):
    toy.before = lambda: time.sleep(1)
    async with AsyncConnection(toy.target) as connection:
        line = await refused(connection.predict("describe", KEYS, timeout=0.4))
    assert "gave no answer within 0.4 s" in line


@in_a_loop
async def test_a_moment_of_absence_is_bridged_without_holding_up_the_loop(toy):
    async with AsyncConnection(toy.target) as connection:
        await connection.predict("describe", KEYS)
        toy.failures += [(grpc.StatusCode.UNAVAILABLE, "restarting")] * 2
        turns = 0
        call = asyncio.ensure_future(connection.predict("describe", KEYS))
        while not call.done():
            turns += 1
            await asyncio.sleep(0.01)
        assert "values" in call.result()
    assert turns > 5
    assert not toy.failures


@in_a_loop
async def test_to_cancel_a_task_cancels_its_call(toy):
    entered, leave, ended = threading.Event(), threading.Event(), threading.Event()

    def hang():
        entered.set()
        leave.wait(20)

    async with AsyncConnection(toy.target) as connection:
        client = AsyncGenerationClient(connection)
        await client.describe()
        toy.before, toy.ended = hang, ended.set
        task = asyncio.ensure_future(client.generate([PRIME], 10))
        assert await asyncio.to_thread(entered.wait, 5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        # The server is told while its handler still runs.
        assert await asyncio.to_thread(ended.wait, 5)
        leave.set()
        toy.before = None
        assert len(await client.generate([PRIME], 10)) == 1


@in_a_loop
async def test_a_connection_that_is_closed_says_so(toy):
    entered, leave = threading.Event(), threading.Event()

    def hang():
        entered.set()
        leave.wait(20)

    connection = AsyncConnection(toy.target)
    await connection.predict("describe", KEYS)
    toy.before = hang
    call = asyncio.ensure_future(connection.predict("describe", KEYS))
    assert await asyncio.to_thread(entered.wait, 5)
    await connection.close()
    assert "was closed during a call" in await refused(call)
    leave.set()
    assert "is closed; open another" in await refused(connection.predict("describe", KEYS))
    await connection.close()


def test_a_connection_stays_in_its_event_loop(toy):
    connection = AsyncConnection(toy.target)
    asyncio.run(connection.predict("describe", KEYS))
    with pytest.raises(SegueError, match="belongs to another event loop; open one in each"):
        asyncio.run(connection.predict("describe", KEYS))


@in_a_loop
async def test_several_targets_share_the_calls(toy, serve):
    other = serve()
    async with AsyncConnection([f"localhost:{toy.port}", other.target]) as connection:
        # The first calls are made at a time, before the names are known.
        await asyncio.gather(*(connection.predict("describe", KEYS) for _ in range(8)))
        deadline = time.monotonic() + 5
        while not (toy.calls and other.calls):
            assert time.monotonic() < deadline
            await connection.predict("describe", KEYS)
    async with AsyncConnection([toy.target, "no-such-host.invalid:8500"]) as connection:
        line = await refused(connection.predict("describe", KEYS))
    assert "host 'no-such-host.invalid' is not known" in line


@pytest.mark.parametrize("target", ["", "host", "a:1,b"])
def test_what_cannot_be_is_told_before_any_call(target):
    with pytest.raises(SegueError, match="is not HOST:PORT"):
        AsyncConnection(target)
    with pytest.raises(SegueError, match="timeout 0 is outside"):
        AsyncConnection(timeout=0)
