"""What a call over the wire does, step by step, without doing any of it.

An `Exchange` knows what is asked of whom, which refusals are worth another try,
and what an answer means. It opens no sockets and waits for nothing: its methods are
generators that yield a step (`Connect`, `Send`, `Pause`), are sent what came of it,
and return the result. `Connection` takes the steps in the calling thread,
`AsyncConnection` in an event loop; what they do is the same because it is written
once.

A first call to a server that is not there fails within seconds, whatever the
timeout: nobody wants to wait a minute to learn of a missing `segue serve`. Once a
server has answered, one that goes away for a moment (a restart, a swap behind a load
balancer, one of several that dies) is tried again a few times; predictions change
nothing on the server, so to repeat one is safe. Nothing but UNAVAILABLE is repeated:
whatever else a server says it would say again.
"""

from __future__ import annotations

import dataclasses
import math
import random
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import grpc
import numpy as np
from google.protobuf.message import DecodeError, EncodeError

from client import protos, tensors
from client.refusals import Call, Failure, Peer
from client.security import Security
from client.targets import common_host, is_local, parse_targets, split_target
from music.errors import SegueError

DEFAULT_MODEL = "segue"
DEFAULT_TIMEOUT = 60.0
MAX_TIMEOUT = 86400.0

# How long the first connection may take.
CONNECT_SECONDS = 5.0
# The pauses between tries, and by which share each is made longer or shorter, so
# that the many clients of one server do not all come back in the same moment.
RETRY_PAUSES = (0.25, 0.5, 1.0, 2.0)
RETRY_JITTER = 0.25

# The states of a channel that end the wait for it, and whether it stands then.
SETTLED = {
    grpc.ChannelConnectivity.READY: True,
    grpc.ChannelConnectivity.TRANSIENT_FAILURE: False,
    grpc.ChannelConnectivity.SHUTDOWN: False,
}

# gRPC's default of 4 MiB is less than a large batch of songs with its states.
_MESSAGE_LIMIT = 2**31 - 1
_OPTIONS: tuple[tuple[str, Any], ...] = (
    ("grpc.max_send_message_length", _MESSAGE_LIMIT),
    ("grpc.max_receive_message_length", _MESSAGE_LIMIT),
    # A name that stands for several servers is as good as several targets.
    ("grpc.service_config", '{"loadBalancingConfig": [{"round_robin": {}}]}'),
    # The channel's own pauses between attempts to connect; its default of a
    # second, growing to two minutes, would outlast our retries.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # Channels of one process share their sockets, and with them the memory of
    # a failure: a new connection would be told no without asking.
    ("grpc.use_local_subchannel_pool", 1),
)


@dataclasses.dataclass(frozen=True)
class Answer:
    """What one call gave.

    Attributes:
      outputs: arrays by name.
      version: the model version that answered; None where the server is silent.
    """

    outputs: dict[str, np.ndarray]
    version: int | None


@dataclasses.dataclass(frozen=True)
class VersionStatus:
    """One version of a model, as the server sees it.

    Attributes:
      version: its number.
      state: START, LOADING, AVAILABLE, UNLOADING or END.
      error: why it is not served, empty where nothing failed.
    """

    version: int
    state: str
    error: str


@dataclasses.dataclass(frozen=True)
class Connect:
    """A step: wait for a connection. Sent back: True, False, or None after `seconds`."""

    seconds: float


@dataclasses.dataclass(frozen=True)
class Send:
    """A step: one call. Sent back: the answer's bytes, or a `Failure`."""

    method: str
    request: bytes
    seconds: float


@dataclasses.dataclass(frozen=True)
class Pause:
    """A step: wait."""

    seconds: float


Result = TypeVar("Result")
Steps = Generator[Connect | Send | Pause, Any, Result]


