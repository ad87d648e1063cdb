"""One connection to a model server, and what its refusals mean.

The server may be TensorFlow Serving or Segue's embedded one: they answer the
same. A `Connection` sends named arrays to a signature of a model and gets named
arrays back. gRPC's status codes never reach the caller: each becomes one
`SegueError` line with the target, what went wrong and the way out.

A first call to a server that is not there fails within seconds, whatever the
timeout: nobody wants to wait a minute to learn of a missing `segue serve`. Once
a connection has been made, a server that goes away for a moment (a restart, a
swap behind a load balancer) is tried again a few times; predictions change
nothing on the server, so to repeat one is safe.
"""

from __future__ import annotations

import dataclasses
import math
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any

import grpc
import numpy as np

from client import protos, tensors
from music.errors import SegueError

DEFAULT_TARGET = "127.0.0.1:8500"
DEFAULT_MODEL = "segue"
DEFAULT_TIMEOUT = 60.0

# How long the first connection may take, and the pauses between retries.
CONNECT_SECONDS = 5.0
RETRY_PAUSES = (0.25, 0.5, 1.0, 2.0)

# gRPC's default of 4 MiB is less than a large batch of songs with its states.
_MESSAGE_LIMIT = 2**31 - 1
_OPTIONS: list[tuple[str, Any]] = [
    ("grpc.max_send_message_length", _MESSAGE_LIMIT),
    ("grpc.max_receive_message_length", _MESSAGE_LIMIT),
    # The channel's own pauses between attempts to connect; its default of a
    # second, growing to two minutes, would outlast our retries.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # Channels of one process share their sockets, and with them the memory of
    # a failure: a new connection would be told no without asking.
    ("grpc.use_local_subchannel_pool", 1),
]
_LONGEST_WORDS = 300


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


