"""What may be asked of a rendering, and where its bounds are."""

from __future__ import annotations

import dataclasses
from pathlib import Path

# In the order in which they are made, told and listed.
FORMATS = ("midi", "musicxml", "pdf", "svg", "png", "wav", "roll")

# Those that need the song as a score, and those that need that score engraved.
SCORES = ("musicxml", "pdf", "svg", "png")
ENGRAVED = ("pdf", "svg", "png")


@dataclasses.dataclass(frozen=True)
class RenderSettings:
    """How a song is rendered.

    Attributes:
      soundfont: an .sf2 or .sf3 file for `wav`; None looks in the environment
        variable SEGUE_SOUNDFONT, then in the system's usual places.
      notes: that a score may have.
      bars: that a score may have.
      pages: that an engraved score may have.
      seconds: that a song for `wav` may last.
    """

    soundfont: Path | None = None
    notes: int = 20_000
    bars: int = 2_000
    pages: int = 200
    seconds: float = 1_200.0


DEFAULT = RenderSettings()
