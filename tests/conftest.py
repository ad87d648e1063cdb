"""What several folders of tests share: the real command, run as a user runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

REPOSITORY = Path(__file__).parents[1]
SHARED_SONGS = REPOSITORY.parent / "shared" / "data" / "openscore-lieder"


class Ran(NamedTuple):
    """A command that ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture(scope="session")
def segue():
    """Runs `segue` in a process of its own: segue("generate", "--seed", 7)."""

    def run(*arguments: object, cwd: Path | None = None, timeout: float = 800) -> Ran:
        done = subprocess.run(
            [sys.executable, "-m", "pipeline.cli", *map(str, arguments)],
            cwd=cwd or REPOSITORY,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture(scope="session")
def one_line():
    """Checks that a command failed with one line for a person, and returns it."""

    def check(ran: Ran, code: int = 1) -> str:
        assert ran.code == code, ran
        lines = ran.err.splitlines()
        assert len(lines) == 1, ran.err
        assert lines[0].startswith("segue: ")
        assert "Traceback" not in ran.out
        return lines[0].removeprefix("segue: ")

    return check


@pytest.fixture(scope="session")
def textproto():
    """textproto("BatchingParameters", text): TensorFlow Serving's message, parsed strictly.

    Its Python package brings the messages of the APIs but leaves those of these
    configuration files out, so their published fields are described here.
    """
    from google.protobuf import descriptor_pb2, descriptor_pool, text_format, wrappers_pb2
    from tensorflow_serving.config import model_server_config_pb2

    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    file = descriptor_pb2.FileDescriptorProto(
        name="deployment.proto",
        package="tensorflow.serving",
        syntax="proto3",
        dependency=[wrappers_pb2.DESCRIPTOR.name],
    )

    def message(name, **fields):
        described = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            repeated = kind.startswith("repeated ")
            added = described.field.add(name=field, number=number, label=3 if repeated else 1)
            kind = kind.removeprefix("repeated ")
            plain = {"bool": 8, "string": 9, "int64": 3}
            added.type = plain.get(kind, 11)
            if kind not in plain:
                added.type_name = f".{kind}"

    wrapped = "google.protobuf.{}Value".format
    message(
        "BatchingParameters",
        max_batch_size=(1, wrapped("Int64")),
        batch_timeout_micros=(2, wrapped("Int64")),
        max_enqueued_batches=(3, wrapped("Int64")),
        num_batch_threads=(4, wrapped("Int64")),
        thread_pool_name=(5, wrapped("String")),
        allowed_batch_sizes=(6, "repeated int64"),
        pad_variable_length_inputs=(7, "bool"),
        max_execution_batch_size=(8, wrapped("Int64")),
        enable_large_batch_splitting=(9, wrapped("Bool")),
    )
    message("PrometheusConfig", enable=(1, "bool"), path=(2, "string"))
    message("MonitoringConfig", prometheus_config=(1, "tensorflow.serving.PrometheusConfig"))
    pool.AddSerializedFile(file.SerializeToString())

    def parse(name: str, text: str) -> Any:
        if name == "ModelServerConfig":
            empty = model_server_config_pb2.ModelServerConfig()
        else:
            empty = _message_class(pool, f"tensorflow.serving.{name}")()
        return text_format.Parse(text, empty)

    return parse


def _message_class(pool: Any, name: str) -> Any:
    """The class of a pool's message, in whichever way this protobuf makes it."""
    from google.protobuf import message_factory

    described = pool.FindMessageTypeByName(name)
    if hasattr(message_factory, "GetMessageClass"):
        return message_factory.GetMessageClass(described)
    return message_factory.MessageFactory(pool).GetPrototype(described)


@pytest.fixture(scope="session")
def reichardt() -> Path:
    """43 real songs that lie beside the project where it is developed."""
    folder = SHARED_SONGS / "Reichardt_Louise"
    if not folder.is_dir():
        pytest.skip(f"no {folder}: real songs that are not part of the project")
    return folder
