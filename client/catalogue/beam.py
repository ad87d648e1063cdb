"""The batches of a catalogue over Beam's workers.

The pipeline is three steps: the batches, spread over the workers, each through a model.
What a worker makes it writes itself, song by song, so that nothing is lost with a run
that is killed; what comes back is only how many there were. A worker may be a process in
another folder, or on another machine that sees the same paths: it is told whole ones.
"""

from __future__ import annotations

import contextlib
import dataclasses
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.utils.shared import Shared

from client.catalogue.models import CheckSource, ModelSource
from client.catalogue.plan import Job
from client.catalogue.songs import BatchSettings, make_batch
from client.catalogue.store import Store
from client.generation import GenerationClient
from music.errors import SegueError, find_segue_error


@dataclasses.dataclass(frozen=True)
class Work:
    """All that a worker has to know.

    Attributes:
      out: the folder that songs go to.
      run: of the store, which they go there for.
      model, check: where they are to be had; no check checks nothing.
      common: what all songs have in common.
    """

    out: Path
    run: str
    model: ModelSource
    check: CheckSource | None
    common: BatchSettings


class _Opened:
    """A model and a check that the threads of a worker share."""

    def __init__(self, work: Work):
        opened = contextlib.ExitStack()
        caller = opened.enter_context(work.model.open())
        # At the latest before the interpreter ends, while the model's libraries are there.
        weakref.finalize(self, opened.close)
        self.client = GenerationClient(caller)
        self.check = None if work.check is None else work.check.open()


class MakeSongs(beam.DoFn):
    """Batches of jobs in, how many songs were made and failed out."""

    def __init__(self, work: Work, shared: Shared):
        self._work, self._shared = work, shared
        self._made = beam.metrics.Metrics.counter("segue", "songs_made")
        self._failed = beam.metrics.Metrics.counter("segue", "songs_failed")

    def setup(self) -> None:
        self._opened = self._shared.acquire(lambda: _Opened(self._work))
        self._store = Store(self._work.out, self._work.run)

    def process(self, jobs: list[Job]) -> Iterator[tuple[int, int]]:
        records = make_batch(
            jobs, self._opened.client, self._opened.check, self._store, self._work.common
        )
        made = sum(record["status"] == "made" for record in records)
        self._made.inc(made)
        self._failed.inc(len(records) - made)
        yield made, len(records) - made


def run_batches(batches: Sequence[list[Job]], work: Work, arguments: Sequence[str]) -> None:
    """Makes all songs of some batches.

    Args:
      batches: of jobs; what a song becomes does not depend on its batch.
      work: all that a worker has to know.
      arguments: Beam's, as on a command line.

    Raises:
      SegueError: a worker could not ask the model, or could not write.
    """
    try:
        with beam.Pipeline(options=PipelineOptions(list(arguments))) as pipeline:
            _ = (
                pipeline
                | "Batches" >> beam.Create(list(batches), reshuffle=False)
                | "Spread" >> beam.Reshuffle()
                | "MakeSongs" >> beam.ParDo(MakeSongs(work, Shared()))
            )
    except Exception as error:
        cause = find_segue_error(error)
        if cause is None:
            raise
        raise SegueError(str(cause)) from error
