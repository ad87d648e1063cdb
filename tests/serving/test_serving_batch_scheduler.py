"""The queues and their threads, with tasks that are nothing but rows."""

import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.batch_scheduler import QueueOptions, Scheduler, Task
from serving.errors import ServingError

FOREVER = 3600.0


class Worker:
    """Records the batches of a queue, and can be held up in one."""

    def __init__(self):
        self.batches = []
        self.gate = threading.Event()
        self.gate.set()
        self.busy = threading.Event()

    def __call__(self, tasks):
        self.busy.set()
        assert self.gate.wait(20)
        self.batches.append([task.rows for task in tasks])


@pytest.fixture
def scheduler():
    """scheduler(threads): a Scheduler, closed at the end."""
    made = []

    def scheduler(threads=1):
        made.append(Scheduler(threads))
        return made[-1]

    yield scheduler
    for one in made:
        one.close()


def options(rows=4, timeout=0.0, batches=10, execution=None):
    return QueueOptions(rows, execution or rows, timeout, batches)


def parts_of(sizes):
    return [Task(size) for size in sizes]


@pytest.fixture
def held(scheduler):
    """held(rows, ...): (scheduler, worker, queue), its one thread held up in a first batch."""

    def held(rows, **named):
        one, worker = scheduler(), Worker()
        queue = one.open(options(rows, **named), worker)
        worker.gate.clear()
        queue.submit(Task(rows))
        assert worker.busy.wait(20)
        return one, worker, queue

    return held


def test_tasks_wait_until_the_batch_is_full(scheduler, eventually):
    one, worker = scheduler(), Worker()
    queue = one.open(options(rows=4, timeout=FOREVER), worker)
    queue.submit(Task(1))
    queue.submit(Task(2))
    assert one.queued == 2
    queue.submit(Task(1))
    eventually(lambda: worker.batches == [[1, 2, 1]])
    assert one.queued == 0


def test_a_task_that_does_not_fit_closes_the_batch(scheduler, eventually):
    one, worker = scheduler(), Worker()
    queue = one.open(options(rows=4, timeout=FOREVER), worker)
    queue.submit(Task(3))
    queue.submit(Task(2))
    eventually(lambda: worker.batches == [[3]])
    assert one.queued == 1


def test_a_batch_runs_when_its_first_task_has_waited_for_the_timeout(scheduler, eventually):
    one, worker = scheduler(), Worker()
    queue = one.open(options(timeout=0.2), worker)
    began = time.monotonic()
    queue.submit(Task(1))
    eventually(lambda: worker.batches == [[1]])
    assert 0.2 <= time.monotonic() - began < 10


def test_of_two_waiting_queues_the_one_that_is_due_first_runs_first(scheduler, eventually):
    one, slow, soon = scheduler(threads=2), Worker(), Worker()
    late = one.open(options(timeout=FOREVER), slow)
    early = one.open(options(timeout=0.1), soon)
    late.submit(Task(1))
    early.submit(Task(1))
    eventually(lambda: soon.batches == [[1]])
    assert slow.batches == []


def test_queues_take_turns(held, eventually):
    one, worker, flood = held(rows=1, batches=100)
    order = worker.batches
    quiet = one.open(options(rows=1), lambda tasks: order.append("quiet"))
    for _ in range(20):
        flood.submit(Task(1))
    quiet.submit(Task(1))
    worker.gate.set()
    eventually(lambda: len(order) == 22)
    # The one that was held, at most one more of the flood, then the quiet one.
    assert order.index("quiet") <= 2


def test_a_full_queue_refuses(held):
    _, worker, queue = held(rows=4, batches=2, timeout=FOREVER)
    queue.submit(Task(4))
    queue.submit(Task(3))
    with pytest.raises(ServingError) as caught:
        queue.submit(Task(2))
    assert caught.value.code.name == "RESOURCE_EXHAUSTED"
    assert caught.value.message == (
        "The batch scheduling queue to which this task was submitted is full;"
        " currently 2 batches enqueued and max_enqueued_batches is 2"
    )
    queue.submit(Task(1))  # there is room for one row
    worker.gate.set()


def test_a_task_larger_than_a_batch_is_refused(scheduler):
    queue = scheduler().open(options(rows=4), Worker())
    with pytest.raises(ServingError) as caught:
        queue.submit(Task(5))
    assert caught.value.code.name == "INVALID_ARGUMENT"
    assert caught.value.message == "Task size 5 is larger than maximum input batch size 4"


