"""Pusher as a pipeline sees it: TFX's, with an atomic executor."""

from __future__ import annotations

from tfx.components.pusher.component import Pusher as TfxPusher
from tfx.dsl.components.base.executor_spec import ExecutorClassSpec

from components.pusher.executor import Executor


class Pusher(TfxPusher):
    """TFX's Pusher with an executor that renames a finished copy into place."""

    EXECUTOR_SPEC = ExecutorClassSpec(Executor)
