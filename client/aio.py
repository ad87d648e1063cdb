"""The same connection and the same songs, in an event loop.

    async with AsyncConnection("127.0.0.1:8500") as connection:
        client = AsyncGenerationClient(connection)
        songs = await asyncio.gather(
            *(client.generate([prime], 250, Sampling(seed=seed)) for seed in range(100))
        )
        async for part in client.stream(prime, 250):
            play(part.events)

What is asked, when it is asked again, what answers and refusals mean, and how songs
come about stands in `exchange` and `plans`, which `connection` and `generation`
follow as well; here is only the waiting. To cancel a task cancels its call, of which the
server is told.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Protocol

import grpc
import grpc.aio
import numpy as np

from client.exchange import (
    DEFAULT_MODEL,
    DEFAULT_TIMEOUT,
    SETTLED,
    Answer,
    Asking,
    Connect,
    Exchange,
    Pause,
    Result,
    Send,
    Steps,
    VersionStatus,
)
from client.facts import DESCRIBED, ModelFacts, read_facts
from client.plans import Generated, Plan, Plans
from client.refusals import Failure
from client.sampling import Sampling
from client.security import Security
from client.targets import DEFAULT_TARGET, listed_address, unknown_host
from music.errors import SegueError


class AsyncConnection(Asking):
    """`Connection` for an event loop: the same arguments, answers and errors.

    It belongs to the event loop in which its first call is made. Any number of tasks
    may share it.
    """

    def __init__(
        self,
        target: str | Sequence[str] = DEFAULT_TARGET,
        model: str = DEFAULT_MODEL,
        version: int | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        security: Security | None = None,
    ):
        """Remembers whom to ask; arguments and errors as those of `Connection`."""
        self._exchange = Exchange(target, model, version, timeout, security)
        self._channel: grpc.aio.Channel | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def __aenter__(self) -> AsyncConnection:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends the channel and the calls on it; calls after it are errors."""
        self._exchange.closed = True
        if self._channel is not None:
            await self._channel.close()

    async def predict(
        self,
        signature: str,
        inputs: Mapping[str, Any],
        timeout: float | None = None,
        outputs: Sequence[str] = (),
    ) -> dict[str, np.ndarray]:
        """The outputs of one signature, by name; see `Connection.call`."""
        return (await self.call(signature, inputs, timeout, outputs)).outputs

    async def call(
        self,
        signature: str,
        inputs: Mapping[str, Any],
        timeout: float | None = None,
        outputs: Sequence[str] = (),
        version: int | None = None,
    ) -> Answer:
        """Asks one signature; arguments and errors as those of `Connection.call`."""
        return await self._run(self._exchange.call(signature, inputs, timeout, outputs, version))

    async def status(self, timeout: float | None = None) -> list[VersionStatus]:
        """The model's versions on the server, newest first."""
        return await self._run(self._exchange.status(timeout))

    async def _run(self, steps: Steps[Result]) -> Result:
        loop = asyncio.get_running_loop()
        if self._loop not in (None, loop):
            raise SegueError(
                f"the connection to {self.target} belongs to another event loop; open one in each"
            )
        self._loop = loop
        outcome: object = None
        while True:
            try:
                step = steps.send(outcome)
            except StopIteration as end:
                return end.value
            match step:
                case Connect(seconds):
                    outcome = await self._connect(seconds)
                case Send(method, request, seconds):
                    outcome = await self._send(method, request, seconds)
                case Pause(seconds):
                    await asyncio.sleep(seconds)

    async def _connect(self, seconds: float) -> bool | None:
        try:
            return await asyncio.wait_for(self._settle(), seconds)
        except asyncio.TimeoutError:
            return None

    async def _settle(self) -> bool:
        if self._channel is None:
            address = await self._address()
            # Another task may have been faster while names were looked up.
            self._channel = self._channel or self._open(address)
        while True:
            state = self._channel.get_state(try_to_connect=True)
            if state in SETTLED:
                return SETTLED[state]
            await self._channel.wait_for_state_change(state)

    async def _address(self) -> str:
        exchange = self._exchange
        if not exchange.hosts:
            return exchange.peer.where
        found = {host: await _look_up(host) for host in exchange.hosts}
        return listed_address(exchange.peer.targets, found)

    def _open(self, address: str) -> grpc.aio.Channel:
        exchange = self._exchange
        if exchange.credentials is None:
            return grpc.aio.insecure_channel(address, options=exchange.options)
        return grpc.aio.secure_channel(address, exchange.credentials, options=exchange.options)

    async def _send(self, method: str, request: bytes, seconds: float) -> bytes | Failure:
        assert self._channel is not None, "the first step of a first call connects"
        try:
            call = self._channel.unary_unary(method)(request, timeout=seconds)
        except grpc.aio.UsageError as error:
            return Failure(grpc.StatusCode.CANCELLED, "", error)
        # Not `await call`: gRPC raises CancelledError there also for a call that the
        # server or a closed channel has ended, as if this task had been cancelled.
        try:
            code = await call.code()
            if code is grpc.StatusCode.OK:
                return await call
            return Failure(code, await call.details() or "")
        except asyncio.CancelledError:
            call.cancel()
            raise


