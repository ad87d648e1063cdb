import dataclasses

import pytest

from music.errors import SegueError
from serving.config import ServerConfig


def test_defaults_are_those_of_the_command_line():
    config = ServerConfig(model_base_path="/models/segue")
    assert (config.host, config.port, config.model_name) == ("127.0.0.1", 8500, "segue")
    assert config.max_num_load_retries == 5
    assert config.load_retry_interval_micros == 60_000_000
    assert config.file_system_poll_wait_seconds == 1.0
    assert config.tensorflow_intra_op_parallelism == 1


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("port", 65536, "--port=65536 is not a whole number from 0 to 65535"),
        ("port", -1, "--port=-1 is not a whole number from 0 to 65535"),
        ("port", "8500", "--port=8500 is not a whole number from 0 to 65535"),
        ("port", True, "--port=True is not a whole number from 0 to 65535"),
        ("grpc_max_threads", 0, "--grpc_max_threads=0 is not a whole number from 1 to 4096"),
        (
            "file_system_poll_wait_seconds",
            float("nan"),
            "--file_system_poll_wait_seconds=nan is not a number from 0 to 2147483647",
        ),
        ("grace_seconds", -0.5, "--grace_seconds=-0.5 is not a number from 0 to 2147483647"),
        ("model_name", "", "the model has no name: give one with --model_name (default: segue)"),
        (
            "rest_api_port",
            8500,
            "--rest_api_port=8500 is gRPC's port, too; choose another for one",
        ),
        ("rest_api_port", -1, "--rest_api_port=-1 is not a whole number from 0 to 65535"),
        (
            "rest_api_timeout_in_ms",
            -1,
            "--rest_api_timeout_in_ms=-1 is not a whole number from 0 to 2147483647",
        ),
        (
            "rest_api_num_threads",
            -1,
            "--rest_api_num_threads=-1 is not a whole number from 0 to 4096",
        ),
        (
            "rest_api_max_body_bytes",
            0,
            "--rest_api_max_body_bytes=0 is not a whole number from 1 to 2147483647",
        ),
        (
            "model_base_path",
            " ",
            "no model to serve: give its folder with --model_base_path, or several with"
            " --model_config_file",
        ),
        ("host", "", "no address to listen on: give one with --host (default: 127.0.0.1)"),
    ],
)
def test_a_wrong_value_is_one_line_with_the_accepted_range(field, value, message):
    with pytest.raises(SegueError) as caught:
        ServerConfig(**{"model_base_path": "/models/segue", field: value})
    assert str(caught.value) == message


def test_it_cannot_be_changed_afterwards():
    config = ServerConfig(model_base_path="/models/segue")
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.port = 1


def test_a_relative_base_path_is_taken_from_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert ServerConfig(model_base_path="models").base_path == tmp_path / "models"


def test_an_ipv6_address_is_bracketed():
    assert ServerConfig(model_base_path="/m", host="::1").address(8500) == "[::1]:8500"


def test_batching_parameters_are_for_batching():
    with pytest.raises(SegueError) as caught:
        ServerConfig(model_base_path="/m", batching_parameters_file="b.txt")
    assert str(caught.value) == (
        "--batching_parameters_file=b.txt is set without --enable_batching: give both, or neither"
    )
    config = ServerConfig(
        model_base_path="/m", batching_parameters_file="b.txt", enable_batching=True
    )
    assert config.batching_length_input == "steps"
