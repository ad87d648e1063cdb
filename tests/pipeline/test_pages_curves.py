"""Plots inside a page: the same bytes, the page's colours, and the figures in words."""

import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

from components.trainer.history import Epoch, History
from pipeline.pages.curves import Curve, bars, distribution, loss_curves, steps

CURVES = [Curve("0.1", (3.0, 2.0, 1.5), (3.1, 2.5, 2.75), 2), Curve("0.5", (3.5,), (3.25,), 1)]


def test_a_plot_is_one_well_formed_element_in_the_pages_colours():
    text = loss_curves(CURVES, 2.25, name="dropout")
    root = ElementTree.fromstring(text)
    assert root.tag.endswith("svg")
    assert "var(--c0)" in text
    assert "var(--c1)" in text
    assert "var(--c2)" not in text
    assert "currentColor" in text
    assert set(re.findall(r"#[0-9a-f]{6}\b", text)) == set()
    ids = re.findall(r'\bid="([^"]*)"', text)
    assert ids
    assert all(name.startswith("dropout-") for name in ids)


def test_a_plot_says_its_figures_to_who_cannot_see_it():
    label = ElementTree.fromstring(loss_curves(CURVES, 2.25)).get("aria-label")
    assert "0.1 2.500 in epoch 2; 0.5 3.250 in epoch 1; n-gram 2.250" in label
    label = ElementTree.fromstring(bars([("a & b", 2.0)], "seconds an epoch")).get("aria-label")
    assert label == "Seconds an epoch: a & b 2"


def test_labels_are_text():
    letters = "".join(ElementTree.fromstring(loss_curves(CURVES, 2.25)).itertext())
    for words in ("epoch", "nats an event", "0.1", "0.5", "n-gram"):
        assert words in letters
    assert "n-gram" not in "".join(ElementTree.fromstring(loss_curves(CURVES)).itertext())


def test_the_same_curves_give_the_same_bytes_in_every_process():
    code = (
        "import sys; from pipeline.pages.curves import Curve, loss_curves; "
        f"sys.stdout.write(loss_curves({CURVES!r}, 2.25))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == loss_curves(CURVES, 2.25)


def test_a_curve_is_that_of_a_training():
    epochs = (Epoch(3.0, 3.1, 1.0, 1e-3), Epoch(2.0, 2.5, 1.0, 1e-3), Epoch(1.5, 2.75, 1.0, 1e-3))
    history = History("", {}, 1, 1, 1, 2.25, epochs, {})
    assert Curve.of("0.1", history) == CURVES[0]


def test_steps_stand_by_their_bins_and_say_their_ends():
    bins = [(1, 25, 3.0), (26, 50, 2.5), (51, 75, 2.25)]
    text = steps([("model", bins), ("n-gram", bins)], "event of the song", "positions")
    root = ElementTree.fromstring(text)
    label = root.get("aria-label")
    assert label.startswith("Nats an event by event of the song; model: 3.000 at first, 2.250 at")
    assert "var(--c1)" in text
    assert set(re.findall(r"#[0-9a-f]{6}\b", text)) == set()
    assert "model" in "".join(root.itertext())
    # One series needs no legend.
    (alone,) = (ElementTree.fromstring(steps([("model", bins)], "event", "one")),)
    assert "model" not in "".join(alone.itertext())


def test_new_songs_stand_as_marks_in_the_distribution_of_real_ones():
    text = distribution([5, 7, 7, 9], [7, 30, 7], 9, "longest copied run, notes", "borrowing")
    label = ElementTree.fromstring(text).get("aria-label")
    assert label == (
        "Longest copied run, notes: 4 real songs from 5 to 9; new songs: 7, 7, 30; bound 9"
    )
    letters = "".join(ElementTree.fromstring(text).itertext())
    for words in ("the composer's", "the model's", "bound", "songs"):
        assert words in letters
    unbound = distribution([5], [5], None, "notes", "one")
    assert "bound" not in "".join(ElementTree.fromstring(unbound).itertext())
    # Thousands of values are still a plot of some bars.
    assert len(distribution(range(5000), [1], 9, "notes", "many")) < 60_000
