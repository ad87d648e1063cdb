"""A connection to model servers, and what their refusals mean.

The servers may be TensorFlow Serving or Segue's embedded one: they answer the
same. A `Connection` sends named arrays to a signature of a model and gets named
arrays back. gRPC's status codes never reach the caller: each becomes one
`SegueError` line with the target, what went wrong and the way out.

    with Connection("127.0.0.1:8500") as connection:
        outputs = connection.predict("describe", {"keys": np.array(["limits"])})

What it does, and when it tries again, stands in `exchange`; here it is done in the
calling thread. `aio` does the same in an event loop.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

import grpc
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
from client.refusals import Failure
from client.security import Security
from client.targets import DEFAULT_TARGET, listed_address, unknown_host

__all__ = [
    "DEFAULT_MODEL",
    "DEFAULT_TARGET",
    "DEFAULT_TIMEOUT",
    "Answer",
    "Connection",
    "VersionStatus",
]


class Connection(Asking):
    """One gRPC channel to one model; safe to share between threads.

    Nothing is sent, and no name is looked up, before the first call. Use it as a
    context manager, or `close` it.

    With several targets the calls go round among those that are connected. One that
    dies is passed over until it is back; what was under way there is asked again,
    of another.
    """

    def __init__(
        self,
        target: str | Sequence[str] = DEFAULT_TARGET,
        model: str = DEFAULT_MODEL,
        version: int | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        security: Security | None = None,
    ):
        """Remembers whom to ask.

        Args:
          target: HOST:PORT of a server's gRPC port, or `unix:PATH`; several as
            "HOST:PORT,HOST:PORT" or a sequence.
          model: the model's name on those servers.
          version: the version to ask; None is the server's newest.
          timeout: seconds that a call may take, retries included.
          security: what TLS goes by; None speaks plainly.

        Raises:
          SegueError: a value that cannot be right, or a file of `security` that
            cannot be used.
        """
        self._exchange = Exchange(target, model, version, timeout, security)
        self._channel: grpc.Channel | None = None
        self._opening = threading.Lock()

    def __enter__(self) -> Connection:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the channel and the calls on it; calls after it are errors."""
        self._exchange.closed = True
        if self._channel is not None:
            self._channel.close()

    def predict(
        self,
        signature: str,
        inputs: Mapping[str, Any],
        timeout: float | None = None,
        outputs: Sequence[str] = (),
    ) -> dict[str, np.ndarray]:
        """The outputs of one signature, by name; see `call`."""
        return self.call(signature, inputs, timeout, outputs).outputs

    def call(
        self,
        signature: str,
        inputs: Mapping[str, Any],
        timeout: float | None = None,
        outputs: Sequence[str] = (),
        version: int | None = None,
    ) -> Answer:
        """Asks one signature.

        Args:
          signature: its name.
          inputs: arrays of int32, int64, float32, bool, bytes or str, by name.
          timeout: seconds for this call; None is the connection's.
          outputs: the names that are wanted; empty asks for all.
          version: the version for this call; None is the connection's.

        Raises:
          SegueError: the server is not there, refuses, is too slow, or answers
            what cannot be read.
          ValueError: an input's type is none that travels.
        """
        return self._run(self._exchange.call(signature, inputs, timeout, outputs, version))

    def status(self, timeout: float | None = None) -> list[VersionStatus]:
        """The model's versions on the server, newest first.

        Raises:
          SegueError: as `call`.
        """
        return self._run(self._exchange.status(timeout))

    def _run(self, steps: Steps[Result]) -> Result:
        outcome: object = None
        while True:
            try:
                step = steps.send(outcome)
            except StopIteration as end:
                return end.value
            match step:
                case Connect(seconds):
                    outcome = self._connect(seconds)
                case Send(method, request, seconds):
                    outcome = self._send(method, request, seconds)
                case Pause(seconds):
                    time.sleep(seconds)

    def _connect(self, seconds: float) -> bool | None:
        deadline = time.monotonic() + seconds
        if not self._opening.acquire(timeout=seconds):
            return None
        try:
            first = self._channel is None
            if self._channel is None:
                self._channel = self._open(seconds)
        finally:
            self._opening.release()
        if self._channel is None:
            return None
        settled = threading.Event()
        outcomes: list[bool] = []

        def watch(state: grpc.ChannelConnectivity) -> None:
            if state in SETTLED:
                outcomes.append(SETTLED[state])
                settled.set()

        # Told once, a channel goes on trying; told again while it is watched, its watcher
        # would look once more even when it is closed, and complain to standard error.
        self._channel.subscribe(watch, try_to_connect=first)
        try:
            settled.wait(max(deadline - time.monotonic(), 0))
        finally:
            self._channel.unsubscribe(watch)
        return outcomes[0] if outcomes else None

    def _open(self, seconds: float) -> grpc.Channel | None:
        """The channel; None where the names of its targets take longer to look up."""
        exchange = self._exchange
        address = exchange.peer.where
        if exchange.hosts:
            found = _look_up(exchange.hosts, seconds)
            if found is None:
                return None
            address = listed_address(exchange.peer.targets, found)
        if exchange.credentials is None:
            return grpc.insecure_channel(address, options=exchange.options)
        return grpc.secure_channel(address, exchange.credentials, options=exchange.options)

    def _send(self, method: str, request: bytes, seconds: float) -> bytes | Failure:
        assert self._channel is not None, "the first step of a first call connects"
        try:
            # Without serializers: the exchange reads and writes the messages.
            return self._channel.unary_unary(method)(request, timeout=seconds)
        except grpc.RpcError as error:
            return Failure(error.code() or grpc.StatusCode.UNKNOWN, error.details() or "", error)
        except ValueError as error:
            if not self._exchange.closed:
                raise
            return Failure(grpc.StatusCode.CANCELLED, "", error)


def _look_up(hosts: Sequence[str], seconds: float) -> dict[str, list[str]] | None:
    """The IP addresses of each host; None where that takes longer.

    In a thread of its own, since the system's resolver knows no timeout.

    Raises:
      SegueError: one is not known.
    """
    found: dict[str, list[str]] = {}
    unknown: list[str] = []

    def look_up() -> None:
        for host in hosts:
            try:
                infos = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
            except (OSError, UnicodeError):
                unknown.append(host)
                return
            found[host] = [str(info[4][0]) for info in infos]

    thread = threading.Thread(target=look_up, daemon=True, name="segue-names")
    thread.start()
    thread.join(seconds)
    if unknown:
        raise unknown_host(unknown[0])
    return None if thread.is_alive() else found
