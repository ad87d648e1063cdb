"""`--model_config_file`, looked at again and again."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import serving
from music.errors import SegueError
from serving.config import ServerConfig
from serving.config_poll import ConfigPoller
from serving.model_config import ModelConfig
from serving.models import Models
from serving.server import ModelServer


@pytest.fixture
def folders(tmp_path, push):
    for name, factor in (("a", 2), ("b", 3)):
        (tmp_path / name).mkdir()
        push(tmp_path / name, 1, factor=factor)
    return tmp_path


def _write(path, text):
    """As a careful editor does: whole, or not at all."""
    path.with_suffix(".new").write_text(str(text))
    os.replace(path.with_suffix(".new"), path)


def _answers(client, model):
    import grpc

    try:
        return client.one(1.0, model=model)
    except grpc.RpcError as error:
        return error.code().name


def test_row_42_a_bad_file_at_the_start_ends_it(launch, tmp_path, eventually):
    file = tmp_path / "models.config"
    file.write_text("improper model config")
    server = launch(f"--model_config_file={file}", wait=False)
    assert server.process.wait(60) != 0
    assert (
        "Error parsing text-format tensorflow.serving.ModelServerConfig" in server.log.read_text()
    )


def test_row_42_a_bad_file_at_a_poll_is_logged_and_the_old_one_stays(
    launch, folders, connect, server_config, eventually
):
    file = folders / "models.config"
    _write(file, server_config(a=folders / "a"))
    server = launch(f"--model_config_file={file}", "--model_config_file_poll_wait_seconds=1")
    client = connect(server.address)
    assert client.one(1.0, model="a") == (2.0, 1)
    _write(file, "improper model config")
    eventually(lambda: "Failed to read ModelServerConfig file" in server.log.read_text())
    assert client.one(1.0, model="a") == (2.0, 1)
    _write(file, server_config(b=folders / "b"))
    eventually(lambda: _answers(client, "b") == (3.0, 1))
    eventually(lambda: _answers(client, "a") == "NOT_FOUND")


def test_row_42_zero_reads_the_file_once(serve, folders, server_config):
    file = folders / "models.config"
    _write(file, server_config(a=folders / "a"))
    serve(model_config_file=file)
    assert not [t for t in threading.enumerate() if t.name == "model-config"]


@pytest.fixture
def poller(folders):
    """A poller that is told when to look, and the models that it was given."""

    class Recorder(Models):
        reloads = []

        def reload(self, configs, give_up=lambda: False):
            self.reloads.append([config.name for config in configs])
            return True

    recorder = Recorder()
    recorder.reloads = []
    return ConfigPoller(folders / "models.config", recorder, 3600), recorder.reloads


def test_a_complaint_is_made_once(poller, folders, server_config, caplog):
    poller, reloads = poller
    file = folders / "models.config"
    for _ in range(3):
        poller.poll()
    assert [r.message.startswith("Failed to read") for r in caplog.records] == [True]
    _write(file, server_config(a=("relative", {})))
    poller.poll()
    assert "to have an absolute path" in caplog.records[1].message
    assert reloads == []
    _write(file, server_config(a=folders / "a"))
    poller.poll()
    file.unlink()
    poller.poll()
    assert (reloads, len(caplog.records)) == ([["a"]], 3)


def test_an_empty_file_changes_nothing(poller, folders):
    poller, reloads = poller
    _write(folders / "models.config", "# all commented out\n")
    poller.poll()
    assert reloads == []


def test_the_file_has_the_last_word(serve, folders, server_config, connect, eventually):
    file = folders / "models.config"
    _write(file, server_config(a=folders / "a"))
    server = serve(model_config_file=file, model_config_file_poll_wait_seconds=0.2)
    client = connect(server)
    assert server.models.reload([ModelConfig("b", folders / "b")])
    assert server.models.names in (("b",), ("a",))
    eventually(lambda: _answers(client, "a") == (2.0, 1))
    eventually(lambda: _answers(client, "b") == "NOT_FOUND")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("custom_model_config {}", "does not yet support custom model config"),
        (
            'model_config_list { config { name: "a" base_path: "b" } }',
            "Expected model a to have an absolute path or URI; got base_path()=b",
        ),
    ],
)
def test_a_file_that_asks_for_the_impossible_is_one_line(tmp_path, text, message):
    file = tmp_path / "models.config"
    file.write_text(text)
    with pytest.raises(SegueError) as caught:
        ModelServer(ServerConfig(model_config_file=file, port=0)).start()
    assert str(caught.value).startswith(f"--model_config_file={file}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("flag", "name"), [("model_config_file", "ModelServerConfig"), ("ssl_config_file", "SSLConfig")]
)
def test_a_bad_file_is_reported_without_tensorflow(tmp_path, flag, name):
    (tmp_path / "bad").write_text("improper")
    code = (
        "import sys; from serving.__main__ import main; "
        f"code = main(['--port=0', '--model_base_path=/m', '--{flag}={tmp_path}/bad']); "
        "assert 'tensorflow' not in sys.modules; sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(serving.__file__).parents[1],
        env=os.environ | {"PYTHONPATH": "."},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert f"Error parsing text-format tensorflow.serving.{name}: " in done.stderr
    assert done.stderr.count("\n") == 1
