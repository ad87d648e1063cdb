"""Queues of tasks, and threads that run them in batches.

TensorFlow's SharedBatchScheduler, in its semantics: whoever has tasks of one kind
opens a queue; a queue gathers tasks into batches; threads, shared by all queues,
take one batch from each queue in turn, so that a flood of one kind cannot starve
another. A batch is closed when the next task does not fit, and is run when it is
closed or full, or when its first task has waited `timeout` seconds and a thread is
free. A queue holds so many batches, and refuses what is beyond.

One lock guards everything. It is held for a few list operations at a time, which
is nothing beside a batch, and makes the rules easy to see.

This module knows nothing of tensors: a task has a number of rows, and `process`
does the work. Algorithm: `tensorflow/core/kernels/batching_util/
shared_batch_scheduler.h`.
"""

from __future__ import annotations

import dataclasses
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import grpc

from serving import errors
from serving.errors import ServingError

_log = logging.getLogger(__name__)


class Task:
    """Rows to be run; the base of what `process` gets."""

    def __init__(self, rows: int):
        self.rows = rows
        self._batch: _Batch | None = None


@dataclasses.dataclass(frozen=True)
class QueueOptions:
    """How one queue makes batches.

    Attributes:
      max_task_rows: most rows of one task.
      max_batch_rows: most rows of a batch; less than `max_task_rows` only where
        tasks are split.
      timeout: seconds that a batch may wait for more tasks.
      max_batches: batches that may wait, the open one among them.
    """

    max_task_rows: int
    max_batch_rows: int
    timeout: float
    max_batches: int


class _Batch:
    """Tasks that will run together, while they wait."""

    def __init__(self) -> None:
        self.tasks: list[Any] = []
        self.rows = 0
        self.opened = 0.0  # when its first task came


class Queue:
    """The tasks of one kind that wait; made by `Scheduler.open`."""

    def __init__(
        self, scheduler: Scheduler, options: QueueOptions, process: Callable[[list[Any]], None]
    ):
        self._scheduler = scheduler
        self._options = options
        self.process = process
        self.batches: deque[_Batch] = deque([_Batch()])  # the last one is open
        self.closed = False

    def submit(
        self, task: Task, split: Callable[[list[int]], Sequence[Task]] | None = None
    ) -> Sequence[Task]:
        """Puts a task into the queue.

        Args:
          task: at most `max_task_rows` rows.
          split: cuts the task into parts of so many rows each, to fill the open
            batch and further ones; None where it must stay whole.

        Returns:
          The tasks that wait in its place: itself, or its parts in their order.

        Raises:
          ServingError: INVALID_ARGUMENT for a task that is too large,
            RESOURCE_EXHAUSTED when the queue is full, UNAVAILABLE when it is
            closed.
        """
        with self._scheduler.lock:
            self._check_room(task.rows, whole=split is None)
            free = self._options.max_batch_rows - self.batches[-1].rows
            parts: Sequence[Task] = [task]
            if split is not None and task.rows > free:
                parts = split(self._sizes(task.rows, free))
            for part in parts:
                self._add(part)
            return parts

    def due(self) -> float | None:
        """When its next batch may run, in monotonic seconds; None without one."""
        batch = self.batches[0]
        if len(self.batches) > 1 or (self.closed and batch.tasks):
            return 0.0
        if not batch.tasks:
            return None
        if batch.rows >= self._options.max_batch_rows:
            return 0.0
        return batch.opened + self._options.timeout

    def take(self) -> list[Any]:
        """Removes the tasks of the next batch, which must be due."""
        if len(self.batches) == 1:
            self.batches.append(_Batch())
        batch = self.batches.popleft()
        for task in batch.tasks:
            task._batch = None
        return batch.tasks

    def drop(self, task: Task) -> bool:
        """Removes a task that still waits; False when it does not (any more)."""
        with self._scheduler.lock:
            batch = task._batch
            if batch is None:
                return False
            batch.tasks.remove(task)
            batch.rows -= task.rows
            task._batch = None
            self._scheduler.queued -= 1
            if not batch.tasks and batch is not self.batches[-1]:
                self.batches.remove(batch)
            return True

    def close(self) -> None:
        """Takes no more tasks, and runs those that wait without delay."""
        with self._scheduler.lock:
            self.closed = True
            self._scheduler.work.notify_all()

    def remove(self) -> None:
        """Takes the queue out of the scheduler; nothing waits in it any more."""
        self._scheduler.forget(self)

    def _check_room(self, rows: int, whole: bool) -> None:
        options = self._options
        if self.closed:
            raise ServingError(grpc.StatusCode.UNAVAILABLE, "The model is being unloaded")
        if rows > options.max_task_rows:
            raise errors.invalid_argument(
                f"Task size {rows} is larger than maximum input batch size {options.max_task_rows}"
            )
        full = "The batch scheduling queue to which this task was submitted is full; "
        open_rows, count = self.batches[-1].rows, len(self.batches)
        if whole:
            fits = not open_rows or open_rows + rows <= options.max_batch_rows
            if not fits and count >= options.max_batches:
                raise ServingError(
                    grpc.StatusCode.RESOURCE_EXHAUSTED,
                    f"{full}currently {count} batches enqueued and max_enqueued_batches is"
                    f" {options.max_batches}",
                )
            return
        capacity = (options.max_batches - count + 1) * options.max_batch_rows - open_rows
        if rows > capacity:
            raise ServingError(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                f"{full}task size is {rows} but scheduling capacity is only {max(capacity, 0)}"
                f" (num_enqueued_batches={count}, max_enqueued_batches={options.max_batches},"
                f" open_batch_size={open_rows},"
                f" max_execution_batch_size={options.max_batch_rows})",
            )

    def _sizes(self, rows: int, free: int) -> list[int]:
        """The parts of a task: what fills the open batch, full batches, the rest."""
        sizes = [free] if free > 0 else []
        rows -= sum(sizes)
        whole, rest = divmod(rows, self._options.max_batch_rows)
        return sizes + [self._options.max_batch_rows] * whole + ([rest] if rest else [])

    def _add(self, task: Task) -> None:
        batch = self.batches[-1]
        if batch.tasks and batch.rows + task.rows > self._options.max_batch_rows:
            batch = _Batch()
            self.batches.append(batch)
        first = not batch.tasks
        if first:
            batch.opened = time.monotonic()
        batch.tasks.append(task)
        batch.rows += task.rows
        task._batch = batch
        self._scheduler.queued += 1
        # Tasks in between change nothing that a thread could be waiting for.
        if first or batch.rows >= self._options.max_batch_rows:
            self._scheduler.work.notify()