def test_a_large_task_is_split_to_fill_batches(held, eventually):
    _, worker, queue = held(rows=10, execution=4, timeout=FOREVER)
    queue.submit(Task(1))
    parts = queue.submit(Task(10), parts_of)
    assert [part.rows for part in parts] == [3, 4, 3]
    queue.close()
    worker.gate.set()
    eventually(lambda: worker.batches == [[10], [1, 3], [4], [3]])


def test_a_split_task_is_refused_as_a_whole(held):
    one, worker, queue = held(rows=10, execution=4, batches=2, timeout=FOREVER)
    queue.submit(Task(1), parts_of)
    with pytest.raises(ServingError) as caught:
        queue.submit(Task(8), parts_of)
    assert caught.value.code.name == "RESOURCE_EXHAUSTED"
    assert caught.value.message == (
        "The batch scheduling queue to which this task was submitted is full; task size is 8 but"
        " scheduling capacity is only 7 (num_enqueued_batches=1, max_enqueued_batches=2,"
        " open_batch_size=1, max_execution_batch_size=4)"
    )
    assert one.queued == 1
    queue.submit(Task(7), parts_of)
    worker.gate.set()


def test_a_dropped_task_does_not_run_and_leaves_its_room(held, eventually):
    one, worker, queue = held(rows=4, batches=2, timeout=0.0)
    tasks = [Task(4), Task(3)]
    for task in tasks:
        queue.submit(task)
    assert queue.drop(tasks[0])
    assert not queue.drop(tasks[0])
    assert one.queued == 1
    queue.submit(Task(4))
    worker.gate.set()
    eventually(lambda: worker.batches == [[4], [3], [4]])
    assert not queue.drop(tasks[1])


def test_a_task_dropped_from_the_open_batch_leaves_its_room(scheduler, eventually):
    one, worker = scheduler(), Worker()
    queue = one.open(options(rows=4, timeout=FOREVER), worker)
    dropped = Task(2)
    queue.submit(dropped)
    queue.submit(Task(1))
    assert queue.drop(dropped)
    queue.submit(Task(3))
    eventually(lambda: worker.batches == [[1, 3]])


def test_closing_runs_what_waits_and_ends_the_threads(scheduler):
    one, worker = scheduler(threads=3), Worker()
    before = {t for t in threading.enumerate() if t.name.startswith("batch_threads")}
    assert len(before) >= 3
    queue = one.open(options(timeout=FOREVER), worker)
    queue.submit(Task(1))
    one.close()
    assert worker.batches == [[1]]
    assert not any(thread.is_alive() for thread in one._threads)
    with pytest.raises(ServingError) as caught:
        queue.submit(Task(1))
    assert caught.value.code.name == "UNAVAILABLE"


def test_a_batch_that_raises_does_not_end_its_thread(scheduler, eventually, caplog):
    one, worker = scheduler(), Worker()

    def fails(tasks):
        raise RuntimeError("no good")

    one.open(options(), fails).submit(Task(1))
    one.open(options(), worker).submit(Task(1))
    eventually(lambda: worker.batches == [[1]])
    eventually(lambda: "no good" in caplog.text)


def test_a_queue_that_is_forgotten_leaves_the_turn_to_the_others(scheduler, eventually):
    one, workers = scheduler(), [Worker() for _ in range(3)]
    queues = [one.open(options(), worker) for worker in workers]
    queues[2].submit(Task(1))
    eventually(lambda: workers[2].batches == [[1]])
    queues[0].remove()
    for queue in queues[1:]:
        queue.submit(Task(2))
    eventually(lambda: workers[1].batches == [[2]] and workers[2].batches == [[1], [2]])


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 9), max_size=40),
    execution=st.integers(1, 9),
    threads=st.integers(1, 3),
    split=st.booleans(),
)
def test_every_row_runs_once_in_batches_that_are_not_too_large(sizes, execution, threads, split):
    limit = execution if split else 9
    scheduler = Scheduler(threads)
    ran, lock = [], threading.Lock()

    def process(tasks):
        with lock:
            ran.append(list(tasks))

    queue = scheduler.open(QueueOptions(9, limit, FOREVER, 1000), process)
    submitted = []
    for size in sizes:
        submitted += queue.submit(Task(size), parts_of if split else None)
    scheduler.close()
    assert sorted(map(id, submitted)) == sorted(id(task) for batch in ran for task in batch)
    assert sum(task.rows for batch in ran for task in batch) == sum(sizes)
    assert all(0 < sum(task.rows for task in batch) <= limit for batch in ran)
    assert scheduler.queued == 0
