"""Whether new songs lie among a composer's own, feature by feature.

Yang and Lerch 2020 compare two densities of each feature: of the distances between
real songs (intra-set), and of those from new songs to real ones (inter-set). Where
new songs are like real ones, they are as far from real songs as these are from each
other, and the densities cover one another: the overlap area (OA) is near 1 and the
Kullback-Leibler divergence near 0.

How near it can be, with so few songs, is what real songs against other real songs
say: the ceiling, taken between two halves of them. A figure is told relative to it.

Distances are Euclidean, densities Gaussian kernel estimates with Scott's bandwidth, as
in mgeval, on one grid for both. Where mgeval fails, on distances that are all alike
(every song has 250 notes, say), the bandwidth has a floor instead: two equal constants
overlap wholly, two different ones not at all.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Sequence

import numpy as np

from music.measures.features import FEATURES, features
from music.song import Song

# Points of a density, and the least bandwidth as a share of the range that it covers.
GRID, FLOOR = 1024, 0.005
# Larger samples of distances are binned.
BINNED = 512
# What stands for nothing, in KL divergence, and between equal values.
_TINY = 1e-12


@dataclasses.dataclass(frozen=True)
class Coherence:
    """One feature, new songs against real ones.

    Attributes:
      overlap: OA of the intra-set and the inter-set density, 0..1.
      divergence: KL of the intra-set density from the inter-set one, nats, 0 or more.
      ceiling: the OA of real songs against other real songs.
      constant: whether no two songs of either set differ in it: it says nothing of them.
    """

    overlap: float
    divergence: float
    ceiling: float
    constant: bool = False

    @property
    def relative(self) -> float:
        """The overlap as a share of the ceiling; above 1 where it is better."""
        return self.overlap / self.ceiling if self.ceiling > 0 else math.nan


def coherence(real: Sequence[Song], new: Sequence[Song]) -> dict[str, Coherence]:
    """Of each of the nine features, how new songs lie among real ones.

    Args:
      real: at least four songs, so that each half of them has a distance.
      new: at least one song; of about the length of the real ones, as a longer song
        has more notes.

    Raises:
      ValueError: fewer songs.
    """
    if len(real) < 4 or not new:
        raise ValueError(f"coherence takes 4 real songs and 1 new one, got {len(real)}, {len(new)}")
    known, made = [features(song) for song in real], [features(song) for song in new]
    first, second = halves(real)
    found = {}
    for name in FEATURES:
        ours = np.stack([one[name] for one in known])
        theirs = np.stack([one[name] for one in made])
        overlap, divergence = compare(within(ours), between(theirs, ours))
        ceiling, _ = compare(within(ours[first]), between(ours[second], ours[first]))
        constant = not (np.ptp(ours, axis=0).any() or (theirs != ours[0]).any())
        found[name] = Coherence(overlap, divergence, ceiling, constant)
    return found


def halves(songs: Sequence[Song]) -> tuple[list[int], list[int]]:
    """Places of two halves, by the hash of a song's notes: the same in any order."""
    keys = [hashlib.sha256(song.notes.tobytes()).digest() for song in songs]
    order = sorted(range(len(songs)), key=keys.__getitem__)
    return order[::2], order[1::2]


def within(features: np.ndarray) -> np.ndarray:
    """Intra-set distances, float64[N (N - 1) / 2], of float64[N, D]."""
    rows, columns = np.triu_indices(len(features), k=1)
    return _distances(features, features)[rows, columns]


def between(some: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Inter-set distances, float64[N M], of float64[N, D] and float64[M, D]."""
    return _distances(some, others).ravel()


def _distances(some: np.ndarray, others: np.ndarray) -> np.ndarray:
    return np.sqrt(((some[:, None] - others[None]) ** 2).sum(axis=-1))


def compare(some: np.ndarray, others: np.ndarray) -> tuple[float, float]:
    """(OA, KL) of the densities of two samples.

    Args:
      some: float64[N], N at least 1; KL is that of its density from the other.
      others: float64[M], M at least 1.

    Returns:
      The integral of the smaller density, 0..1, and the divergence in nats.
    """
    low, high = min(some.min(), others.min()), max(some.max(), others.max())
    scale = high - low
    if (
        scale <= 1e-9 * max(abs(low), abs(high)) + _TINY
    ):  # equal but for rounding: any scale will do
        scale = max(abs(low), abs(high), 1.0)
    widths = [max(_scott(sample), FLOOR * scale) for sample in (some, others)]
    # Wide enough that nothing of a density is left out.
    grid = np.linspace(low - 5 * max(widths), high + 5 * max(widths), GRID)
    first, second = (
        density(sample, grid, width) for sample, width in zip((some, others), widths, strict=True)
    )
    first, second = first / first.sum(), second / second.sum()
    overlap = float(np.minimum(first, second).sum())
    first, second = first + _TINY, second + _TINY
    divergence = float((first * np.log(first / second)).sum())
    return overlap, max(divergence, 0.0)


def _scott(sample: np.ndarray) -> float:
    """Scott's bandwidth; 0 for one value alone."""
    if len(sample) < 2:
        return 0.0
    return float(sample.std(ddof=1)) * len(sample) ** (-1 / 5)


def density(sample: np.ndarray, grid: np.ndarray, width: float) -> np.ndarray:
    """A Gaussian kernel estimate at the points of an even grid, float64[G].

    A large sample is first shared out to the two points beside each value and then
    blurred, which takes no longer for more values (linear binning, Wand 1994); the grid
    is fine enough that nobody sees the difference.
    """
    scale = width * math.sqrt(2 * math.pi) * len(sample)
    if len(sample) <= BINNED:
        scaled = (grid[:, None] - sample[None]) / width
        return np.exp(-0.5 * scaled**2).sum(axis=1) / scale
    step = grid[1] - grid[0]
    place = (sample - grid[0]) / step
    left = np.clip(place.astype(np.int64), 0, len(grid) - 2)
    share = place - left
    weights = np.bincount(left, 1 - share, len(grid)) + np.bincount(left + 1, share, len(grid))
    reach = math.ceil(6 * width / step)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) * step / width) ** 2)
    return np.convolve(weights, kernel)[reach : reach + len(grid)] / scale
