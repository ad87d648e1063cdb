"""What the kept results of the long runs say, as a table and as a picture.

Everything here is computed anew from `benchmarks/results/training-*.json`, so that a
number in the documents is one that a command prints. A time is a number of epochs,
which no other work on the machine can change, times the seconds of an epoch: those
measured on a quiet machine, where they are kept; else the median of the run's own.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any


@dataclasses.dataclass(frozen=True)
class Curve:
    """A contestant's training on one split.

    Attributes:
      contestant, salt, seed: whose.
      nats: held-out nats an event on the common events, after each epoch.
      seconds: of one epoch, judging included.
    """

    contestant: str
    salt: str
    seed: int
    nats: tuple[float, ...]
    seconds: float

    @property
    def best(self) -> float:
        """The least of them."""
        return min(self.nats)

    def until(self, patience: int) -> float:
        """The best that early stopping would have ended with.

        Args:
          patience: epochs in a row that are no better before it stops.
        """
        best = 0
        for epoch, nats in enumerate(self.nats):
            if nats < self.nats[best]:
                best = epoch
            elif epoch - best >= patience:
                break
        return self.nats[best]

    def reach(self, nats: float) -> int | None:
        """The first epoch, from 1, with no more than these; None if there is none."""
        return next((n for n, value in enumerate(self.nats, start=1) if value <= nats), None)


@dataclasses.dataclass(frozen=True)
class Comparison:
    """The default against the paper's recipe and the n-gram, one split and one seed each.

    Attributes:
      salt: of the split.
      paper, default: the trainings.
      ngram: nats of the best order on the same events.
      order: which that is.
    """

    salt: str
    paper: Curve
    default: Curve
    ngram: float
    order: int

    @property
    def paper_seconds(self) -> float:
        """That the paper's recipe takes to its own best value."""
        epochs = self.paper.reach(self.paper.best)
        assert epochs is not None
        return epochs * self.paper.seconds

    @property
    def default_seconds(self) -> float | None:
        """That the default takes to that value; None if it does not get there."""
        epochs = self.default.reach(self.paper.best)
        return None if epochs is None else epochs * self.default.seconds

    @property
    def sooner(self) -> float:
        """How many times; 0 if never."""
        seconds = self.default_seconds
        return 0.0 if seconds is None else self.paper_seconds / seconds

    @property
    def under_ngram(self) -> float:
        """The share by which the default's best lies under the n-gram's nats."""
        return 1 - self.default.best / self.ngram


def curve(value: Mapping[str, Any], seconds: float | None = None) -> Curve:
    """Of one kept result; `seconds` an epoch, where they are better known."""
    epochs = value["history"]["epochs"]
    took = [epoch["seconds"] for epoch in epochs]
    # The first one compiles.
    return Curve(
        contestant=value["contestant"],
        salt=value["salt"],
        seed=value["seed"],
        nats=tuple(epoch["nats"] for epoch in epochs),
        seconds=statistics.median(took[1:] or took) if seconds is None else seconds,
    )


def comparisons(
    results: Sequence[Mapping[str, Any]],
    seconds: Mapping[str, Mapping[str, float]] | None = None,
) -> list[Comparison]:
    """One for each split and seed of the default that the paper's recipe ran on, too.

    Args:
      results: as `_long.read` gives them.
      seconds: of an epoch, by split and contestant, where the results' own are not to
        be taken.

    Raises:
      ValueError: two results of a split are not of the same held-out events.
    """
    return [
        Comparison(salt, paper, default, ngram["nats"], ngram["order"])
        for salt, ngram, paper, defaults in _by_split(results, seconds)
        for default in defaults
        if paper and ngram
    ]


def _by_split(
    results: Sequence[Mapping[str, Any]], seconds: Mapping[str, Mapping[str, float]] | None
) -> Iterator[tuple[str, Mapping[str, Any] | None, Curve | None, list[Curve]]]:
    """Of each split: the n-gram's result, the paper's curve, the default's of all seeds.

    Raises:
      ValueError: as `comparisons`.
    """
    for salt in sorted({value["salt"] for value in results}):
        here = [value for value in results if value["salt"] == salt]
        if len({_events(value) for value in here}) > 1:
            raise ValueError(f"the results of split {salt} are not of the same held-out events")
        known = (seconds or {}).get(salt, {})
        papers, defaults = (
            [curve(v, known.get(name)) for v in here if v["contestant"] == name]
            for name in ("paper", "default")
        )
        ngrams = [value for value in here if value["contestant"] == "ngram"]
        # Several seeds of the paper's recipe: the one that did best.
        paper = min(papers, key=lambda one: one.best, default=None)
        yield salt, ngrams[0] if ngrams else None, paper, defaults


def _events(value: Mapping[str, Any]) -> tuple[Any, ...]:
    contest = value["contest"]
    return contest["digest"], contest["events"], contest["classes"]


