"""An environment that holds the wheel of Segue, and nothing of the folder it is built from."""

from __future__ import annotations

import http.server
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import threading
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
PACKAGES = ("music", "components", "pipeline", "serving", "client", "kubeflow")
FILES = ("setup.py", "pyproject.toml", "README.md", "LICENSE", "constraints-py313.txt")


class Installed:
    """A virtual environment with the wheel in it.

    What the wheel requires comes from the environment of the tests, by its folder alone,
    so that links to the repository, which lie there as well, lead nowhere.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.bin = folder / "venv" / "bin"
        self.environment = {
            "PATH": f"{self.bin}{os.pathsep}/usr/bin{os.pathsep}/bin",
            "HOME": str(folder),
            "LANG": "C.UTF-8",
            "TF_CPP_MIN_LOG_LEVEL": "1",
        }

    def run(self, *arguments: object, cwd: Path, **environment: str):
        """A command of the environment, from another folder."""
        return subprocess.run(
            [str(one) for one in arguments],
            cwd=cwd,
            env={**self.environment, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )


@pytest.fixture(scope="session")
def installed(tmp_path_factory) -> Installed:
    """The wheel, built from a copy of the sources and installed."""
    folder = tmp_path_factory.mktemp("installed")
    source = folder / "source"
    source.mkdir()
    for name in FILES:
        shutil.copy(REPOSITORY / name, source / name)
    for name in PACKAGES:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(REPOSITORY / name, source / name, ignore=ignored)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    wheel = ["wheel", "--no-deps", "--no-build-isolation", "-w", str(folder), str(source)]
    subprocess.run([*pip, *wheel], check=True, cwd=folder)
    shutil.rmtree(source)
    subprocess.run(
        [sys.executable, "-m", "venv", "--without-pip", str(folder / "venv")], check=True
    )
    made = Installed(folder)
    (built,) = folder.glob("segue-*.whl")
    install = ["--python", str(made.bin / "python"), "install", "--no-deps", str(built)]
    subprocess.run([*pip, *install], check=True, cwd=folder)
    (site,) = (folder / "venv" / "lib").glob("python3*/site-packages")
    (site / "requirements.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return made


@pytest.fixture
def serve_api():
    """serve_api(answer): the URL of a server; answer(method, path, headers, body) says it all.

    Answers are a status and what becomes JSON.
    """
    servers = []

    def serve(answer) -> str:
        class Handler(http.server.BaseHTTPRequestHandler):
            def respond(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                status, value = answer(self.command, self.path, self.headers, body)
                data = json.dumps(value).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_DELETE = respond

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_address[1]}"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def package(tmp_path) -> Path:
    """A compiled pipeline of one task, with a second document for the platform."""
    path = tmp_path / "two.yaml"
    path.write_text("""
schemaVersion: 2.1.0
pipelineInfo: {name: two}
deploymentSpec: {executors: {e: {container: {image: 'a:1'}}}}
components: {c: {executorLabel: e}}
root: {dag: {tasks: {T: {componentRef: {name: c}, taskInfo: {name: T}}}}}
---
platforms: {kubernetes: {deploymentSpec: {executors: {e: {nodeSelector: {labels: {a: b}}}}}}}
""")
    return path