class Exchange:
    """The calls of one connection, whatever carries them; see the module.

    Attributes:
      peer: whom it asks.
      version: the version to ask for, None for the newest.
      timeout: seconds that a call may take, retries included.
      credentials: what TLS goes by, read from its files; None speaks plainly.
      options: for gRPC's channel.
      answered: the version that gave the last answer; None before there was one.
      established: whether a connection has stood.
      closed: whether it was ended.
    """

    def __init__(
        self,
        target: str | Sequence[str],
        model: str,
        version: int | None,
        timeout: float,
        security: Security | None,
    ):
        """Remembers whom to ask; see `Connection` for the arguments and errors."""
        targets = parse_targets(target)
        if not model:
            raise SegueError("the model's name is empty; the default is --model segue")
        if version is not None and not 0 <= version < 2**63:
            raise SegueError(f"model version {version} is not one; versions are 0 or greater")
        self.peer = Peer(targets, model, security)
        self.version = version
        self.timeout = check_timeout(timeout)
        self.credentials = None if security is None else security.credentials()
        self.options = _options(targets, security)
        self.answered: int | None = None
        self.established = False
        self.closed = False
        # A generator of its own: the pauses are no business of the caller's seeds.
        self._random = random.Random()

    @property
    def hosts(self) -> tuple[str, ...]:
        """The hosts whose addresses must be known first; none for a single target."""
        targets = self.peer.targets
        return tuple(split_target(target)[0] for target in targets) if len(targets) > 1 else ()

    def call(
        self,
        signature: str,
        inputs: Mapping[str, Any],
        timeout: float | None,
        outputs: Sequence[str],
        version: int | None,
    ) -> Steps[Answer]:
        """The steps of asking a signature; see `Connection.call`."""
        request = protos.PredictRequest()
        version = self.version if version is None else version
        self._name_model(request.model_spec, version)
        request.model_spec.signature_name = signature
        request.output_filter.extend(outputs)
        for name, array in inputs.items():
            request.inputs[name].CopyFrom(tensors.to_proto(array))
        data = yield from self._send(protos.PREDICT, request, timeout, version, signature)
        response = self._parsed(protos.PredictResponse, data)
        arrays = {}
        for name, proto in response.outputs.items():
            try:
                arrays[name] = tensors.to_array(proto)
            except ValueError as error:
                raise SegueError(
                    f"{self.peer.server} answered an unreadable "
                    f"output {name!r} from {signature!r}: {error}"
                ) from error
        spec = response.model_spec
        self.answered = int(spec.version.value) if spec.HasField("version") else None
        return Answer(arrays, self.answered)

    def status(self, timeout: float | None) -> Steps[list[VersionStatus]]:
        """The steps of asking for the model's versions; see `Connection.status`."""
        request = protos.GetModelStatusRequest()
        self._name_model(request.model_spec, None)
        data = yield from self._send(protos.GET_MODEL_STATUS, request, timeout, None, "")
        return self._statuses(data)

    def _statuses(self, data: bytes) -> list[VersionStatus]:
        response = self._parsed(protos.GetModelStatusResponse, data)
        return [
            VersionStatus(
                int(item.version),
                protos.VERSION_STATES.get(item.state, "UNKNOWN"),
                item.status.error_message,
            )
            for item in response.model_version_status
        ]

    def _name_model(self, spec: Any, version: int | None) -> None:
        spec.name = self.peer.model
        if version is not None:
            spec.version.value = version

    def _parsed(self, kind: Any, data: bytes) -> Any:
        try:
            return kind.FromString(data)
        except DecodeError as error:
            raise SegueError(
                f"what answers at {self.peer.where} is no model server (its answer cannot "
                "be read); name one's gRPC port with --target"
            ) from error

    def _send(
        self, method: str, message: Any, timeout: float | None, version: int | None, signature: str
    ) -> Steps[bytes]:
        if self.closed:
            raise SegueError(f"the connection to {self.peer.where} is closed; open another")
        seconds = self.timeout if timeout is None else check_timeout(timeout)
        deadline = time.monotonic() + seconds
        try:
            request = message.SerializeToString()
        except (EncodeError, ValueError) as error:
            raise SegueError(
                f"the request is larger than {_MESSAGE_LIMIT:,} bytes; send fewer songs at once"
            ) from error
        if not self.established:
            yield from self._connect(min(CONNECT_SECONDS, seconds))
        pauses = self._pauses()
        while True:
            # A little time is always left: a deadline in the past would be
            # reported by gRPC without asking anyone.
            outcome = yield Send(method, request, max(deadline - time.monotonic(), 0.001))
            if isinstance(outcome, bytes):
                self.established = True
                return outcome
            pause = next(pauses, None)
            if (
                outcome.code is not grpc.StatusCode.UNAVAILABLE
                or not self.established
                or self.closed
                or pause is None
                or time.monotonic() + pause >= deadline
            ):
                call = Call(signature, version, seconds, self.established, self.closed)
                raise (yield from self._explain(outcome, call)) from outcome.error
            yield Pause(pause)

    def _connect(self, seconds: float) -> Steps[None]:
        """Waits for the first connection until it stands, fails, or takes too long.

        A failure is not raised here: the call that follows meets it at once,
        and brings gRPC's words for it.
        """
        connected = yield Connect(seconds)
        if connected is None:
            raise self.peer.nobody(f"; nothing came back for {seconds:g} s")
        self.established = self.established or connected

    def _pauses(self) -> Iterator[float]:
        for pause in RETRY_PAUSES:
            yield pause * self._random.uniform(1 - RETRY_JITTER, 1 + RETRY_JITTER)

    def _explain(self, failure: Failure, call: Call) -> Steps[SegueError]:
        if failure.code is not grpc.StatusCode.NOT_FOUND or call.version is None:
            return self.peer.explain(failure, call)
        request = protos.GetModelStatusRequest()
        self._name_model(request.model_spec, None)
        answer = yield Send(protos.GET_MODEL_STATUS, request.SerializeToString(), CONNECT_SECONDS)
        # The list is a courtesy; its absence is no second error.
        listed = self._statuses(answer) if isinstance(answer, bytes) else []
        served = [item.version for item in listed if item.state == "AVAILABLE"]
        return self.peer.not_found(failure, call.version, served)


