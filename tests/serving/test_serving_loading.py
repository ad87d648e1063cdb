"""What a server's configuration makes of every model."""

import shutil
import threading

import pytest

from music.errors import SegueError
from serving.config import ServerConfig
from serving.limits import Places
from serving.loading import manager_maker
from serving.manager import State
from serving.model_config import ModelConfig
from serving.policies import every


@pytest.fixture
def load(base, push):
    """load(**config): the manager of a started model, and the status of its version 1."""
    managers = []

    def load(**config):
        push(base, 1)
        config = {"max_num_load_retries": 0, "file_system_poll_wait_seconds": 0} | config
        make = manager_maker(ServerConfig(model_base_path=base, **config), Places(1))
        managers.append(make(ModelConfig("segue", base)))
        managers[-1].start()
        return managers[-1]

    yield load
    for manager in managers:
        manager.stop()


def _end(manager, eventually):
    states = (State.AVAILABLE, State.END)
    return eventually(lambda: next((s for s in manager.statuses() if s.state in states), None))


def test_tags_choose_the_graph(load, eventually):
    status = _end(load(saved_model_tags="serve,tpu"), eventually)
    assert status.error.code.name == "NOT_FOUND"
    assert "supplied tags: { serve tpu }" in status.error.message


def test_a_session_is_configured_by_a_file(load, eventually, tmp_path, monkeypatch):
    import tensorflow as tf

    file = tmp_path / "session.config"
    file.write_text("operation_timeout_in_ms: 123000 inter_op_parallelism_threads: 7")
    seen = []
    session = tf.compat.v1.Session

    def opened(*args, config, **options):
        seen.append(config)
        return session(*args, config=config, **options)

    monkeypatch.setattr(tf.compat.v1, "Session", opened)
    manager = load(
        tensorflow_session_config_file=file,
        tensorflow_session_parallelism=2,
        per_process_gpu_memory_fraction=0.25,
    )
    assert _end(manager, eventually).state == State.AVAILABLE
    (config,) = seen
    assert config.operation_timeout_in_ms == 123000
    assert (config.intra_op_parallelism_threads, config.inter_op_parallelism_threads) == (2, 2)
    assert config.gpu_options.per_process_gpu_memory_fraction == 0.25
    assert not config.gpu_options.allow_growth


def test_a_bad_session_file_is_one_line(load, tmp_path):
    (tmp_path / "session.config").write_text("threads: 7")
    with pytest.raises(SegueError, match="Error parsing text-format tensorflow.ConfigProto"):
        load(tensorflow_session_config_file=tmp_path / "session.config")


def test_loads_after_the_start_are_one_at_a_time(serve, base, push, monkeypatch, eventually):
    from serving import loading

    inside, most, lock = [0], [0], threading.Lock()
    real = loading.load

    def counted(*args, **options):
        with lock:
            inside[0] += 1
            most[0] = max(most[0], inside[0])
        try:
            return real(*args, **options)
        finally:
            with lock:
                inside[0] -= 1

    monkeypatch.setattr(loading, "load", counted)
    push(base, 1)
    server = serve(num_load_threads=0)
    most[0] = 0
    for version in (2, 3, 4, 5):
        push(base, version)
    server.models.reload([ModelConfig("segue", base, every())])
    eventually(lambda: len([s for s in server.manager.statuses() if s.state == 30]) == 5)
    assert most == [1]


def test_warm_up_requests_may_be_larger_than_a_queue(serve, base, exported, connect):
    from components.pusher.warmup import write_requests

    shutil.copytree(exported("small").path, base / "1")
    assert write_requests(str(base / "1"))
    parameters = base.parent / "batching.config"
    parameters.write_text("max_batch_size { value: 2 }")
    for flags in (
        {"continuous_max_queued_rows": 1},
        {
            "enable_continuous_batching": False,
            "enable_batching": True,
            "batching_parameters_file": parameters,
        },
    ):
        server = serve(**flags, max_num_load_retries=0)
        assert connect(server).statuses() == [(1, 30, 0)]
