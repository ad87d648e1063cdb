"""Pages: complete in themselves, the same every time, and bounded."""

import re
import threading
import xml.etree.ElementTree as ET

import pytest

from client.rendering import engraving
from client.rendering.engraving import engrave
from client.rendering.provenance import Provenance
from client.rendering.score import musicxml, score_of
from client.rendering.settings import RenderSettings
from music.errors import SegueError

from .conftest import PROVENANCE, scale, triplets, varied

SVG = "{http://www.w3.org/2000/svg}"


def pages_of(song, provenance=PROVENANCE, settings=RenderSettings()):  # noqa: B008
    return engrave(musicxml(score_of(song), provenance), provenance, settings)


@pytest.fixture(scope="module")
def long_pages():
    return pages_of(scale(600, 12))


def words_of(page):
    return ["".join(text.itertext()) for text in ET.fromstring(page).iter(f"{SVG}text")]


def test_verovio_has_nothing_to_say_about_ten_songs(varied_songs, capfd):
    for name, song in varied_songs.items():
        assert pages_of(song), name
        assert engraving._toolkit().getLog() == "", name
    assert capfd.readouterr().err == ""


def test_every_note_of_the_score_is_drawn():
    xml = musicxml(score_of(triplets()), PROVENANCE)
    drawn = sum(
        element.get("class") == "note"
        for page in engrave(xml, PROVENANCE)
        for element in ET.fromstring(page).iter(f"{SVG}g")
    )
    assert drawn == sum(note.find("pitch") is not None for note in ET.fromstring(xml).iter("note"))


def test_pages_are_a4_and_say_what_they_are(long_pages):
    assert len(long_pages) > 1
    for number, page in enumerate(long_pages, 1):
        root = ET.fromstring(page)
        assert (root.get("width"), root.get("height")) == ("210mm", "297mm")
        assert root.get("viewBox") == "0 0 2100 2970"
        assert root.findtext(f"{SVG}title") == f"Song 1, page {number} of {len(long_pages)}"
        assert root.findtext(f"{SVG}desc") == PROVENANCE.remark


def test_title_and_byline_stand_on_the_first_page_and_numbers_on_all(long_pages):
    first, second = words_of(long_pages[0]), words_of(long_pages[1])
    assert {"Song 1", "after J. S. Bach, by Segue", PROVENANCE.remark, "1"} <= set(first)
    assert {"Song 1", "2"} <= set(second)
    assert "after J. S. Bach, by Segue" not in second


def test_a_page_needs_nothing_from_elsewhere(long_pages):
    for page in long_pages:
        text = page.decode()
        assert "@font-face" not in text
        assert "url(" not in text
        assert 'href="http' not in text
        assert not any("\ue000" <= char <= "\uf8ff" for char in text)
        assert "Engraved by" not in text


def test_the_note_before_the_tempo_is_an_outline():
    (page,) = pages_of(scale(8, tempo=96.0))
    root = ET.fromstring(page)
    mark = next(e for e in root.iter(f"{SVG}g") if e.get("class") == "tempo")
    assert "".join(mark.itertext()).replace("\u00a0", " ").strip() == "= 96"
    (outline,) = mark.iter(f"{SVG}path")
    assert len(outline.get("d")) > 50


def test_what_was_engraved_before_changes_nothing():
    songs = varied()
    first = pages_of(songs["melody"])
    pages_of(songs["four parts"])
    assert pages_of(songs["melody"]) == first


def test_threads_get_the_pages_that_they_would_get_alone():
    songs = [scale(16 + 4 * n) for n in range(4)]
    alone = [pages_of(song) for song in songs]
    got = [None] * len(songs)

    def work(index):
        got[index] = pages_of(songs[index])

    threads = [threading.Thread(target=work, args=(n,)) for n in range(len(songs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == alone


def test_nothing_that_verovio_hides_is_seen(long_pages):
    for page in long_pages:
        root = ET.fromstring(page)
        assert not [e for e in root.iter() if "placeholder" in e.get("class", "")]
        # Dots of notes and rests would be ellipses; this song has none.
        assert not list(root.iter(f"{SVG}ellipse"))


def test_names_in_a_page_are_its_own(long_pages):
    named = [set(re.findall(r'\bid="([^"]+)"', page.decode())) for page in long_pages]
    for names, page in zip(named, long_pages, strict=True):
        assert set(re.findall(r'href="#([^"]+)"', page.decode())) <= names
    assert not set.intersection(*named)


def test_too_many_pages_are_refused_before_they_are_drawn():
    with pytest.raises(SegueError, match=r"has \d+ pages as a score; at most 1 are engraved: "):
        pages_of(scale(600, 12), settings=RenderSettings(pages=1))


def test_a_long_title_keeps_to_the_page():
    title = "A very long title indeed " * 20
    (page,) = pages_of(scale(8), Provenance(title, None, (), "remark " * 200))
    shown = [words for words in words_of(page) if words.endswith("…")]
    assert len(shown) == 2
    assert ET.fromstring(page).findtext(f"{SVG}title") == title.strip()


def test_words_from_outside_are_only_words():
    (page,) = pages_of(scale(8), Provenance("<script>alert(1)</script>\n\x00&"))
    assert b"<script" not in page
    assert "<script>alert(1)</script> &" in words_of(page)