BEGIN, END = "<!-- training: begin -->", "<!-- training: end -->"
# Of the preset `paper`.
PATIENCE = 10
_HEAD = """\
| split | held out | n-gram | in all keys | paper's recipe | stopped early | default | under the n-gram | paper's time | default's | sooner |
|---|---|---|---|---|---|---|---|---|---|---|
"""  # noqa: E501


def markdown(
    results: Sequence[Mapping[str, Any]],
    seconds: Mapping[str, Mapping[str, float]] | None = None,
) -> str:
    """The table of the documents, a line a split and seed of the default.

    Args:
      results, seconds: as `comparisons` takes them.

    Returns:
      Markdown; what has not been run yet is a dash.
    """
    lines = []
    for _, ngram, paper, defaults in _by_split(results, seconds):
        if ngram:
            either: list[Curve | None] = [*defaults] or [None]
            lines += [_line(ngram, paper, default) for default in either]
    return _HEAD + "".join(lines)


def _line(ngram: Mapping[str, Any], paper: Curve | None, default: Curve | None) -> str:
    contest = ngram["contest"]
    cells = [
        ngram["salt"],
        f"{contest['songs']['eval']} songs, {contest['events']:,} tokens",
        f"{ngram['nats']:.3f}, order {ngram['order']}",
        f"{ngram['nats_transposed']:.3f}, order {ngram['order_transposed']}",
        *["–"] * 7,
    ]
    if paper:
        best, stopped = paper.best, paper.until(PATIENCE)
        cells[4] = f"{best:.3f}, epoch {paper.reach(best)} of {len(paper.nats)}"
        cells[5] = f"{stopped:.3f}, epoch {paper.reach(stopped)}"
    if default:
        cells[6] = f"{default.best:.3f}, epoch {default.reach(default.best)}"
        under = [1 - default.best / ngram[name] for name in ("nats", "nats_transposed")]
        cells[7] = f"{under[0]:.1%}, {under[1]:.1%}"
    if paper and default:
        one = Comparison(ngram["salt"], paper, default, ngram["nats"], ngram["order"])
        took = one.default_seconds
        reached = f"{took:,.0f} s, epoch {default.reach(paper.best)}" if took else "never"
        cells[8:] = [f"{one.paper_seconds:,.0f} s", reached, f"{one.sooner:.1f} x"]
    return f"| {' | '.join(cells)} |\n"


def put_into(path: Path, table: str) -> None:
    """Puts a table between the marks of a document.

    Raises:
      ValueError: it has no such marks.
    """
    text = path.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{path.name} has no {BEGIN} and {END}")
    path.write_text(f"{before}{begin}\n{table}{end}{after}", encoding="utf-8")


def plot(
    path: Path,
    results: Sequence[Mapping[str, Any]],
    seconds: Mapping[str, Mapping[str, float]] | None = None,
) -> None:
    """Draws held-out nats against seconds, a panel a split, as SVG.

    The same results give the same file, byte by byte.

    Args:
      path: of the picture.
      results, seconds: as `comparisons` takes them.

    Raises:
      ValueError: no split has all three contestants.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    compared = comparisons(results, seconds)
    salts = sorted({one.salt for one in compared})
    if not salts:
        raise ValueError("no split has results of paper, default and ngram yet")
    with matplotlib.rc_context({"svg.hashsalt": "segue", "svg.fonttype": "none", "font.size": 9}):
        figure, axes = pyplot.subplots(
            1, len(salts), figsize=(1 + 3.2 * len(salts), 3.2), sharey=True, squeeze=False
        )
        for axis, salt in zip(axes[0], salts, strict=True):
            here = [one for one in compared if one.salt == salt]
            _draw(axis, here)
            axis.set_title(f"split {salt}")
        axes[0][0].set_ylabel("held-out nats a token")
        axes[0][-1].legend(frameon=False, fontsize=8)
        figure.tight_layout()
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
        pyplot.close(figure)


def _draw(axis: Any, compared: Sequence[Comparison]) -> None:
    paper = compared[0].paper
    lines = [(paper, "#b3541e", "paper's recipe")]
    lines += [
        (one.default, "#1f6f8b", "default" if place == 0 else "_")
        for place, one in enumerate(compared)
    ]
    for one, color, label in lines:
        seconds = [one.seconds * (epoch + 1) for epoch in range(len(one.nats))]
        axis.plot(seconds, one.nats, color=color, label=label, linewidth=1.4)
    axis.axhline(compared[0].ngram, color="#555555", linestyle="--", linewidth=1, label="n-gram")
    axis.axhline(paper.best, color="#b3541e", linestyle=":", linewidth=1, label="paper's best")
    axis.set_xscale("log")
    axis.set_xlabel("seconds")
    # The first epochs, before anything is learnt, would press the rest together.
    axis.set_ylim(top=1.35 * compared[0].ngram)
    axis.spines[["top", "right"]].set_visible(False)
