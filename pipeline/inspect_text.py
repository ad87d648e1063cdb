"""What `segue inspect` tells, in words and columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from music.catalogue import Catalogue, FileFacts
from music.errors import printable
from music.midi import SUFFIXES
from music.song import TICKS_PER_QUARTER
from music.split import EVAL
from music.statistics import (
    DEFAULT_TEMPO,
    DEFAULT_TIME_SIGNATURE,
    PartFacts,
    SongFacts,
    Totals,
    clock,
    commonest,
    duration_name,
    spoken_key,
    spoken_pitch,
)
from music.verdict import KEPT, REJECTED, REPAIRED, Verdict, summary

FEW = 3  # names told of what is wrong in one way
FEW_PARTS = 32
FEW_VALUES = 8
NAME_LENGTH = 100


def columns(rows: Iterable[tuple[str, ...]], right: frozenset[int] = frozenset()) -> list[str]:
    """Rows of cells as lines; the columns in `right` end, the others begin in line."""
    table = list(rows)
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))] if table else []
    return [
        "  ".join(
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in table
    ]


# ---- a file -----------------------------------------------------------------


def file_lines(inspected: FileFacts, show_all: bool) -> Iterator[str]:
    """One file that was not rejected: its verdict, its facts, a table of its parts."""
    verdict, facts = inspected.verdict, inspected.facts
    assert facts is not None
    yield f"{printable(verdict.file)}: {verdict.verdict}" + (
        f" ({printable(verdict.detail)})" if verdict.verdict == REPAIRED else ""
    )
    yield from columns(_file_rows(inspected, facts))
    yield ""
    parts = facts.parts if show_all else facts.parts[:FEW_PARTS]
    head = (
        "part", "notes", "chords", "range", "velocity", "longest silence",
        "commonest durations (ticks)",
    )  # fmt: skip
    yield from columns([head, *map(_part_row, parts)], right=frozenset({0, 1, 2}))
    if len(parts) < len(facts.parts):
        yield f"and {len(facts.parts) - len(parts):,} more parts; --all shows them"


def _file_rows(inspected: FileFacts, facts: SongFacts) -> Iterator[tuple[str, str]]:
    verdict = inspected.verdict
    yield "  title", _cut(printable(facts.title))
    signature = facts.time_signature or DEFAULT_TIME_SIGNATURE
    given = "" if facts.time_signature else ", which is not given"
    yield (
        "  length",
        f"{facts.quarters:,.10g} quarters; {facts.bars:,} bars of {signature}{given}; "
        f"{clock(facts.seconds)}",
    )
    tempo = (
        f"{facts.tempo:g} quarters a minute"
        if facts.tempo
        else f"not given; players take {DEFAULT_TEMPO:g} quarters a minute"
    )
    yield "  tempo", tempo
    yield "  key", spoken_key(facts.key) if facts.key else "not given"
    yield "  range", _range(facts.low, facts.high)
    yield "  rounding", _rounding(verdict.rounding_mean, verdict.rounding_max)
    if inspected.off_grid:
        yield "", _off_grid(inspected.off_grid, facts.notes)
    if facts.percussion:
        yield "  left out", _count(facts.percussion, "note") + " of percussion"
    notes, chords = facts.codecs["notes"], facts.codecs["chords"]
    held = f"; {notes.held:,} gaps or notes are held to 16 whole notes" if notes.held else ""
    yield "  notes codec", f"{notes.events:,} events, {notes.distinct:,} different{held}"
    yield (
        "  chords codec",
        f"{chords.events:,} tokens, {chords.distinct:,} different; {chords.chords:,} are chords",
    )


def _part_row(part: PartFacts) -> tuple[str, ...]:
    rhythm = ", ".join(
        f"{_duration(ticks)} {_percent(count, part.notes)}" for ticks, count in part.durations
    )
    velocity = str(part.soft) if part.soft == part.loud else f"{part.soft} to {part.loud}"
    return (
        str(part.part + 1),
        f"{part.notes:,}",
        f"{part.chords:,}",
        _range(part.low, part.high),
        velocity,
        f"{part.silence / TICKS_PER_QUARTER:,.3g} quarters" if part.silence else "none",
        rhythm,
    )


# ---- a folder ---------------------------------------------------------------


def summary_line(catalogue: Catalogue) -> str:
    """The line that the pipeline's parser tells, too."""
    return summary(catalogue.verdicts)


def folder_lines(catalogue: Catalogue, share: float, preset: str, show_all: bool) -> Iterator[str]:
    """A folder: the sum, what is wrong by cause, and what the music adds up to."""
    if show_all:
        yield from _every_file(catalogue)
        yield ""
    yield summary_line(catalogue)
    totals = catalogue.totals
    if totals.songs == 1:
        yield "one song to learn from and none to judge by: the pipeline needs 2 different ones"
    elif totals.songs:
        yield (
            f"{_count(len(catalogue.held_out), 'song')} held out, "
            f"{totals.songs - len(catalogue.held_out):,} to learn from "
            f"(a share of {share:g}, preset {preset})"
        )
    # With --all, the table above has named every one.
    few = 0 if show_all else FEW
    yield from _causes("rejected", catalogue.rejections(), few)
    yield from _causes("repaired", catalogue.repairs(), few)
    if totals.songs:
        yield ""
        yield from columns(_total_rows(totals))
    if catalogue.passed_over:
        yield ""
        number = len(catalogue.passed_over)
        yield f"passed over: {number:,} (files whose names do not end in {SUFFIXES})"
        if show_all:
            yield from (f"  {printable(name)}" for name in catalogue.passed_over)


