"""What is wished for when a catalogue is regenerated."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from client.assembling import CHORD, check_ending
from client.generation import Sampling
from client.rendering import RenderSettings, check_formats
from client.request import DEFAULT_STEPS, DEFAULT_TRIES, MAX_TRIES
from client.shaping import Shape
from music.errors import SegueError

MAX_BATCH = 1024
DEFAULT_BATCH = 64
DEFAULT_FORMATS = ("midi", "roll")


@dataclasses.dataclass(frozen=True)
class Shard:
    """One of several equal shares of a catalogue.

    Attributes:
      index: 1..of.
      of: how many there are.
    """

    index: int
    of: int

    def __post_init__(self) -> None:
        if not 1 <= self.index <= self.of <= 10_000:
            raise SegueError(
                f"shard {self.index}/{self.of} does not exist; the first of four is 1/4"
            )

    @classmethod
    def parse(cls, text: str) -> Shard:
        """`2/4` as the second of four.

        Raises:
          SegueError: it is none.
        """
        match = re.fullmatch(r"\s*(\d{1,5})\s*/\s*(\d{1,5})\s*", text)
        if match is None:
            raise SegueError(f"shard {text!r} is none; the first of four is 1/4")
        return cls(int(match[1]), int(match[2]))

    def holds(self, sha256: str) -> bool:
        """Whether a source is of this share, by its content: the same on every machine."""
        return int(sha256[:12], 16) % self.of == self.index - 1


@dataclasses.dataclass(frozen=True)
class RegenerateRequest:
    """A wish for a catalogue of new songs.

    Attributes:
      catalogue: a folder of MIDI files.
      out: the folder that the new ones go to.
      steps: events of each.
      sampling: how they are drawn; each song's own seed is a hash of this one and the
        song's bytes.
      ending: where a song ends, of `client.assembling.ENDINGS`.
      prime_length: events of the section that a song goes on from; None is a window of
        the model.
      shape: the key, range and tempo that all are brought into.
      formats: of `client.rendering.FORMATS`.
      soundfont: that sound is made with; None looks for one.
      original: whether a song that copies is made again from where it does.
      tries: how often.
      limit: how many songs of the catalogue, from its first by name; None is all.
      shard: which share of them; None is all.
      batch: songs made together.
      retry: whether songs that failed before are tried again.
    """

    catalogue: Path
    out: Path
    steps: int = DEFAULT_STEPS
    sampling: Sampling = dataclasses.field(default_factory=Sampling)
    ending: str = CHORD
    prime_length: int | None = None
    shape: Shape = dataclasses.field(default_factory=Shape)
    formats: Sequence[str] = DEFAULT_FORMATS
    soundfont: Path | None = None
    original: bool = False
    tries: int = DEFAULT_TRIES
    limit: int | None = None
    shard: Shard | None = None
    batch: int = DEFAULT_BATCH
    retry: bool = False

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise SegueError(f"steps {self.steps} makes no song; ask for 1 or more")
        if self.prime_length is not None and self.prime_length < 1:
            raise SegueError(f"prime length {self.prime_length} is outside 1 or greater")
        if not 1 <= self.tries <= MAX_TRIES:
            raise SegueError(f"tries {self.tries} is not allowed; it must be 1..{MAX_TRIES}")
        if self.limit is not None and self.limit < 1:
            raise SegueError(f"limit {self.limit} leaves no song; it must be 1 or greater")
        if not 1 <= self.batch <= MAX_BATCH:
            raise SegueError(f"batch {self.batch} is not allowed; it must be 1..{MAX_BATCH}")
        check_ending(self.ending)
        check_formats(self.formats, self.rendering)

    @property
    def rendering(self) -> RenderSettings:
        """How the songs' files are made."""
        return RenderSettings(soundfont=self.soundfont)

    def settings(
        self, prime_length: int, reference: str | None, composer: str | None = None
    ) -> dict[str, Any]:
        """What the songs depend on beside source, model and seed, as JSON types.

        Args:
          prime_length: as the model's window has it where nothing was asked for.
          reference: SHA-256 of what originality is checked against; None where it is not.
          composer: whose songs the model learned from, as the files say it.
        """
        drawn = self.sampling.as_dict()
        drawn.pop("seed")
        return {
            "steps": self.steps,
            **drawn,
            "ending": self.ending,
            "prime_length": prime_length,
            "shape": self.shape.as_dict(),
            "tries": self.tries if self.original else 0,
            "reference": reference,
            "composer": composer,
        }
