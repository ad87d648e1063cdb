"""A run over a catalogue, from the wish to the manifest and the gallery."""

from __future__ import annotations

import dataclasses
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from client.catalogue.manifest import (
    digest_of,
    known_songs,
    read_manifest,
    rows_of,
    write_manifest,
)
from client.catalogue.plan import Plan, batches, check_apart, make_plan
from client.catalogue.request import RegenerateRequest
from client.catalogue.songs import BatchSettings
from client.catalogue.store import PAGE, Store
from client.catalogue.verify import strangers
from client.generation import ModelFacts
from client.rendering import RenderSettings

if TYPE_CHECKING:
    from client.catalogue.models import CheckSource, ModelSource

# Told how many songs are there, of how many that this run is to make.
Progress = Callable[[int, int], None]
_LOOK = 0.5  # seconds between two looks at how many there are


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a run did.

    Attributes:
      songs: in the catalogue.
      selected: of them this run was for.
      made, failed: in this run.
      unchanged: of the selected, there before.
      failures: of the selected, this run's and earlier ones: (source, error).
      copies, flagged: of the selected that are there.
      missing: of the catalogue that have no record yet: other shards', beyond the limit.
      left: files of earlier songs that the manifest no longer holds.
      pruned: of them were deleted.
      gallery: the page; None where nothing was to be written.
      seconds: that the making took.
    """

    songs: int
    selected: int
    made: int
    failed: int
    unchanged: int
    failures: tuple[tuple[str, str], ...]
    copies: int
    flagged: int
    missing: int
    left: int = 0
    pruned: int = 0
    gallery: Path | None = None
    seconds: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """As JSON types."""
        return {
            **dataclasses.asdict(self),
            "failures": [list(one) for one in self.failures],
            "gallery": None if self.gallery is None else str(self.gallery),
        }


@dataclasses.dataclass(frozen=True)
class Making:
    """How songs are made.

    Attributes:
      model: where workers get it from.
      check: of originality; None where there is none.
      reference: SHA-256 of what is checked against; None where nothing is.
      composer: whose songs the model learned from, where that is known.
      beam: Beam's arguments.
      gallery: whether a page is written.
      prune: whether files of earlier songs are deleted.
    """

    model: ModelSource
    check: CheckSource | None = None
    reference: str | None = None
    composer: str | None = None
    beam: Sequence[str] = ()
    gallery: bool = True
    prune: bool = False


def plan_run(request: RegenerateRequest, facts: ModelFacts, making: Making) -> Plan:
    """What a run would do; nothing is written.

    Raises:
      SegueError: there is no catalogue, or what is in the folder cannot be read.
    """
    check_apart(request)
    store = Store(request.out)
    known = known_songs(store, read_manifest(store))
    return make_plan(request, facts, making.reference, known, making.composer)


def regenerate(
    request: RegenerateRequest,
    facts: ModelFacts,
    making: Making,
    on_progress: Progress | None = None,
) -> Outcome:
    """Makes a new song for every song of a catalogue that has none yet.

    Args:
      request: what is wished for.
      facts: of the model.
      making: how.
      on_progress: told how far it is.

    Raises:
      SegueError: there is no catalogue, the model cannot be asked, or the folder cannot
        be written. What was made by then stays, and the next run goes on from there.
    """
    check_apart(request)
    store = Store(request.out)
    shard = None if request.shard is None else f"{request.shard.index}/{request.shard.of}"
    with store.held(shard):
        plan = plan_run(request, facts, making)
        begun = time.monotonic()
        if plan.to_make:
            _make(request, plan, making, store, on_progress)
        return _settle(request, plan, making, store, time.monotonic() - begun)


def _make(
    request: RegenerateRequest,
    plan: Plan,
    making: Making,
    store: Store,
    on_progress: Progress | None,
) -> None:
    from client.catalogue.beam import Work, run_batches

    common = BatchSettings(
        steps=request.steps,
        sampling=request.sampling,
        prime_length=plan.settings["prime_length"],
        formats=tuple(request.formats),
        settings=plan.settings,
        model=plan.model,
        ending=request.ending,
        shape=request.shape,
        rendering=_found_anywhere(request.rendering),
        tries=request.tries if request.original else 0,
        composer=making.composer,
    )
    work = Work(request.out.absolute(), store.run, making.model, making.check, common)
    # Of a song whose record does not suffice the old one must not be taken for the new.
    store.forget([job.identity for job in plan.to_make])
    with _told(store, len(plan.to_make), on_progress):
        jobs = [dataclasses.replace(job, path=_whole(job.path)) for job in plan.to_make]
        run_batches(batches(jobs, request.batch), work, making.beam)


def _whole(path: bytes) -> bytes:
    """A path that a worker finds, whatever folder it begins in."""
    return os.path.join(os.getcwdb(), path)


def _found_anywhere(rendering: RenderSettings) -> RenderSettings:
    if rendering.soundfont is None:
        return rendering
    return dataclasses.replace(rendering, soundfont=rendering.soundfont.absolute())


@contextmanager
def _told(store: Store, of: int, on_progress: Progress | None) -> Iterator[None]:
    """Tells how many songs are there, from their records, while they are made."""
    if on_progress is None:
        yield
        return
    before, over = store.count(), threading.Event()

    def look() -> None:
        while not over.wait(_LOOK):
            on_progress(min(store.count() - before, of), of)

    teller = threading.Thread(target=look, daemon=True)
    teller.start()
    try:
        yield
    finally:
        over.set()
        teller.join()
    on_progress(of, of)


def _settle(
    request: RegenerateRequest, plan: Plan, making: Making, store: Store, seconds: float
) -> Outcome:
    """Writes the manifest and the gallery of all that is known now."""
    with store.merging():
        before = read_manifest(store)
        known = known_songs(store, before)
        rows = rows_of(plan, known)
        if rows != before or not store.has_manifest():
            store.settle()
            write_manifest(store, rows)
        gallery = None
        if making.gallery:
            shows, gallery = digest_of(rows), store.folder / PAGE
            if store.page_shows() != shows:
                gallery = _write_gallery(request, plan, store, rows)
                store.page_shows_now(shows)
        store.settle()
        # What other shards are writing stands in no row yet.
        left, pruned = (
            (0, 0) if request.shard is not None else _leftovers(store, rows, making.prune)
        )
        # Another shard may have written its songs' records anew by now.
        mine = plan.jobs if request.shard is None else plan.selected
        store.forget([job.identity for job in mine if job.identity in known])
    return _outcome(plan, known, left, pruned, gallery, seconds)


def _write_gallery(
    request: RegenerateRequest, plan: Plan, store: Store, rows: Sequence[Mapping[str, Any]]
) -> Path:
    from client.gallery import write_gallery

    made = sum(row["status"] == "made" for row in rows)
    about = {
        "catalogue": request.catalogue.resolve().name,
        "made": made,
        "failed": len(rows) - made,
        "model": dict(plan.model),
        "settings": dict(plan.settings),
        "formats": list(request.formats),
    }
    return write_gallery(store.folder, rows, about)


def _leftovers(store: Store, rows: Sequence[Mapping[str, Any]], prune: bool) -> tuple[int, int]:
    """(files among the songs that no row names, files of that kind that were deleted)."""
    there = strangers(store.folder, rows)
    if not prune:
        return len(there), 0
    gone = 0
    for path in there:
        with suppress(OSError):  # a folder, or what is not ours to delete
            (store.folder / path).unlink()
            gone += 1
    return len(there) - gone, gone


def _outcome(
    plan: Plan,
    known: Mapping[str, Mapping[str, Any]],
    left: int,
    pruned: int,
    gallery: Path | None,
    seconds: float,
) -> Outcome:
    made_now = {job.identity for job in plan.to_make}
    there = [(job, known[job.identity]) for job in plan.selected if job.identity in known]
    made = [(job, record) for job, record in there if record["status"] == "made"]
    failures = [(job, record) for job, record in there if record["status"] != "made"]
    return Outcome(
        songs=len(plan.jobs),
        selected=len(plan.selected),
        made=sum(job.identity in made_now for job, _ in made),
        failed=sum(job.identity in made_now for job, _ in failures),
        unchanged=sum(job.identity not in made_now for job, _ in made),
        failures=tuple((job.source, record["error"]) for job, record in failures),
        copies=sum(bool((record["originality"] or {}).get("is_copy")) for _, record in made),
        flagged=sum(bool(record["flags"]) for _, record in made),
        missing=sum(job.identity not in known for job in plan.jobs),
        left=left,
        pruned=pruned,
        gallery=gallery,
        seconds=seconds,
    )
