"""Whether there is anything to do, and where a training begins.

A run that comes back every night must not train on what it has learned already, and a
warm start makes a new version to begin from with every push: whether there is anything
new cannot be told by what a run would begin from. So every version says what it was
asked for (`components.kept.Request`): its settings, and which music its files held. A
run whose music and settings are those of a version that is there has nothing to do,
also where that version was rolled back or waits behind a pin: a person put it there.
What the gates refused is not tried again either while music, settings and the version
in service stay what they were.

Music is the same where its notes are, as everywhere in Segue: files that were renamed,
touched, copied or transposed are no news, and neither are files that hold no song.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.files import SUMMARY_FILE
from components.kept import Known, Request, known_versions, read_shape, start_of
from components.midi_parser.reader import Reader, music_digest
from components.read_back import read, read_json
from components.versions import newest_version
from music.errors import SegueError
from music.folder import fingerprint, named_files
from pipeline.configuration import Configuration, code_fingerprint
from pipeline.history import RunHistory

# Where a run works and how fast, not what it makes; and what is of use only to a training
# that goes on.
_APART = ("data", "root", "cache", "beam_pipeline_args", "shards", "retrain")
# Of a network, what its weights fit.
_SHAPE = ("kind", "units", "dense", "activation", "embedding", "profile")
# What the weights in service have been made with, and cannot be made without.
_FROZEN = ("vocabulary", "split")


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a run is to do.

    Attributes:
      content: the fingerprint of the data folder; None where it was not looked at.
      start: the version whose weights the training begins from (`components.kept`);
        empty is from scratch.
      nothing: why there is nothing to do, a line; empty where there is something. The
        other fields are then those of the run that did it, so that every step of it
        is found again where steps are reused.
      version: the one that was made of all this, where there is one.
      news: what is new, and where the training begins, for a log.
    """

    content: str | None = None
    start: str = ""
    nothing: str = ""
    version: int | None = None
    news: str = ""


# A run that does not look, and reuses what has not changed.
ALL = Plan()


def asked_settings(config: Configuration, start: str = "") -> dict[str, Any]:
    """Everything that decides what a run learns and how it is judged, as JSON types.

    Args:
      config: of the run.
      start: the version that its training begins from; empty is from scratch.
    """
    value = dataclasses.asdict(config)
    for name in _APART:
        del value[name]
    if not config.tuning.enabled:
        del value["tuning"]
    if start:
        on = dataclasses.asdict(config.retrain)
        value["retrain"] = {name: on[name] for name in ("epochs", "learning_rate", "schedule")}
    return json.loads(json.dumps({**value, "code": code_fingerprint()}))


def make_plan(config: Configuration) -> Plan:
    """What a run is to do, by what is there.

    Reads files that no run has read before; TensorFlow is not loaded. Without
    `config.cache` there is always something to do.

    Args:
      config: of the run; the caller holds its root.

    Raises:
      SegueError: there is no MIDI file, or the training cannot begin from the version
        in service.
    """
    if not config.retrain.looks:
        return ALL
    serving_dir, content = str(config.serving_dir), fingerprint(config.data)
    asked = functools.cache(lambda goes_on: asked_settings(config, "a version" * goes_on))
    music = functools.cache(lambda: _folder_music(config))

    def is_same(request: Request) -> bool:
        # A folder is hashed sooner than it is read.
        return request.settings == asked(bool(request.start)) and (
            request.folder == content or request.music == music()
        )

    known, start, served = known_versions(serving_dir), "", newest_version(serving_dir)
    in_service = next((one for one in known if one.path == served), None)
    # What was in service once and is not any more does not count: music that was taken away
    # again is a change.
    least = int(os.path.basename(served)) if served else 0
    for version in (one for one in known if one.number >= least and config.cache):
        if is_same(version.request):
            told = _nothing_new(version)
            return Plan(version.request.folder, version.request.start, told, version.number)
    if config.retrain.warm_start == "served" and served is not None:
        start = start_of(served)
        _check_fits(config, served, in_service)
    refused = _read_refused(config) if config.cache else None
    if refused is not None and refused.start == start and is_same(refused):
        return Plan(refused.folder, start, _REFUSED)
    differs = []
    if in_service is not None:
        theirs = in_service.request
        differs = _differing(theirs.settings, asked(bool(theirs.start)))
    return Plan(content, start, news=_news(served, in_service, differs, start))


_REFUSED = (
    "nothing is new: what this music and these settings make of the version in service has been "
    "refused by the gates, and is not tried again; the last run's report says why"
)


def _nothing_new(version: Known) -> str:
    where = ", which is parked," if version.parked else ""
    return (
        f"nothing is new: version {version.number}{where} was made of this music with these "
        "settings; nothing is pushed"
    )


def _differing(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> list[str]:
    return sorted(name for name in {*theirs, *ours} if theirs.get(name) != ours.get(name))


def _news(served: str | None, in_service: Known | None, differs: list[str], start: str) -> str:
    """Why there is something to do, for a log."""
    if served is None:
        what = "nothing is in service yet"
    elif in_service is None:
        what = f"version {os.path.basename(served)} does not say what it was made of"
    else:
        what = f"other settings ({', '.join(differs)})" if differs else "other music"
        what += f" than those of version {in_service.number}"
    return f"{what}; the training begins from {'the weights in service' if start else 'scratch'}"


def _folder_music(config: Configuration) -> str:
    """The digest of the data folder's music, as MidiParser would find it."""
    reader = Reader(str(config.readings_dir))
    heads = (reader.read(file)[0] for file in named_files(config.data))
    return music_digest({head.fingerprint for head in heads if head.fingerprint})


def _check_fits(config: Configuration, served: str, in_service: Known | None) -> None:
    """Refuses to begin from weights that are of another network, or know what they should not.

    Raises:
      SegueError: what is other there than here.
    """
    number, theirs = os.path.basename(served), read_shape(served)
    for name in _SHAPE:
        there, here = getattr(theirs, name), getattr(config.model, name)
        if there != here:
            raise SegueError(
                f"the weights of version {number} do not fit: its model.{name} is {there}, this "
                f"run's {here}; give the same, or train from scratch once: --warm-start none"
            )
    if in_service is None:
        return
    for group in _FROZEN:
        here = dataclasses.asdict(getattr(config, group))
        there = in_service.request.settings.get(group)
        if there != here:
            raise SegueError(
                f"{group} {here} does not go with a warm start: version {number}, whose weights "
                f"it begins from, was made with {there}; give the same, or train from scratch "
                "once: --warm-start none"
            )


# ---- what the gates refused ----


def _refused_path(config: Configuration) -> Path:
    return config.root / "cache" / "refused.json"


def _read_refused(config: Configuration) -> Request | None:
    path = _refused_path(config)
    try:
        return read(path, Request.from_json) if path.exists() else None
    except SegueError:
        return None  # a training more, whose answer is written anew


def remember(config: Configuration, plan: Plan, history: RunHistory) -> None:
    """Keeps what the gates refused, so that the next run does not try it again.

    Args:
      config: of the run.
      plan: what it was to do.
      history: what it did.
    """
    from pipeline.outcome import read_outcome

    path = _refused_path(config)
    if read_outcome(config, history)["blessed"]:
        path.unlink(missing_ok=True)
        return
    summary = Path(history.outputs["MidiParser", "verdicts"], SUMMARY_FILE)
    music = read_json(summary, {"music": str})["music"]
    request = Request(asked_settings(config, plan.start), music, plan.content or "", plan.start)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".partial")
    beside.write_text(request.to_json(), encoding="utf-8")
    os.replace(beside, path)
