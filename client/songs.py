"""New songs from a served model, from the wish to the files.

This is the work behind `segue generate`, for any caller: choose a prime, ask the
model for events, turn them into songs, and put them where they were asked for, in as
many formats. A file appears whole or not at all, and the same request to the same
model gives the same bytes: nothing in it tells the time or the place.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from client.connection import Connection
from client.generation import Generated, GenerationClient, ModelFacts, Sampling
from client.making import Made, Wish, make_songs, play_calls
from client.originality import OriginalityCheck
from client.output import write_atomically
from client.priming import (
    Prime,
    prime_from_file,
    prime_from_nothing,
    random_section,
    song_named,
)
from client.provenance import provenance_of
from client.rendering import render
from client.request import GenerateRequest, SongReport, check_apart, check_request, stem_of
from client.shaping import shape_song
from client.whole import with_prime
from music.codec import Codec
from music.errors import SegueError
from music.roll import piano_roll

# The originality check of a model; raises a SegueError where there is none.
FindCheck = Callable[["ModelFacts"], OriginalityCheck]

# Called with (events made, events asked) as the song grows.
Progress = Callable[[int, int], None]
# Called with each part of a song, int32[S, F] codes, as it comes.
Listen = Callable[[Codec, np.ndarray], None]


def generate_song(
    request: GenerateRequest,
    on_progress: Progress | None = None,
    find_check: FindCheck | None = None,
    listen: Listen | None = None,
) -> SongReport:
    """Makes one song and writes it to `request.out`.

    Args:
      request: what is wished for.
      on_progress: told how the song grows.
      find_check: finds the check of the model that plays; None checks nothing.
      listen: hears the song as it grows.

    Raises:
      SegueError: the request cannot be met; no file is written then.
    """
    if request.count != 1:
        raise SegueError(f"{request.count} songs were asked for; generate_songs makes several")
    (made,) = generate_songs(request, on_progress, find_check, listen)
    if isinstance(made, SegueError):
        raise made
    return made


def generate_songs(
    request: GenerateRequest,
    on_progress: Progress | None = None,
    find_check: FindCheck | None = None,
    listen: Listen | None = None,
    find_composer: Callable[[ModelFacts], str | None] | None = None,
) -> list[SongReport | SegueError]:
    """Makes the songs of a request and writes them; arguments as `generate_song`.

    `find_composer` says whose songs the model learned from, for the files' own words; a
    SegueError of its says that it is not known.

    Returns:
      A report for each song, or why there is none.

    Raises:
      SegueError: the request cannot be met at all; no file is written then.
    """
    outs = check_request(request)
    with Connection(
        request.target, request.model, request.version, request.timeout, request.security
    ) as connection:
        client = GenerationClient(connection)
        facts = client.describe()
        # Before any song is made: where one must be original, it has to be known.
        check, unchecked = _find(find_check, facts, request.original)
        wishes = []
        for index in range(request.count):
            sampling = _with_seed(request.sampling, index)
            prime = choose_prime(request, facts, sampling.seed)
            check_apart(prime.path, outs[index], request.roll)
            wishes.append(Wish(prime, request.steps, sampling, request.ending))
        play = _Player(client, request, on_progress, listen)
        made = make_songs(facts, wishes, play, check, request.tries if request.original else 0)
    share, composer = play.seconds / request.count, _composer(find_composer, facts)
    reports: list[SongReport | SegueError] = []
    for wish, song, out in zip(wishes, made, outs, strict=True):
        if isinstance(song, SegueError):
            reports.append(song)
            continue
        try:
            rendered = _render(request, facts, wish, song, out, composer)
        except SegueError as error:
            reports.append(error)
            continue
        files = _write(rendered)
        reports.append(_report(request, facts, wish, song, files, share, unchecked))
    return reports


def _with_seed(sampling: Sampling, index: int) -> Sampling:
    return dataclasses.replace(sampling, seed=sampling.seed + index) if index else sampling


def _composer(
    find_composer: Callable[[ModelFacts], str | None] | None, facts: ModelFacts
) -> str | None:
    try:
        return None if find_composer is None else find_composer(facts)
    except SegueError:
        return None


def _find(
    find_check: FindCheck | None, facts: ModelFacts, required: bool
) -> tuple[OriginalityCheck | None, str | None]:
    """(the check, why there is none)."""
    if find_check is None:
        if required:
            raise SegueError("an original song needs the index of the training songs")
        return None, "it was not asked for"
    try:
        check = find_check(facts)
    except SegueError as error:
        if required:
            raise
        return None, str(error)
    if required and check.bound is None:
        raise SegueError(
            "the model learned from too few songs to say what is original; leave out --original"
        )
    return check, None


def choose_prime(request: GenerateRequest, facts: ModelFacts, seed: int | None = None) -> Prime:
    """The prime that a request asks for, in the model's codec.

    Args:
      request: what is wished for.
      facts: of the model.
      seed: draws a random section; None is the request's.

    Raises:
      SegueError: there is none, or it is too short for the model.
    """
    limits = facts.limits
    draw = request.sampling.seed if seed is None else seed
    if request.prime is not None:
        prime = prime_from_file(request.prime, facts.codec, request.prime_length)
    elif request.data is not None and request.song is not None:
        prime = prime_from_file(
            song_named(request.data, request.song), facts.codec, request.prime_length
        )
    elif request.data is not None:
        length = request.prime_length
        if length is None:
            length = max(limits.window, limits.min_prime)
        prime = random_section(request.data, facts.codec, length, draw)
    elif request.prime_length is not None:
        raise SegueError("--prime-length needs a song: give one with --prime or --data")
    else:
        prime = prime_from_nothing(facts.codec)
    if len(prime) < limits.min_prime:
        what = f"{request.prime} gives" if request.prime is not None else "the prime has"
        raise SegueError(
            f"{what} {len(prime):,} events; model {facts.model!r} needs at least "
            f"{limits.min_prime:,} to begin: choose a longer song or a greater --prime-length"
        )
    return prime


class _Player:
    """Asks the model in the way that a request's mode says; a `Play`.

    Attributes:
      seconds: that the calls took, those who listen excluded.
    """

    def __init__(
        self,
        client: GenerationClient,
        request: GenerateRequest,
        on_progress: Progress | None,
        listen: Listen | None,
    ):
        self.seconds = 0.0
        self._client, self._request = client, request
        self._on_progress, self._listen = on_progress, listen

    def __call__(
        self, primes: list[np.ndarray], steps: list[int], samplings: list[Sampling]
    ) -> list[Generated]:
        if self._request.mode == "call":
            begun = time.perf_counter()
            songs = play_calls(self._client)(primes, steps, samplings)
            self.seconds += time.perf_counter() - begun
            for song in songs:
                self._tell(len(song), song.events)
            return songs
        return list(map(self._in_parts, primes, steps, samplings))

    def _in_parts(self, prime: np.ndarray, steps: int, sampling: Sampling) -> Generated:
        parts: list[Generated] = []
        calls = _parts(self._client, self._request, prime, steps, sampling)
        while True:
            begun = time.perf_counter()
            part = next(calls, None)
            self.seconds += time.perf_counter() - begun
            if part is None:
                break
            parts.append(part)
            self._tell(sum(map(len, parts)), part.events)
        # The empty pieces stand for a song that ended before it began.
        events = np.concatenate([prime[:0], *(part.events for part in parts)])
        log_prob = np.concatenate([np.zeros(0, np.float32), *(part.log_prob for part in parts)])
        return Generated(events, log_prob, parts[-1].state if parts else None)

    def _tell(self, made: int, part: np.ndarray) -> None:
        if self._on_progress is not None:
            self._on_progress(min(made, self._request.steps), self._request.steps)
        if self._listen is not None:
            self._listen(self._client.describe().codec, part)


def _parts(
    client: GenerationClient,
    request: GenerateRequest,
    prime: np.ndarray,
    steps: int,
    sampling: Sampling,
) -> Iterator[Generated]:
    if request.mode == "stream":
        return client.stream(prime, steps, sampling, request.chunk)
    return client.paper_loop(prime, steps, sampling)


def _render(
    request: GenerateRequest,
    facts: ModelFacts,
    wish: Wish,
    made: Made,
    out: Path,
    composer: str | None,
) -> list[tuple[Path, bytes, str]]:
    """A song in every format, as (file, what goes there, the flag that named it)."""
    song = made.song
    if request.whole:
        song = with_prime(facts.codec, wish.prime, made)
    song = shape_song(song, request.shape)
    provenance = provenance_of(
        facts,
        wish,
        made,
        composer=composer,
        paper_loop=request.mode == "paper-loop",
        shape=request.shape.as_dict(),
        whole=request.whole,
    )
    rendered = []
    for ending, data in render(song, request.formats, provenance, request.rendering).items():
        path = out if ending == ".mid" else out.with_name(f"{stem_of(out)}{ending}")
        check_apart(wish.prime.path, path, request.roll)
        rendered.append((path, data, "--out"))
    if request.roll is not None:
        roll = Path(request.roll)
        rendered.append((roll, piano_roll(song, roll.suffix, provenance.remark), "--roll"))
    return rendered


def _write(rendered: list[tuple[Path, bytes, str]]) -> tuple[str, ...]:
    """Writes files, once all of a song's are rendered; those that `--out` named, MIDI first."""
    # The picture first: the song is there only when all that was asked for is.
    for path, data, flag in reversed(rendered):
        write_atomically(path, data, flag)
    return tuple(str(path) for path, _, flag in rendered if flag == "--out")


def _report(
    request: GenerateRequest,
    facts: ModelFacts,
    wish: Wish,
    made: Made,
    files: tuple[str, ...],
    seconds: float,
    unchecked: str | None,
) -> SongReport:
    return SongReport(
        model=facts.model,
        version=facts.version,
        target=request.target,
        codec=facts.codec.config(),
        mode=request.mode,
        prime=wish.prime.as_dict(),
        steps_asked=request.steps,
        steps_made=len(made.events),
        ending=request.ending,
        shape=request.shape.as_dict(),
        notes=len(made.song),
        sampling=wish.sampling.as_dict(),
        seconds=seconds,
        events_per_second=len(made.events) / seconds,
        log_prob=float(made.log_prob.astype(np.float64).mean()),
        out=files[0],
        files=files,
        roll=None if request.roll is None else str(request.roll),
        originality=made.checked,
        unchecked=unchecked,
        remade=made.remade,
    )
