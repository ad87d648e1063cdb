"""One real server, a reader of pages: for all tests that need them."""

from __future__ import annotations

import html.parser
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest


@pytest.fixture
def root_copy(first_run, tmp_path) -> Path:
    """A copy of the first run's serving folder, for tests that change it."""
    copy = tmp_path / "root"
    shutil.copytree(first_run.root / "serving", copy / "serving")
    return copy


@pytest.fixture(scope="session")
def serve(tmp_path_factory):
    """Starts `segue serve` for a root and returns its address; all end with the session."""
    processes = []

    def start(root: Path) -> str:
        port_file = tmp_path_factory.mktemp("server") / "port"
        process = subprocess.Popen(
            [
                sys.executable, "-m", "pipeline.cli", "serve", "--root", str(root),
                "--port=0", f"--port-file={port_file}",
            ],
            cwd=Path(__file__).parents[2],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )  # fmt: skip
        processes.append(process)
        deadline = time.monotonic() + 120
        while not port_file.exists():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        return f"127.0.0.1:{port_file.read_text().strip()}"

    yield start
    for process in processes:
        process.terminate()
    for process in processes:
        process.communicate(timeout=30)


@pytest.fixture(scope="session")
def target(serve, first_run) -> str:
    """A server of the first run's model."""
    return serve(first_run.root)


class PageReader(html.parser.HTMLParser):
    """Rows of tables, names of parts, links, and whether every element is closed."""

    VOID = ("meta", "use", "path", "rect", "line")

    def __init__(self):
        super().__init__()
        self.tags, self.ids, self.open, self.rows, self.links = set(), [], [], [], {}

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.tags.add(tag)
        if "id" in found:
            self.ids.append(found["id"])
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if "download" in found:
            self.links[found["download"]] = found["href"]

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data.strip()


@pytest.fixture(scope="session")
def read_page():
    """read_page(text): a `PageReader` of a whole page."""

    def read_page(text: str) -> PageReader:
        reader = PageReader()
        reader.feed(text)
        assert not reader.open
        return reader

    return read_page
