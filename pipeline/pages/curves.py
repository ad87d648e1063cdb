"""Plots that stand inside a page: learning curves, steps, distributions, and bars.

matplotlib draws them as SVG without a screen; the same numbers give the same bytes.
What it paints in a few stand-in colours is replaced by the page's own variables, so
a plot is dark where the page is dark and black on white in print, and its letters
stay text. Names of parts inside the SVG carry the plot's name, as one page holds
several.
"""

from __future__ import annotations

import dataclasses
import io
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from components.trainer.history import History

if TYPE_CHECKING:
    from markupsafe import Markup

# Stand-ins that stand nowhere else, and what a page has for them.
_TEXT, _GRID = "#010203", "#020304"
_SERIES = tuple(f"#0304{number:02x}" for number in range(6))
_MARKS = ("o", "s", "^", "D", "v", "P")
_NAMES = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
_WIDTH = 4.8  # inches, of 72 of the picture's units


@dataclasses.dataclass(frozen=True)
class Curve:
    """One training, for a plot.

    Attributes:
      label: what it is called there.
      losses: training nats, an epoch each.
      nats: held-out nats, an epoch each.
      best: the epoch that is marked, from 1.
    """

    label: str
    losses: tuple[float, ...]
    nats: tuple[float, ...]
    best: int

    @classmethod
    def of(cls, label: str, history: History) -> Curve:
        """The curve of a training."""
        return cls(
            label,
            tuple(epoch.loss for epoch in history.epochs),
            tuple(epoch.nats for epoch in history.epochs),
            history.best,
        )


def loss_curves(
    curves: Sequence[Curve],
    ngram_nats: float | None = None,
    name: str = "curves",
    unit: str = "nats an event",
) -> Markup:
    """Training (dashed) and held-out (solid) curves over the epochs.

    Args:
      curves: at most six.
      ngram_nats: the n-gram's figure, a dotted line; None where there is none.
      name: of the plot, another one for every plot of a page.
      unit: of the vertical axis.

    Returns:
      An `<svg>` element, as markupsafe's Markup.
    """
    figure, axes = _figure(3.4)
    longest = max(len(curve.nats) for curve in curves)
    for curve, colour, mark in zip(curves, _SERIES, _MARKS, strict=False):
        epochs = range(1, len(curve.nats) + 1)
        axes.plot(epochs, curve.losses, color=colour, linestyle=(0, (4, 2)), linewidth=1.2)
        axes.plot(
            epochs,
            curve.nats,
            color=colour,
            linewidth=2,
            label=curve.label,
            marker=mark,
            markersize=6,
            markevery=[curve.best - 1],
        )
    if ngram_nats is not None:
        axes.axhline(ngram_nats, color=_TEXT, linestyle=(0, (1, 2)), linewidth=1.4, label="n-gram")
    axes.set_xlim(0.5, max(longest, 2) + 0.5)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_xlabel("epoch")
    axes.set_ylabel(unit)
    axes.grid(axis="y", color=_GRID, linewidth=0.8)
    entries = len(curves) + (ngram_nats is not None)
    axes.legend(
        loc="lower center",
        bbox_to_anchor=(0.5, 1.0),
        ncols=min(entries, 5),
        frameon=False,
        labelcolor=_TEXT,
        handlelength=1.6,
        columnspacing=1.2,
    )
    best = [f"{curve.label} {min(curve.nats):.3f} in epoch {curve.best}" for curve in curves]
    told = f"Learning curves in {unit}; least held-out: {'; '.join(best)}"
    if ngram_nats is not None:
        told += f"; n-gram {ngram_nats:.3f}"
    return _svg(figure, name, told)


def bars(
    values: Sequence[tuple[str, float]], unit: str, name: str = "bars", words: str = "{:.3g}"
) -> Markup:
    """Horizontal bars from zero, the first on top, each with its figure.

    Args:
      values: (label, figure).
      unit: of the figures.
      name: of the plot, another one for every plot of a page.
      words: how a figure is written.

    Returns:
      An `<svg>` element, as markupsafe's Markup.
    """
    figure, axes = _figure(0.75 + 0.26 * len(values))
    places = range(len(values))
    drawn = axes.barh(places, [value for _, value in values], color=_SERIES[0], height=0.62)
    axes.bar_label(
        drawn, labels=[words.format(value) for _, value in values], padding=3, color=_TEXT
    )
    axes.set_yticks(list(places), [label for label, _ in values])
    axes.tick_params(axis="y", length=0)
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.set_xlim(left=0)
    axes.set_xlabel(unit)
    told = "; ".join(f"{label} {words.format(value)}" for label, value in values)
    return _svg(figure, name, f"{unit[:1].upper()}{unit[1:]}: {told}")