def _every_file(catalogue: Catalogue) -> list[str]:
    def row(verdict: Verdict, side: str) -> tuple[str, ...]:
        if verdict.verdict == REJECTED:
            return verdict.verdict, "", "", "", printable(verdict.file), _why(verdict)
        held = "held out" if side == EVAL else "learned"
        detail = "" if verdict.verdict == KEPT else printable(verdict.detail)
        counts = f"{verdict.notes:,}", f"{verdict.parts:,}"
        return verdict.verdict, held, *counts, printable(verdict.file), detail

    rows = [row(*pair) for pair in zip(catalogue.verdicts, catalogue.sides, strict=True)]
    head = ("verdict", "side", "notes", "parts", "file", "")
    return columns([head, *rows], right=frozenset({2, 3}))


def _causes(what: str, by_cause: dict[str, list[Verdict]], few: int) -> Iterator[str]:
    """What was done to files by its cause, with the first few names of each."""
    if not by_cause:
        return
    yield ""
    yield what
    counts = columns(
        ((f"  {cause}", f"{len(files):,}") for cause, files in by_cause.items()),
        right=frozenset({1}),
    )
    for line, files in zip(counts, by_cause.values(), strict=True):
        yield line
        for verdict in files[:few]:
            yield f"    {_cut(printable(verdict.file))}: {_cut(printable(verdict.detail))}"
        if few and len(files) > few:
            yield f"    and {len(files) - few:,} more; --all names them"


def _why(verdict: Verdict) -> str:
    return f"{verdict.reason}: {printable(verdict.detail)}"


def _total_rows(totals: Totals) -> Iterator[tuple[str, str]]:
    yield "songs", f"{totals.songs:,}; {_songs_by_parts(totals)}"
    percussion = _count(totals.percussion, "note")
    left_out = f"; {percussion} of percussion left out" if totals.percussion else ""
    yield "notes", f"{totals.notes:,} in {_count(totals.parts, 'part')}{left_out}"
    events = (f"{number:,} by the {name} codec" for name, number in totals.events.items())
    yield "events", ", ".join(events)
    quarters = totals.ticks / TICKS_PER_QUARTER
    yield "length", f"{quarters:,.0f} quarters; {clock(totals.seconds)}"
    yield "range", _range(totals.low, totals.high)
    yield "durations", _listed(totals.durations, _duration, totals.notes)
    yield "keys", _listed(totals.keys, spoken_key)
    yield "time", _listed(totals.time_signatures, str)
    yield "tempo", _tempi(totals.tempi)
    yield "rounding", _rounding(totals.rounding_mean, totals.rounding_max)
    if totals.off_grid:
        yield "", _off_grid(totals.off_grid, totals.notes)


def _songs_by_parts(totals: Totals) -> str:
    few = commonest(totals.parts_of)[:FEW_VALUES]
    listed = ", ".join(f"{number:,} of {_count(parts, 'part')}" for parts, number in few)
    rest = totals.songs - sum(number for _, number in few)
    return listed + (f", {rest:,} of other numbers" if rest else "")


def _listed(counts: Counter, say, of: int | None = None) -> str:
    """The commonest values, with their number or their share."""
    few = commonest(counts)[:FEW_VALUES]
    listed = ", ".join(
        f"{'not given' if value is None else say(value)} "
        + (f"{count:,}" if of is None else _percent(count, of))
        for value, count in few
    )
    return listed + (f", and {len(counts) - len(few):,} others" if len(counts) > len(few) else "")


def _tempi(tempi: Counter) -> str:
    given = sorted(tempo for tempo in tempi.elements() if tempo is not None)
    if not given:
        return "not given"
    silent = f"; not given {tempi[None]:,}" if tempi[None] else ""
    middle = given[len(given) // 2]
    if given[0] == given[-1]:
        return f"{middle} quarters a minute{silent}"
    return f"{given[0]} to {given[-1]} quarters a minute, median {middle}{silent}"


# ---- words ------------------------------------------------------------------


def _rounding(mean: float, largest: float) -> str:
    if not largest:
        return "none: every note stands on the grid (24 ticks a quarter)"
    return f"{mean:.2g} ticks on average, {largest:.2g} at most (24 ticks a quarter)"


def _off_grid(notes: int, of: int) -> str:
    return f"{notes:,} of {of:,} notes begin off the grid"


def _duration(ticks: int) -> str:
    name = duration_name(ticks)
    return name if name.endswith(("tick", "ticks")) else f"{name} ({ticks})"


def _range(low: int, high: int) -> str:
    return spoken_pitch(low) if low == high else f"{spoken_pitch(low)} to {spoken_pitch(high)}"


def _percent(number: int, of: int) -> str:
    return "<1%" if number * 100 < of else f"{100 * number / of:.0f}%"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" + ("" if number == 1 else "s")


def _cut(text: str) -> str:
    return text if len(text) <= NAME_LENGTH else f"{text[: NAME_LENGTH - 3]}..."
