"""Requests that come at the same time share a run: `--enable_batching`.

A `BatchedModel` stands in for a `LoadedModel` and answers the same calls. What
its callers ask for waits in a queue (of the scheduler that all models share)
until a batch is made of it: inputs are laid one behind the other, the graph runs
once, and each caller gets the rows that are its own. One run of 32 rows costs far
less than 32 runs of one.

The rules and refusals are those of TensorFlow Serving's BatchingSession: there is
one queue for each signature (its inputs and all of its outputs); a call that asks
for other tensors is run by itself, at once; inputs share their first dimension,
and agree in the others unless they may be padded; outputs have the first
dimension of the inputs. Three things are better than there:

- A batch that fails in the graph is run again task by task, so that one bad
  request does not fail those that it happened to share a batch with. A request
  whose inputs contradict the signature is run by itself from the start.
- Tasks that loop for long are kept from those that do not: where a signature has
  an input that says how many steps a row takes, only tasks whose largest values
  lie between the same powers of two share a batch.
- Whoever has hung up is taken out of the queue, and whoever is out of time gets
  DEADLINE_EXCEEDED at once, whatever its neighbours are still waiting for.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import logging
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import grpc
import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_shape_pb2, types_pb2
from tensorflow.core.protobuf import meta_graph_pb2

from serving import batch_tensors, calls, errors
from serving.batch_scheduler import Queue, QueueOptions, Scheduler, Task
from serving.batching_parameters import BatchingParameters
from serving.errors import ServingError
from serving.loader import LoadedModel

# Called with each batch that is run: the signature's name, the rows of its
# requests, and the rows with those that were added to reach an allowed size.
OnRun = Callable[[str, int, int], None]

_log = logging.getLogger(__name__)


class Batching:
    """The batching of one server: its threads, and what wraps its models.

    Args:
      parameters: sizes and times.
      length_input: name of the int32[N] input that says how many steps a row
        takes; signatures without it have one queue. "" for none.
      on_run: told of each batch that is run.
    """

    def __init__(
        self,
        parameters: BatchingParameters,
        length_input: str = "steps",
        on_run: OnRun | None = None,
    ):
        self.parameters = parameters
        self.length_input = length_input
        self.on_run = on_run
        self.scheduler = Scheduler(parameters.num_batch_threads, parameters.thread_pool_name)

    @property
    def queued(self) -> int:
        """Requests (or parts of large ones) that wait in the queues now."""
        return self.scheduler.queued

    def wrap(self, model: LoadedModel) -> BatchedModel:
        """A model with queues of its own, on the shared threads."""
        return BatchedModel(model, self)

    def close(self, timeout: float = 10.0) -> None:
        """Ends the threads after what is queued; seconds to wait for what runs."""
        self.scheduler.close(timeout)


@dataclasses.dataclass(frozen=True)
class _Signature:
    """What of a signature matters here; tensors by their names in the graph."""

    name: str
    inputs: Mapping[str, meta_graph_pb2.TensorInfo]
    dtypes: Mapping[str, np.dtype]
    outputs: tuple[str, ...]
    length_tensor: str | None

    def fits(self, feeds: Mapping[str, np.ndarray]) -> bool:
        """Whether the feeds have the declared dtypes and do not contradict the shapes."""
        return all(
            array.dtype == self.dtypes[tensor]
            and _compatible(array.shape, self.inputs[tensor].tensor_shape)
            for tensor, array in feeds.items()
        )

    def length_class(self, feeds: Mapping[str, np.ndarray]) -> int:
        """Tasks of one class may share a batch: the largest length's power of two."""
        if self.length_tensor is None:
            return 0
        return max(0, int(feeds[self.length_tensor].max())).bit_length()


class _Task(Task):
    """One request, or a part of a large one."""

    def __init__(self, feeds: Mapping[str, np.ndarray], rows: int, deadline: float | None):
        super().__init__(rows)
        self.feeds = feeds
        self.deadline = deadline
        self.done = threading.Event()
        self.outputs: dict[str, np.ndarray] = {}
        self.error: Exception | None = None

    def succeed(self, outputs: dict[str, np.ndarray]) -> None:
        if not self.done.is_set():
            self.outputs = outputs
            self.done.set()

    def fail(self, error: Exception) -> None:
        if not self.done.is_set():
            # An error that several tasks share is raised in as many threads.
            copy = isinstance(error, ServingError)
            self.error = ServingError(error.code, error.message) if copy else error  # type: ignore[attr-defined]
            self.done.set()

    def split(self, sizes: Sequence[int]) -> list[_Task]:
        """Parts of so many rows each."""
        parts, at = [], 0
        for size in sizes:
            feeds = {name: array[at : at + size] for name, array in self.feeds.items()}
            parts.append(_Task(feeds, size, self.deadline))
            at += size
        return parts