class Scheduler:
    """Threads that run the batches of all queues in turn.

    Args:
      threads: batches that run at the same time.
      name: begins the threads' names.

    Attributes:
      queued: tasks that wait in all queues now.
    """

    def __init__(self, threads: int, name: str = "batch_threads"):
        self.lock = threading.Lock()
        self.work = threading.Condition(self.lock)
        self.queued = 0
        self._queues: list[Queue] = []
        self._next = 0
        self._closed = False
        # Daemons: a run that hangs must not keep the process from ending.
        self._threads = [
            threading.Thread(target=self._run, name=f"{name}_{number}", daemon=True)
            for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def open(self, options: QueueOptions, process: Callable[[list[Any]], None]) -> Queue:
        """A new queue.

        Args:
          options: how it makes batches.
          process: runs the tasks of a batch, in one of the threads; it answers
            each of them, and raises nothing.
        """
        queue = Queue(self, options, process)
        with self.lock:
            self._queues.append(queue)
        return queue

    def forget(self, queue: Queue) -> None:
        """Takes a queue out of the turn."""
        with self.lock:
            index = self._queues.index(queue)
            del self._queues[index]
            if index < self._next:
                self._next -= 1

    def close(self, timeout: float = 10.0) -> None:
        """Runs what waits, without delay, and ends the threads.

        Args:
          timeout: seconds to wait for batches that run.
        """
        with self.lock:
            self._closed = True
            for queue in self._queues:
                queue.closed = True
            self.work.notify_all()
        deadline = time.monotonic() + timeout
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _run(self) -> None:
        while True:
            taken = self._take()
            if taken is None:
                return
            queue, tasks = taken
            try:
                queue.process(tasks)
            except BaseException:
                # A thread less would slow everybody down for good.
                _log.exception("a batch of %d tasks failed", len(tasks))
            # Waiting for the next batch, it must not keep this one's tensors.
            del taken, queue, tasks

    def _take(self) -> tuple[Queue, list[Any]] | None:
        """Waits for a batch that is due; None when there will be no more."""
        with self.lock:
            while True:
                now = time.monotonic()
                earliest = None
                count = len(self._queues)
                for turn in range(count):
                    index = (self._next + turn) % count
                    queue = self._queues[index]
                    due = queue.due()
                    if due is not None and due <= now:
                        self._next = (index + 1) % count
                        tasks = queue.take()
                        self.queued -= len(tasks)
                        if self.queued:
                            # Nothing promises which thread a notify wakes: this
                            # one may alone have known when the next batch is due.
                            self.work.notify()
                        return queue, tasks
                    if due is not None:
                        earliest = due if earliest is None else min(earliest, due)
                if self._closed:
                    return None
                self.work.wait(None if earliest is None else earliest - now)
