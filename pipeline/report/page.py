"""The page of a run: the gates first, then what was taught, learned and played."""

from __future__ import annotations

import base64
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from client.output import write_atomically
from components.trainer.history import History
from music.roll import piano_roll_svg
from pipeline.pages.curves import Curve, distribution, loss_curves, steps
from pipeline.pages.html import page
from pipeline.report.record import Record, Song

if TYPE_CHECKING:
    from markupsafe import Markup

_DESCRIPTORS = {
    "scale_consistency": "scale consistency",
    "pitch_class_entropy": "pitch-class entropy, bits",
    "groove_consistency": "groove consistency",
    "polyphony_rate": "polyphony rate",
    "empty_beat_rate": "empty beats",
}
_GIVEN = {
    "composer": "Composer",
    "source": "Source",
    "rights": "Rights in the songs",
    "license": "Licence of the model",
    "use": "Intended use",
    "contact": "Contact",
}


def publish(record: Record, path: Path) -> None:
    """Puts the page at a path, whole.

    Raises:
      SegueError: it cannot be written.
    """
    write_atomically(path, render(record).encode(), "--out")


def render(record: Record) -> str:
    """The page as HTML; the same record gives the same text."""
    history = History.from_json_value(record.history)
    ngram = record.history["ngram_nats"]
    return page(
        "report.html",
        title=_title(record),
        record=record,
        refused=record.reasons,
        gates=_gates(record),
        files=_files(record.files),
        lengths=_lengths(record.lengths),
        curve=loss_curves([Curve.of("held-out", history)], ngram, name="learning"),
        positions=_positions(record),
        contexts=_contexts(record),
        borrowing=_borrowing(record),
        descriptors=_descriptors(record),
        coherence=_coherence(record.panel.get("coherence", {})),
        songs=[_song(song) for song in record.songs],
        given=[(label, record.given.get(name, "")) for name, label in _GIVEN.items()],
        where=_where(record),
    )  # fmt: skip


def _title(record: Record) -> str:
    composer = record.given.get("composer", "")
    return f"Songs after {composer}" if composer else "A model and its songs"


def _where(record: Record) -> str:
    """Where the model card is, as far as the run came."""
    if record.blessed and record.version is not None:
        return "The card lies in the pushed version, in assets.extra."
    if record.blessed:
        return "The card goes with the version, once one is pushed; this run pushed none."
    return "The model was not pushed, so there is no card of it."


def _gates(record: Record) -> list[dict[str, Any]]:
    """A row for each figure that a gate has looked at."""
    gate, panel = record.gate, record.panel
    bounds = gate["settings"]
    rows = [
        _row("held-out nats an event", gate["nats"], bounds["max_nats"], "under", strict=True),
        _row(
            "the same, less the n-gram's",
            gate["nats_minus_ngram"],
            bounds["max_nats_over_ngram"],
            "under",
            strict=True,
            words="{:+.3f}",
        ),
    ]
    if gate["nats_minus_service"] is not None:
        rows.append(
            _row(
                "the same, less that of the model in service",
                gate["nats_minus_service"],
                bounds["max_nats_over_service"],
                "at most",
                words="{:+.3f}",
            )
        )
    for finding in panel.get("findings", []):
        least = finding["name"] in ("coherence", "tonality")
        words = "{:.2f}" if least else "{:.0%}"
        value = finding["value"]
        rows.append(
            {
                "name": _FINDINGS[finding["name"]],
                "value": "–" if value is None else words.format(value),
                "bound": f"{'at least' if least else 'at most'} {words.format(finding['bound'])}",
                "met": finding["met"],
            }
        )
    if "seconds" in panel:
        most = panel["settings"]["max_seconds"]
        rows.append(
            _row("seconds for a song, served", panel["seconds"], most, "at most", words="{:.2f}")
        )
    else:
        rows.append({"name": "serves", "value": "no", "bound": "yes", "met": False})
    return rows


_FINDINGS = {
    "copies": "songs that copy more than the composer",
    "degenerate": "degenerate songs",
    "coherence": "overlap with real songs, of what these reach",
    "tonality": "keeping to a scale, of the way from no key to the training songs",
}


def _row(
    name: str,
    value: float | str,
    bound: float,
    kind: str,
    strict: bool = False,
    words: str = "{:.3f}",
) -> dict[str, Any]:
    figure = float(value)
    return {
        "name": name,
        "value": words.format(figure),
        "bound": f"{kind} {words.format(bound)}",
        # What is no number keeps to no bound.
        "met": figure < bound if strict else figure <= bound,
    }


