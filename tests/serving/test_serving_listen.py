"""A Unix socket beside the port, and gRPC's own settings."""

import os
import shutil
import signal
import socket

import numpy as np
import pytest

from music.errors import SegueError
from serving.listen import channel_options, free_socket_path


@pytest.fixture
def short(tmp_path_factory):
    """A folder whose name leaves room for that of a socket."""
    import tempfile

    folder = tempfile.mkdtemp(prefix="segue")
    yield folder
    shutil.rmtree(folder)


def test_row_40_a_socket_and_channel_arguments(launch, base, push, short, connect, fails):
    push(base, 1)
    path = f"{short}/grpc.sock"
    arguments = (
        "grpc.max_connection_age_ms=1000,grpc.max_connection_age_grace_ms=100,"
        "grpc.lb_policy_name=grpclb"
    )
    server = launch(
        "--model_name=segue",
        f"--model_base_path={base}",
        f"--grpc_socket_path={path}",
        f"--grpc_channel_arguments={arguments}",
    )
    assert connect(f"unix:{path}").one(1.0) == (2.0, 1)
    client = connect(server.address)
    assert client.one(1.0) == (2.0, 1)
    # The call would take minutes, but the connection is closed under it.
    fails("UNAVAILABLE", client.predict, {"n": np.int32(2**31 - 1)}, "slow", timeout=20)


def test_the_socket_goes_away_with_the_server(serve, base, push, short, connect):
    push(base, 1)
    path = f"{short}/grpc.sock"
    server = serve(grpc_socket_path=path)
    assert connect(f"unix:{path}").one(1.0) == (2.0, 1)
    assert connect(server).one(1.0) == (2.0, 1)
    server.stop(0)
    assert not os.path.exists(path)


def test_the_socket_of_a_killed_server_is_taken_over(launch, serve, base, push, short, connect):
    push(base, 1)
    path = f"{short}/grpc.sock"
    flags = ["--model_name=segue", f"--model_base_path={base}", f"--grpc_socket_path={path}"]
    killed = launch(*flags)
    killed.process.send_signal(signal.SIGKILL)
    killed.process.wait(20)
    assert os.path.exists(path)
    serve(grpc_socket_path=path)
    assert connect(f"unix:{path}").one(1.0) == (2.0, 1)


def test_the_socket_of_a_running_server_is_not(serve, base, push, short, connect):
    push(base, 1)
    path = f"{short}/grpc.sock"
    serve(grpc_socket_path=path)
    with pytest.raises(SegueError) as caught:
        serve(grpc_socket_path=path)
    assert str(caught.value) == (
        f"--grpc_socket_path={path}: a server listens there; stop it, or choose another path"
    )
    assert connect(f"unix:{path}").one(1.0) == (2.0, 1)


def test_another_file_is_left_alone(short):
    path = f"{short}/notes"
    with open(path, "w") as file:
        file.write("mine")
    with pytest.raises(SegueError, match="that is a file, and no socket"):
        free_socket_path(path)
    with open(path) as file:
        assert file.read() == "mine"


def test_a_path_that_cannot_be_is_one_line(short):
    with pytest.raises(SegueError, match="longer than the 107 bytes"):
        free_socket_path(f"{short}/{'s' * 108}")
    with pytest.raises(SegueError, match=f"there is no folder {short}/none"):
        free_socket_path(f"{short}/none/grpc.sock")


def test_a_leftover_is_removed_and_a_free_path_is_fine(short):
    path = f"{short}/grpc.sock"
    free_socket_path(path)
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(path)
    assert os.path.exists(path)
    free_socket_path(path)
    assert not os.path.exists(path)


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("", []),
        ("a=1", [("a", 1)]),
        ("a=-5,b=x,c=", [("a", -5), ("b", "x"), ("c", "")]),
        ("a=2147483647,b=2147483648", [("a", 2147483647), ("b", "2147483648")]),
        ("a=1_000,b=1.5,c=x=y", [("a", "1_000"), ("b", "1.5"), ("c", "x=y")]),
    ],
)
def test_row_40_numbers_are_numbers_and_the_rest_is_text(text, options):
    assert channel_options(text) == options


@pytest.mark.parametrize("text", ["a", "a=1,b", "=1"])
def test_an_argument_without_key_or_value_is_one_line(text):
    with pytest.raises(SegueError, match="is not of the form key=value"):
        channel_options(text)
