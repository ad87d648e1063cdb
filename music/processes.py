"""Work on many songs, by several processes where it is worth their start.

A process of ours imports what it needs first, which takes as long as some songs do; so
whoever maps says from how many songs on a process more pays.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import functools
import multiprocessing
import os
from collections.abc import Callable, Iterator
from typing import Any

MOST = 8  # processes; more than that wait for the disk and for who collects


@contextlib.contextmanager
def mapper(songs: int, worth: int, chunk: int = 1) -> Iterator[Callable[..., Any]]:
    """Gives something to map a function over songs with, results in order as `map` has them.

    Args:
      songs: how many there will be.
      worth: songs that are worth the start of a process.
      chunk: songs that travel to a process at a time.

    Yields:
      `map`, or what does the same by processes: then the function and what it takes and
      gives travel pickled, and a script that calls this has to be guarded by
      `if __name__ == "__main__"`, as `multiprocessing` says.
    """
    workers = min(len(os.sched_getaffinity(0)), MOST)
    if workers == 1 or songs < worth * workers:
        yield map
        return
    # Spawned: a fork of a process with threads, TensorFlow's say, may never wake up.
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(workers, spawn) as pool:
        yield functools.partial(pool.map, chunksize=chunk)
