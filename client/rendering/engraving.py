"""MusicXML engraved by verovio: one SVG a page, complete in itself.

verovio sets the music. What stands around it is put here: title, byline, page numbers
and a line that says where the song came from; and the note in front of the tempo is
drawn from the music font's outlines, so that a page needs no font that is not on every
machine. A4, staves of 6.4 mm.

verovio's toolkit is neither cheap to make nor safe to share: there is one a process,
and a lock that lets one thread at a time use it. Processes share nothing.
"""

from __future__ import annotations

import functools
import math
import re
import threading
import xml.etree.ElementTree as ET
import zlib
from importlib import resources
from typing import Any

from client.rendering.provenance import Provenance, plain
from client.rendering.settings import DEFAULT, RenderSettings
from music.errors import SegueError

# A page and its margin in verovio's units, tenths of a millimetre.
WIDTH, HEIGHT = 2100, 2970
MARGIN = 150
FOOT = 190

# Tried in turn: what browsers have, then what PDF and PNG are set in.
TEXT_FONTS = "Times, 'Times New Roman', STIXGeneral, serif"
_INK, _PALE = "#000000", "#555555"
_TITLE, _BYLINE, _SMALL = 74, 40, 26

_FONT = "Leland"
# Signs among words, in their size.
_SIGN = 0.75
_OPTIONS: dict[str, Any] = {
    "pageWidth": WIDTH,
    "pageHeight": HEIGHT,
    "pageMarginTop": MARGIN,
    "pageMarginLeft": MARGIN,
    "pageMarginRight": MARGIN,
    "pageMarginBottom": FOOT,
    "unit": 8.0,
    "scale": 100,
    "font": _FONT,
    "smuflTextFont": "none",
    # verovio's header holds the room for ours.
    "header": "auto",
    "footer": "none",
    "bottomMarginHeader": 9.0,
    "breaks": "auto",
    "breaksNoWidow": True,
    "condense": "none",
    "justifyVertically": True,
    "justificationMaxVertical": 0.15,
    "spacingSystem": 10,
    "svgViewBox": True,
    "svgFormatRaw": True,
}

_SVG = "http://www.w3.org/2000/svg"
_XLINK = "http://www.w3.org/1999/xlink"
# What is hidden, or drawn here instead.
_UNSEEN = frozenset({"pgHead", "pgFoot", "placeholder"})
_LOCK = threading.Lock()


def engrave(
    musicxml: bytes, provenance: Provenance, settings: RenderSettings = DEFAULT
) -> list[bytes]:
    """The pages of a score as SVG files.

    The same score gives the same bytes, whatever was engraved before. Safe to call
    from several threads; they wait for each other.

    Raises:
      SegueError: it has more pages than `settings.pages`.
    """
    with _LOCK:
        toolkit = _toolkit()
        if not toolkit.loadData(musicxml.decode()):
            raise RuntimeError(f"verovio refuses the score: {toolkit.getLog()}")
        count = toolkit.getPageCount()
        if count > settings.pages:
            raise SegueError(
                f"{plain(provenance.title) or 'the song'} has {count:,} pages as a score; at most "
                f"{settings.pages:,} are engraved: ask for musicxml, or for fewer steps"
            )
        pages = [toolkit.renderToSVG(number) for number in range(1, count + 1)]
    name = f"s{zlib.crc32(musicxml):08x}"
    return [
        _finished(_named(page, f"{name}-{number}"), number, len(pages), provenance)
        for number, page in enumerate(pages, 1)
    ]


@functools.cache
def _toolkit() -> Any:
    import verovio

    verovio.enableLog(verovio.LOG_WARNING)
    toolkit = verovio.toolkit()
    toolkit.setOptions(_OPTIONS)
    return toolkit


# ---- what stands around the music -------------------------------------------


def _named(page: str, name: str) -> ET.Element:
    """A page whose names are its own.

    verovio draws them by chance, and anew in each thread. Here the page has a name made of
    its content, so that many can stand in one document, its signs are named after it, and
    nothing else is named at all.
    """
    found = re.search(r"<svg [^>]*\bid=\"([^\"]+)\"", page)
    drawn = found.group(1) if found else ""
    root = ET.fromstring(page.replace(drawn, name) if drawn else page)
    for element in root.iter():
        if name not in element.get("id", name):
            del element.attrib["id"]
    return root


def _finished(root: ET.Element, number: int, count: int, provenance: Provenance) -> bytes:
    ET.register_namespace("", _SVG)
    ET.register_namespace("xlink", _XLINK)
    for parent in list(root.iter()):
        for child in list(parent):
            kinds = child.get("class", "").split()
            if child.tag in (_tag("desc"), _tag("title")) or not _UNSEEN.isdisjoint(kinds):
                parent.remove(child)
            elif kinds:
                # What follows an element's kind may be another's name.
                child.set("class", kinds[0])
    for parent in list(root.iter()):
        for index, child in enumerate(list(parent)):
            if child.tag == _tag("text"):
                parent[index] = _plain_text(child)
            elif child.tag == _tag("svg"):
                child.set("font-family", TEXT_FONTS)
    title = plain(provenance.title) or "Untitled"
    told = f"{title}, page {number} of {count}" if count > 1 else title
    # The page has a style for rectangles, which a style of its own alone overrules.
    ground = ET.Element(_tag("rect"), width="100%", height="100%", style="fill:#ffffff;stroke:none")
    for index, element in enumerate(
        (_words("title", told), _words("desc", plain(provenance.described)), ground)
    ):
        root.insert(index, element)
    root.extend(_around(title, number, count, provenance))
    root.attrib.pop("overflow", None)
    root.set("width", f"{WIDTH // 10}mm")
    root.set("height", f"{HEIGHT // 10}mm")
    root.set("viewBox", f"0 0 {WIDTH} {HEIGHT}")
    root.set("role", "img")
    return ET.tostring(root, encoding="utf-8", xml_declaration=True) + b"\n"