def check_timeout(seconds: float) -> float:
    """A timeout that can be one.

    Raises:
      SegueError: it is not greater than 0, or greater than a day.
    """
    if not (math.isfinite(seconds) and 0 < seconds <= MAX_TIMEOUT):
        raise SegueError(f"timeout {seconds} is outside 0 < seconds <= {MAX_TIMEOUT:g}")
    return float(seconds)


def _options(targets: tuple[str, ...], security: Security | None) -> list[tuple[str, Any]]:
    options = list(_OPTIONS)
    if is_local(targets):
        # A proxy from the environment has no business with this machine.
        options.append(("grpc.enable_http_proxy", 0))
    name = None if security is None else security.server_name
    if len(targets) > 1:
        # A list of addresses is no name that a certificate could carry.
        if security is not None and name is None and common_host(targets) is None:
            raise SegueError(
                f"the targets {','.join(targets)} are of different hosts, and with TLS one "
                "channel asks them all for one name; give a name that each of their "
                "certificates carries as server_name"
            )
        name = name or targets[0]
    if name is not None:
        options.append(("grpc.default_authority", name))
    return options


class Asking:
    """What a connection tells of itself, whether threads or an event loop drive it."""

    _exchange: Exchange

    @property
    def target(self) -> str:
        """The targets, with commas between them."""
        return self._exchange.peer.where

    @property
    def model(self) -> str:
        """The model's name."""
        return self._exchange.peer.model

    @property
    def version(self) -> int | None:
        """The version that is asked for; None is the newest."""
        return self._exchange.version

    @property
    def timeout(self) -> float:
        """Seconds that a call may take where it says nothing else."""
        return self._exchange.timeout

    @property
    def resolved_version(self) -> int | None:
        """The version that gave the last answer; None before there was one."""
        return self._exchange.answered