class Connection:
    """A gRPC channel to one model of one server; safe to share between threads.

    Nothing is sent before the first call. Use it as a context manager, or
    `close` it.
    """

    def __init__(
        self,
        target: str = DEFAULT_TARGET,
        model: str = DEFAULT_MODEL,
        version: int | None = None,
        timeout: float = DEFAULT_TIMEOUT,
    ):
        """Remembers whom to ask.

        Args:
          target: HOST:PORT of a server's gRPC port, or `unix:PATH`.
          model: the model's name on that server.
          version: the version to ask; None is the server's newest.
          timeout: seconds that a call may take, retries included.

        Raises:
          SegueError: a value that cannot be right.
        """
        self.target = _check_target(target)
        if not model:
            raise SegueError("the model's name is empty; the default is --model segue")
        if version is not None and not 0 <= version < 2**63:
            raise SegueError(f"model version {version} is not one; versions are 0 or greater")
        self.model = model
        self.version = version
        self.timeout = _check_timeout(timeout)
        self._resolved: int | None = None
        self._established = False
        self._closed = False
        self._lock = threading.Lock()
        options = list(_OPTIONS)
        if re.match(r"(localhost|127\.|\[::1\])", target):
            # A proxy from the environment has no business with this machine.
            options.append(("grpc.enable_http_proxy", 0))
        self._channel = grpc.insecure_channel(target, options=options)
        self._predict = self._channel.unary_unary(
            protos.PREDICT,
            request_serializer=protos.PredictRequest.SerializeToString,
            response_deserializer=protos.PredictResponse.FromString,
        )
        self._get_status = self._channel.unary_unary(
            protos.GET_MODEL_STATUS,
            request_serializer=protos.GetModelStatusRequest.SerializeToString,
            response_deserializer=protos.GetModelStatusResponse.FromString,
        )

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
        """Ends the channel; calls after it are errors."""
        self._closed = True
        self._channel.close()

    @property
    def resolved_version(self) -> int | None:
        """The version that gave the last answer; None before there was one."""
        return self._resolved

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
        request = protos.PredictRequest()
        version = self.version if version is None else version
        self._name_model(request.model_spec, version)
        request.model_spec.signature_name = signature
        request.output_filter.extend(outputs)
        for name, array in inputs.items():
            request.inputs[name].CopyFrom(tensors.to_proto(array))

        response = self._send(self._predict, request, timeout, version, signature)
        arrays = {}
        for name, proto in response.outputs.items():
            try:
                arrays[name] = tensors.to_array(proto)
            except ValueError as error:
                raise SegueError(
                    f"the model server at {self.target} answered an unreadable "
                    f"output {name!r} from {signature!r}: {error}"
                ) from error
        spec = response.model_spec
        answered = int(spec.version.value) if spec.HasField("version") else None
        self._resolved = answered
        return Answer(arrays, answered)

    def status(self, timeout: float | None = None) -> list[VersionStatus]:
        """The model's versions on the server, newest first.

        Raises:
          SegueError: as `call`.
        """
        request = protos.GetModelStatusRequest()
        self._name_model(request.model_spec, None)
        response = self._send(self._get_status, request, timeout, None, "")
        return [
            VersionStatus(
                int(item.version),
                protos.VERSION_STATES.get(item.state, "UNKNOWN"),
                item.status.error_message,
            )
            for item in response.model_version_status
        ]

    def _name_model(self, spec: Any, version: int | None) -> None:
        spec.name = self.model
        if version is not None:
            spec.version.value = version

    def _send(
        self,
        method: Callable[..., Any],
        request: Any,
        timeout: float | None,
        version: int | None,
        signature: str,
    ) -> Any:
        if self._closed:
            raise SegueError(f"the connection to {self.target} is closed; open another")
        seconds = self.timeout if timeout is None else _check_timeout(timeout)
        deadline = time.monotonic() + seconds
        self._connect(min(CONNECT_SECONDS, seconds))
        pauses = iter(RETRY_PAUSES)
        while True:
            try:
                # A little time is always left: a deadline in the past would be
                # reported by gRPC without asking anyone.
                left = max(deadline - time.monotonic(), 0.001)
                response = method(request, timeout=left)
                self._established = True
                return response
            except grpc.RpcError as error:
                pause = next(pauses, None)
                again = (
                    error.code() is grpc.StatusCode.UNAVAILABLE
                    and self._established
                    and pause is not None
                    and time.monotonic() + pause < deadline
                )
                if not again:
                    raise self._explain(error, seconds, version, signature) from error
                assert pause is not None
                time.sleep(pause)

    def _connect(self, seconds: float) -> None:
        """Waits for the first connection until it stands, fails, or takes too long.

        A failure is not raised here: the call that follows meets it at once,
        and brings gRPC's words for it.
        """
        with self._lock:
            if self._established:
                return
            settled = threading.Event()
            states: list[grpc.ChannelConnectivity] = []

            def watch(state: grpc.ChannelConnectivity) -> None:
                if state in (
                    grpc.ChannelConnectivity.READY,
                    grpc.ChannelConnectivity.TRANSIENT_FAILURE,
                    grpc.ChannelConnectivity.SHUTDOWN,
                ):
                    states.append(state)
                    settled.set()

            self._channel.subscribe(watch, try_to_connect=True)
            try:
                answered = settled.wait(seconds)
            finally:
                self._channel.unsubscribe(watch)
            if not answered:
                raise SegueError(self._nobody(f"; nothing came back for {seconds:g} s"))
            self._established = states[0] is grpc.ChannelConnectivity.READY

    def _nobody(self, detail: str = "") -> str:
        return (
            f"no model server answers at {self.target}{detail}; start one with "
            "`segue serve --root DIR`, or name another with --target"
        )

    def _explain(
        self, error: grpc.RpcError, seconds: float, version: int | None, signature: str
    ) -> SegueError:
        code, words = error.code(), _one_line(error.details() or "")
        said = f" ({words})" if words else ""
        codes = grpc.StatusCode
        if code is codes.UNAVAILABLE:
            if self._established:
                return SegueError(
                    f"the model server at {self.target} stopped answering{said}; look at its "
                    "log, start it again with `segue serve --root DIR`, or name another "
                    "with --target"
                )
            if "DNS" in words or "resol" in words:
                return SegueError(
                    f"the host of {self.target} is not known to this machine; "
                    "name another with --target HOST:PORT"
                )
            if "HTTP/2" in words or "SETTINGS" in words:
                return SegueError(
                    f"what answers at {self.target} does not speak gRPC; "
                    "name a model server's gRPC port (8500, not REST's 8501) with --target"
                )
            if "refused" in words or "No such file" in words or not words:
                return SegueError(self._nobody())
            return SegueError(self._nobody(said))
        if code is codes.NOT_FOUND:
            return SegueError(self._not_found(version, said))
        if code is codes.DEADLINE_EXCEEDED:
            return SegueError(
                f"the model server at {self.target} gave no answer within {seconds:g} s; "
                "allow it more with --timeout SECONDS, or ask for less at once"
            )
        if code is codes.INVALID_ARGUMENT:
            return SegueError(
                f"model {self.model!r} at {self.target} refuses the request: "
                f"{words or 'it does not say why'}"
            )
        if code is codes.FAILED_PRECONDITION:
            return SegueError(
                f"model {self.model!r} at {self.target} cannot answer {signature!r}{said}; "
                "serve a model that Segue trained, or name another with --model"
            )
        if code is codes.RESOURCE_EXHAUSTED:
            return SegueError(
                f"the model server at {self.target} has no room for the request{said}; "
                "send fewer songs at once, or try again later"
            )
        if code is codes.UNIMPLEMENTED:
            return SegueError(
                f"what answers at {self.target} is no model server{said}; "
                "name one's gRPC port with --target"
            )
        if code is codes.CANCELLED and self._closed:
            return SegueError(f"the connection to {self.target} was closed during a call")
        name = code.name if code is not None else "UNKNOWN"
        return SegueError(
            f"the model server at {self.target} failed with {name}{said}; look at its log"
        )

    def _not_found(self, version: int | None, said: str) -> str:
        if version is None:
            return (
                f"no model {self.model!r} is served at {self.target}{said}; "
                "name one that is with --model"
            )
        served: list[str] = []
        request = protos.GetModelStatusRequest()
        self._name_model(request.model_spec, None)
        try:
            response = self._get_status(request, timeout=CONNECT_SECONDS)
            served = [
                str(item.version)
                for item in response.model_version_status
                if protos.VERSION_STATES.get(item.state) == "AVAILABLE"
            ]
        except grpc.RpcError:
            pass  # The list is a courtesy; its absence is no second error.
        listed = f"; it has {', '.join(served)}" if served else ""
        return (
            f"version {version} of model {self.model!r} is not served at "
            f"{self.target}{said}{listed}; name one that is with --model-version, "
            "or none for the newest"
        )


def _one_line(words: str) -> str:
    line = " ".join(words.split())
    return line if len(line) <= _LONGEST_WORDS else line[: _LONGEST_WORDS - 3] + "..."


def _check_target(target: str) -> str:
    if re.match(r"(unix|unix-abstract|ipv4|ipv6|xds):\S", target):
        return target
    host = r"(?:\[[0-9a-fA-F:.%]+\]|[^\s:/\[\]]+)"
    match = re.fullmatch(rf"(?:dns:(?://[^/]*/)?)?{host}:(\d{{1,5}})", target)
    if not match or not 1 <= int(match.group(1)) <= 65535:
        raise SegueError(
            f"target {target!r} is not HOST:PORT, as in {DEFAULT_TARGET}; "
            "it is the gRPC port, without http://"
        )
    return target


def _check_timeout(seconds: float) -> float:
    if not (math.isfinite(seconds) and 0 < seconds <= 86400):
        raise SegueError(f"timeout {seconds} is outside 0 < seconds <= 86400")
    return float(seconds)
