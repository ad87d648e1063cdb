"""An atomic push.

TFX's Pusher copies into the final folder, saved_model.pb last: a server that
looks meanwhile, or a push that dies half-way, leaves a version without all its
variables. Here the copy is made beside, under a name that no server takes for a
version, is given the requests that warm it up, is brought to the disk, and is
renamed into place. While a version is pinned, that place is a parked one.
"""

from __future__ import annotations

import os
import shutil
import time
import uuid
from typing import Any

from tfx.components.pusher import executor as tfx_executor
from tfx.dsl.io import fileio
from tfx.proto import pusher_pb2
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import io_utils, proto_utils

from components.progress import report
from components.pusher.warmup import write_requests
from components.versions import changing, next_version, pin_in_force, version_path

_UNFINISHED = ".pushing-"


class Executor(tfx_executor.Executor):
    """Pushes `model` to the destination's folder when it is blessed."""

    def Do(self, input_dict, output_dict, exec_properties: dict[str, Any]) -> None:
        """Marks `pushed_model` as pushed, with its version, or as not pushed."""
        pushed = artifact_utils.get_single_instance(
            output_dict[standard_component_specs.PUSHED_MODEL_KEY]
        )
        if not self.CheckBlessing(input_dict):
            self._MarkNotPushed(pushed)
            report("Pusher", "the model was not blessed and is not pushed", pushed=False)
            return
        destination = pusher_pb2.PushDestination()
        proto_utils.json_to_proto(
            exec_properties[standard_component_specs.PUSH_DESTINATION_KEY], destination
        )
        folder = destination.filesystem.base_directory
        path = self.GetModelPath(input_dict)
        version = push(path, folder)
        io_utils.copy_dir(path, pushed.uri)
        in_service = version_path(folder, version)
        parked = not fileio.exists(in_service)
        self._MarkPushed(
            pushed,
            pushed_destination=version_path(folder, version, parked),
            pushed_version=str(version),
        )
        line = f"version {version} in {folder}"
        if parked:
            line += f", parked, since version {pin_in_force(folder)} is pinned"
        report("Pusher", line, pushed=True, version=version, parked=parked)


def push(model: str, folder: str) -> int:
    """Makes a SavedModel the newest version of a folder, in service unless one is pinned.

    Args:
      model: the SavedModel's folder.
      folder: of the versions; made when missing.

    Returns:
      The version: the time in Unix seconds, or one more than the largest there is.

    Raises:
      SegueError: the folder's pin is damaged, or there is no higher number.
    """
    fileio.makedirs(folder)
    for name in fileio.listdir(folder):
        if name.startswith(_UNFINISHED):  # a push that died left its copy
            fileio.rmtree(os.path.join(folder, name))
    beside = os.path.join(folder, f"{_UNFINISHED}{uuid.uuid4().hex}")
    try:
        io_utils.copy_dir(model, beside)
        write_requests(beside)
        _to_disk(beside)
        with changing(folder):
            version = next_version(folder, int(time.time()))
            parked = pin_in_force(folder) is not None
            fileio.rename(beside, version_path(folder, version, parked))
            _to_disk_one(folder)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise
    return version


def _to_disk(folder: str) -> None:
    if not os.path.isdir(folder):  # a bucket has no fsync, and is durable
        return
    for parent, _, names in os.walk(folder):
        for name in names:
            _to_disk_one(os.path.join(parent, name))
        _to_disk_one(parent)


def _to_disk_one(path: str) -> None:
    if not os.path.exists(path):
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
