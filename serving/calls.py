"""The call that a thread works for, and word of its end.

A caller may hang up before it has its answer. Work that waits in a queue is then
not worth doing any more; but between the gRPC method, which knows of the caller,
and the queue lie functions that have nothing to do with calls. So the method says
`with following(context)`, and the queue asks for `current()`.
"""

from __future__ import annotations

import contextlib
import contextvars
import threading
from collections.abc import Callable, Iterator
from typing import Any

_current: contextvars.ContextVar[Call | None] = contextvars.ContextVar("call", default=None)


class Call:
    """A call in progress; safe to use from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._gone = False
        self._callbacks: list[Callable[[], None]] = []

    @property
    def gone(self) -> bool:
        """Whether nobody waits for the answer any more."""
        return self._gone

    def leave(self) -> None:
        """Says that the caller is gone (or has its answer)."""
        with self._lock:
            self._gone = True
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()

    @contextlib.contextmanager
    def when_gone(self, callback: Callable[[], None]) -> Iterator[None]:
        """Within the block: `callback` is called, once, when the caller is gone."""
        with self._lock:
            gone = self._gone
            if not gone:
                self._callbacks.append(callback)
        if gone:
            callback()
        try:
            yield
        finally:
            with self._lock, contextlib.suppress(ValueError):
                self._callbacks.remove(callback)


def current() -> Call | None:
    """The call that this thread works for; None outside of one."""
    return _current.get()


@contextlib.contextmanager
def following(context: Any) -> Iterator[Call]:
    """Makes a gRPC call the current one of this thread.

    Args:
      context: the method's grpc.ServicerContext, or whatever has its
        `add_callback(callback)`, which answers False when the call has ended.
    """
    call = Call()
    if not context.add_callback(call.leave):
        call.leave()
    token = _current.set(call)
    try:
        yield call
    finally:
        _current.reset(token)
