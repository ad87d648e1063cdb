"""Pictures as lists of shapes, and the two ways they are written: SVG and PNG.

A `Picture` is rectangles and lines of text on a white ground, in the order in
which they are painted. Both writers read this one description, so what an SVG
shows, the PNG shows at the same place in the same colour. Corners stand on half
pixels of the picture and the PNG is drawn at twice its size, so every edge of a
rectangle is an edge of pixels and nothing is blurred.

The same picture gives the same bytes: SVG is plain text, and the PNG's letters
are DejaVu Sans as it comes with matplotlib, drawn by Pillow's own FreeType. Only
for signs which that font lacks (Chinese, say) is a font of the system taken.
"""

from __future__ import annotations

import dataclasses
import functools
import io
import os
import unicodedata
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from PIL import ImageFont

PNG_SCALE = 2  # pixels of the PNG a unit of the picture
RADIUS = 1  # of a note's corners
_FAMILY = "'DejaVu Sans', Verdana, sans-serif"


@dataclasses.dataclass(frozen=True)
class Rect:
    """A filled rectangle.

    Attributes:
      kind: what it stands for (`note`, `bar`, ...): the SVG's class.
      x, y, width, height: in the picture's units, multiples of a half.
      fill: `#rrggbb`.
      rounded: whether its corners are.
    """

    kind: str
    x: float
    y: float
    width: float
    height: float
    fill: str
    rounded: bool = False


@dataclasses.dataclass(frozen=True)
class Text:
    """One line of text.

    Attributes:
      x, y: the anchor, on the base line.
      size: of the font, in the picture's units.
      anchor: `start`, `middle` or `end`: which part of the line stands at x.
      bold: whether it is.
    """

    x: float
    y: float
    text: str
    size: int
    fill: str
    anchor: str = "start"
    bold: bool = False


@dataclasses.dataclass(frozen=True)
class Picture:
    """Shapes on white.

    Attributes:
      width, height: in units; one is a CSS pixel of the SVG.
      shapes: in the order in which they are painted.
    """

    width: int
    height: int
    shapes: tuple[Rect | Text, ...]


def picture_svg(picture: Picture) -> bytes:
    """The picture as an SVG file."""
    size = f"{picture.width} {picture.height}"
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size}" '
        f'font-family="{_FAMILY}">',
        f'<rect width="{picture.width}" height="{picture.height}" fill="#ffffff"/>',
        *(_svg_rect(shape) if isinstance(shape, Rect) else _svg_text(shape)
          for shape in picture.shapes),
        "</svg>",
        "",
    ]  # fmt: skip
    return "\n".join(lines).encode()


def _svg_rect(rect: Rect) -> str:
    corners = f' rx="{RADIUS}"' if rect.rounded else ""
    return (
        f'<rect class="{rect.kind}" x="{rect.x:g}" y="{rect.y:g}" width="{rect.width:g}" '
        f'height="{rect.height:g}"{corners} fill="{rect.fill}"/>'
    )


def _svg_text(text: Text) -> str:
    anchor = "" if text.anchor == "start" else f' text-anchor="{text.anchor}"'
    weight = ' font-weight="bold"' if text.bold else ""
    return (
        f'<text x="{text.x:g}" y="{text.y:g}" font-size="{text.size}"{anchor}{weight} '
        f'fill="{text.fill}">{escape(clean(text.text))}</text>'
    )


def picture_png(picture: Picture) -> bytes:
    """The picture as a PNG file of `PNG_SCALE` times its size."""
    from PIL import Image, ImageDraw

    scale = PNG_SCALE
    image = Image.new("RGB", (picture.width * scale, picture.height * scale), "#ffffff")
    draw = ImageDraw.Draw(image)
    for shape in picture.shapes:
        if isinstance(shape, Rect):
            left, top = round(shape.x * scale), round(shape.y * scale)
            # Pillow counts the last row and column in.
            right = left + max(round(shape.width * scale), 1) - 1
            bottom = top + max(round(shape.height * scale), 1) - 1
            # What is hardly wider than its corners would be a lozenge.
            if shape.rounded and min(right - left, bottom - top) > 3 * RADIUS * scale:
                draw.rounded_rectangle((left, top, right, bottom), RADIUS * scale, fill=shape.fill)
            else:
                draw.rectangle((left, top, right, bottom), fill=shape.fill)
        else:
            text = clean(shape.text)
            draw.text(
                (shape.x * scale, shape.y * scale),
                text,
                fill=shape.fill,
                font=_font(text, shape.size * scale, shape.bold),
                anchor={"start": "l", "middle": "m", "end": "r"}[shape.anchor] + "s",
            )
    out = io.BytesIO()
    image.save(out, "PNG", compress_level=9)
    return out.getvalue()


def clean(text: str) -> str:
    """A text without what no picture can show: controls, halves of characters.

    Whatever stands for bytes that were no text, and what XML forbids, becomes `�`.
    """
    return "".join(char if char.isprintable() else "\ufffd" for char in text)


def text_width(text: str, size: int) -> float:
    """About how wide a line of text is, within a tenth, in DejaVu Sans's regular weight."""
    return size * sum(map(_letter_width, text))


def _letter_width(char: str) -> float:
    if unicodedata.east_asian_width(char) in "WF":
        return 1.05
    if char in " ,.:;·'!|/()[]fijlrtI":
        return 0.36
    return 0.72 if char.isupper() or char in "mw" else 0.62


# ---- letters ----------------------------------------------------------------


def _font(text: str, size: int, bold: bool) -> ImageFont.FreeTypeFont:
    """A font that has the text's signs, DejaVu Sans wherever it has them."""
    from PIL import ImageFont

    own = _own_font(bold)
    missing = frozenset(map(ord, text)) - _signs(own)
    path = _system_font(missing) if missing else own
    # Basic layout: Pillow's other one depends on a library that may be there or not.
    return ImageFont.truetype(path, size, layout_engine=ImageFont.Layout.BASIC)


def _own_font(bold: bool) -> str:
    import matplotlib

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return os.path.join(matplotlib.get_data_path(), "fonts", "ttf", name)


@functools.lru_cache(maxsize=8)
def _signs(path: str) -> frozenset[int]:
    """The code points that a font file has signs for; none where it cannot be read."""
    from matplotlib.ft2font import FT2Font

    try:
        return frozenset(FT2Font(path).get_charmap())
    except (OSError, RuntimeError):
        return frozenset()


@functools.lru_cache(maxsize=64)
def _system_font(missing: frozenset[int]) -> str:
    """The first font of the system, by path, that has what is missing; else our own."""
    from matplotlib.font_manager import findSystemFonts

    fonts = sorted(findSystemFonts())
    return next((path for path in fonts if missing <= _signs(path)), _own_font(False))
