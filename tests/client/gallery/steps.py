"""What a person does in the gallery, in words that tests share."""

from __future__ import annotations

from tests.client.gallery.batches import HOSTILE

COMPLETE = "performance.getEntriesByName('complete').length"


def titles(page):
    return page.texts("#rows .title")


def row(title):
    """A selector of a song's row, by a title that is easy to say."""
    number = ["Wachtelwacht", "Erlkönig", "Nach Sevilla", "Vaters Klage", HOSTILE, "Kriegslied"]
    return f"#rows .row:nth-child({number.index(title) + 1})"


def position(page):
    return page.evaluate("Gallery.player.position()")


def open_song(page, title):
    page.click(f"{row(title)} .title")
    page.wait("document.querySelector('.certificate')")
