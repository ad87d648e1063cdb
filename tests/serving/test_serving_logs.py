"""Log lines for machines: JSON with fields, from the library and from the process."""

import io
import json
import logging
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import requests

import serving
from serving import logs


@pytest.fixture
def log():
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logs.JsonFormatter())
    logger = logging.getLogger("tests.serving.logs")
    logger.addHandler(handler)
    logger.propagate = False
    yield logger, lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    logger.removeHandler(handler)


def test_fields_stand_beside_the_message(log):
    logger, lines = log
    logger.warning("model %s\nis late", "é", extra=logs.fields(model="é", version=7, rows=None))
    (line,) = lines()
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "WARNING",
        "logger": "tests.serving.logs",
        "message": "model é\nis late",
        "model": "é",
        "version": 7,
    }


def test_a_trace_is_one_field(log):
    logger, lines = log
    try:
        raise ValueError("why")
    except ValueError:
        logger.exception("it failed")
    (line,) = lines()
    assert line["trace"].startswith("Traceback")
    assert line["trace"].endswith("ValueError: why")


def test_what_json_cannot_write_does_not_lose_the_line(log):
    logger, lines = log
    logger.error("x", extra=logs.fields(path=Path("/a")))
    assert lines()[0]["path"] == "/a"


@pytest.mark.parametrize("style", ["text", "json"])
def test_a_verbose_server_logs_each_request(base, push, tmp_path, eventually, spare_port, style):
    push(base, 1)
    ready, out = tmp_path / "port", tmp_path / "log"
    with out.open("wb") as file:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "serving", "--port=0", f"--rest_api_port={spare_port}"),
                *(f"--model_base_path={base}", f"--port_file={ready}"),
                *("--verbose", f"--log_format={style}"),
            ],
            cwd=Path(serving.__file__).parents[1],
            stderr=file,
        )
        try:
            eventually(lambda: ready.exists() or process.poll() is not None, within=60)
            body = {"signature_name": "one", "instances": [1, 2]}
            address = f"http://127.0.0.1:{spare_port}/v1/models/segue:predict"
            assert requests.post(address, json=body, timeout=30).status_code == 200
            assert requests.post(address, data="", timeout=30).status_code == 400
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
        finally:
            process.kill()
    text = out.read_text()
    if style == "text":
        assert "DEBUG serving.watching: REST predict segue/1: OK in" in text
        assert "INFO serving.manager: model segue: version 1 loaded in" in text
        return
    lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    (loaded,) = [line for line in lines if line.get("event") == "loaded"]
    assert (loaded["level"], loaded["model"], loaded["version"]) == ("INFO", "segue", 1)
    good, bad = [line for line in lines if line["logger"] == "serving.watching"]
    assert good.pop("ms") > 0
    assert good["rows"] == 2
    assert (good["model"], good["version"], good["method"]) == ("segue", 1, "predict")
    assert (good["entrypoint"], good["code"], good["level"]) == ("REST", "OK", "DEBUG")
    assert bad["code"] == "INVALID_ARGUMENT"
    assert bad["error"] == "JSON Parse error: The document is empty"
