"""The versions under a root: what there is, and which one is in service.

What a server serves is decided by folder names alone (see `components.versions`),
so that everything here works on the embedded server and on TensorFlow Serving
alike, and neither has to be told: both serve the highest number, and look again
within their poll.

Every change is a row of renames in an order that never takes the version in
service away before another can take its place: what shall come into service is
put there first, then what stands above it is parked, the lowest first, so that
the highest stays in service until the last rename hands over. A command that is
killed between two renames leaves versions parked that were idle anyway, and the
old one in service; run again, it goes on where it stopped.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from components import versions as names
from music.errors import SegueError

IN_SERVICE, KEPT, PARKED = "in service", "kept", "parked"

_PRUNING = ".pruning-"
_PINNING = ".pinning-"
_UNFINISHED = (_PRUNING, _PINNING)
_FACTS = Path("assets", "segue.json")
# A vocabulary of every code takes some hundred KB; what is larger is no such file.
_FACTS_LIMIT = 16 * 2**20


@dataclasses.dataclass(frozen=True)
class Version:
    """One version of a model, as it lies in its folder.

    Attributes:
      number: its name; mostly the Unix seconds of its push.
      path: its folder.
      state: `in service` (the highest in reach of servers), `kept` or `parked`.
      pinned: whether pushes leave it in service.
      problem: what is evidently wrong with its files; None when nothing is.
    """

    number: int
    path: Path
    state: str
    pinned: bool
    problem: str | None

    @property
    def pushed(self) -> datetime:
        """When it was pushed, UTC."""
        seconds: float = self.number
        if not 10**9 <= seconds <= time.time() + 86400:  # numbered by hand
            try:
                seconds = self.path.stat().st_mtime
            except OSError:  # renamed this very moment
                seconds = 0.0
        return datetime.fromtimestamp(seconds, timezone.utc)

    @property
    def size(self) -> int:
        """Bytes of its files."""
        total = 0
        for parent, _, files in os.walk(self.path):
            for file in files:
                with contextlib.suppress(OSError):
                    total += os.lstat(os.path.join(parent, file)).st_size
        return total

    def training(self) -> dict[str, Any]:
        """The facts of its training; empty when they cannot be read."""
        try:
            with (self.path / _FACTS).open("rb") as file:
                training = json.loads(file.read(_FACTS_LIMIT))["training"]
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return {}
        return training if isinstance(training, dict) else {}

    def as_dict(self) -> dict[str, Any]:
        """What is known of it, as JSON types."""
        training = self.training()
        preset, nats = training.get("preset"), training.get("nats")
        return {
            "version": self.number,
            "state": self.state,
            "pinned": self.pinned,
            "problem": self.problem,
            "pushed": self.pushed.isoformat(timespec="seconds"),
            "bytes": self.size,
            "preset": preset if isinstance(preset, str) else None,
            "nats": nats if isinstance(nats, float) and math.isfinite(nats) else None,
            "path": str(self.path),
        }


@dataclasses.dataclass(frozen=True)
class Change:
    """What a command did.

    Attributes:
      in_service: the version that servers take now; None when there is none.
      unparked: versions that were put back, ascending.
      parked: versions that were taken out of service, ascending.
    """

    in_service: int | None
    unparked: tuple[int, ...] = ()
    parked: tuple[int, ...] = ()


@dataclasses.dataclass(frozen=True)
class Pruned:
    """What `prune` deleted, or would delete: versions, ascending, and their bytes."""

    deleted: tuple[int, ...]
    bytes: int


class Registry:
    """The versions under a root.

    Args:
      root: of the pipeline.
      folder: the folder of the versions, below the root.

    Raises:
      SegueError: there is no such folder.
    """

    def __init__(self, root: Path, folder: Path):
        if not folder.is_dir():
            raise SegueError(
                f"no model under {root}: {folder} is no folder; `segue pipeline run` makes one, "
                "--root names another"
            )
        self.root = root
        self.folder = folder

    # ---- looking -----------------------------------------------------------

    def versions(self) -> list[Version]:
        """Every version, the newest first.

        Raises:
          SegueError: the folder cannot be read, or the pin is damaged.
        """
        pinned = names.pinned_version(str(self.folder))
        return self._versions(pinned)

    def _versions(self, pinned: int | None) -> list[Version]:
        try:
            children = [child for child in self.folder.iterdir() if child.is_dir()]
        except OSError as error:
            raise _cannot("read", self.folder, error) from error
        found = []
        for child in children:
            number = names.version_number(child.name)
            if number is not None:
                parked = child.name.endswith(names.PARKED_SUFFIX)
                state = PARKED if parked else KEPT
                found.append(Version(number, child, state, number == pinned, _problem(child)))
        # Of two folders with one number, the one that servers see counts.
        found.sort(key=lambda version: (-version.number, version.state == PARKED))
        for place, version in enumerate(found):
            if version.state == KEPT:
                found[place] = dataclasses.replace(version, state=IN_SERVICE)
                break
        return found

    def notes(self, found: list[Version]) -> list[str]:
        """What a person should know about the versions, a line each."""
        notes = []
        served = _in_service(found)
        pinned = names.pinned_version(str(self.folder))
        if served is not None and served.problem:
            notes.append(
                f"version {served.number} does not load ({served.problem}): running servers keep "
                "the one before, a server that starts ends with an error; `segue models rollback` "
                "takes it out of service"
            )
        if pinned is not None and not any(version.pinned for version in found):
            notes.append(
                f"version {pinned} is pinned but not there, so the pin holds nothing; "
                "`segue models unpin` removes it"
            )
        elif pinned is not None and (served is None or served.number != pinned):
            notes.append(
                f"version {pinned} is pinned but not in service (a command was interrupted); "
                f"`segue models pin {pinned}` puts it in service, `segue models unpin` "
                "gives it up"
            )
        if found and served is None:
            notes.append(
                "no version is in service; "
                f"`segue models rollback --to {found[0].number}` puts one there"
            )
        return notes

    # ---- changing ----------------------------------------------------------

    def rollback(self, to: int | None = None) -> Change:
        """Takes every version above an earlier one out of service.

        Args:
          to: the version to go to, which may be a parked one; None for the one
            before the version in service.

        Raises:
          SegueError: there is no such version, none before, it is damaged, or
            another one is pinned.
        """
        with self._changing():
            found = self.versions()
            target = self._previous(found) if to is None else self._find(found, to)
            pinned = next((version for version in found if version.pinned), None)
            if pinned is not None and pinned.number != target.number:
                raise SegueError(
                    f"version {pinned.number} is pinned; `segue models pin {target.number}` pins "
                    f"{target.number} instead, `segue models unpin` releases it"
                )
            return self._put_in_service(found, target)

    def pin(self, number: int) -> Change:
        """Puts a version in service and keeps pushes from replacing it.

        Raises:
          SegueError: there is no such version, or it is damaged.
        """
        with self._changing():
            found = self._versions(None)  # another pin, or a damaged one, is replaced
            target = self._find(found, number)
            _demand_whole(target)
            # First: a push that comes before the renames already leaves it alone,
            # and `list` tells what was meant should this process die here.
            self._write_pin(number)
            return self._put_in_service(found, target)

    def unpin(self) -> Change:
        """Releases the pin, and puts the newest version in service.

        Raises:
          SegueError: no version is pinned.
        """
        with self._changing():
            marker = self.folder / names.PIN_FILE
            if not os.path.lexists(marker):
                raise SegueError(
                    f"no version is pinned in {self.folder}; `segue models rollback --to VERSION` "
                    "puts a parked version in service"
                )
            found = self._versions(None)
            whole = [version for version in found if version.problem is None]
            change = self._put_in_service(found, whole[0]) if whole else Change(None)
            # Last: killed before, the command can be given again.
            try:
                marker.unlink()
                _to_disk(self.folder)
            except OSError as error:
                raise _cannot("remove", marker, error) from error
            return change

    def prune(self, keep: int, dry_run: bool = False) -> Pruned:
        """Deletes the oldest versions.

        Args:
          keep: how many of the newest stay. The version in service, the newest
            one that loads, and the pinned one stay in any case.
          dry_run: delete nothing, only tell.

        Raises:
          SegueError: a folder cannot be deleted, or the pin is damaged.
        """
        if keep < 1:
            raise SegueError(f"--keep {keep} is not allowed; it must be 1 or more")
        with contextlib.nullcontext() if dry_run else self._changing():
            found = self.versions()
            stay = {version.number for version in found[:keep]}
            reachable = [version for version in found if version.state != PARKED]
            stay.update(version.number for version in reachable[:1])
            stay.update(v.number for v in [v for v in reachable if v.problem is None][:1])
            doomed = [
                version
                for version in reversed(found)
                if version.number not in stay and not version.pinned and _is_model(version.path)
            ]
            freed = sum(version.size for version in doomed)
            if not dry_run:
                for version in doomed:
                    self._delete(version)
            return Pruned(tuple(version.number for version in doomed), freed)

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        """Holds the folder, so that no push comes in between, and cleans up."""
        with names.changing(str(self.folder)):
            for name in os.listdir(self.folder):
                if name.startswith(_UNFINISHED):  # of a command that was killed
                    _remove(self.folder / name)
            yield

    def _previous(self, found: list[Version]) -> Version:
        served = _in_service(found)
        if served is None:
            raise SegueError(
                f"nothing to roll back in {self.folder}: no version is in service; "
                + _known_versions(found)
            )
        for version in found:
            earlier = version.number < served.number
            if earlier and version.state == KEPT and version.problem is None:
                return version
        raise SegueError(
            f"nothing to roll back to: no version before {served.number} is kept in "
            f"{self.folder}; {_known_versions(found)}"
        )

    def _find(self, found: list[Version], number: int) -> Version:
        for version in found:
            if version.number == number:
                return version
        raise SegueError(f"there is no version {number} in {self.folder}; {_known_versions(found)}")

    def _put_in_service(self, found: list[Version], target: Version) -> Change:
        _demand_whole(target)
        above = [
            version
            for version in reversed(found)
            if version.state != PARKED and version.number > target.number
        ]
        moves = [(version.path, self._path(version, parked=True)) for version in above]
        if target.state == PARKED:
            moves.insert(0, (target.path, self._path(target, parked=False)))
        for _, to in moves:
            if os.path.lexists(to):
                raise SegueError(f"{to} is in the way; move it elsewhere")
        try:
            for source, to in moves:
                os.rename(source, to)
        except OSError as error:
            raise _cannot("rename", Path(str(error.filename)), error) from error
        _to_disk(self.folder)
        return Change(
            target.number,
            (target.number,) if target.state == PARKED else (),
            tuple(version.number for version in above),
        )

    def _path(self, version: Version, parked: bool) -> Path:
        return Path(names.version_path(str(self.folder), version.number, parked))

    def _write_pin(self, number: int) -> None:
        marker = self.folder / names.PIN_FILE
        beside = self.folder / f"{_PINNING}{uuid.uuid4().hex}"
        try:
            with beside.open("w") as file:
                file.write(f"{number}\n")
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, marker)
            _to_disk(self.folder)
        except OSError as error:
            beside.unlink(missing_ok=True)
            raise _cannot("write", marker, error) from error

    def _delete(self, version: Version) -> None:
        """Out of everybody's sight by one rename, then for good."""
        hidden = self.folder / f"{_PRUNING}{version.number}-{uuid.uuid4().hex}"
        try:
            os.rename(version.path, hidden)
        except OSError as error:
            raise _cannot("delete", version.path, error) from error
        _remove(hidden)


