"""Versions come and go as TensorFlow Serving lets them: any server, as a process.

As in test_conformance_requests.py, the rows and the expected values are TensorFlow
Serving's. Most tests share one process that lives through all of their versions: each
pushes newer ones than any before it, so none depends on another's.
"""

import itertools
import os
import re
import shutil
import signal
import socket
import threading
import time
from concurrent import futures

import grpc
import numpy as np
import pytest
import tensorflow as tf
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tensorflow_serving.apis import prediction_log_pb2

AVAILABLE, END = 30, 50  # ModelVersionStatus.State
FOREVER = np.int32(2**31 - 1)


class Living:
    """A server that polls its folder every second, and the folder."""

    def __init__(self, server, base, client, push, eventually):
        self.server, self.base, self.client = server, base, client
        self._push, self._eventually = push, eventually
        self.version = 1

    def push(self, change=lambda folder: None, name="{}"):
        """A version newer than all before; even ones double, odd ones treble."""
        self.version += 1
        factor = 2 + self.version % 2
        self._push(self.base, name.format(self.version), factor, change)
        return self.version

    def serves(self, version):
        """Whether this version answers, with what it alone answers."""
        return self.client.one(1.0) == (2.0 + version % 2, version)

    def push_and_see(self):
        version = self.push()
        self._eventually(lambda: self.state(version) == (AVAILABLE, 0))
        self._eventually(lambda: self.serves(version))
        return version

    def state(self, version):
        """(state, error code) of a version; None when it is not listed."""
        found = {v: (state, code) for v, state, code in self.client.statuses()}
        return found.get(version)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """folder(): an empty base path, named like the model."""

    def folder():
        path = tmp_path_factory.mktemp("conformance") / "segue"
        path.mkdir()
        return path

    return folder


@pytest.fixture(scope="module")
def living(launch, folder, push, eventually, dial):
    base = folder()
    push(base, 1, 3)
    server = launch(
        "--model_name=segue",
        f"--model_base_path={base}",
        "--file_system_poll_wait_seconds=1",
        "--max_num_load_retries=1",
        "--load_retry_interval_micros=100000",
    )
    return Living(server, base, dial(server.address), push, eventually)


@pytest.fixture(scope="module")
def once(launch, folder, push, dial):
    """(client, base) of a server that looks for versions once, under a name of its own."""
    base = folder()
    push(base, 1)
    server = launch(
        "--model_name=once",
        f"--model_base_path={base}",
        "--file_system_poll_wait_seconds=0",
        "--enable_grpc_healthcheck_service=false",
    )
    return dial(server.address), base


def _damage(folder):
    (folder / "saved_model.pb").write_bytes(b"\xff\xff\xff")


def _slow(client, n, timeout):
    """A call that counts to n, begun."""
    return client.prediction.Predict.future(client.request({"n": n}, "slow"), timeout=timeout)


def _refused(address):
    host, port = address.split(":")
    with socket.socket() as caller:
        return caller.connect_ex((host, int(port))) != 0


def test_row_03_without_its_flag_there_is_no_health_service(once, fails):
    client, _ = once
    stub = health_pb2_grpc.HealthStub(client.channel)
    request = health_pb2.HealthCheckRequest(service="ModelService")
    fails("UNIMPLEMENTED", stub.Check, request, timeout=20)


def test_row_17_a_run_ends_at_its_deadline(living, eventually, fails):
    old = living.push_and_see()
    client = living.client
    fails("DEADLINE_EXCEEDED", client.predict, {"n": FOREVER}, "slow", timeout=1.0)
    # A version is not unloaded while a call uses it, and this one would for hours.
    new = living.push_and_see()
    eventually(lambda: living.state(old) == (END, 0))
    assert living.state(new) == (AVAILABLE, 0)


def test_row_19_versions_are_told_from_the_highest_down(living, eventually):
    first = living.push_and_see()
    second = living.push_and_see()
    eventually(lambda: living.state(first) == (END, 0))
    statuses = living.client.statuses()
    assert statuses[:2] == [(second, AVAILABLE, 0), (first, END, 0)]
    versions = [version for version, _, _ in statuses]
    assert versions == sorted(versions, reverse=True)


def test_row_28_a_version_is_a_folder_named_by_an_int64(living, eventually, toys):
    others = ["v999", "999a", "latest", ".999", "9.9", str(2**63)]
    for name in others:
        shutil.copytree(toys[2], living.base / name)
    version = living.push_and_see()
    assert max(v for v, _, _ in living.client.statuses()) == version
    # Zeros in front make no other number.
    padded = living.push(name="00{}")
    eventually(lambda: living.serves(padded))
    for name in others:
        shutil.rmtree(living.base / name)


