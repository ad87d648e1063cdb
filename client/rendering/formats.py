"""The formats by name, and whether this machine can make them."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable

from client.rendering.settings import DEFAULT, ENGRAVED, FORMATS, SCORES, RenderSettings
from client.rendering.sound import check_sound
from music.errors import SegueError, printable

# Which formats need which Python packages, all among Segue's own requirements.
_PACKAGES = (("music21", ("midi", *SCORES)), ("verovio", ENGRAVED), ("typst", ("pdf", "png")))


def parse_formats(text: str) -> tuple[str, ...]:
    """Formats from a list such as "midi,pdf", in the order of `FORMATS`, each once.

    Raises:
      SegueError: one does not exist, or none is named.
    """
    named = [word.strip().lower() for word in text.split(",")]
    named = [word for word in named if word]
    unknown = sorted({word for word in named if word not in FORMATS})
    if unknown:
        shown = ", ".join(printable(repr(word[:40])) for word in unknown[:5])
        raise SegueError(f"unknown format: {shown}; there are {', '.join(FORMATS)}")
    if not named:
        raise SegueError(f"no format was named; there are {', '.join(FORMATS)}")
    return tuple(name for name in FORMATS if name in named)


def check_formats(formats: Iterable[str], settings: RenderSettings = DEFAULT) -> None:
    """Finds out before any work whether all formats can be made here.

    Raises:
      SegueError: a tool is missing; names it, and how to get it.
    """
    wanted = set(formats)
    for package, needed_by in _PACKAGES:
        needing = [name for name in FORMATS if name in needed_by and name in wanted]
        if needing and importlib.util.find_spec(package) is None:
            raise SegueError(
                f"{', '.join(needing)} needs the Python package {package}, which is not "
                f"installed: pip install {package}"
            )
    if "wav" in wanted:
        check_sound(settings)
