"""Waitress, opened and closed as a model server needs it.

One thread moves bytes for all connections; a request takes one of the worker
threads only when it is there as a whole, and an answer is handed over as a whole.
So a client that sends or reads slowly costs a connection and a little memory
(bodies of any size lie in temporary files) but no worker, and one that vanishes
costs nothing.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from waitress import wasyncore
from waitress.adjustments import Adjustments
from waitress.channel import HTTPChannel
from waitress.server import TcpWSGIServer
from waitress.task import ErrorTask, ThreadedTaskDispatcher, WSGITask

from serving import json_text

_log = logging.getLogger(__name__)
_MAX_CONNECTIONS = 1000
_MAX_HEADER_BYTES = 64 * 2**10
# A client has so long for a whole request, and between two of them.
REQUEST_SECONDS = 60.0
_IDLE_SECONDS = 120
_CLEANUP_SECONDS = 1


class HttpServer:
    """Serves a WSGI application on a socket, in threads of its own.

    Args:
      app: the application.
      listener: a bound socket; the server closes it.
      threads: requests answered at the same time.
      max_body_bytes: larger bodies are refused with 413, before they are read whole.
      request_seconds: a request that is not there as a whole by then is given up.
    """

    def __init__(
        self,
        app: Callable[..., Any],
        listener: socket.socket,
        threads: int,
        max_body_bytes: int,
        request_seconds: float = REQUEST_SECONDS,
    ):
        settings = Adjustments(
            sockets=[listener],
            ident=None,
            threads=threads,
            connection_limit=_MAX_CONNECTIONS,
            max_request_header_size=_MAX_HEADER_BYTES,
            max_request_body_size=max_body_bytes,
            channel_timeout=_IDLE_SECONDS,
            cleanup_interval=_CLEANUP_SECONDS,
            asyncore_use_poll=True,
            # Reads on while a request is answered, and so sees its client go.
            channel_request_lookahead=1,
            # An answer never waits for its reader; it lies in a file if it must.
            outbuf_high_watermark=2**62,
            log_socket_errors=False,
        )
        self._map: dict[int, Any] = {}
        self._workers = ThreadedTaskDispatcher()
        self._workers.set_thread_count(threads)
        self._server = _Server(
            app,
            self._map,
            _sock=listener,
            dispatcher=self._workers,
            adj=settings,
            sockinfo=(listener.family, listener.type, listener.proto, listener.getsockname()),
            bind_socket=False,
        )
        self._server.request_seconds = request_seconds
        self._loop = threading.Thread(target=self._move_bytes, name="rest", daemon=True)
        self._stopping = threading.Lock()

    def start(self) -> None:
        """Begins to answer; to be called once, before `stop`."""
        self._loop.start()

    def stop(self, grace: float) -> None:
        """Takes no more connections, lets what runs end, and closes; once is enough.

        Args:
          grace: seconds that requests may take; the rest is cut off.
        """
        with self._stopping:
            if self._map:
                self._stop(grace)

    def _stop(self, grace: float) -> None:
        self._in_loop(lambda: wasyncore.dispatcher.close(self._server))
        deadline = time.monotonic() + grace
        pause = threading.Event()
        while self._busy() and time.monotonic() < deadline:
            pause.wait(0.01)
        # Idle ones end at once; one that is still computing ends with its model.
        self._workers.shutdown(timeout=1)
        self._in_loop(lambda: wasyncore.close_all(self._map, ignore_all=True))
        self._loop.join(5)

    def _busy(self) -> bool:
        channels = list(self._server.active_channels.values())
        return any(channel.requests or channel.total_outbufs_len for channel in channels)

    def _in_loop(self, work: Callable[[], Any]) -> None:
        # Its data structures belong to the thread that moves the bytes.
        self._server.pull_trigger(work)

    def _move_bytes(self) -> None:
        while self._map:
            try:
                wasyncore.loop(timeout=1, use_poll=True, map=self._map)
            except Exception:
                # One bad connection must not take the door away from the others.
                _log.exception("the REST server stumbled")


class _JsonError(ErrorTask):
    """What Waitress refuses by itself (too large, no HTTP) is said in JSON, too."""

    def execute(self) -> None:
        error = self.request.error
        body = json_text.dump({"error": f"{error.reason}: {error.body}"})
        self.status = f"{error.code} {error.reason}"
        self.response_headers.append(("Content-Type", "application/json"))
        self.set_close_on_finish()
        self.content_length = len(body)
        self.write(body)


class _Task(WSGITask):
    def get_environment(self) -> dict[str, Any]:
        environ = super().get_environment()
        environ["segue.when_gone"] = self.channel.when_gone
        return environ


class _Channel(HTTPChannel):
    task_class = _Task
    error_task_class = _JsonError
    request_began = 0.0

    def __init__(self, *arguments: Any, **settings: Any):
        self._gone_lock = threading.Lock()
        self._callbacks: list[Callable[[], None]] = []
        super().__init__(*arguments, **settings)

    def when_gone(self, callback: Callable[[], None]) -> bool:
        """Has `callback` called when the client hangs up; False when it has.

        It takes the place of an earlier one: requests of a connection are answered
        one after the other.
        """
        with self._gone_lock:
            if self.connected:
                self._callbacks = [callback]
            return self.connected

    def handle_read(self) -> None:
        super().handle_read()
        self._tell_if_gone()

    def handle_close(self) -> None:
        super().handle_close()
        self._tell_if_gone()

    def _tell_if_gone(self) -> None:
        if self.connected:
            return
        with self._gone_lock:
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()

    def received(self, data: bytes) -> bool:
        if self.request is None:
            self.request_began = time.time()
        return super().received(data)


class _Server(TcpWSGIServer):
    channel_class = _Channel
    request_seconds = REQUEST_SECONDS

    def pull_trigger(self, work: Callable[[], Any] | None = None) -> None:
        """Wakes the thread that moves the bytes, and has it run `work`.

        Waitress hands the work over before it writes to the pipe that wakes the
        thread. A thread already awake may then run it and close that pipe first, and
        its number may be another file's by the time of the write. So both are one
        here, under the lock that work is run in.
        """
        trigger = self.trigger
        with trigger.lock:
            if trigger._closed:
                return
            if work is not None:
                trigger.thunks.append(work)
            trigger.pull_trigger()

    def maintenance(self, now: float) -> None:
        super().maintenance(now)
        for channel in self.active_channels.values():
            # A byte a minute keeps a connection busy, but not for ever.
            late = now - channel.request_began > self.request_seconds
            if channel.request is not None and late:
                channel.will_close = True
