"""What is wished for when songs are, and what is told of them when they are made."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from client.assembling import CHORD, check_ending
from client.connection import DEFAULT_MODEL, DEFAULT_TARGET, DEFAULT_TIMEOUT
from client.generation import Sampling
from client.originality import Checked
from client.output import check_writable
from client.rendering import RenderSettings, check_formats
from client.security import Security
from client.shaping import Shape
from music.errors import SegueError
from music.roll import check_suffix

MODES = ("call", "stream", "paper-loop")
DEFAULT_STEPS = 250
DEFAULT_CHUNK = 25
DEFAULT_TRIES = 8
MAX_TRIES = 100
MAX_COUNT = 1000
MIDI_SUFFIXES = (".mid", ".midi")


@dataclasses.dataclass(frozen=True)
class GenerateRequest:
    """A wish for songs.

    Attributes:
      out: where the MIDI file goes; its folder is made when it is missing. Of several
        songs, `song.mid` stands for `song-1.mid`, `song-2.mid` and so on.
      formats: of `client.rendering.FORMATS`; other files than MIDI stand beside `out`,
        under its name.
      soundfont: that sound is made with; None looks for one.
      roll: where a piano roll goes (.svg or .png); None draws none. For one song only.
      prime: a MIDI or MusicXML file to go on from.
      data: a folder of MIDI files to take a random section from. Without
        `prime` and `data` the song begins from nothing.
      song: the name of a song in `data`, which then is the prime.
      prime_length: events of the prime; None is the whole file, or one window
        of a random section.
      count: how many songs; each has a seed of its own: that of `sampling`, the next
        one, and so on.
      steps: events to make.
      sampling: how they are drawn; its seed also draws the section.
      ending: where a song ends, of `client.assembling.ENDINGS`.
      shape: the key, range and tempo that it is brought into.
      whole: whether what it goes on from is written before it.
      original: whether the song must share no longer run with a training song than the
        composer's own do with each other; where it does, it is made again from the bar in
        which the run begins, with another seed.
      tries: how often it may be made again.
      mode: `call` (one call), `stream` (in chunks; the same song, and progress
        while it grows) or `paper-loop` (one call a note).
      chunk: events of a chunk.
      target, model, version, timeout, security: as `Connection` takes them.
    """

    out: Path
    formats: Sequence[str] = ("midi",)
    soundfont: Path | None = None
    roll: Path | None = None
    prime: Path | None = None
    data: Path | None = None
    song: str | None = None
    prime_length: int | None = None
    count: int = 1
    steps: int = DEFAULT_STEPS
    sampling: Sampling = dataclasses.field(default_factory=Sampling)
    ending: str = CHORD
    shape: Shape = dataclasses.field(default_factory=Shape)
    whole: bool = False
    original: bool = False
    tries: int = DEFAULT_TRIES
    mode: str = "call"
    chunk: int = DEFAULT_CHUNK
    target: str = DEFAULT_TARGET
    model: str = DEFAULT_MODEL
    version: int | None = None
    timeout: float = DEFAULT_TIMEOUT
    security: Security | None = None

    @property
    def rendering(self) -> RenderSettings:
        """How the song's files are made."""
        return RenderSettings(soundfont=self.soundfont)


@dataclasses.dataclass(frozen=True)
class SongReport:
    """What became of a request.

    Attributes:
      model, version, target: who made the song.
      codec: the model's, as `music.codec.build_codec` takes it.
      mode: as in the request.
      prime: where it began: kind, path, id, title, offset, length, skipped.
      steps_asked, steps_made: events; more are made than asked to end a chord or a bar,
        fewer where the model ended.
      ending, shape: as in the request.
      notes: notes of the song, those of its prime not counted.
      sampling: temperature, top_k, top_p, seed, may_end.
      seconds: what the generation calls took, and nothing else; a song's share of the
        calls that several were made in.
      events_per_second: events made in that time.
      log_prob: the mean of the model's log probabilities, nats an event.
      out: the MIDI file, or the first of the others where none was asked for.
      files: all of them.
      roll: its picture; None where none was asked for.
      originality: what it shares with the training songs; None where it was not checked.
      unchecked: why it was not; None where it was.
      remade: how often it was made again to be original.
    """

    model: str
    version: int | None
    target: str
    codec: dict[str, Any]
    mode: str
    prime: dict[str, Any]
    steps_asked: int
    steps_made: int
    ending: str
    shape: dict[str, Any]
    notes: int
    sampling: dict[str, Any]
    seconds: float
    events_per_second: float
    log_prob: float
    out: str
    files: tuple[str, ...]
    roll: str | None = None
    originality: Checked | None = None
    unchecked: str | None = None
    remade: int = 0

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON types."""
        originality = None if self.originality is None else self.originality.as_dict()
        return {
            **dataclasses.asdict(self),
            "files": list(self.files),
            "originality": originality,
        }


def check_request(request: GenerateRequest) -> list[Path]:
    """Refuses what cannot be right before anyone is asked; where each song's MIDI file goes."""
    if request.mode not in MODES:
        raise SegueError(f"mode {request.mode!r} does not exist; choose one of: {', '.join(MODES)}")
    if request.prime is not None and request.data is not None:
        raise SegueError("both --prime and --data were given; choose one")
    if request.song is not None and request.data is None:
        raise SegueError(f"--song {request.song} needs a folder to look in; name it with --data")
    if request.whole and request.prime is None and request.data is None:
        raise SegueError("a song from nothing continues no other; give one with --prime or --data")
    if request.steps < 1:
        raise SegueError(f"steps {request.steps} makes no song; ask for 1 or more")
    if not 1 <= request.tries <= MAX_TRIES:
        raise SegueError(f"tries {request.tries} is not allowed; it must be 1..{MAX_TRIES}")
    if not 1 <= request.count <= MAX_COUNT:
        raise SegueError(f"count {request.count} is not allowed; it must be 1..{MAX_COUNT}")
    if request.count > 1 and request.mode != "call":
        raise SegueError(
            f"{request.count} songs are made by plain calls; leave out the {request.mode}"
        )
    if request.count > 1 and request.roll is not None:
        raise SegueError("one picture was named for several songs; use --formats roll instead")
    check_ending(request.ending)
    out = Path(request.out)
    roll = None if request.roll is None else Path(request.roll)
    check_formats(request.formats, request.rendering)
    outs = (
        [out]
        if request.count == 1
        else [
            out.with_name(f"{stem_of(out)}-{index + 1}{out.name[len(stem_of(out)) :]}")
            for index in range(request.count)
        ]
    )
    for path in outs:
        check_writable(path)
        check_apart(request.prime, path, roll)
    if roll is not None:
        check_writable(roll, "--roll", "song.svg")
        check_suffix(roll)
    return outs


def stem_of(out: Path) -> str:
    """What the files of a song are called, up to their endings."""
    return out.stem if out.suffix.lower() in MIDI_SUFFIXES else out.name


def check_apart(prime: Path | None, out: Path, roll: Path | None) -> None:
    """Refuses to write over the song that is gone on from, or one output over another.

    Raises:
      SegueError: two of them are one file.
    """
    places = {"--prime": prime, "--out": out, "--roll": roll}
    named = [(flag, Path(path).resolve()) for flag, path in places.items() if path is not None]
    for index, (flag, path) in enumerate(named):
        for other, same in named[index + 1 :]:
            if path == same:
                raise SegueError(f"{flag} and {other} name the same file {path}; choose another")
