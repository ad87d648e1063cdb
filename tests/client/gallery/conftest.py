"""A browser that the gallery's tests share, and a small gallery with everything in it."""

from __future__ import annotations

import shutil

import pytest

from client.gallery import write_gallery
from tests.client.gallery.batches import ABOUT, HOSTILE, Batch
from tests.client.gallery.devtools import Chromium
from tests.client.gallery.steps import COMPLETE


@pytest.fixture(scope="session")
def chromium(tmp_path_factory):
    """A `Chromium`; tests without one skip."""
    names = ("chromium-headless-shell", "chromium", "google-chrome")
    program = next(filter(None, map(shutil.which, names)), None)
    if program is None:
        pytest.skip(f"no browser on the PATH ({', '.join(names)})")
    browser = Chromium(program, tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture(scope="session")
def batch(tmp_path_factory) -> Batch:
    """Six songs: plain, with a score, a copy, flagged, unchecked, failed; one is hostile."""
    made = Batch(tmp_path_factory.mktemp("batch"))
    made.add("Wachtelwacht", 1, run=7)
    made.add("Erlkönig", 2, run=9, score=True)
    made.add("Nach Sevilla", 3, run=31)
    made.add("Vaters Klage", 4, run=12, flags=["degenerate: a loop of 4 events, 9 times"])
    made.add(HOSTILE, 5, run=None)
    made.add_failed("Kriegslied", 6, "the server did not answer within 60 s")
    return made


@pytest.fixture(scope="session")
def gallery(batch) -> str:
    """The address of a gallery of `batch`, on the disk."""
    return write_gallery(batch.folder, batch.records, ABOUT).as_uri()


@pytest.fixture
def open_page(chromium):
    """open_page(url, width=..., ...): a `Page`, which is closed at the end."""
    pages = []

    def open_page(url: str, *size: int, **media: str):
        pages.append(chromium.open(url, *size, **media))
        return pages[-1]

    yield open_page
    for page in pages:
        page.close()


@pytest.fixture
def page(open_page, gallery):
    """The small gallery, at a desk; what goes wrong in it or leaves the disk fails the test."""
    page = open_page(gallery)
    page.wait(COMPLETE)
    yield page
    assert page.troubles == []
    assert {url.split(":")[0] for url in page.urls} <= {"file", "data"}
