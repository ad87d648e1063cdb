"""Densities held to scipy's, and sets of songs whose likeness is known."""

import importlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from music.measures.coherence import Coherence, coherence, compare, halves
from music.measures.features import FEATURES, features
from music.song import Song

# The package has a function of that name.
coherence_module = importlib.import_module("music.measures.coherence")


def walk(seed, pitches=None, steps=(0, 12, 24), count=120):
    rng = np.random.default_rng(seed)
    onsets = np.cumsum(rng.choice(steps, count))
    walked = np.clip(60 + np.cumsum(rng.integers(-2, 3, count)), 0, 127)
    pitches = walked if pitches is None else rng.choice(pitches, count)
    durations = rng.choice([12, 24, 48], count)
    notes = np.stack([onsets, durations, pitches, np.full(count, 80), np.zeros(count)], axis=1)
    return Song(notes.astype(np.int32))


def test_overlap_and_divergence_are_those_of_scipys_densities():
    rng = np.random.default_rng(1)
    some, others = rng.normal(0, 1, 80), rng.normal(1, 2, 60)
    first, second = stats.gaussian_kde(some), stats.gaussian_kde(others)
    grid = np.linspace(-15, 15, 20_001)
    p, q = first(grid), second(grid)
    overlap = integrate.trapezoid(np.minimum(p, q), grid)
    divergence = stats.entropy(p + 1e-12, q + 1e-12)
    assert compare(some, others) == pytest.approx((overlap, divergence), rel=5e-3)


@pytest.mark.parametrize(
    ("some", "others", "overlap"),
    [
        ([5.0, 5.0, 5.0], [5.0, 5.0], 1.0),
        ([5.0], [5.0], 1.0),
        ([0.0, 0.0], [9.0, 9.0], 0.0),
        ([0.0, 0.0, 0.0], [-3.0, 4.0], 0.0),
    ],
)
def test_distances_that_are_all_alike_have_an_overlap_too(some, others, overlap):
    found, divergence = compare(np.array(some), np.array(others))
    assert found == pytest.approx(overlap, abs=0.05)
    assert (divergence < 0.01) == (overlap == 1.0)


samples = st.lists(st.floats(0, 100), min_size=1, max_size=20).map(np.array)


@given(samples, samples)
def test_overlap_is_a_share_both_ways_and_whole_with_itself(some, others):
    overlap, divergence = compare(some, others)
    assert 0 <= overlap <= 1 + 1e-9
    assert divergence >= 0
    assert compare(others, some)[0] == pytest.approx(overlap)
    assert compare(some, some) == pytest.approx((1.0, 0.0), abs=1e-6)


def test_songs_of_one_kind_overlap_and_of_another_kind_do_not():
    real = [walk(seed) for seed in range(30)]
    like = coherence(real, [walk(100 + seed) for seed in range(12)])
    unlike = coherence(real, [walk(seed, pitches=(60, 61), steps=(3,)) for seed in range(12)])
    assert set(like) == set(unlike) == set(FEATURES)
    for name in ("pitch_class_histogram", "mean_inter_onset_interval"):
        assert like[name].overlap > 0.8
        assert like[name].relative > 0.85
        assert unlike[name].overlap < 0.6 * like[name].overlap
        assert unlike[name].divergence > 2 * like[name].divergence
    # All have as many notes.
    assert like["note_count"].overlap == pytest.approx(1.0)


def test_a_feature_is_told_by_the_distances_of_real_songs_and_of_new_ones_to_them():
    """Each by itself, pair by pair: which set is which, and the ceiling, of real songs alone."""
    real = [walk(seed, count=60) for seed in range(10)]
    new = [walk(50 + seed, pitches=(60, 61, 70), count=60) for seed in range(4)]
    found = coherence(real, new)
    first, second = ([real[place] for place in half] for half in halves(real))
    for name in ("pitch_class_histogram", "pitch_range", "mean_pitch_interval"):

        def apart(one, other, name=name):
            return np.linalg.norm(features(one)[name] - features(other)[name])

        def pairs(songs):
            return np.array([apart(a, b) for n, a in enumerate(songs) for b in songs[n + 1 :]])

        def across(some, others):
            return np.array([apart(a, b) for a in some for b in others])

        overlap, divergence = compare(pairs(real), across(new, real))
        assert found[name].overlap == pytest.approx(overlap)
        assert found[name].divergence == pytest.approx(divergence)
        # Not that of the other from it.
        assert compare(across(new, real), pairs(real))[1] != pytest.approx(divergence, rel=1e-3)
        ceiling, _ = compare(pairs(first), across(second, first))
        assert found[name].ceiling == pytest.approx(ceiling)
        assert found[name].ceiling < 0.99


def test_a_feature_is_constant_where_neither_set_differs_in_it():
    real = [walk(seed) for seed in range(8)]
    assert coherence(real, [walk(50), walk(51)])["note_count"].constant
    assert not coherence(real, [walk(50), walk(51, count=119)])["note_count"].constant
    longer = [*real[1:], walk(60, count=121)]
    assert not coherence(longer, [walk(50), walk(51)])["note_count"].constant


def test_the_order_of_songs_does_not_matter():
    real, new = [walk(seed) for seed in range(9)], [walk(50), walk(51)]
    first = coherence(real, new)
    second = coherence(real[::-1], new[::-1])
    assert {name: one.overlap for name, one in first.items()} == pytest.approx(
        {name: one.overlap for name, one in second.items()}
    )
    assert sorted([*halves(real)[0], *halves(real)[1]]) == list(range(9))


def test_a_figure_is_told_relative_to_what_real_songs_reach():
    assert Coherence(overlap=0.6, divergence=0.1, ceiling=0.8).relative == pytest.approx(0.75)


def test_too_few_songs_are_refused():
    with pytest.raises(ValueError, match="takes 4 real songs and 1 new one, got 3, 1"):
        coherence([walk(seed) for seed in range(3)], [walk(9)])


@pytest.mark.parametrize("width", [0.05, 0.3, 2.0])
def test_a_large_samples_density_is_what_it_is_value_by_value(width, monkeypatch):
    sample = np.random.default_rng(4).gamma(2.0, 1.5, 3000)
    grid = np.linspace(sample.min() - 5 * width, sample.max() + 5 * width, coherence_module.GRID)
    binned = coherence_module.density(sample, grid, width)
    monkeypatch.setattr(coherence_module, "BINNED", len(sample))
    whole = coherence_module.density(sample, grid, width)
    step = grid[1] - grid[0]
    assert binned.sum() * step == pytest.approx(1.0, abs=1e-3)
    assert np.abs(binned - whole).sum() * step < 0.01
