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

from google.protobuf import descriptor_pb2, descriptor_pool

from music.errors import SegueError
from serving import protobufs, textproto

DEFAULT_PATH = "/monitoring/prometheus/metrics"
_PACKAGE = "tensorflow.serving"


def prometheus_path(file: str | os.PathLike[str]) -> str | None:
    """The path of the metrics page that a monitoring file asks for.

    Returns:
      The path; None when the file leaves Prometheus off.

    Raises:
      SegueError: the file cannot be read, or is no MonitoringConfig.
    """
    config = textproto.read(Path(file), _new_config(), "monitoring_config_file")
    if not config.prometheus_config.enable:
        return None
    path = config.prometheus_config.path or DEFAULT_PATH
    if not path.startswith("/"):
        raise SegueError(
            f"--monitoring_config_file={file}: prometheus_config.path is {path!r};"
            " it must begin with /"
        )
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
