"""Where a new song came from, in the words that its files carry.

Every format has a place for it: MIDI a text event, MusicXML its identification,
PDF its document properties, SVG its description, PNG and WAV a chunk of text. All
are filled from one `Provenance`, so that no two files of a song disagree.
"""

from __future__ import annotations

import dataclasses

# What the files name as the program that made them.
SOFTWARE = "Segue"


@dataclasses.dataclass(frozen=True)
class Provenance:
    """Who made a song, and from what.

    Attributes:
      title: of the new song.
      composer: whose catalogue it was learned from, if known.
      facts: ordered (name, value) pairs: model, version, seed, source and the like.
      remark: the same as one line, for formats that hold one.
    """

    title: str
    composer: str | None = None
    facts: tuple[tuple[str, str], ...] = ()
    remark: str = ""

    @property
    def byline(self) -> str:
        """What stands where a score names its composer."""
        return f"after {self.composer}, by {SOFTWARE}" if self.composer else f"by {SOFTWARE}"

    @property
    def described(self) -> str:
        """The remark; where there is none, the facts as one line."""
        return self.remark or "; ".join(
            [f"made by {SOFTWARE}", *(f"{name} {value}" for name, value in self.facts)]
        )


def plain(text: str) -> str:
    """Text as XML and document properties can hold it: one line without control characters."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())
