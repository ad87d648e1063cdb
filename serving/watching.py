"""Every call is watched in one place: counted, timed, and logged as one line.

gRPC's calls pass an interceptor, REST's the same `watched` block, so what is told
of a request does not depend on the door it came through.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import time
from collections.abc import Callable, Collection, Iterator
from typing import Any

import grpc

from serving import logs
from serving.metrics import Metrics

GRPC = "GRPC"
REST = "REST"
# What request_count and request_latency are kept of, as in the binary.
COUNTED = frozenset({"Predict", "Classify", "Regress", "MultiInference"})
_OK = grpc.StatusCode.OK
# Outputs of Segue's signatures that hold events, a row each (int32[N,S,F], int32[N,F]).
_EVENTS = ("events", "event")
_NONE = -1
_log = logging.getLogger(__name__)


@dataclasses.dataclass
class Call:
    """What is known of a call so far; who answers it fills it in.

    Attributes:
      entrypoint: GRPC or REST.
      api: the method, as that entrypoint spells it.
      counted: whether it goes into request_count and request_latency.
      model: the name asked for.
      version: the version that answered.
      rows: rows of the request's tensors.
      code: how it ended, with `message` when it failed.
    """

    entrypoint: str
    api: str
    counted: bool = True
    model: str = ""
    version: int | None = None
    rows: int | None = None
    code: grpc.StatusCode = _OK
    message: str = ""


@contextlib.contextmanager
def watched(metrics: Metrics, call: Call) -> Iterator[Call]:
    """Counts, times and logs the call that is answered in the block."""
    metrics.call_began(call.entrypoint)
    began = time.perf_counter()
    try:
        yield call
    finally:
        seconds = time.perf_counter() - began
        metrics.call_ended(
            call.entrypoint, call.api, call.model, call.code.name, seconds, call.counted
        )
        if _log.isEnabledFor(logging.DEBUG):
            _log_line(call, seconds)


def note_predict(metrics: Metrics, call: Call, request: Any, response: Any) -> None:
    """Notes the rows of a PredictRequest, and counts the events of its response."""
    call.rows = _rows(request.inputs)
    call.version = response.model_spec.version.value
    for name in _EVENTS:
        # Looked up first: reading a map of protos makes what is not there.
        if name in response.outputs:
            events = _count_events(response.outputs[name])
            if events:
                metrics.count_events(call.model, events)


class Watch(grpc.ServerInterceptor):
    """Watches the calls of some gRPC services.

    Args:
      metrics: the server's.
      services: full names; calls of others (reflection, health) pass unseen.
      most: calls of those services inside; more are refused. 0 for any number.
    """

    def __init__(self, metrics: Metrics, services: Collection[str], most: int = 0):
        self._metrics = metrics
        self._most = most
        self._services = frozenset(services)

    def intercept_service(
        self, continuation: Callable[[Any], Any], handler_call_details: Any
    ) -> Any:
        handler = continuation(handler_call_details)
        service, _, method = handler_call_details.method.lstrip("/").partition("/")
        if handler is None or service not in self._services:
            return handler

        def answer(request: Any, context: grpc.ServicerContext) -> Any:
            call = Call(GRPC, method, counted=method in COUNTED, model=_model(request))
            with watched(self._metrics, call):
                try:
                    if self._most and self._metrics.calls_inside(GRPC) > self._most:
                        context.abort(
                            grpc.StatusCode.RESOURCE_EXHAUSTED,
                            f"Concurrent calls exceed {self._most} (--max_concurrent_calls)",
                        )
                    response = handler.unary_unary(request, context)
                except Exception:
                    # `context.abort` raises, after it has set these.
                    call.code = context.code() or grpc.StatusCode.UNKNOWN
                    call.message = _text(context.details())
                    raise
                if method == "Predict":
                    note_predict(self._metrics, call, request, response)
                return response

        return grpc.unary_unary_rpc_method_handler(
            answer, handler.request_deserializer, handler.response_serializer
        )


def _model(request: Any) -> str:
    if hasattr(request, "model_spec"):
        return request.model_spec.name
    tasks = getattr(request, "tasks", ())
    return tasks[0].model_spec.name if tasks else ""


def _rows(inputs: Any) -> int | None:
    for proto in inputs.values():
        if proto.tensor_shape.dim:
            return proto.tensor_shape.dim[0].size
    return None


def _count_events(proto: Any) -> int:
    """Rows of an int32[..., F] that are events; a row that is none is all -1."""
    dims = proto.tensor_shape.dim
    if len(dims) < 2 or not dims[-1].size or not proto.int_val:
        return 0
    firsts = proto.int_val[:: dims[-1].size]
    return len(firsts) - firsts.count(_NONE)


def _log_line(call: Call, seconds: float) -> None:
    ms = round(seconds * 1000, 3)
    name = call.model + (f"/{call.version}" if call.version else "")
    _log.debug(
        "%s %s %s: %s in %.1f ms%s",
        call.entrypoint,
        call.api or "-",
        name or "-",
        call.code.name,
        ms,
        f": {call.message}" if call.message else "",
        extra=logs.fields(
            entrypoint=call.entrypoint,
            method=call.api,
            model=call.model,
            version=call.version,
            rows=call.rows,
            code=call.code.name,
            ms=ms,
            error=call.message or None,
        ),
    )


def _text(details: Any) -> str:
    return details.decode("utf-8", "replace") if isinstance(details, bytes) else str(details or "")
