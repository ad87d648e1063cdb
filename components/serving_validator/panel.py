"""A panel of songs from a candidate that is served for real.

A model server takes it up in a process of its own: TensorFlow Serving's where
it is on the PATH, else the embedded one. Everything comes over gRPC, as any client's
songs do. Primes are sections of held-out songs that hashes choose, so that the same
candidate and the same songs make the same panel.
"""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from client.assembling import song_of
from client.connection import Connection
from client.generation import GenerationClient, ModelFacts, Sampling
from components.serving_validator.settings import PanelSettings
from music.codec import Codec
from music.errors import SegueError
from music.song import Song
from music.vocabulary import Vocabulary
from serving.process import find_binary, model_server

_MODEL = "candidate"
_POLL_SECONDS = 0.2
_DAY = 86_400.0
TIMINGS = 3


@dataclasses.dataclass(frozen=True)
class Section:
    """Where a song of the panel begins.

    Attributes:
      song: a held-out one.
      offset: index of its first event that is heard.
      events: int32[T, F] codes.
    """

    song: Song
    offset: int
    events: np.ndarray


@dataclasses.dataclass(frozen=True)
class Panel:
    """What a candidate played.

    Attributes:
      sections: that the songs go on from.
      songs: without them.
      seconds: that the first song took by itself, over gRPC, the model warmed up: the
        quickest of some times, since the machine may have other work.
      server: what served it: `tensorflow_model_server` or `embedded`.
    """

    sections: tuple[Section, ...]
    songs: tuple[Song, ...]
    seconds: float
    server: str


def play(
    versions: Path,
    held_out: Sequence[Song],
    vocabulary: Vocabulary,
    settings: PanelSettings,
    log: Path,
) -> Panel:
    """Serves a candidate and asks it for its songs.

    Args:
      versions: folder with the candidate as its only version.
      held_out: songs that it has not learned from.
      vocabulary: the model's.
      settings: how many songs, how long.
      log: what the server says is added to this file.

    Raises:
      SegueError: it does not serve, or fails at a song; why.
    """
    binary = find_binary()
    # What does not load at once does not serve.
    flags = ("--enable_model_warmup=true", "--max_num_load_retries=0")
    with model_server(versions, _MODEL, log, settings.server_seconds, binary, flags) as target:
        return _ask(target, held_out, vocabulary, settings, binary or "embedded")


def _ask(
    target: str,
    held_out: Sequence[Song],
    vocabulary: Vocabulary,
    settings: PanelSettings,
    server: str,
) -> Panel:
    sampling = [
        Sampling(settings.temperature, top_p=settings.top_p, seed=settings.seed + number)
        for number in range(settings.songs)
    ]
    with Connection(target, _MODEL, timeout=settings.server_seconds) as connection:
        client = GenerationClient(connection)
        facts = _facts(client, settings.server_seconds)
        chosen = sections(held_out, facts, vocabulary, settings)
        primes = [section.events for section in chosen]
        times = []
        for _ in range(TIMINGS):
            began = time.monotonic()
            made = client.generate(primes[:1], settings.steps, sampling[:1])
            times.append(time.monotonic() - began)
        most = max(1, min(facts.limits.max_batch, facts.limits.max_events // settings.steps))
        for first in range(1, len(primes), most):
            batch = slice(first, first + most)
            # As long as they may take one after the other.
            patience = settings.server_seconds + settings.max_seconds * len(primes[batch])
            made += client.generate(
                primes[batch], settings.steps, sampling[batch], min(patience, _DAY)
            )
    songs = tuple(
        song_of(facts.codec, one.events, section.song)
        for one, section in zip(made, chosen, strict=True)
    )
    return Panel(tuple(chosen), songs, min(times), Path(server).name)


def _facts(client: GenerationClient, seconds: float) -> ModelFacts:
    """What the model says of itself, as soon as it has been loaded."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return client.describe()
        except SegueError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_POLL_SECONDS)


def sections(
    held_out: Sequence[Song], facts: ModelFacts, vocabulary: Vocabulary, settings: PanelSettings
) -> list[Section]:
    """A section for each song of a panel, of a window's length where the song has it.

    Args:
      held_out: songs.
      facts: the model's.
      vocabulary: the model's.
      settings: how many, and the seed.

    Raises:
      SegueError: no held-out song is long enough to begin with.
    """
    limits = facts.limits
    heard = [(song, _heard(song, facts.codec, vocabulary)) for song in held_out]
    heard = [(song, events) for song, events in heard if len(events) >= max(1, limits.min_prime)]
    if not heard:
        raise SegueError(
            f"no held-out song has the {limits.min_prime:,} events that the model begins with"
        )
    chosen = []
    for number in range(settings.songs):
        # Every song once before any of them again.
        turn, place = divmod(number, len(heard))
        order = sorted(heard, key=lambda one: _hash(settings.seed, turn, one[0].id))
        song, events = order[place]
        length = min(len(events), max(limits.window, limits.min_prime))
        offset = _hash(settings.seed, number, "offset", song.id) % (len(events) - length + 1)
        chosen.append(Section(song, offset, events[offset : offset + length]))
    return chosen


def _heard(song: Song, codec: Codec, vocabulary: Vocabulary) -> np.ndarray:
    return codec.continuation_of(vocabulary.admit(codec.encode(song)))


def _hash(*parts: object) -> int:
    text = ":".join(map(str, parts))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
