"""`--monitoring_config_file`: whether and where Prometheus may look.

The file is a textproto of TensorFlow Serving's MonitoringConfig:

    prometheus_config { enable: true path: "/monitoring/prometheus/metrics" }

The message is in no Python package, so it is declared here, as
tensorflow_serving/config/monitoring_config.proto has it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, text_format

from music.errors import SegueError
from serving import protobufs

DEFAULT_PATH = "/monitoring/prometheus/metrics"
_PACKAGE = "tensorflow.serving"
_MAX_BYTES = 2**20


def prometheus_path(file: str | os.PathLike[str]) -> str | None:
    """The path of the metrics page that a monitoring file asks for.

    Returns:
      The path; None when the file leaves Prometheus off.

    Raises:
      SegueError: the file cannot be read, or is no MonitoringConfig.
    """
    flag = f"--monitoring_config_file={file}"
    try:
        with Path(file).open("rb") as opened:
            text = opened.read(_MAX_BYTES + 1)
    except OSError as error:
        raise SegueError(f"{flag} cannot be read: {error.strerror}") from error
    if len(text) > _MAX_BYTES:
        raise SegueError(f"{flag} is larger than {_MAX_BYTES} bytes; it is no MonitoringConfig")
    config = _new_config()
    try:
        text_format.Parse(text.decode(), config)
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise SegueError(
            f"{flag} is no MonitoringConfig: {' '.join(str(error).split())};"
            " write `prometheus_config { enable: true }`"
        ) from error
    if not config.prometheus_config.enable:
        return None
    path = config.prometheus_config.path or DEFAULT_PATH
    if not path.startswith("/"):
        raise SegueError(f"{flag}: prometheus_config.path is {path!r}; it must begin with /")
    return path


def _new_config() -> Any:
    file = descriptor_pb2.FileDescriptorProto(
        name="segue/monitoring_config.proto", package=_PACKAGE, syntax="proto3"
    )
    field = descriptor_pb2.FieldDescriptorProto
    prometheus = file.message_type.add(name="PrometheusConfig")
    prometheus.field.add(name="enable", number=1, type=field.TYPE_BOOL, label=field.LABEL_OPTIONAL)
    prometheus.field.add(name="path", number=2, type=field.TYPE_STRING, label=field.LABEL_OPTIONAL)
    file.message_type.add(name="MonitoringConfig").field.add(
        name="prometheus_config",
        number=1,
        type=field.TYPE_MESSAGE,
        type_name=f".{_PACKAGE}.PrometheusConfig",
        label=field.LABEL_OPTIONAL,
    )
    # A pool of its own: a package that has the message some day does not clash.
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return protobufs.message_class(pool, f"{_PACKAGE}.MonitoringConfig")()