def test_row_29_the_latest_version_alone_is_loaded(living, eventually):
    old = living.push_and_see()
    new = living.push_and_see()
    eventually(lambda: living.state(old) == (END, 0))
    # A folder with a lower number changes nothing.
    assert (living.base / str(old)).is_dir()
    assert living.serves(new)


def test_row_30_no_version_left_unloads(living, fails, eventually):
    last = living.push_and_see()
    away = living.base.with_name("away")
    away.mkdir()
    for child in living.base.iterdir():
        child.rename(away / child.name)
    eventually(lambda: living.state(last) == (END, 0))
    message = fails("NOT_FOUND", living.client.one, 1.0)
    assert message == "Servable not found for request: Latest(segue)"
    shutil.rmtree(away)
    living.push_and_see()


def test_row_30_a_base_path_that_is_gone_changes_nothing(living, eventually):
    version = living.push_and_see()
    told = len(living.server.log.read_bytes())
    away = living.base.with_name("moved")
    living.base.rename(away)
    # A poll has met it: the log names the path.
    eventually(lambda: os.fsencode(living.base) in living.server.log.read_bytes()[told:])
    assert living.serves(version)
    assert living.state(version) == (AVAILABLE, 0)
    away.rename(living.base)
    living.push_and_see()


def test_row_31_a_version_is_seen_at_a_poll(living, eventually):
    version = living.push()
    eventually(lambda: living.serves(version))


def test_row_31_zero_looks_once(once, living, push):
    client, base = once
    push(base, 2, 3)
    for _ in range(3):  # more than a second each
        living.push_and_see()
    assert client.statuses("once") == [(1, AVAILABLE, 0)]
    assert client.one(1.0, model="once") == (2.0, 1)


def test_row_32_no_call_fails_in_a_swap(living, eventually):
    old = living.push_and_see()
    running = threading.Event()
    running.set()
    answers = [[] for _ in range(4)]

    def call(answered):
        while running.is_set():
            answered.append(living.client.one(1.0))

    with futures.ThreadPoolExecutor(4) as pool:
        calls = [pool.submit(call, answered) for answered in answers]
        try:
            eventually(lambda: all(answers))
            new = living.push()
            eventually(lambda: all(answered[-1][1] == new for answered in answers))
        finally:
            running.clear()
    for done in calls:
        done.result()  # no call failed
    expected = [(2.0 + old % 2, old), (2.0 + new % 2, new)]
    for answered in answers:
        # Every answer is of one version, whole, and none goes back.
        assert [key for key, _ in itertools.groupby(answered)] == expected


def test_row_32_running_calls_keep_the_old_version_alive(living, eventually):
    client = living.client
    began = time.monotonic()
    client.predict({"n": np.int32(100_000)}, "slow")
    a_second = 100_000 / (time.monotonic() - began)
    # The call has to last longer than a version takes to load, which nobody can tell
    # beforehand on a machine that has other work as well.
    for seconds in (6, 20, 60):
        old = living.push_and_see()
        count = min(int(a_second * seconds), int(FOREVER))
        long = _slow(client, np.int32(count), timeout=600)
        new = living.push_and_see()
        if not (long.done() and long.code() is grpc.StatusCode.OK):
            break
    assert not long.done(), long.code()
    assert living.state(old) != (END, 0)
    answer = long.result()
    assert answer.model_spec.version.value == old
    assert answer.outputs["n"].int_val[0] == count
    eventually(lambda: living.state(old) == (END, 0))
    assert living.serves(new)


def test_row_32_rollback_when_the_highest_folder_vanishes(living, eventually):
    good = living.push_and_see()
    bad = living.push_and_see()
    (living.base / str(bad)).rename(living.base / ".gone")
    eventually(lambda: living.serves(good))
    eventually(lambda: living.state(bad) == (END, 0))
    assert living.state(good) == (AVAILABLE, 0)
    shutil.rmtree(living.base / ".gone")


def test_row_33_a_failed_version_is_recorded_and_the_old_one_stays(living, eventually):
    good = living.push_and_see()
    bad = living.push(_damage)
    eventually(lambda: living.state(bad) == (END, 15))  # DATA_LOSS
    assert living.state(good) == (AVAILABLE, 0)
    assert living.serves(good)
    # Nor does it stand in the way of the next.
    living.push_and_see()


