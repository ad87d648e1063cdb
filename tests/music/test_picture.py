"""Shapes, and the two files they become."""

from __future__ import annotations

import io
import unicodedata
import xml.etree.ElementTree as ElementTree

import matplotlib
import numpy as np
import pytest
from PIL import Image, ImageFont

from music import picture
from music.picture import Picture, Rect, Text, clean, picture_png, picture_svg, text_width


def pixels(picture: Picture) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(picture_png(picture))))


def test_a_rectangle_covers_its_pixels_and_no_others():
    drawn = pixels(Picture(10, 8, (Rect("note", 2.5, 1, 3, 2.5, "#ff0000"),)))
    assert drawn.shape == (16, 20, 3)
    red = np.all(drawn == (255, 0, 0), axis=2)
    assert red[2:7, 5:11].all()
    assert red.sum() == 5 * 6
    assert (drawn[~red] == 255).all()


def test_what_is_painted_later_lies_on_top():
    under, over = Rect("a", 0, 0, 4, 4, "#ff0000"), Rect("b", 0, 0, 4, 4, "#0000ff")
    assert (pixels(Picture(4, 4, (under, over))) == (0, 0, 255)).all()


@pytest.mark.parametrize(("anchor", "side"), [("start", 1), ("end", -1)])
def test_text_stands_on_its_side_of_the_anchor(anchor, side):
    drawn = pixels(Picture(100, 40, (Text(50, 30, "Hello", 12, "#000000", anchor),)))
    rows, columns = np.nonzero(drawn.min(axis=2) < 128)
    assert len(columns) > 50
    assert (side * (columns - 100) >= -1).all()
    assert rows.max() <= 60  # on the base line


def test_signs_beyond_latin_are_letters_and_not_boxes():
    def drawn(text):
        return pixels(Picture(60, 40, (Text(5, 30, text, 20, "#000000"),)))

    box = drawn("\U0010fffd")  # a sign that no font has
    assert (box != drawn(" ")).any()
    for char in "éЖΩ♭♯":
        assert (drawn(char) != box).any()


def test_a_font_of_the_system_has_what_our_own_lacks(monkeypatch):
    from matplotlib import font_manager
    from matplotlib.ft2font import FT2Font

    fonts = f"{matplotlib.get_data_path()}/fonts/ttf"
    own, other = f"{fonts}/DejaVuSans.ttf", f"{fonts}/STIXGeneral.ttf"
    missing = set(FT2Font(other).get_charmap()) - set(FT2Font(own).get_charmap())
    char = min(char for char in map(chr, missing) if unicodedata.category(char) == "Lu")
    text = Text(5, 30, char, 20, "#000000")
    monkeypatch.setattr(font_manager, "findSystemFonts", list)
    box = pixels(Picture(60, 40, (text,)))
    picture._system_font.cache_clear()
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: [f"{fonts}/gone.ttf", other])
    letter = pixels(Picture(60, 40, (text,)))
    picture._system_font.cache_clear()
    assert (letter != box).any()
    expected = ImageFont.truetype(other, 40, layout_engine=ImageFont.Layout.BASIC).getmask(char)
    assert (letter.min(axis=2) < 255).sum() == np.count_nonzero(np.array(expected))


def test_svg_says_kinds_places_and_words():
    shapes = (Rect("note", 2.5, 1, 3, 2.5, "#ff0000", True), Text(1, 2, "a<b&c", 9, "#000000"))
    root = ElementTree.fromstring(picture_svg(Picture(10, 8, shapes)))
    _, rect = [e for e in root if e.tag.endswith("rect")]
    assert (rect.get("class"), rect.get("x"), rect.get("rx")) == ("note", "2.5", "1")
    assert root[-1].text == "a<b&c"


def test_controls_and_broken_characters_are_shown_as_such():
    assert clean("a\x00\ud800\u202eb ♭") == "a���b ♭"


@pytest.mark.parametrize(
    "text",
    ["G major  ·  2/4  ·  116 quarters a minute", "4 O komme holde Sommernacht", "WILLIAM TELL"],
)
def test_the_width_of_text_is_known_within_a_seventh(text):
    path = f"{matplotlib.get_data_path()}/fonts/ttf/DejaVuSans.ttf"
    font = ImageFont.truetype(path, 100, layout_engine=ImageFont.Layout.BASIC)
    assert text_width(text, 100) == pytest.approx(font.getlength(text), rel=1 / 7)
