"""The monitoring file: what it switches on, and how a wrong one is refused."""

import pytest

from music.errors import SegueError
from serving.monitoring import prometheus_path


@pytest.fixture
def file(tmp_path):
    def file(text):
        path = tmp_path / "monitoring.config"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return file


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("prometheus_config { enable: true }", "/monitoring/prometheus/metrics"),
        ('prometheus_config { enable: true path: "/metrics" }', "/metrics"),
        ('prometheus_config: {\n  enable: true,\n  path: "/a/b"\n}\n', "/a/b"),
        ('prometheus_config { path: "/metrics" }', None),
        ("", None),
    ],
)
def test_what_a_file_switches_on(file, text, path):
    assert prometheus_path(file(text)) == path


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (
            "prometheus { enable: true }",
            "Error parsing text-format tensorflow.serving.MonitoringConfig: 1:1",
        ),
        (
            "prometheus_config { enable: perhaps }",
            "Error parsing text-format tensorflow.serving.MonitoringConfig: ",
        ),
        (b"\xff\xfe", "Error parsing text-format tensorflow.serving.MonitoringConfig: "),
        ('prometheus_config { enable: true path: "metrics" }', "it must begin with /"),
        (b" " * (2**24 + 1), "larger than 16777216 bytes"),
    ],
)
def test_a_wrong_file_is_one_line(file, text, why):
    with pytest.raises(SegueError, match=why) as caught:
        prometheus_path(file(text))
    assert "\n" not in str(caught.value)
    assert "--monitoring_config_file=" in str(caught.value)


def test_a_file_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(SegueError, match="cannot be read: No such file or directory"):
        prometheus_path(tmp_path / "nothing")