def test_row_33_34_35_a_half_written_version_is_tried_until_it_loads(
    launch, folder, toys, eventually, dial
):
    base = folder()
    shutil.copytree(toys[2], base / "1", ignore=shutil.ignore_patterns("saved_model.pb"))
    server = launch(
        "--model_name=segue",
        f"--model_base_path={base}",
        "--max_num_load_retries=1000",
        "--load_retry_interval_micros=200000",
        wait=False,
    )
    # 35: nothing tells a server that a folder is only half there, so it is tried.
    failed = re.compile(r"version:? 1\b.*(did not load|failed)")
    eventually(lambda: len(failed.findall(server.log.read_text())) >= 2, within=60)
    # 34: the port opens only with a version behind it.
    assert server.process.poll() is None
    assert _refused(server.address)
    # 33: it is tried again.
    shutil.copy(toys[2] / "saved_model.pb", base / "saved_model.pb")
    (base / "saved_model.pb").rename(base / "1" / "saved_model.pb")
    eventually(lambda: not _refused(server.address), within=60)
    client = dial(server.address)
    assert client.statuses() == [(1, AVAILABLE, 0)]
    assert client.one(1.0) == (2.0, 1)


def test_row_34_a_load_failure_at_the_start_ends_the_process(launch, folder, push):
    base = folder()
    push(base, 1, change=_damage)
    server = launch(
        "--model_name=segue",
        f"--model_base_path={base}",
        "--max_num_load_retries=0",
        wait=False,
    )
    assert server.process.wait(60) not in (0, None)
    assert "segue" in server.log.read_text()
    assert _refused(server.address)


def _warm(*signatures):
    """Puts recorded requests into a version, one for each signature."""

    def change(folder):
        (folder / "assets.extra").mkdir()
        path = folder / "assets.extra" / "tf_serving_warmup_requests"
        with tf.io.TFRecordWriter(str(path)) as writer:
            for signature in signatures:
                log = prediction_log_pb2.PredictionLog()
                request = log.predict_log.request
                request.model_spec.name = "segue"
                request.model_spec.signature_name = signature
                request.inputs["x"].CopyFrom(tf.make_tensor_proto([1.0]))
                writer.write(log.SerializeToString())

    return change


def test_row_36_a_failing_record_fails_the_load(living, eventually):
    good = living.push_and_see()
    bad = living.push(_warm("one", "x"))
    # The record's own answer: FAILED_PRECONDITION, no such signature.
    eventually(lambda: living.state(bad) == (END, 9))
    assert living.serves(good)


def test_row_36_records_that_are_answered_let_a_version_in(living, eventually):
    version = living.push(_warm("one", "column"))
    eventually(lambda: living.serves(version))


def test_row_36_more_than_a_thousand_records_fail_the_load(living, eventually):
    good = living.push_and_see()
    allowed = living.push(_warm(*["one"] * 1000))
    eventually(lambda: living.serves(allowed))
    bad = living.push(_warm(*["one"] * 1001))
    eventually(lambda: living.state(bad) == (END, 3))  # INVALID_ARGUMENT
    assert living.serves(allowed)
    assert living.state(good) == (END, 0)


@pytest.mark.usefixtures("only_embedded")  # the binary has no signal handler
def test_row_41_sigterm_tells_drains_and_ends_with_code_0(launch, folder, push, dial, eventually):
    base = folder()
    push(base, 3)
    server = launch(
        "--model_name=segue",
        f"--model_base_path={base}",
        "--enable_grpc_healthcheck_service=true",
    )
    client = dial(server.address)
    seen = []
    watch = health_pb2_grpc.HealthStub(client.channel).Watch(
        health_pb2.HealthCheckRequest(service="PredictionService")
    )
    threading.Thread(target=lambda: _collect(watch, seen), daemon=True).start()
    eventually(lambda: seen == [health_pb2.HealthCheckResponse.SERVING])
    long = _slow(client, np.int32(300_000), timeout=60)
    assert client.one(1.0) == (2.0, 3)  # the server has the long call by now
    server.process.send_signal(signal.SIGTERM)
    eventually(lambda: seen[1:] == [health_pb2.HealthCheckResponse.NOT_SERVING])
    watch.cancel()  # an open watch is a running call, too
    assert long.result().outputs["n"].int_val[0] == 300_000
    assert server.process.wait(20) == 0
    assert server.log.read_text() == (f"segue serving: model segue version 3 on {server.address}\n")


def _collect(watch, seen):
    try:
        for answer in watch:
            seen.append(answer.status)
    except grpc.RpcError:
        pass


def test_row_44_the_models_name_is_the_flags(once, fails):
    client, _ = once
    assert client.one(1.0, model="once") == (2.0, 1)
    message = fails("NOT_FOUND", client.one, 1.0, model="segue")
    assert message == "Servable not found for request: Latest(segue)"
