"""PDF and PNG: vector, whole, and silent about the day."""

import io
import re
import shutil
import subprocess
import zlib

import pytest
from PIL import Image

from client.rendering.engraving import engrave
from client.rendering.pages import pdf, pngs
from client.rendering.provenance import Provenance
from client.rendering.score import musicxml, score_of

from .conftest import PROVENANCE, scale


def pages_of(song, provenance=PROVENANCE):
    return engrave(musicxml(score_of(song), provenance), provenance)


@pytest.fixture(scope="module")
def pages():
    return pages_of(scale(600, 12))


@pytest.fixture(scope="module")
def printed(pages):
    return pdf(pages, PROVENANCE)


def test_a_pdf_has_every_page_on_a4(pages, printed):
    assert printed.startswith(b"%PDF-")
    assert len(re.findall(rb"/Type/Page\b(?!s)", printed)) == len(pages) > 1
    box = re.search(rb"/MediaBox\[0 0 ([\d.]+) ([\d.]+)\]", printed)
    assert (round(float(box[1])), round(float(box[2]))) == (595, 842)


def test_a_pdf_is_vector(printed):
    assert b"/Subtype/Image" not in printed
    streams = re.findall(rb"stream\r?\n(.*?)\r?\nendstream", printed, re.S)
    drawn = [zlib.decompress(data) for data in streams if data[:1] == b"\x78"]
    assert sum(len(re.findall(rb"\bc\n", data)) for data in drawn) > 1000


def test_a_pdf_says_where_it_came_from_and_not_when(printed):
    for told in (PROVENANCE.title, PROVENANCE.byline, PROVENANCE.remark, "version 1795883508"):
        assert told.encode() in printed
    assert b"CreationDate" not in printed
    assert b"CreateDate" not in printed
    assert b"ModDate" not in printed


def test_the_same_pages_give_the_same_bytes(pages, printed):
    assert pdf(pages, PROVENANCE) == printed
    assert pngs(pages[:1], PROVENANCE) == pngs(pages[:1], PROVENANCE)


@pytest.mark.skipif(shutil.which("pdftotext") is None, reason="poppler is not installed")
def test_the_words_of_a_pdf_can_be_searched(printed, tmp_path):
    (tmp_path / "song.pdf").write_bytes(printed)
    done = subprocess.run(
        ["pdftotext", str(tmp_path / "song.pdf"), "-"], capture_output=True, text=True, check=True
    )
    assert "Song 1" in done.stdout
    assert "after J. S. Bach, by Segue" in done.stdout


def test_a_png_is_a_page_of_150_dots_an_inch(pages):
    (png,) = pngs(pages[:1], PROVENANCE)
    picture = Image.open(io.BytesIO(png))
    picture.load()
    assert picture.size == (1240, 1754)
    assert picture.info["dpi"] == pytest.approx((150, 150), abs=0.1)
    assert picture.info["Title"] == "Song 1"
    assert picture.info["Description"] == PROVENANCE.remark
    assert picture.info["Software"] == "Segue"


def test_a_png_shows_staves_words_and_white_paper(pages):
    (png,) = pngs(pages[:1], PROVENANCE)
    grey = Image.open(io.BytesIO(png)).convert("RGB").convert("L")
    assert grey.getpixel((3, 3)) == 255
    assert sum(grey.crop((0, 0, 1240, 8)).histogram()[:250]) == 0

    def ink(box):
        return sum(grey.crop(box).histogram()[:128])

    assert ink((500, 80, 740, 135)) > 300  # the title, in a font that is there
    assert ink((900, 150, 1160, 185)) > 200  # the byline
    assert ink((90, 200, 1160, 1640)) > 20_000


def test_letters_beyond_latin_one_stand_in_a_png_too(pages):
    (png,) = pngs(pages[:1], Provenance("Песня №1", "Ludvík Ř."))
    assert Image.open(io.BytesIO(png)).info["Title"] == "Песня №1"


def test_words_from_outside_are_not_run():
    hostile = Provenance('#panic("x") \\" ]', None, (("#a", "]"),), "$#sys.version$")
    printed = pdf(pages_of(scale(8), hostile), hostile)
    assert printed.startswith(b"%PDF-")
