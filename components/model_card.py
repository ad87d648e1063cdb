"""What a model is, for whoever finds it: the card in every pushed version.

A folder with weights does not say whose songs they were learned from, who may use them,
how good they are or how much they copy. The card does, twice: as JSON for programs and
as Markdown for people, in the version's `assets.extra`, which servers pass by. Figures
are those of the pipeline; what it cannot know, whose the songs are and what is allowed
with them, a person gives in the group `card` of the settings, and it stands there as
given. What was not given is told to be missing.

The order of its parts follows Mitchell et al. 2019, "Model Cards for Model Reporting".
"""

from __future__ import annotations

import dataclasses
import hashlib
import platform
from collections.abc import Iterator, Mapping
from importlib import metadata
from typing import Any

from music.errors import SegueError, printable
from music.measures import Reference

CARD_JSON = "assets.extra/model_card.json"
CARD_TEXT = "assets.extra/model_card.md"
_MOST = 2_000
_MISSING = "not given"


@dataclasses.dataclass(frozen=True)
class CardSettings:
    """What only people know of a model; every value is a line of text, or empty.

    Attributes:
      composer: whose songs it learned from.
      source: where the files are from.
      rights: in the songs, and what they allow.
      license: of the model.
      use: what it is meant for.
      contact: whom to ask.
    """

    composer: str = ""
    source: str = ""
    rights: str = ""
    license: str = ""
    use: str = ""
    contact: str = ""

    def __post_init__(self) -> None:
        for name, value in dataclasses.asdict(self).items():
            if len(value) > _MOST:
                raise SegueError(
                    f"{name} of {len(value):,} characters is not allowed; it must be {_MOST:,} "
                    "or fewer"
                )
            object.__setattr__(self, name, printable(" ".join(value.split())))


def build_card(
    given: CardSettings,
    facts: Mapping[str, Any],
    files: Mapping[str, Any],
    reference: Reference,
    gate: Mapping[str, Any],
    panel: Mapping[str, Any],
) -> dict[str, Any]:
    """The card of a model, as JSON types.

    Args:
      given: by a person.
      facts: what the model says of itself (`assets/segue.json`).
      files: what became of the MIDI files (`summary.json` of the Verdicts).
      reference: of the training songs.
      gate: the Evaluator's figures (`gate.json`).
      panel: what it played, judged (`panel.json`).
    """
    training, borrowing = facts["training"], reference.borrowing
    percentile = panel["settings"]["bounds"]["percentile"]
    songs = files["kept"] + files["repaired"]
    return {
        "given": dataclasses.asdict(given),
        "model": {
            "preset": training["preset"],
            "parameters": training["parameters"],
            "codec": facts["codec"],
            "window": facts["limits"]["window"],
        },
        "data": {
            "files": files["files"],
            "rejected": files["rejected"],
            "songs": songs,
            "trained_on": reference.songs,
            "held_out": songs - reference.songs,
            "notes": files["notes"],
        },
        "training": {
            **{name: training[name] for name in ("windows", "held_out", "epoch", "epochs")},
            "start": training.get("start"),
        },
        "likelihood": {
            "nats": gate["nats"],
            "minus_ngram": gate["nats_minus_ngram"],
            "minus_service": gate["nats_minus_service"],
            "bounds": gate["settings"],
        },
        "panel": {
            "songs": len(panel["songs"]),
            "events": panel["settings"]["steps"],
            "seconds": panel["seconds"],
            "server": panel["server"],
            "findings": panel["findings"],
        },
        "originality": {
            # By which the index beside it is found again; it is no part of the model.
            "reference": hashlib.sha256(reference.to_json().encode()).hexdigest(),
            # Of the composer's own songs, against each other.
            "median": borrowing.bound(50.0),
            "percentile": percentile,
            "bound": borrowing.bound(percentile),
            "versions": borrowing.versions,
            "runs": [one["run"] for one in panel["songs"]],
        },
        "versions": {
            **training["versions"],
            "python": platform.python_version(),
            "segue": _version(),
        },
    }


def to_markdown(card: Mapping[str, Any]) -> str:
    """A card for people."""
    return "\n".join(_lines(card)) + "\n"


def _lines(card: Mapping[str, Any]) -> Iterator[str]:
    given, model, data = card["given"], card["model"], card["data"]
    likelihood, panel = card["likelihood"], card["panel"]
    name = given["composer"]
    yield f"# Model card: songs after {name}" if name else "# Model card"
    yield ""
    yield "A stacked LSTM that plays on from given notes, made by Segue."
    yield ""
    yield "## Model"
    yield f"- preset {model['preset']}, {model['parameters']:,} parameters"
    options = ", ".join(f"{key} {value}" for key, value in sorted(model["codec"].items()))
    yield f"- codec: {options}; windows of {model['window']} events"
    yield f"- licence: {given['license'] or _MISSING}"
    yield f"- contact: {given['contact'] or _MISSING}"
    versions = ", ".join(f"{key} {value}" for key, value in sorted(card["versions"].items()))
    yield f"- made with {versions}"
    yield ""
    yield "## Intended use"
    yield given["use"] or _MISSING.capitalize() + "."
    yield ""
    yield "## Songs that it learned from"
    yield f"- composer: {name or _MISSING}"
    yield f"- source: {given['source'] or _MISSING}"
    yield f"- rights: {given['rights'] or _MISSING}"
    yield (
        f"- {data['files']:,} files, {data['rejected']:,} of them rejected; "
        f"{data['songs']:,} songs with {data['notes']:,} notes: "
        f"{data['trained_on']:,} to learn from, "
        f"{data['held_out']:,} held out"
    )
    if card["training"]["start"]:
        yield (
            "- its training went on from the weights of the version in service before "
            f"({card['training']['start'][:12]}), so it has learned from that one's songs as well, "
            "also from those that have been taken away since"
        )
    yield ""
    yield "## Held-out likelihood"
    nats, less = float(likelihood["nats"]), float(likelihood["minus_ngram"])
    yield f"- {nats:.3f} nats an event, over songs that it has not learned from"
    yield f"- an n-gram of the same songs: {nats - less:.3f}"
    if likelihood["minus_service"] is not None:
        before = nats - float(likelihood["minus_service"])
        yield f"- the model in service before: {before:.3f}"
    yield ""
    yield "## What it played"
    yield (
        f"{panel['songs']} songs of {panel['events']} events each, from held-out beginnings, "
        f"{panel['seconds']:.2f} s for one ({panel['server']}):"
    )
    yield ""
    yield from (f"- {finding['words']}" for finding in panel["findings"])
    yield ""
    yield "## Originality"
    originality = card["originality"]
    runs = ", ".join(map(str, sorted(originality["runs"])))
    yield (
        "The longest run of notes that stands in a song that it learned from, in any key, for "
        f"each of these songs: {runs} notes."
    )
    if originality["bound"] is not None:
        yield (
            "The composer's own songs share runs of "
            f"{originality['median']} notes with one another in the median; one of more than "
            f"{originality['bound']} counts as a copy."
        )
    yield ""
    yield "## Limits"
    yield (
        "The figures say how the songs lie among the composer's own, not whether they are good. "
        "Copies are looked for among the training songs alone. Whether a song may be published is "
        "for the rights in those songs to say."
    )


def _version() -> str:
    try:
        return metadata.version("segue")
    except metadata.PackageNotFoundError:
        return "unknown"
