"""A batch of a catalogue's songs: read, made together, measured and written.

A song that cannot be made is a record too, with the reason, and stops no other. A model
that cannot be asked stops the run: that is no fault of a song's.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from client.assembling import CHORD, whole_bar
from client.catalogue.plan import Job, read_source
from client.catalogue.store import SONGS, Store
from client.generation import GenerationClient, ModelFacts, Sampling
from client.making import Made, Wish, make_songs, play_calls
from client.originality import Checked, OriginalityCheck
from client.priming import Prime, section_of
from client.provenance import provenance_of
from client.rendering import FORMATS, RenderSettings, render
from client.shaping import Shape, shape_song
from music.errors import SegueError, printable
from music.measures import degeneration, describe, signs
from music.measures.reference import plain
from music.midi import read_midi
from music.roll import piano_roll
from music.song import TICKS_PER_QUARTER, Song


@dataclasses.dataclass(frozen=True)
class BatchSettings:
    """What all songs of a run have in common; travels to Beam's workers.

    Attributes:
      steps, sampling, ending, prime_length, shape, formats, tries: as in the request;
        the sampling's seed plays no role, since each song has its own.
      rendering: how files are made.
      settings, model: as the records tell them.
      composer: whose songs the model learned from, where that is known.
    """

    steps: int
    sampling: Sampling
    prime_length: int
    formats: tuple[str, ...]
    settings: Mapping[str, Any]
    model: Mapping[str, Any]
    ending: str = CHORD
    shape: Shape = dataclasses.field(default_factory=Shape)
    tries: int = 0
    rendering: RenderSettings = dataclasses.field(default_factory=RenderSettings)
    composer: str | None = None


def make_batch(
    jobs: Sequence[Job],
    client: GenerationClient,
    check: OriginalityCheck | None,
    store: Store,
    common: BatchSettings,
) -> list[dict[str, Any]]:
    """Makes songs together, and writes their files and records.

    Returns:
      Their records, in order.

    Raises:
      SegueError: the model cannot be asked, or nothing can be written.
    """
    facts = client.describe()
    wishes: dict[int, Wish] = {}
    read: dict[int, bytes] = {}
    failed: dict[int, SegueError] = {}
    for index, job in enumerate(jobs):
        try:
            read[index] = _read(job)
            prime = _prime(job, read[index], facts, common.prime_length)
            sampling = dataclasses.replace(common.sampling, seed=job.seed)
            wishes[index] = Wish(prime, common.steps, sampling, common.ending)
        except SegueError as error:
            failed[index] = error
    made = make_songs(facts, list(wishes.values()), play_calls(client), check, common.tries)
    songs = dict(zip(wishes, made, strict=True))
    records = []
    for index, job in enumerate(jobs):
        song = failed.get(index) or songs[index]
        files: dict[str, bytes] = {}
        if not isinstance(song, SegueError):
            try:
                record, files = _finish(job, read[index], facts, wishes[index], song, check, common)
            except SegueError as error:
                song = error
        if isinstance(song, SegueError):
            record = _base(job, common) | {"status": "failed", "error": _line(song)}
        # What cannot be written is no fault of the song's.
        for path, data in files.items():
            store.write(path, data)
        store.record(record)
        records.append(record)
    return records


def _read(job: Job) -> bytes:
    """The file of the song that is gone on from.

    Raises:
      SegueError: it is none, or no longer the one that was planned with.
    """
    if job.problem is not None:
        raise SegueError(job.problem)
    try:
        data = read_source(job.path)
    except OSError as error:
        raise SegueError(f"it can no longer be read: {error.strerror or error}") from None
    if hashlib.sha256(data).hexdigest() != job.source_sha256:
        raise SegueError("it changed while the catalogue was being regenerated; run again")
    return data


def _prime(job: Job, data: bytes, facts: ModelFacts, length: int) -> Prime:
    """The section that a song goes on from.

    Raises:
      SegueError: there is none.
    """
    prime = section_of(read_midi(data, job.title), facts.codec, length, job.seed)
    least = max(facts.limits.min_prime, 1)
    if len(prime) < least:
        raise SegueError(
            f"it has {len(prime):,} events; the model needs at least {least:,} to begin"
        )
    return prime


def _finish(
    job: Job,
    source: bytes,
    facts: ModelFacts,
    wish: Wish,
    made: Made,
    check: OriginalityCheck | None,
    common: BatchSettings,
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """A song's record, and its files by path."""
    assert wish.prime.song is not None
    song = shape_song(made.song, common.shape)
    provenance = provenance_of(
        facts, wish, made, composer=common.composer, shape=common.shape.as_dict()
    )
    formats = [name for name in FORMATS if name in {*common.formats, *job.formats}]
    files: dict[str, bytes] = {}
    outputs = [
        _put(files, "song", _format_of(ending), f"{job.stem}{ending}", data)
        for ending, data in render(song, formats, provenance, common.rendering).items()
    ]
    outputs += _original(job, source, wish.prime.song, files, formats)
    bar, tempo = whole_bar(song), song.tempo or 120.0
    measured = signs(song)
    flags = [] if check is None else degeneration(measured, check.bounds)
    record = _base(job, common) | {
        "status": "made",
        "prime": {"offset": wish.prime.offset, "length": len(wish.prime)},
        "events": len(made.events),
        "notes": len(song),
        "bars": -(-song.end // bar),
        "seconds": round(song.end / TICKS_PER_QUARTER / tempo * 60, 3),
        "remade": made.remade,
        "measures": {
            name: None if (number := plain(value)) is None else round(number, 6)
            for name, value in describe(song).items()
        },
        "flags": flags,
        "originality": None if made.checked is None else originality_facts(made.checked),
        "outputs": outputs,
    }
    return record, files


def originality_facts(checked: Checked) -> dict[str, Any]:
    """What a record says of a song's originality."""
    longest = checked.longest
    return {
        "run": checked.run,
        "bound": checked.bound,
        "percentile": checked.percentile,
        "is_copy": checked.is_copy,
        "title": None if longest is None else longest.title,
        "bar": None if longest is None else longest.bar,
        "source_bar": None if longest is None else longest.source_bar,
    }


def _original(
    job: Job, source: bytes, song: Song, files: dict[str, bytes], formats: Sequence[str]
) -> list[dict[str, Any]]:
    """What a song is held beside: the one that it goes on from, byte for byte."""
    outputs = [_put(files, "original", "midi", f"{job.stem}.original.mid", source)]
    if "roll" in formats:
        roll = piano_roll(song, ".svg")
        outputs.append(_put(files, "original", "roll", f"{job.stem}.original.roll.svg", roll))
    return outputs


def _put(files: dict[str, bytes], role: str, kind: str, name: str, data: bytes) -> dict[str, Any]:
    path = f"{SONGS}/{name}"
    files[path] = data
    digest = hashlib.sha256(data).hexdigest()
    return {"role": role, "format": kind, "path": path, "sha256": digest, "bytes": len(data)}


_ENDINGS = {".mid": "midi", ".roll.svg": "roll"}


def _format_of(ending: str) -> str:
    """The format that a file's ending stands for."""
    found = _ENDINGS.get(ending) or ending.rpartition(".")[2]
    assert found in FORMATS, ending
    return found


def _base(job: Job, common: BatchSettings) -> dict[str, Any]:
    """What a record says whatever became of its song."""
    return {
        "identity": job.identity,
        "source_sha256": job.source_sha256,
        "model": dict(common.model),
        "seed": job.seed,
        "settings": dict(common.settings),
        "error": None,
        "prime": None,
        "events": 0,
        "notes": 0,
        "bars": 0,
        "seconds": 0.0,
        "remade": 0,
        "measures": {},
        "flags": [],
        "originality": None,
        "outputs": [],
    }


def _line(error: SegueError) -> str:
    return printable(" ".join(str(error).split()))