class BatchedModel(LoadedModel):
    """A LoadedModel whose calls run in batches; safe to use from many threads."""

    def __init__(self, model: LoadedModel, batching: Batching):
        # The session stays with the model that is wrapped.
        self.path = model.path
        self.meta_graph = model.meta_graph
        self._model = model
        self._batching = batching
        self._signatures: dict[tuple[frozenset[str], frozenset[str]], _Signature] = {}
        for name, definition in sorted(self.signatures.items()):
            signature = _signature(name, definition, batching.length_input)
            key = frozenset(signature.inputs), frozenset(signature.outputs)
            self._signatures.setdefault(key, signature)
        self._queues: dict[tuple[str, int], Queue] = {}
        self._changed = threading.Condition()
        self._callers = 0
        self._closed = False

    def run(
        self,
        feeds: Mapping[str, np.ndarray],
        fetches: Sequence[str],
        timeout: float | None = None,
    ) -> list[np.ndarray]:
        """As `LoadedModel.run`; shares a run with other callers where it can.

        Raises:
          ServingError: as `LoadedModel.run`; and INVALID_ARGUMENT when the inputs
            have no common first dimension, or are more rows than a batch may have;
            RESOURCE_EXHAUSTED when the queue is full; FAILED_PRECONDITION when the
            batch's inputs differ in other dimensions, or its outputs have not the
            inputs' first one; CANCELLED when the caller is gone.
        """
        signature = self._signatures.get((frozenset(feeds), frozenset(fetches)))
        if signature is None:
            _log.debug("no declared signature gives %s: not batched", fetches)
            return self._model.run(feeds, fetches, timeout)
        rows = batch_tensors.rows(feeds)
        if not rows or not signature.fits(feeds):
            # Nothing to batch, or what would fail a whole batch: the graph will
            # have something to say about it.
            return self._model.run(feeds, fetches, timeout)
        if timeout is not None and timeout <= 0:
            raise errors.deadline_exceeded("Deadline exceeded before the run could start")
        deadline = None if timeout is None else time.monotonic() + timeout
        task = _Task(feeds, rows, deadline)
        with self._calling():
            queue = self._queue(signature, signature.length_class(feeds))
            parts = queue.submit(task, self._splitter(task, signature))
            outputs = _wait(queue, parts)
        return [outputs[name] for name in fetches]

    def close(self) -> None:
        """Answers who still waits, without delay, and frees the model.

        Runs that nobody waits for (their callers are gone) are cancelled.
        """
        with self._changed:
            self._closed = True
            queues = list(self._queues.values())
            self._queues.clear()
        for queue in queues:
            queue.close()
        with self._changed:
            self._changed.wait_for(lambda: not self._callers)
        for queue in queues:
            queue.remove()
        self._model.close()

    @contextlib.contextmanager
    def _calling(self) -> Iterator[None]:
        with self._changed:
            self._callers += 1
        try:
            yield
        finally:
            with self._changed:
                self._callers -= 1
                if not self._callers:
                    self._changed.notify_all()

    def _queue(self, signature: _Signature, length_class: int) -> Queue:
        key = signature.name, length_class
        with self._changed:
            queue = self._queues.get(key)
            if queue is None and self._closed:
                raise ServingError(grpc.StatusCode.UNAVAILABLE, "The model is being unloaded")
            if queue is None:
                parameters = self._batching.parameters
                options = QueueOptions(
                    max_task_rows=parameters.max_batch_size,
                    max_batch_rows=parameters.execution_batch_size,
                    timeout=parameters.batch_timeout_micros / 1e6,
                    max_batches=parameters.max_enqueued_batches,
                )
                process = functools.partial(self._process, signature)
                queue = self._queues[key] = self._batching.scheduler.open(options, process)
            return queue

    def _splitter(
        self, task: _Task, signature: _Signature
    ) -> Callable[[list[int]], Sequence[_Task]] | None:
        # Outputs of a loop are as wide as its longest row: parts of a task that
        # ran in different batches could not be put together again.
        if not self._batching.parameters.enable_large_batch_splitting or signature.length_tensor:
            return None
        return task.split

    def _process(self, signature: _Signature, tasks: list[_Task]) -> None:
        """Runs a batch and answers its tasks; called by the scheduler's threads."""
        try:
            now = time.monotonic()
            for task in tasks:
                if task.deadline is not None and task.deadline <= now:
                    task.fail(_queued_too_long())
            waiting = [task for task in tasks if not task.done.is_set()]
            if waiting:
                self._run_batch(signature, waiting)
        except Exception as error:
            _log.exception("a batch of signature %s failed", signature.name)
            for task in tasks:
                task.fail(errors.internal(f"The batch failed: {errors.one_line(error)}"))

    def _run_batch(self, signature: _Signature, tasks: list[_Task]) -> None:
        parameters = self._batching.parameters
        pad = parameters.pad_variable_length_inputs
        if pad:
            tasks = _refuse_unpaddable(tasks)
            if not batch_tensors.worth_padding([task.feeds for task in tasks]):
                self._one_by_one(signature, tasks)
                return
        if not tasks:
            return
        sizes = [task.rows for task in tasks]
        padded_rows = parameters.padded(sum(sizes))
        try:
            feeds = batch_tensors.merge([task.feeds for task in tasks], padded_rows, pad)
        except ServingError as error:
            _fail_all(tasks, error)
            return
        self._report(signature, sum(sizes), padded_rows)
        try:
            values = self._model.run(feeds, signature.outputs, _time_left(tasks))
        except Exception as error:
            if len(tasks) > 1 and _may_be_one_tasks_fault(error):
                _log.debug("signature %s: %s; task by task", signature.name, error)
                self._one_by_one(signature, tasks)
            else:
                _fail_all(tasks, error)
            return
        try:
            outputs = dict(zip(signature.outputs, values, strict=True))
            shares = batch_tensors.split(outputs, sizes, padded_rows)
        except ServingError as error:
            _fail_all(tasks, error)
            return
        for task, share in zip(tasks, shares, strict=True):
            task.succeed(share)

    def _one_by_one(self, signature: _Signature, tasks: list[_Task]) -> None:
        for task in tasks:
            self._process(signature, [task])

    def _report(self, signature: _Signature, rows: int, padded_rows: int) -> None:
        if self._batching.on_run is None:
            return
        try:
            self._batching.on_run(signature.name, rows, padded_rows)
        except Exception:
            # Whoever counts must not be able to fail what is counted.
            _log.exception("on_run failed")


