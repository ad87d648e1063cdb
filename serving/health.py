"""grpc.health.v1, with watches that end when the server does.

A caller may watch the health of a service for as long as it likes, and load
balancers do. To gRPC such a stream is a call like any other, for which a server
that stops would wait as long as it grants to those that compute something.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import grpc
from grpc_health.v1 import health


class Health(health.HealthServicer):
    """The health service of grpcio; it knows who watches."""

    def __init__(self, **options: Any):
        self._watching: set[grpc.ServicerContext] = set()
        self._watching_lock = threading.Lock()
        super().__init__(**options)

    def Watch(
        self,
        request: Any,
        context: grpc.ServicerContext,
        send_response_callback: Callable[[Any], None] | None = None,
    ) -> Any:
        """Tells the status of a service now and whenever it changes."""
        with self._watching_lock:
            self._watching.add(context)
        if not context.add_callback(lambda: self._forget(context)):
            self._forget(context)
        return super().Watch(request, context, send_response_callback)

    def end_watches(self) -> None:
        """Ends the streams of all who watch."""
        with self._watching_lock:
            watching = list(self._watching)
        for context in watching:
            context.cancel()

    def _forget(self, context: grpc.ServicerContext) -> None:
        with self._watching_lock:
            self._watching.discard(context)
