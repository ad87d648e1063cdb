"""Which songs a run is about: what each is made of, what it is called, what is there.

Nothing is generated here and nothing written; the files of the catalogue are read for
their hashes, and no further.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from client.catalogue.request import RegenerateRequest
from client.catalogue.store import SONGS
from client.generation import ModelFacts
from music.errors import SegueError
from music.folder import File, named_files
from music.midi import MAX_FILE_BYTES

# Enters every identity: to be raised when the same settings begin to mean another song.
SCHEME = 1
_SLUG = 60
# Of an identity, enough to tell the songs of any catalogue apart by their names.
_SHORT = 10


@dataclasses.dataclass(frozen=True)
class Job:
    """A song to be made.

    Attributes:
      source: the file's path in the catalogue, for people.
      path: as the file system has it.
      source_sha256: of its bytes (hex); of its size alone where it is too large to read.
      identity: SHA-256 (hex) of source, model, seed and settings.
      seed: the song's own.
      stem: what its files are called.
      problem: why there is nothing to read; None where there is.
      formats: that it is there in already, and is to keep.
    """

    source: str
    path: bytes
    source_sha256: str
    identity: str
    seed: int
    stem: str
    problem: str | None = None
    formats: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """The file's name without its ending."""
        return os.path.splitext(self.source.rpartition("/")[2])[0]

    @property
    def composer(self) -> str | None:
        """The catalogue's folder that it lies in; None where it lies in none."""
        folder, slash, _ = self.source.partition("/")
        return folder.replace("_", " ") if slash else None


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a run is about.

    Attributes:
      jobs: every song of the catalogue, by the name of its source.
      selected: those that this run is for (`limit`, `shard`).
      to_make: those of them that have no record yet, each identity once.
      known: records by identity, of songs whose files are there.
      settings: of all songs.
      model: name, version and sha256.
    """

    jobs: tuple[Job, ...]
    selected: tuple[Job, ...]
    to_make: tuple[Job, ...]
    known: Mapping[str, Mapping[str, Any]]
    settings: Mapping[str, Any]
    model: Mapping[str, Any]


def model_identity(facts: ModelFacts) -> dict[str, Any]:
    """Which model it is: its name and version, and a hash of all it says of itself.

    The hash holds whatever the model is called, and wherever it is served: what it says
    has a hash of its weights.
    """
    said = facts.as_dict()
    said = {name: said[name] for name in ("codec", "vocabulary", "training", "limits")}
    return {"name": facts.model, "version": facts.version, "sha256": _hash(said)}


def song_identity(source_sha256: str, model_sha256: str, seed: int, settings: Any) -> str:
    """SHA-256 (hex) of what a song is made of."""
    made_of = {
        "scheme": SCHEME,
        "source": source_sha256,
        "model": model_sha256,
        "seed": seed,
        "settings": settings,
    }
    return _hash(made_of)


def song_seed(seed: int, source_sha256: str) -> int:
    """The seed of one song, from that of the run: 0..2**63 - 1."""
    digest = hashlib.sha256(f"{seed} song {source_sha256}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def make_plan(
    request: RegenerateRequest,
    facts: ModelFacts,
    reference: str | None,
    known: Mapping[str, Mapping[str, Any]],
    composer: str | None = None,
) -> Plan:
    """What a run is about.

    Args:
      request: what is wished for.
      facts: of the model.
      reference: SHA-256 of what originality is checked against; None where it is not.
      known: records of songs whose files are there, by identity.
      composer: whose songs the model learned from, where that is known.

    Raises:
      SegueError: there is no catalogue, or no MIDI file in it.
    """
    window = max(facts.limits.window, facts.limits.min_prime)
    settings = request.settings(request.prime_length or window, reference, composer)
    model = model_identity(facts)
    jobs = [
        _job(file, model["sha256"], request.sampling.seed, settings)
        for file in named_files(request.catalogue)
    ]
    selected = jobs if request.limit is None else jobs[: request.limit]
    if request.shard is not None:
        selected = [job for job in selected if request.shard.holds(job.source_sha256)]
    to_make: dict[str, Job] = {}
    for job in selected:
        record = known.get(job.identity)
        if record is None:
            to_make.setdefault(job.identity, job)
        elif not _suffices(record, request):
            there = tuple(sorted(_formats_of(record)))
            to_make.setdefault(job.identity, dataclasses.replace(job, formats=there))
    return Plan(tuple(jobs), tuple(selected), tuple(to_make.values()), known, settings, model)


def _suffices(record: Mapping[str, Any], request: RegenerateRequest) -> bool:
    """Whether a record has all that is asked for."""
    if record["status"] != "made":
        return not request.retry
    return _formats_of(record) >= set(request.formats)


def _formats_of(record: Mapping[str, Any]) -> set[str]:
    return {one["format"] for one in record["outputs"] if one["role"] == "song"}


def batches(jobs: Sequence[Job], size: int) -> list[list[Job]]:
    """Jobs, some at a time; the last batch may be a small one."""
    return [list(jobs[i : i + size]) for i in range(0, len(jobs), size)]


def _job(file: File, model_sha256: str, seed: int, settings: Any) -> Job:
    sha256, problem = source_fingerprint(file.path)
    own = song_seed(seed, sha256)
    identity = song_identity(sha256, model_sha256, own, settings)
    return Job(file.name, file.path, sha256, identity, own, _stem(file.name, identity), problem)


def source_fingerprint(path: bytes) -> tuple[str, str | None]:
    """(SHA-256 of a file's bytes, why it cannot be read)."""
    try:
        if not os.path.isfile(path):
            return _hash("no file"), "it is no regular file"
        size = os.stat(path).st_size
        if size > MAX_FILE_BYTES:
            told = f"it has {size:,} bytes; at most {MAX_FILE_BYTES:,} are read"
            return _hash(["too large", size]), told
        return hashlib.sha256(read_source(path)).hexdigest(), None
    except OSError as error:
        return _hash("unreadable"), f"it cannot be read: {error.strerror or error}"


def read_source(path: bytes) -> bytes:
    """What is ever read of a file, and one byte more that tells a longer one from it."""
    with open(path, "rb") as file:
        return file.read(MAX_FILE_BYTES + 1)


def _stem(source: str, identity: str) -> str:
    """What a song's files are called: of the source's name, letters and digits alone."""
    plain = unicodedata.normalize("NFKD", os.path.splitext(source)[0])
    ascii_only = plain.encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9]+", "-", ascii_only).strip("-")[:_SLUG].strip("-")
    return f"{slug}-{identity[:_SHORT]}" if slug else identity[:_SHORT]


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def check_apart(request: RegenerateRequest) -> None:
    """Refuses to write new songs among those they are made of.

    Raises:
      SegueError: the folder that is written to lies in the catalogue or is it, or the
        catalogue lies where the new songs go.
    """
    catalogue, out = request.catalogue.resolve(), request.out.resolve()
    ours = [(out / name).resolve() for name in (SONGS, "gallery", ".segue")]
    if any(catalogue == one or one in catalogue.parents for one in ours):
        raise SegueError(
            f"the catalogue {request.catalogue} lies where --out {request.out} keeps its own "
            "files; choose another folder"
        )
    if any(catalogue == one or catalogue in one.parents for one in (out, *ours)):
        raise SegueError(
            f"--out {request.out} lies in the catalogue, whose songs the new ones would be "
            "among; choose another folder"
        )