def _wait(queue: Queue, parts: Sequence[Task]) -> dict[str, np.ndarray]:
    """The outputs of a task that was put into a queue, by their tensors.

    Raises:
      ServingError: of one of its parts; DEADLINE_EXCEEDED or CANCELLED when they
        were not answered in time, or for nobody.
    """
    tasks = [part for part in parts if isinstance(part, _Task)]

    def give_up(error: Exception) -> None:
        for task in tasks:
            queue.drop(task)
            task.fail(error)

    gone = functools.partial(give_up, ServingError(grpc.StatusCode.CANCELLED, "The caller is gone"))
    call = calls.current()
    with call.when_gone(gone) if call else contextlib.nullcontext():
        for task in tasks:
            if not task.done.wait(_seconds_until(task.deadline)):
                give_up(_queued_too_long())
            if task.error is not None:
                give_up(task.error)
                raise task.error
    return batch_tensors.join([task.outputs for task in tasks])


def _seconds_until(deadline: float | None) -> float | None:
    if deadline is None:
        return None
    return min(max(0.0, deadline - time.monotonic()), threading.TIMEOUT_MAX)


def _time_left(tasks: Sequence[_Task]) -> float | None:
    """Seconds until the last of the tasks' deadlines; None when one has none."""
    latest = max(math.inf if task.deadline is None else task.deadline for task in tasks)
    return None if math.isinf(latest) else latest - time.monotonic()


def _queued_too_long() -> ServingError:
    return errors.deadline_exceeded("Run() timeout exceeded while waiting in batching queue")


def _may_be_one_tasks_fault(error: Exception) -> bool:
    """Whether the others could do better without it."""
    hopeless = (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED)
    return not (isinstance(error, ServingError) and error.code in hopeless)


def _refuse_unpaddable(tasks: Sequence[_Task]) -> list[_Task]:
    """Answers the tasks whose inputs cannot be padded, and returns the others."""
    refusals = batch_tensors.refuse_unpaddable([task.feeds for task in tasks])
    for task, refusal in zip(tasks, refusals, strict=True):
        if refusal is not None:
            task.fail(refusal)
    return [task for task in tasks if not task.done.is_set()]


def _fail_all(tasks: Sequence[_Task], error: Exception) -> None:
    for task in tasks:
        task.fail(error)


def _signature(name: str, definition: meta_graph_pb2.SignatureDef, length_input: str) -> _Signature:
    length = definition.inputs.get(length_input)
    counts = (
        length is not None
        and length.dtype == types_pb2.DT_INT32
        and not length.tensor_shape.unknown_rank
        and len(length.tensor_shape.dim) == 1
    )
    inputs = {info.name: info for info in definition.inputs.values()}
    return _Signature(
        name=name,
        inputs=inputs,
        dtypes={tensor: _numpy_dtype(info.dtype) for tensor, info in inputs.items()},
        outputs=tuple(sorted({info.name for info in definition.outputs.values()})),
        length_tensor=length.name if counts else None,
    )


def _numpy_dtype(number: int) -> np.dtype:
    try:
        return np.dtype(tf.as_dtype(number).as_numpy_dtype)
    except (TypeError, KeyError):
        return np.dtype("V")  # a resource, which no request can carry


def _compatible(shape: tuple[int, ...], declared: tensor_shape_pb2.TensorShapeProto) -> bool:
    if declared.unknown_rank:
        return True
    return len(shape) == len(declared.dim) and all(
        dim.size in (-1, size) for size, dim in zip(shape, declared.dim, strict=True)
    )