def steps(
    series: Sequence[tuple[str, Sequence[tuple[int, int, float]]]],
    axis: str,
    name: str,
    unit: str = "nats an event",
) -> Markup:
    """Means over bins, a level line a bin.

    Args:
      series: (label, [(first, last, mean)]), at most six; both ends belong to a bin.
      axis: what the bins are of.
      name: of the plot, another one for every plot of a page.
      unit: of the means.

    Returns:
      An `<svg>` element, as markupsafe's Markup.
    """
    figure, axes = _figure(2.6)
    for (label, bins), colour, mark in zip(series, _SERIES, _MARKS, strict=False):
        middles = [(first + last) / 2 for first, last, _ in bins]
        means = [mean for _, _, mean in bins]
        axes.plot(middles, means, color=colour, linewidth=2, label=label, marker=mark, markersize=4)
    axes.set_xlabel(axis)
    axes.set_ylabel(unit)
    axes.grid(axis="y", color=_GRID, linewidth=0.8)
    if len(series) > 1:
        axes.legend(
            loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(series), frameon=False,
            labelcolor=_TEXT, handlelength=1.6, columnspacing=1.2,
        )  # fmt: skip
    told = [
        f"{label}: {bins[0][2]:.3f} at first, {bins[-1][2]:.3f} at last" for label, bins in series
    ]
    return _svg(figure, name, f"{unit[:1].upper()}{unit[1:]} by {axis}; {'; '.join(told)}")


def distribution(
    real: Sequence[int],
    new: Sequence[int],
    bound: int | None,
    unit: str,
    name: str,
) -> Markup:
    """Where new songs lie in a distribution of real ones.

    Args:
      real: a whole number for every real song, at least one; bars.
      new: one for every new song; marks above.
      bound: beyond which a new one is too much, a dotted line; None draws none.
      unit: of the numbers.
      name: of the plot, another one for every plot of a page.

    Returns:
      An `<svg>` element, as markupsafe's Markup.
    """
    figure, axes = _figure(2.4)
    low, high = min([*real, *new]), max([*real, *new])
    width = max(1, -(-(high - low + 1) // 40))
    edges = [low - 0.5 + width * at for at in range((high - low) // width + 2)]
    heights, _, _ = axes.hist(real, edges, color=_SERIES[0], alpha=0.55, label="the composer's")
    top = float(max(heights))
    stacked: dict[int, int] = {}
    for value in sorted(new):
        stacked[value] = stacked.get(value, 0) + 1
        axes.plot(
            value, top * (1 + 0.09 * stacked[value]), marker="v", markersize=5, linewidth=0,
            color=_SERIES[1], label="the model's" if stacked[value] == len(stacked) == 1 else None,
        )  # fmt: skip
    if bound is not None:
        axes.axvline(bound + 0.5, color=_TEXT, linestyle=(0, (1, 2)), linewidth=1.4, label="bound")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.yaxis.get_major_locator().set_params(integer=True)
    axes.set_xlabel(unit)
    axes.set_ylabel("songs")
    axes.legend(
        loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, frameon=False, labelcolor=_TEXT,
        handlelength=1.6, columnspacing=1.2,
    )  # fmt: skip
    told = f"{len(real)} real songs from {min(real)} to {max(real)}"
    told += f"; new songs: {', '.join(map(str, sorted(new)))}"
    if bound is not None:
        told += f"; bound {bound}"
    return _svg(figure, name, f"{unit[:1].upper()}{unit[1:]}: {told}")


def _figure(height: float) -> tuple[Any, Any]:
    # Not pyplot, which keeps figures and may look for a screen.
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH, height), layout="constrained")
    FigureCanvasSVG(figure)
    figure.patch.set_visible(False)
    axes = figure.add_subplot()
    axes.patch.set_visible(False)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(_TEXT)
        axes.spines[side].set_linewidth(0.8)
    axes.tick_params(colors=_TEXT, labelcolor=_TEXT)
    for axis in (axes.xaxis, axes.yaxis):
        axis.label.set_color(_TEXT)
    return figure, axes


def _svg(figure: Any, name: str, told: str) -> Markup:
    import matplotlib
    from markupsafe import Markup, escape

    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    # The salt makes the names of parts the same in every process.
    with matplotlib.rc_context({"svg.hashsalt": name, "svg.fonttype": "none"}):
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata=nothing)
    text = file.getvalue()
    text = text[text.index("<svg") :].strip()
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    head, rest = text.split(">", 1)
    (box,) = re.findall(r'viewBox="[^"]*"', head)
    label = escape(told)
    text = f'<svg {_NAMES} {box} role="img" aria-label="{label}">{rest}'
    for colour, variable in _variables().items():
        text = text.replace(colour, variable)
    text = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", text)
    text = text.replace("'DejaVu Sans'", "inherit")
    return Markup(text)


def _variables() -> dict[str, str]:
    series = {colour: f"var(--c{number})" for number, colour in enumerate(_SERIES)}
    return {_TEXT: "currentColor", _GRID: "var(--grid)", **series}