def _around(title: str, number: int, count: int, provenance: Provenance) -> list[ET.Element]:
    middle, right = WIDTH // 2, WIDTH - MARGIN
    foot = HEIGHT - 105
    words = []
    if number == 1:
        title, size = _fitted(title, _TITLE, WIDTH - 2 * MARGIN)
        words.append(_text(middle, MARGIN + 62, title, size, "middle"))
        byline, size = _fitted(plain(provenance.byline), _BYLINE, WIDTH - 2 * MARGIN)
        words.append(_text(right, MARGIN + 150, byline, size, "end", italic=True))
        told, size = _fitted(plain(provenance.described), _SMALL, WIDTH - 2 * MARGIN)
        words.append(_text(middle, HEIGHT - 70, told, size, "middle", fill=_PALE))
    else:
        title, size = _fitted(title, _BYLINE - 6, WIDTH // 2)
        words.append(_text(middle, MARGIN - 40, title, size, "middle", italic=True))
    if count > 1:
        words.append(
            _text(middle, foot - (20 if number == 1 else 0), str(number), _BYLINE, "middle")
        )
    return words


def _fitted(text: str, size: int, room: int) -> tuple[str, int]:
    """A line that keeps to its room: smaller where it must be, and cut where that is not enough."""
    wide = sum(map(_letter, text))
    small = max(math.floor(min(size, room / max(wide, 0.01))), _SMALL - 4 if size <= _SMALL else 30)
    if wide * small <= room:
        return text, small
    kept, taken = 0, 1.0
    while kept < len(text) and (taken + _letter(text[kept])) * small <= room:
        taken += _letter(text[kept])
        kept += 1
    return text[:kept].rstrip() + "…", small


def _letter(char: str) -> float:
    """About how wide a letter of Times is, in its size."""
    if ord(char) > 0x2000:
        return 1.0
    if char in " ,.:;'!|/()[]fijlrtI":
        return 0.3
    return 0.75 if char.isupper() or char in "mw" else 0.5


def _text(
    x: float, y: float, text: str, size: float, anchor: str, italic: bool = False, fill: str = _INK
) -> ET.Element:
    element = ET.Element(
        _tag("text"),
        {"x": f"{x:g}", "y": f"{y:g}", "font-size": f"{size:g}", "font-family": TEXT_FONTS},
    )
    element.set("text-anchor", anchor)
    element.set("fill", fill)
    if italic:
        element.set("font-style", "italic")
    element.text = text
    return element


def _words(tag: str, text: str) -> ET.Element:
    element = ET.Element(_tag(tag))
    element.text = text
    return element


def _tag(name: str) -> str:
    return f"{{{_SVG}}}{name}"


# ---- verovio's texts --------------------------------------------------------


def _plain_text(text: ET.Element) -> ET.Element:
    """One of verovio's texts without its nesting, its musical signs as outlines.

    Signs come before words in every text that these scores have, so that where the
    words begin is known without measuring any.
    """
    place = {"x": "0", "y": "0", "text-anchor": "start"}
    runs: list[tuple[str, str, float]] = []

    def walk(element: ET.Element, family: str, size: float) -> None:
        for name in place:
            place[name] = element.get(name, place[name])
        family = element.get("font-family", family)
        size = float(element.get("font-size", f"{size}").removesuffix("px"))
        if element.text and size:
            runs.append((element.text, family, size))
        for child in element:
            walk(child, family, size)

    walk(text, "", 0.0)
    group = ET.Element(_tag("g"))
    x, y = float(place["x"]), float(place["y"])
    words, height = "", 0.0
    for content, family, size in runs:
        if family != _FONT:
            words, height = words + content, max(height, size)
            continue
        for char in content:
            outline, advance = _glyph(f"{ord(char):04X}")
            scale = _SIGN * size / 1000
            group.append(_outline(outline, x, y, scale))
            x += advance * scale
    if words.strip():
        element = ET.SubElement(
            group,
            _tag("text"),
            {"x": f"{x:g}", "y": f"{y:g}", "font-size": f"{height:g}"},
        )
        element.set("text-anchor", place["text-anchor"])
        # A space at the beginning would be lost.
        element.text = words.replace(" ", "\u00a0")
    return group


def _outline(path: str, x: float, y: float, scale: float) -> ET.Element:
    return ET.Element(
        _tag("path"),
        d=path,
        transform=f"translate({x:g},{y:g}) scale({scale:g},{-scale:g})",
    )


@functools.cache
def _glyph(code: str) -> tuple[str, float]:
    """A sign of the music font: its outline, and how far it moves on; of 1,000 to the em."""
    data = resources.files("verovio") / "data"
    outline = (data / _FONT / f"{code}.xml").read_text(encoding="utf-8")
    path = re.search(r' d="([^"]*)"', outline)
    advances = (data / f"{_FONT}.xml").read_text(encoding="utf-8")
    advance = re.search(rf'<g c="{code}"[^>]* h-a-x="([\d.]+)"', advances)
    return (path.group(1) if path else "", float(advance.group(1)) if advance else 0.0)
