"""Configuration files: read, or one line about what is wrong in them."""

import pytest
from tensorflow_serving.config import model_server_config_pb2

from music.errors import SegueError
from serving import textproto


def _read(path, **options):
    message = model_server_config_pb2.ModelServerConfig()
    return textproto.read(path, message, "model_config_file", **options)


def test_a_file_becomes_a_message(tmp_path):
    path = tmp_path / "models.config"
    path.write_text('# ours\nmodel_config_list: { config { name: "a" } }')
    assert _read(path).model_config_list.config[0].name == "a"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            b"improper model config",
            "Error parsing text-format tensorflow.serving.ModelServerConfig: 1:1 : Message type"
            ' "tensorflow.serving.ModelServerConfig" has no field named "improper".',
        ),
        (
            b"\xff\xfe",
            "Error parsing text-format tensorflow.serving.ModelServerConfig: it is no UTF-8 text",
        ),
        (b" " * (16 * 2**20 + 1), "is larger than 16777216 bytes; is it the right file?"),
    ],
)
def test_what_is_wrong_is_one_line(tmp_path, content, message):
    path = tmp_path / "models.config"
    path.write_bytes(content)
    with pytest.raises(SegueError) as caught:
        _read(path)
    line = str(caught.value)
    assert line.startswith(f"--model_config_file={path}")
    assert line.endswith(message)
    assert "\n" not in line


def test_a_file_that_is_none_is_one_line(tmp_path):
    with pytest.raises(SegueError, match="cannot be read: No such file or directory"):
        _read(tmp_path / "none")
    with pytest.raises(SegueError, match="cannot be read: Is a directory"):
        _read(tmp_path)


def test_secrets_are_not_quoted(tmp_path):
    path = tmp_path / "ssl.config"
    path.write_text("model_config_list {\n  config { name: SECRET }\n}")
    with pytest.raises(SegueError) as caught:
        _read(path, secret=True)
    assert "SECRET" not in str(caught.value)
    assert "line 2" in str(caught.value)
    assert caught.value.__cause__ is None