def _files(files: Mapping[str, Any]) -> list[tuple[str, int, str]]:
    """(what became of them, how many, examples)."""
    rows = [("kept as they are", files["kept"], ""), ("repaired", files["repaired"], "")]
    for reason, count in sorted(files["reasons"].items(), key=lambda pair: (-pair[1], pair[0])):
        named = ", ".join(file for file, _ in files["examples"].get(reason, []))
        rows.append((f"rejected: {reason}", count, named))
    return rows


def _lengths(lengths: tuple[int, ...]) -> str:
    if not lengths:
        return ""
    middle = statistics.median(lengths)
    return f"{min(lengths):,} to {max(lengths):,} notes, {middle:,.0f} in the median"


def _positions(record: Record) -> Markup | None:
    bins = record.positions
    if not bins:
        return None
    series = [("model", [(one["first"], one["last"], one["nats"]) for one in bins])]
    if all(one["ngram_nats"] is not None for one in bins):
        series.append(("n-gram", [(one["first"], one["last"], one["ngram_nats"]) for one in bins]))
    return steps(series, "event of the song", "positions")


def _contexts(record: Record) -> Markup | None:
    bins = [one for one in record.contexts if one["nats"] is not None]
    if not bins:
        return None
    series = [("model", [(one["first"], one["last"], one["nats"]) for one in bins])]
    return steps(series, "events that stand before in the window", "contexts")


def _borrowing(record: Record) -> Markup | None:
    real = record.reference.borrowing
    runs = [song.judged["run"] for song in record.songs]
    if not real.runs or not runs:
        return None
    bound = real.bound(record.panel["settings"]["bounds"]["percentile"])
    return distribution(real.runs, runs, bound, "longest copied run, notes", "borrowing")


def _descriptors(record: Record) -> list[dict[str, str]]:
    """How the panel's mean lies among the training songs."""
    rows = []
    for name, label in _DESCRIPTORS.items():
        spread = record.reference.descriptors[name]
        values = [
            song.judged["descriptors"][name]
            for song in record.songs
            if song.judged["descriptors"][name] is not None
        ]
        mean = statistics.fmean(values) if values else float("nan")
        rows.append(
            {
                "label": label,
                "real": _figure(spread.mean),
                "deviation": _figure(spread.deviation),
                "new": _figure(mean),
                "score": _figure(spread.score(mean), "{:+.1f}"),
            }
        )
    return rows


def _coherence(found: Mapping[str, Mapping[str, float]]) -> list[dict[str, str]]:
    return [
        {
            "label": name.replace("_", " "),
            "overlap": _figure(one["overlap"], "{:.2f}"),
            "ceiling": _figure(one["ceiling"], "{:.2f}"),
            "divergence": _figure(one["divergence"], "{:.2f}"),
        }
        for name, one in found.items()
    ]


def _song(song: Song) -> dict[str, Any]:
    from markupsafe import Markup

    judged, copied = song.judged, song.judged["copied"]
    original = "No two notes in a row stand in a training song."
    if copied:
        original = (
            f"Longest copied run: {copied['notes']} notes, from bar {copied['bar']}; they stand in "
            f"{copied['title']}, bar {copied['source_bar']}."
        )
        if judged["percentile"] is not None:
            original += f" {judged['percentile']:.0f} of 100 real songs have a shorter one."
    if judged["is_copy"]:
        original += " That is a copy."
    begins = song.begins
    return {
        "name": song.name,
        "begins": f"From {begins['length']} events of {begins['title']} (not shown).",
        "roll": Markup(_drawn(song)),
        "original": original,
        "flags": judged["flags"],
        "midi": base64.b64encode(song.midi).decode(),
        "measures": ", ".join(
            f"{_DESCRIPTORS[name]} {_figure(judged['descriptors'][name])}" for name in _DESCRIPTORS
        ),
    }


def _drawn(song: Song) -> str:
    """The piano roll; nothing for a song without notes."""
    if song.notes is None:
        return ""
    svg = piano_roll_svg(song.notes, song.name.removesuffix(".mid"))
    return svg.replace("<svg ", f'<svg role="img" aria-label="Piano roll of {song.name}" ', 1)


def _figure(value: float | None, words: str = "{:.3g}") -> str:
    if value is None or value != value:
        return "–"
    return words.format(value)
