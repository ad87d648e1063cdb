"""Engraved pages as one PDF, or as PNG pictures.

Both are set by typst, which needs no display, no printer and no font of the system: a
PDF keeps the outlines of the SVG pages, a PNG has 150 dots to the inch. Words are in
STIX, a free Times that matplotlib brings along; it has Latin, Greek and Cyrillic letters.

Neither file tells the day or holds anything of chance: the same pages give the same
bytes. One thread at a time may use the compiler; a lock sees to that.
"""

from __future__ import annotations

import functools
import json
import struct
import threading
import zlib
from collections.abc import Sequence
from typing import Any

from client.rendering.provenance import SOFTWARE, Provenance, plain

DOTS_PER_INCH = 150

# Words from outside come as inputs, never as source: what they hold is not run.
_SOURCE = b"""
#set document(
  title: sys.inputs.title,
  author: sys.inputs.author,
  description: sys.inputs.description,
  keywords: json(bytes(sys.inputs.keywords)),
  date: none,
)
#set page(width: 210mm, height: 297mm, margin: 0pt)
#for number in range(int(sys.inputs.count)) {
  let data = bytes(sys.inputs.at("page" + str(number)))
  image(data, format: "svg", width: 210mm, height: 297mm, alt: sys.inputs.title)
}
"""

_LOCK = threading.Lock()


def pdf(pages: Sequence[bytes], provenance: Provenance) -> bytes:
    """SVG pages as one PDF, with title, byline and provenance among its properties."""
    return _compiled(pages, provenance, format="pdf")


def pngs(pages: Sequence[bytes], provenance: Provenance) -> list[bytes]:
    """Each SVG page as a PNG of 1,240 by 1,754 pixels, with provenance in its text chunks."""
    # A page alone needs a sixth of the memory of a long song's together.
    return [
        _annotated(_compiled([page], provenance, format="png", ppi=DOTS_PER_INCH), provenance)
        for page in pages
    ]


def _compiled(pages: Sequence[bytes], provenance: Provenance, **options: Any) -> bytes:
    inputs = {
        "title": plain(provenance.title) or "Untitled",
        "author": plain(provenance.byline),
        "description": plain(provenance.described),
        "keywords": json.dumps(
            [SOFTWARE, *(f"{plain(name)} {plain(value)}" for name, value in provenance.facts)]
        ),
        "count": str(len(pages)),
    }
    inputs |= {f"page{index}": page.decode() for index, page in enumerate(pages)}
    with _LOCK:
        return _compiler().compile(input=_SOURCE, sys_inputs=inputs, **options)


@functools.cache
def _compiler() -> Any:
    import matplotlib
    import typst

    make: Any = typst.Compiler
    fonts = f"{matplotlib.get_data_path()}/fonts/ttf"
    return make(_SOURCE, font_paths=[fonts], ignore_system_fonts=True)


# ---- PNG's chunks -----------------------------------------------------------

_HEADER = 8 + 12 + 13  # the signature and the IHDR chunk


def _annotated(png: bytes, provenance: Provenance) -> bytes:
    """A PNG that says how large it is on paper, and where it comes from."""
    metre = round(DOTS_PER_INCH / 0.0254)
    chunks = [
        _chunk(b"pHYs", struct.pack(">IIB", metre, metre, 1)),
        _text_chunk("Title", plain(provenance.title)),
        _text_chunk("Author", plain(provenance.byline)),
        _text_chunk("Description", plain(provenance.described)),
        _text_chunk("Software", SOFTWARE),
    ]
    return png[:_HEADER] + b"".join(chunks) + png[_HEADER:]


def _text_chunk(keyword: str, text: str) -> bytes:
    try:
        return _chunk(b"tEXt", keyword.encode() + b"\0" + text.encode("latin-1"))
    except UnicodeEncodeError:
        return _chunk(b"iTXt", keyword.encode() + b"\0\0\0\0\0" + text.encode())


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
