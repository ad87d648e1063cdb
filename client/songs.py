"""A new song from a served model, from the wish to the MIDI file.

This is the work behind `segue generate`, for any caller: choose a prime, ask the
model for events, turn them into a song, and put it where it was asked for. The
file appears whole or not at all, and the same request to the same model gives
the same bytes: nothing in it tells the time or the place.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from client.connection import DEFAULT_MODEL, DEFAULT_TARGET, DEFAULT_TIMEOUT, Connection
from client.generation import Generated, GenerationClient, ModelFacts, Sampling
from client.originality import (
    Checked,
    OriginalityCheck,
    another_seed,
    events_before_copy,
    from_first_note,
)
from client.output import check_writable, write_atomically
from client.priming import Prime, prime_from_file, prime_from_nothing, random_section
from music.codec import Codec
from music.errors import SegueError
from music.midi import write_midi
from music.roll import check_suffix, piano_roll
from music.song import Song

MODES = ("call", "stream", "paper-loop")
DEFAULT_STEPS = 250
DEFAULT_TRIES = 8
MAX_TRIES = 100

# The originality check of a model; raises a SegueError where there is none.
FindCheck = Callable[["ModelFacts"], OriginalityCheck]

# Called with (events made, events asked) as the song grows.
Progress = Callable[[int, int], None]


@dataclasses.dataclass(frozen=True)
class GenerateRequest:
    """A wish for one song.

    Attributes:
      out: where the MIDI file goes; its folder is made when it is missing.
      roll: where its piano roll goes (.svg or .png); None draws none.
      prime: a MIDI file to go on from.
      data: a folder of MIDI files to take a random section from. Without
        `prime` and `data` the song begins from nothing.
      prime_length: events of the prime; None is the whole file, or one window
        of a random section.
      steps: events to make.
      sampling: how they are drawn; its seed also draws the section.
      original: whether the song must share no longer run with a training song than the
        composer's own do with each other; where it does, it is made again from the bar in
        which the run begins, with another seed.
      tries: how often it may be made again.
      mode: `call` (one call), `stream` (in chunks; the same song, and progress
        while it grows) or `paper-loop` (one call a note).
      target, model, version, timeout: as `Connection` takes them.
    """

    out: Path
    roll: Path | None = None
    prime: Path | None = None
    data: Path | None = None
    prime_length: int | None = None
    steps: int = DEFAULT_STEPS
    sampling: Sampling = dataclasses.field(default_factory=Sampling)
    original: bool = False
    tries: int = DEFAULT_TRIES
    mode: str = "call"
    target: str = DEFAULT_TARGET
    model: str = DEFAULT_MODEL
    version: int | None = None
    timeout: float = DEFAULT_TIMEOUT


@dataclasses.dataclass(frozen=True)
class SongReport:
    """What became of a request.

    Attributes:
      model, version, target: who made the song.
      codec: the model's, as `music.codec.build_codec` takes it.
      mode: as in the request.
      prime: where it began: kind, path, id, title, offset, length, skipped.
      steps_asked, steps_made: events; fewer are made where the model ended.
      notes: notes in the file.
      sampling: temperature, top_k, top_p, seed, may_end.
      seconds: what the generation calls took, and nothing else.
      events_per_second: events made in that time.
      log_prob: the mean of the model's log probabilities, nats an event.
      out: the file.
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
    notes: int
    sampling: dict[str, Any]
    seconds: float
    events_per_second: float
    log_prob: float
    out: str
    roll: str | None = None
    originality: Checked | None = None
    unchecked: str | None = None
    remade: int = 0

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON types."""
        originality = None if self.originality is None else self.originality.as_dict()
        return {**dataclasses.asdict(self), "originality": originality}


def generate_song(
    request: GenerateRequest,
    on_progress: Progress | None = None,
    find_check: FindCheck | None = None,
) -> SongReport:
    """Makes one song and writes it to `request.out`.

    Args:
      request: what is wished for.
      on_progress: told how the song grows.
      find_check: finds the check of the model that plays; None checks nothing.

    Raises:
      SegueError: the request cannot be met; no file is written then.
    """
    if request.mode not in MODES:
        raise SegueError(f"mode {request.mode!r} does not exist; choose one of: {', '.join(MODES)}")
    if request.prime is not None and request.data is not None:
        raise SegueError("both --prime and --data were given; choose one")
    if request.steps < 1:
        raise SegueError(f"steps {request.steps} makes no song; ask for 1 or more")
    if not 1 <= request.tries <= MAX_TRIES:
        raise SegueError(f"tries {request.tries} is not allowed; it must be 1..{MAX_TRIES}")
    out = Path(request.out)
    roll = None if request.roll is None else Path(request.roll)
    check_writable(out)
    if roll is not None:
        check_writable(roll, "--roll", "song.svg")
    _check_apart(request.prime, out, roll)
    if roll is not None:
        check_suffix(roll)
    with Connection(request.target, request.model, request.version, request.timeout) as connection:
        client = GenerationClient(connection)
        facts = client.describe()
        # Before the song is made: where one must be original, it has to be known.
        check, unchecked = _find(find_check, facts, request.original)
        prime = choose_prime(request, facts)
        generated, seconds = _generate(client, prime, request, on_progress)
        song = _song(facts, generated, prime)
        checked = None if check is None else check.check(song)
        remade = 0
        while request.original and check is not None and checked is not None and checked.is_copy:
            if remade == request.tries:
                raise SegueError(_not_original(checked, remade))
            remade += 1
            other, more = _remake(client, facts, prime, request, generated, song, checked, remade)
            seconds += more
            again = song_of(facts.codec, other.events, prime.song)
            if len(again):  # else it ended before its first note: another try
                generated, song, checked = other, again, check.check(again)
    remark = _remark(facts, request, prime, len(generated), remade)
    # The picture first: a song is there only when all that was asked for is.
    if roll is not None:
        write_atomically(roll, piano_roll(song, roll.suffix, remark), "--roll")
    write_atomically(out, write_midi(song, remark))
    return SongReport(
        model=facts.model,
        version=facts.version,
        target=request.target,
        codec=facts.codec.config(),
        mode=request.mode,
        prime=prime.as_dict(),
        steps_asked=request.steps,
        steps_made=len(generated),
        notes=len(song),
        sampling=request.sampling.as_dict(),
        seconds=seconds,
        events_per_second=len(generated) / seconds,
        log_prob=float(generated.log_prob.astype(np.float64).mean()),
        out=str(out),
        roll=None if roll is None else str(roll),
        originality=checked,
        unchecked=unchecked,
        remade=remade,
    )


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


def _song(facts: ModelFacts, generated: Generated, prime: Prime) -> Song:
    song = song_of(facts.codec, generated.events, prime.song)
    if not len(song):
        raise SegueError(
            f"model {facts.model!r} ended the song before its first note; "
            "choose another --seed, or keep it from ending"
        )
    return song


def _remake(
    client: GenerationClient,
    facts: ModelFacts,
    prime: Prime,
    request: GenerateRequest,
    generated: Generated,
    song: Song,
    checked: Checked,
    attempt: int,
) -> tuple[Generated, float]:
    """The song up to the bar in which its copied run begins, and another way on from there.

    Made as the first was (in one call, in chunks, by the paper's loop); with the seconds
    that it took.
    """
    assert checked.longest is not None  # it is a copy
    kept = events_before_copy(facts.codec, generated.events, song, checked.longest)
    before = generated.events[:kept]
    seed = another_seed(request.sampling.seed, attempt)
    rest = dataclasses.replace(
        request,
        steps=request.steps - kept,
        sampling=dataclasses.replace(request.sampling, seed=seed),
    )
    begin = dataclasses.replace(prime, events=np.concatenate([prime.events, before]))
    made, seconds = _generate(client, begin, rest, None)
    whole = Generated(
        np.concatenate([before, made.events]),
        np.concatenate([generated.log_prob[:kept], made.log_prob]),
        made.state,
    )
    return whole, seconds


def _not_original(checked: Checked, tries: int) -> str:
    assert checked.longest is not None
    return (
        f"after {tries} tries the song still shares {checked.run} notes in a row with "
        f"{checked.longest.title}, allowed are {checked.bound}: choose another --seed or prime, "
        "a higher --temperature, or more --tries"
    )


def choose_prime(request: GenerateRequest, facts: ModelFacts) -> Prime:
    """The prime that a request asks for, in the model's codec.

    Raises:
      SegueError: there is none, or it is too short for the model.
    """
    limits = facts.limits
    if request.prime is not None:
        prime = prime_from_file(request.prime, facts.codec, request.prime_length)
    elif request.data is not None:
        length = request.prime_length
        if length is None:
            length = max(limits.window, limits.min_prime)
        prime = random_section(request.data, facts.codec, length, request.sampling.seed)
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


def song_of(codec: Codec, events: np.ndarray, like: Song | None = None) -> Song:
    """The song that generated events spell, from its first note on.

    Args:
      codec: the model's.
      events: int32[S, F].
      like: the song whose tempo and time signature it keeps.
    """
    song = codec.decode(from_first_note(codec, events))
    if like is None:
        return song
    return dataclasses.replace(song, tempo=like.tempo, time_signature=like.time_signature)


def _generate(
    client: GenerationClient,
    prime: Prime,
    request: GenerateRequest,
    on_progress: Progress | None,
) -> tuple[Generated, float]:
    """The events, and the seconds that the calls took (the listeners' excluded)."""
    parts: list[Generated] = []
    seconds = 0.0
    calls = _calls(client, prime.events, request)
    while True:
        begun = time.perf_counter()
        part = next(calls, None)
        seconds += time.perf_counter() - begun
        if part is None:
            break
        parts.append(part)
        if on_progress is not None:
            on_progress(sum(map(len, parts)), request.steps)
    # The empty prime pieces stand for a song that ended before it began.
    events = np.concatenate([prime.events[:0], *(part.events for part in parts)])
    log_prob = np.concatenate([np.zeros(0, np.float32), *(part.log_prob for part in parts)])
    return Generated(events, log_prob, parts[-1].state if parts else None), seconds


def _calls(
    client: GenerationClient, prime: np.ndarray, request: GenerateRequest
) -> Iterator[Generated]:
    if request.mode == "call":
        # A generator, so that the call is made when the clock runs.
        return (client.generate([prime], n, request.sampling)[0] for n in (request.steps,))
    if request.mode == "stream":
        return client.stream(prime, request.steps, request.sampling)
    return client.paper_loop(prime, request.steps, request.sampling)


def _remark(
    facts: ModelFacts, request: GenerateRequest, prime: Prime, made: int, remade: int
) -> str:
    """The file's text event. No path and no date: the same song, the same bytes."""
    version = "" if facts.version is None else f" version {facts.version}"
    settings = request.sampling.as_dict()
    seed = settings.pop("seed")
    begun = "nothing"
    if prime.song is not None:
        begun = f"{len(prime)} events at {prime.offset} of {prime.song.id[:12]}"
    # Chunks give the same song as one call; the paper's loop may not.
    loop = ["paper loop"] if request.mode == "paper-loop" else []
    if remade:
        loop.append(f"made again {remade} times to be original")
    parts = [
        f"made by Segue: model {facts.model}{version}",
        f"seed {seed}",
        f"{made} of {request.steps} events",
        *(f"{name} {_plain(value)}" for name, value in settings.items()),
        f"from {begun}",
        *loop,
    ]
    return "; ".join(parts)


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:g}"


def _check_apart(prime: Path | None, out: Path, roll: Path | None) -> None:
    """Refuses to write over the song that was given, or one output over another."""
    places = {"--prime": prime, "--out": out, "--roll": roll}
    named = [(flag, Path(path).resolve()) for flag, path in places.items() if path is not None]
    for index, (flag, path) in enumerate(named):
        for other, same in named[index + 1 :]:
            if path == same:
                raise SegueError(f"{flag} and {other} name the same file {path}; choose another")
