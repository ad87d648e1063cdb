"""From a server's configuration to models that load themselves.

What every version of every model has in common: how many threads its Session
has, that it is warmed up before it answers, and the places in which all of them
together load, unload and run. Importing this module imports TensorFlow.
"""

from __future__ import annotations

import functools
import gc
import logging
import weakref
from collections.abc import Callable
from pathlib import Path

from tensorflow.core.protobuf import config_pb2

from serving import songs, textproto
from serving.batching import Batching
from serving.caps import Caps
from serving.config import ServerConfig, cores
from serving.continuous import ContinuousModel, ContinuousSettings
from serving.limits import Places
from serving.loader import LoadedModel, load
from serving.manager import ModelManager
from serving.metrics import Metrics
from serving.model_config import ModelConfig
from serving.warmup import warm_up

_log = logging.getLogger(__name__)


def manager_maker(
    config: ServerConfig,
    loads: Places,
    batching: Batching | None = None,
    metrics: Metrics | None = None,
) -> Callable[[ModelConfig], ModelManager]:
    """How the managers of a server's models are made.

    Args:
      config: the server's.
      loads: places for loads, which all models share.
      batching: what batches the calls of all models; None for no batching.
      metrics: told of each run of a model; None if nobody counts.

    Raises:
      SegueError: `tensorflow_session_config_file` cannot be read.
    """
    _forget_less()
    session_config = config_pb2.ConfigProto()
    if config.tensorflow_session_config_file:
        path = Path(config.tensorflow_session_config_file)
        textproto.read(path, session_config, "tensorflow_session_config_file")
    runs = Places(config.runs)
    sharing = ContinuousSettings(
        workers=cores(),
        max_rows=config.continuous_max_rows,
        max_queued_rows=config.continuous_max_queued_rows,
    )
    composing: weakref.WeakSet[ContinuousModel] = weakref.WeakSet()
    if metrics is not None:
        metrics.watch_songs(lambda: sum(model.songs for model in list(composing)))
    unloads = Places(max(1, config.num_unload_threads))

    def load_version(name: str, path: Path) -> LoadedModel:
        model = load(
            path,
            intra_op_threads=config.intra_op_threads,
            inter_op_threads=config.inter_op_threads,
            tags=config.saved_model_tags.split(","),
            session_config=session_config,
            gpu_memory_fraction=config.per_process_gpu_memory_fraction,
            runs=runs,
        )
        runner = model
        if batching is not None:
            model = batching.wrap(model)
        if config.enable_continuous_batching:
            facts = songs.facts_of(path, model.signatures)
            if facts is not None:
                model = ContinuousModel(model, facts, sharing, runner)
                composing.add(model)
        if config.enable_model_warmup:
            try:
                # Of the model itself: a record must not be too large for a queue.
                warm_up(runner, max(1, config.num_request_iterations_for_warmup))
            except BaseException:
                model.close()
                raise
        if metrics is not None:
            # From here on: runs of the warm-up are nobody's.
            runner.on_run = functools.partial(metrics.observe_run, name)
        model.caps = Caps(config.max_rows, config.max_prime, config.max_steps)
        _log.debug("model %s: %s is loaded and warm", name, path)
        return model

    def make(model: ModelConfig) -> ModelManager:
        return ModelManager(
            model.name,
            model.base_path,
            functools.partial(load_version, model.name),
            policy=model.policy,
            poll_seconds=config.file_system_poll_wait_seconds,
            max_num_load_retries=config.max_num_load_retries,
            load_retry_seconds=max(0, config.load_retry_interval_micros) / 1e6,
            loads=loads,
            unloads=unloads,
        )

    return make


@functools.cache
def _forget_less() -> None:
    """Takes what is imported by now out of the garbage collector's sight.

    An unloaded model is a circle of Python objects, which only a full collection
    frees (see `ModelManager`). Among the millions of objects of TensorFlow's
    modules it would hold up all calls for a second.
    """
    gc.collect()
    gc.freeze()
