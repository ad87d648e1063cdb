"""The versions of one model: found in a folder, loaded, swapped and unloaded.

A version is a child folder of the base path whose name is a number. The manager
looks at the folder again and again and keeps loaded what its policy wants (see
`policies`). How it gets there is TensorFlow Serving's availability preserving
policy: a new version is loaded in a thread of its own while the old one answers;
only when the new one is available is the old one unloaded, and that waits for the
calls that still use it. So a push, a rollback (the highest folder vanishes), a
damaged version and another policy go unnoticed by callers.

A version lives through START, LOADING, AVAILABLE, UNLOADING and END; END with an
error means that it did not load. The manager remembers all versions it ever saw,
since GetModelStatus tells them.

This module knows nothing of TensorFlow: what a model is, its `load` decides.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import enum
import functools
import gc
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from serving import errors, logs
from serving.errors import ServingError
from serving.limits import Places
from serving.policies import Policy, find_versions, latest

_log = logging.getLogger(__name__)


class State(enum.IntEnum):
    """Where a version stands; the numbers of ModelVersionStatus.State."""

    START = 10
    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50


@dataclasses.dataclass(frozen=True)
class VersionStatus:
    """What is known of one version; `error` is set when it could not be loaded."""

    version: int
    state: State
    error: ServingError | None = None


class _Version:
    """A version's entry; everything in it is guarded by the manager's lock."""

    def __init__(self, number: int, path: Path, orders: int):
        self.number = number
        self.path = path
        self.orders = orders
        self.state = State.START
        self.wanted = True
        self.model: Any = None
        self.calls = 0
        self.error: ServingError | None = None


class ModelManager:
    """Keeps the wanted versions of one model loaded; safe to use from any thread.

    Args:
      name: the model's name, for messages.
      base_path: the folder of its versions.
      load: makes a model of a version's folder; the model has a `close()`. Called
        in a thread of its own, any exception is a failed load.
      policy: which of the versions found are wanted.
      poll_seconds: pause between two looks at the folder; 0 looks once.
      max_num_load_retries: tries after a failed load.
      load_retry_seconds: pause between them.
      loads: places for loads; models may share them. None for no limit.
      unloads: places for unloads, likewise.
    """

    def __init__(
        self,
        name: str,
        base_path: Path,
        load: Callable[[Path], Any],
        *,
        policy: Policy | None = None,
        poll_seconds: float = 1.0,
        max_num_load_retries: int = 5,
        load_retry_seconds: float = 60.0,
        loads: Places | None = None,
        unloads: Places | None = None,
    ):
        self.name = name
        self.base_path = base_path
        self._load = load
        self._policy = policy or latest(1)
        self._poll_seconds = poll_seconds
        self._max_retries = max_num_load_retries
        self._retry_seconds = load_retry_seconds
        self._loads = loads or Places(sys.maxsize)
        self._unloads = unloads or Places(sys.maxsize)
        self._changed = threading.Condition()
        self._versions: dict[int, _Version] = {}
        # Counts the orders (`start`, `reconfigure`, `retire`): what began under an
        # earlier one has nothing to say any more.
        self._orders = 0
        self._unlisted = ""
        self._stopping = False
        self._threads: set[threading.Thread] = set()

    def start(self) -> None:
        """Looks at the folder and, unless told to look once, goes on looking."""
        with self._changed:
            self._orders += 1
            orders = self._orders
            self._changed.notify_all()
        self.poll()
        if self._poll_seconds > 0:
            self._spawn(functools.partial(self._watch, orders), "watch")

    def reconfigure(self, base_path: Path, policy: Policy) -> None:
        """Serves by another policy, or from another folder, from now on.

        Versions that are loaded stay what they are, even if the new folder holds
        one of the same number.
        """
        with self._changed:
            self.base_path = base_path
            self._policy = policy
        self.start()

    def retire(self) -> None:
        """Unloads all versions and looks no more; `reconfigure` ends that."""
        with self._changed:
            self._orders += 1
            for version in self._versions.values():
                version.wanted = False
            self._retire()
            self._changed.notify_all()

    def poll(self) -> None:
        """Looks at the folder once, and starts the loads that are due.

        A base path that cannot be listed changes nothing: a file server that is
        away for a minute must not take the model down.
        """
        with self._changed:
            orders, base_path, policy = self._orders, self.base_path, self._policy
        try:
            found = find_versions(base_path)
        except OSError as error:
            # Once: a file server may be away for hours.
            if str(error) != self._unlisted:
                self._unlisted = str(error)
                _log.warning("model %s: %s; keeping what is loaded", self.name, error)
            return
        if self._unlisted:
            self._unlisted = ""
            _log.warning("model %s: %s can be listed again", self.name, base_path)
        wanted = policy(found)
        with self._changed:
            if self._stopping or orders != self._orders:
                return
            for number in sorted(wanted, reverse=True):
                self._want(number, found[number])
            for number, version in self._versions.items():
                version.wanted = number in wanted
            self._retire()
            self._changed.notify_all()

    def wait_available(
        self, timeout: float | None = None, give_up: Callable[[], bool] = lambda: False
    ) -> int | None:
        """Waits until a version is available.

        Args:
          timeout: seconds to wait at most; None for any time.
          give_up: asked now and then; True ends the waiting.

        Returns:
          The highest available version; None when the time was up, or the
          waiting was given up.

        Raises:
          ServingError: of a version that could not be loaded, when no other one
            is available or still on its way.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            while True:
                available = self.latest_available()
                if available is not None:
                    return available
                waiting = [v for v in self._versions.values() if v.state < State.AVAILABLE]
                failed = [
                    v for v in self._versions.values() if v.error and v.orders == self._orders
                ]
                if failed and not waiting:
                    raise max(failed, key=lambda v: v.number).error  # type: ignore[misc]
                left = None if deadline is None else deadline - time.monotonic()
                if self._stopping or give_up() or (left is not None and left <= 0):
                    return None
                # Half a second: `give_up` is no part of the condition.
                self._changed.wait(0.5 if left is None else min(left, 0.5))

    @contextlib.contextmanager
    def acquire(self, version: int | None = None) -> Iterator[tuple[int, Any]]:
        """Lends a model; it is not unloaded while it is lent.

        Args:
          version: the version asked for; None for the highest available one.

        Yields:
          The version and its model.

        Raises:
          ServingError: NOT_FOUND when that version, or any, is not available.
        """
        with self._changed:
            available = self._available()
            number = self.latest_available() if version is None else version
            if number is None or number not in available:
                raise errors.servable_not_found(self.name, version)
            entry = available[number]
            entry.calls += 1
        try:
            yield entry.number, entry.model
        finally:
            with self._changed:
                entry.calls -= 1
                if not entry.calls:
                    self._changed.notify_all()

    def statuses(self) -> list[VersionStatus]:
        """All versions ever seen, the highest first."""
        with self._changed:
            return [
                VersionStatus(v.number, v.state, v.error)
                for v in sorted(self._versions.values(), key=lambda v: -v.number)
            ]

    def latest_available(self) -> int | None:
        """The version that a request without one gets; None when there is none."""
        with self._changed:
            return max(self._available(), default=None)

    @property
    def calls(self) -> int:
        """Calls that hold a version now."""
        with self._changed:
            return sum(version.calls for version in self._versions.values())

    def ask_to_stop(self) -> None:
        """Ends waiting, watching and retries; `stop` does it all."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()

    def stop(self, timeout: float = 10.0) -> None:
        """Unloads everything. Calls that still run are cancelled.

        Args:
          timeout: seconds to wait for loads that have begun, which TensorFlow
            cannot break off.
        """
        self.ask_to_stop()
        with self._changed:
            threads = set(self._threads)
        deadline = time.monotonic() + timeout
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        with self._changed:
            rest = [v for v in self._versions.values() if v.model is not None]
        for version in rest:
            self._close(version)

    def _available(self) -> Mapping[int, _Version]:
        return {n: v for n, v in self._versions.items() if v.state == State.AVAILABLE}

    def _want(self, number: int, path: Path) -> None:
        """Starts to load a version, unless it is loaded, on its way or hopeless."""
        known = self._versions.get(number)
        if known and known.state != State.END:
            known.orders = self._orders
            return
        # A failed version is tried anew only after its folder was gone, or
        # another one was wanted instead.
        if known and known.error and known.wanted:
            return
        version = _Version(number, path, self._orders)
        self._versions[number] = version
        self._spawn(functools.partial(self._bring_up, version), f"load-{number}")

    def _retire(self) -> None:
        """Unloads what nobody wants, but keeps one until a wanted one is available."""
        wanted = [v for v in self._versions.values() if v.wanted]
        going = sorted(
            (v for v in self._available().values() if not v.wanted), key=lambda v: v.number
        )
        if wanted and not any(v.state == State.AVAILABLE for v in wanted):
            del going[-1:]
        for version in going:
            version.state = State.UNLOADING
            self._spawn(functools.partial(self._bring_down, version), f"unload-{version.number}")

    def _watch(self, orders: int) -> None:
        def over() -> bool:
            return self._stopping or self._orders != orders

        while True:
            with self._changed:
                if self._changed.wait_for(over, self._poll_seconds):
                    return
            try:
                self.poll()
            except Exception:
                # The watcher must outlive whatever a file system comes up with.
                _log.exception("model %s: looking for versions failed", self.name)

    def _bring_up(self, version: _Version) -> None:
        """Loads a version, with retries; runs in a thread of its own."""
        began = time.monotonic()
        failure = None
        for attempt in range(1, self._max_retries + 2):
            if attempt > 1 and self._gave_up(version):
                break
            # Left during the pause: one bad model must not hold up the others.
            with self._loads.one(lambda: self._awaited(version)) as taken:
                if not taken:
                    break
                self._enter(version, State.LOADING)
                try:
                    model = self._load(version.path)
                except Exception as error:
                    failure = _as_serving_error(error)
                    self._report(version, error, attempt)
                    continue
            self._put_in_service(version, model)
            seconds = time.monotonic() - began
            _log.info(
                "model %s: version %d loaded in %.1f s",
                self.name,
                version.number,
                seconds,
                extra=self._fields("loaded", version, ms=round(seconds * 1000)),
            )
            return
        self._enter(version, State.END, failure)

    def _awaited(self, version: _Version) -> bool:
        with self._changed:
            return version.wanted and not self._stopping

    def _put_in_service(self, version: _Version, model: Any) -> None:
        with self._changed:
            version.model = model
            if not self._stopping:
                version.state = State.AVAILABLE
                self._retire()
                self._changed.notify_all()
                return
        self._close(version)

    def _report(self, version: _Version, error: Exception, attempt: int) -> None:
        retry = attempt <= self._max_retries
        _log.warning(
            "model %s: version %d did not load (try %d of %d): %s%s",
            self.name,
            version.number,
            attempt,
            self._max_retries + 1,
            errors.one_line(error),
            f"; next try in {self._retry_seconds:g} s" if retry else "",
            exc_info=_log.isEnabledFor(logging.DEBUG),
            extra=self._fields(
                "load_failed", version, attempt=attempt, retry=retry, error=errors.one_line(error)
            ),
        )

    def _fields(self, event: str, version: _Version, **more: Any) -> dict[str, Any]:
        return logs.fields(event=event, model=self.name, version=version.number, **more)

    def _gave_up(self, version: _Version) -> bool:
        """Waits before the next try; True when there is to be none."""
        with self._changed:
            return self._changed.wait_for(
                lambda: self._stopping or not version.wanted, self._retry_seconds
            )

    def _bring_down(self, version: _Version) -> None:
        """Unloads a version once no call uses it; runs in a thread of its own."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopping or not version.calls)
            if self._stopping:
                return  # `stop` closes it
        with self._unloads.one():
            self._close(version)
        _log.info(
            "model %s: version %d is unloaded",
            self.name,
            version.number,
            extra=self._fields("unloaded", version),
        )
        if self._awaited(version):  # again, meanwhile
            self.poll()

    def _close(self, version: _Version) -> None:
        try:
            version.model.close()
        except Exception:
            _log.exception("model %s: closing version %d failed", self.name, version.number)
        version.model = None
        self._enter(version, State.END)
        _give_memory_back()

    def _enter(self, version: _Version, state: State, error: ServingError | None = None) -> None:
        with self._changed:
            version.state = state
            version.error = error
            self._changed.notify_all()

    def _spawn(self, work: Callable[[], None], what: str) -> None:
        def run() -> None:
            try:
                work()
            finally:
                with self._changed:
                    self._threads.discard(thread)

        # Daemons: a load that hangs in a dead file system must not keep the
        # process from ending.
        thread = threading.Thread(target=run, name=f"{self.name}-{what}", daemon=True)
        with self._changed:
            self._threads.add(thread)
        thread.start()


def _give_memory_back() -> None:
    """Frees what an unloaded model leaves: a circle of objects, and the heap's holes.

    Without it the process grows with every swap until something happens to
    collect garbage.
    """
    gc.collect()
    # Only some C libraries have it.
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _as_serving_error(error: Exception) -> ServingError:
    return error if isinstance(error, ServingError) else errors.internal(errors.one_line(error))