def _in_service(found: list[Version]) -> Version | None:
    return next((version for version in found if version.state == IN_SERVICE), None)


def _known_versions(found: list[Version]) -> str:
    if not found:
        return "it holds no version"
    listed = [
        str(version.number) + (" (parked)" if version.state == PARKED else "")
        for version in found[:10]
    ]
    more = f" and {len(found) - 10} more" if len(found) > 10 else ""
    return f"there are {', '.join(listed)}{more}"


def _demand_whole(version: Version) -> None:
    if version.problem:
        raise SegueError(
            f"version {version.number} is damaged ({version.problem}) and cannot be served; "
            "choose another"
        )


def _is_model(path: Path) -> bool:
    """Whether a folder was a SavedModel once, however damaged: all that prune may delete."""
    return any((path / part).exists() for part in (names.MODEL_FILE, "variables", _FACTS))


def _problem(path: Path) -> str | None:
    """What a glance at a version's files finds wrong."""
    variables = path / "variables"
    wanted = [path / names.MODEL_FILE]
    if variables.is_dir():
        wanted.append(variables / "variables.index")
        wanted += sorted(variables.glob("variables.data-*")) or [variables / "variables.data-*"]
    else:
        wanted.append(variables)
    for file in wanted:
        try:
            if not file.stat().st_size:
                return f"{file.relative_to(path)} is empty"
        except FileNotFoundError:
            return f"{file.relative_to(path)} is missing"
        except OSError as error:
            return f"{file.relative_to(path)}: {error.strerror}"
    return None


def _remove(path: Path) -> None:
    try:
        if path.is_symlink() or not path.is_dir():
            path.unlink()
        else:
            shutil.rmtree(path)
    except OSError as error:
        raise _cannot("delete", path, error) from error


def _to_disk(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _cannot(what: str, path: Path, error: OSError) -> SegueError:
    return SegueError(f"cannot {what} {path}: {error.strerror or error}")
