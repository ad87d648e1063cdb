"""The folder that a catalogue of new songs goes to.

Files appear whole or not at all: they are written aside and renamed. A song's record is
written after its files, so that a record is a promise. Nothing is forced onto the disk
file by file, which would take longer than making the songs: a process that is killed
loses nothing by that, and before the manifest is written everything is. What a power cut
could lose, sizes and `verify` find.

    DIR/songs/           the songs, in all their formats
    DIR/manifest.*       what they are
    DIR/index.html       the gallery, with DIR/gallery/
    DIR/.segue/records/  the records of a run that is not over
    DIR/.segue/aside/    files that are being written, of each run in a folder of its own

Workers may outlive a run that is killed, for some seconds. The next run removes the folder
that they write to, so that nothing of theirs can appear among its own.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from music.errors import SegueError

SONGS = "songs"
LINES, TABLE, PAGE = "manifest.jsonl", "manifest.parquet", "index.html"


class Store:
    """A folder of songs and their records.

    Args:
      folder: DIR.
      run: the run that a worker writes for; a new one, to begin with.

    Attributes:
      folder, run: the same.
    """

    def __init__(self, folder: Path, run: str | None = None):
        self.folder = Path(folder)
        # Shards on other machines may have our process's number.
        self.run = secrets.token_hex(8) if run is None else run
        self._work = self.folder / ".segue"
        self._records = self._work / "records"

    def make(self) -> None:
        """Makes the folders, of which a worker needs none made.

        Raises:
          SegueError: the system refuses.
        """
        try:
            for folder in (self.folder / SONGS, self._records, self._aside):
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _unwritable(self.folder, error) from None

    @property
    def _aside(self) -> Path:
        return self._work / "aside" / self.run

    @contextlib.contextmanager
    def held(self, shard: str | None) -> Iterator[None]:
        """Holds the folder: for itself, or beside other shards than its own.

        Raises:
          SegueError: another run is using it.
        """
        kind = "all" if shard is None else f"shard-{shard.replace('/', '-of-')}"
        self.run = f"{kind}.{self.run}"
        self.make()
        with contextlib.ExitStack() as locks:
            locks.callback(shutil.rmtree, self._aside, ignore_errors=True)
            # A run over everything excludes all others; shards exclude their own kind.
            how = fcntl.LOCK_EX if shard is None else fcntl.LOCK_SH
            locks.enter_context(self._locked("run.lock", how, wait=False))
            if shard is not None:
                locks.enter_context(self._locked(f"{kind}.lock", fcntl.LOCK_EX, wait=False))
            # Of runs that were killed: nobody else may write there now.
            for left in self._aside.parent.glob("*" if shard is None else f"{kind}.*"):
                shutil.rmtree(left, ignore_errors=True)
            self.make()
            yield

    @contextlib.contextmanager
    def merging(self) -> Iterator[None]:
        """Holds the manifest; waits for whoever else does."""
        with self._locked("merge.lock", fcntl.LOCK_EX, wait=True):
            yield

    @contextlib.contextmanager
    def _locked(self, name: str, how: int, wait: bool) -> Iterator[None]:
        try:
            handle = os.open(self._work / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise _unwritable(self.folder, error) from None
        try:
            try:
                fcntl.flock(handle, how if wait else how | fcntl.LOCK_NB)
            except BlockingIOError:
                raise SegueError(
                    f"another run is writing to {self.folder}; wait for it, or choose another --out"
                ) from None
            yield
        finally:
            os.close(handle)

    # ---- files ----------------------------------------------------------------

    def write(self, name: str, data: bytes) -> None:
        """Puts a whole file at DIR/name; safe from many threads and processes.

        Raises:
          SegueError: the system refuses.
        """
        aside = self._aside / secrets.token_hex(8)
        try:
            with open(aside, "wb") as file:
                file.write(data)
            os.replace(aside, self.folder / name)
        except OSError as error:
            with contextlib.suppress(OSError):
                aside.unlink()
            raise _unwritable(self.folder / name, error) from None

    def has(self, outputs: list[dict[str, Any]]) -> bool:
        """Whether files are there, as long as their record says."""
        try:
            return all(
                os.stat(self.folder / one["path"]).st_size == one["bytes"] for one in outputs
            )
        except (OSError, ValueError):
            return False

    # ---- manifest and page ------------------------------------------------------

    def has_manifest(self) -> bool:
        """Whether it is there, in both of its forms."""
        return all((self.folder / name).is_file() for name in (LINES, TABLE))

    def page_shows(self) -> str | None:
        """What the page was last said to show; None where there is no page."""
        with contextlib.suppress(OSError, UnicodeDecodeError):
            if (self.folder / PAGE).is_file():
                return (self._work / "page").read_text("utf-8")
        return None

    def page_shows_now(self, what: str) -> None:
        """Says what the page shows, once it is written: it may be killed while it is."""
        self.write(".segue/page", what.encode())

    # ---- records --------------------------------------------------------------

    def record(self, value: dict[str, Any]) -> None:
        """Keeps a song's record, after its files."""
        name = self._records.relative_to(self.folder) / f"{value['identity']}.json"
        self.write(str(name), json.dumps(value, sort_keys=True).encode())

    def records(self) -> dict[str, dict[str, Any]]:
        """The records of runs that are not over, by identity.

        One that a power cut left damaged is none: its song is made again.
        """
        found = {}
        with contextlib.suppress(FileNotFoundError):
            for entry in os.scandir(self._records):
                with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                    value = json.loads(Path(entry.path).read_bytes())
                    _ = value["status"], value["outputs"]
                    found[value["identity"]] = value
        return found

    def count(self) -> int:
        """How many records of runs that are not over there are."""
        with contextlib.suppress(FileNotFoundError):
            return sum(1 for _ in os.scandir(self._records))
        return 0

    def forget(self, identities: Iterator[str] | list[str]) -> None:
        """Lets go of records that the manifest holds now."""
        for identity in identities:
            with contextlib.suppress(FileNotFoundError):
                (self._records / f"{identity}.json").unlink()

    def settle(self) -> None:
        """Forces everything that was written onto the disk."""
        os.sync()


def _unwritable(path: Path, error: OSError) -> SegueError:
    return SegueError(f"{path} cannot be written: {error.strerror or error}; choose another --out")