async def _look_up(host: str) -> list[str]:
    loop = asyncio.get_running_loop()
    try:
        infos = await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise unknown_host(host) from None
    return [str(info[4][0]) for info in infos]


class AsyncCaller(Protocol):
    """`Caller` for an event loop."""

    @property
    def model(self) -> str:
        """The model's name, for errors and reports."""

    @property
    def target(self) -> str:
        """Where the model is, for errors and reports."""

    async def call(
        self,
        signature: str,
        inputs: Mapping[str, Any],
        timeout: float | None = None,
        outputs: Sequence[str] = (),
        version: int | None = None,
    ) -> Answer:
        """Asks one signature; see `Caller.call`."""


class AsyncGenerationClient:
    """`GenerationClient` for an event loop: the same songs and errors.

    What a model cannot take is told by `generate` when it is awaited, and by the
    others when their first part is: only then is the model asked what it is.
    """

    def __init__(self, caller: AsyncCaller):
        self.caller = caller
        self._plans: Plans | None = None
        self._describing: asyncio.Lock | None = None

    async def describe(self, timeout: float | None = None) -> ModelFacts:
        """What the model says about itself; asked once. See `GenerationClient.describe`."""
        return (await self._described(timeout)).facts

    async def _described(self, timeout: float | None) -> Plans:
        if self._describing is None:
            self._describing = asyncio.Lock()
        async with self._describing:
            if self._plans is None:
                caller = self.caller
                answer = await caller.call("describe", {"keys": np.array(DESCRIBED)}, timeout)
                facts = read_facts(answer, caller.model, caller.target)
                self._plans = Plans(facts, caller.target)
            return self._plans

    async def generate(
        self,
        primes: Sequence[np.ndarray],
        steps: int | Sequence[int],
        sampling: Sampling | Sequence[Sampling] | None = None,
        timeout: float | None = None,
    ) -> list[Generated]:
        """Songs that go on from primes, in one call. See `GenerationClient.generate`."""
        made = self._follow(lambda plans: plans.generate(primes, steps, sampling), timeout)
        return [part async for part in made]

    def stream(
        self,
        prime: np.ndarray,
        steps: int,
        sampling: Sampling | None = None,
        chunk: int = 25,
        timeout: float | None = None,
    ) -> AsyncIterator[Generated]:
        """One song, a chunk at a time. See `GenerationClient.stream`."""
        return self._follow(lambda plans: plans.stream(prime, steps, sampling, chunk), timeout)

    def step_loop(
        self,
        prime: np.ndarray,
        steps: int,
        sampling: Sampling | None = None,
        timeout: float | None = None,
    ) -> AsyncIterator[Generated]:
        """One song, a call an event. See `GenerationClient.step_loop`."""
        return self._follow(lambda plans: plans.step_loop(prime, steps, sampling), timeout)

    def paper_loop(
        self,
        prime: np.ndarray,
        steps: int,
        sampling: Sampling | None = None,
        timeout: float | None = None,
    ) -> AsyncIterator[Generated]:
        """One song as the paper makes it. See `GenerationClient.paper_loop`."""
        return self._follow(lambda plans: plans.paper_loop(prime, steps, sampling), timeout)

    async def _follow(
        self, make_plan: Callable[[Plans], Plan], timeout: float | None
    ) -> AsyncIterator[Generated]:
        plan = make_plan(await self._described(timeout))
        answer: Answer | None = None
        while True:
            try:
                step = plan.send(answer)
            except StopIteration:
                return
            if isinstance(step, Generated):
                answer = None
                yield step
            else:
                answer = await self.caller.call(
                    step.signature, step.inputs, timeout, step.outputs, step.version
                )
