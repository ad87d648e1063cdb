"""A server in a process of its own: it answers inside the block and is gone behind it."""

import socket
import stat

import pytest

from client.connection import Connection
from client.generation import GenerationClient
from music.errors import SegueError
from serving import process
from serving.process import model_server


def listens(target):
    host, port = target.split(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


def test_it_answers_inside_the_block_and_is_gone_behind_it(exported, tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "3").symlink_to(exported("small").path)
    log = tmp_path / "logs" / "server.log"
    with model_server(tmp_path / "models", "one", log) as target:
        with Connection(target, "one") as connection:
            facts = GenerationClient(connection).describe()
        assert facts.version == 3
    assert not listens(target)
    assert "model one version 3" in log.read_text()


def test_one_that_does_not_come_up_is_one_line_with_the_last_that_it_said(tmp_path):
    (tmp_path / "models" / "1").mkdir(parents=True)
    (tmp_path / "models" / "1" / "saved_model.pb").write_bytes(b"no graph")
    log = tmp_path / "server.log"
    log.write_text("a line of another run\n")
    flags = ["--max_num_load_retries=0"]
    with (
        pytest.raises(SegueError, match=r"did not come up \(model one .* does not load") as caught,
        model_server(tmp_path / "models", "one", log, flags=flags),
    ):
        pass
    assert len(str(caught.value).splitlines()) == 1
    assert "another run" not in str(caught.value)


def test_the_binary_is_given_a_free_port_and_its_own_flags(tmp_path, monkeypatch):
    """A stand-in for the binary, which says what it was given and listens."""
    binary = tmp_path / process.BINARY
    binary.write_text(
        "#!/usr/bin/env python3\n"
        "import socket, sys, time\n"
        "print(*sys.argv[1:], flush=True)\n"
        "port = int(next(a for a in sys.argv if a.startswith('--port=')).split('=')[1])\n"
        "server = socket.create_server(('127.0.0.1', port))\n"
        "time.sleep(60)\n"
    )
    binary.chmod(binary.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert process.find_binary() == str(binary)
    log = tmp_path / "log"
    with model_server(tmp_path, "one", log, 20.0, str(binary), ["--enable_batching"]) as target:
        assert listens(target)
        said = log.read_text()
    assert f"--port={target.split(':')[1]} --rest_api_port=0 --model_name=one" in said
    assert said.rstrip().endswith("--enable_batching")
    assert not listens(target)
