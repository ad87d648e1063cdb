"""Nats by position: songs put together from windows, the state carried through them."""

import itertools
import logging
import os

import keras
import numpy as np
import pytest

from components.files import POSITIONS_FILE
from components.trainer import positions
from components.trainer.inference import InferenceModel
from components.trainer.network import build_network, extract_weights
from components.trainer.positions import (
    REACH,
    Bin,
    NGramBeside,
    Positions,
    by_position,
    event_nats,
    in_bins,
    song_beginnings,
    tell_positions,
)
from components.trainer.settings import ModelSettings, TrainerSettings, TrainingSettings
from components.window_generator.stages import alphabets
from components.window_generator.tables import FOLDER, write_part
from music.ngram import NGramCounts, part_cuts, stretch_table
from music.windows import WindowSpec

CHAIN = ModelSettings(units=(5, 6, 5), dense=7, embedding=4)
PAPER = ModelSettings("paper", units=(5, 6, 5), dense=7)
COUNTS = (1, 2, 30, REACH, REACH + 1, REACH + 2, 700)


def network_of(settings, window, known):
    keras.utils.set_random_seed(3)
    network = build_network(settings, window, known)
    rng = np.random.default_rng(4)
    network.set_weights([w + 0.3 * rng.standard_normal(w.shape) for w in network.get_weights()])
    return network


@pytest.fixture(scope="module")
def songs(vocabulary, events_of):
    return [events_of(vocabulary("notes"), count, seed) for seed, count in enumerate(COUNTS)]


@pytest.fixture(scope="module")
def split(songs, vocabulary, write_windows, tmp_path_factory):
    """Patterns of an evaluation split of windows of 8, with the n-gram beside it."""
    known = vocabulary("notes")
    examples = tmp_path_factory.mktemp("examples")
    write_windows(examples / "Split-eval" / "a.gz", songs, known, WindowSpec(8))
    table = ngram_of(songs[:3]).table()
    cuts = part_cuts(table, 2)
    for part, (first, stop) in enumerate(itertools.pairwise(cuts)):
        os.makedirs(examples / FOLDER, exist_ok=True)
        write_part(str(examples / FOLDER), part, 2, stretch_table(table[:, first : stop + 1]))
    return [str(examples / "Split-eval" / "*")]


def ngram_of(songs):
    counts = NGramCounts(5)
    for events in songs:
        counts.add(events)
    return counts


@pytest.mark.parametrize("window", [WindowSpec(8), WindowSpec(300), WindowSpec(8, "last")], ids=str)
def test_songs_are_put_together_from_their_windows(
    songs, vocabulary, write_windows, tmp_path, window
):
    known = vocabulary("notes")
    write_windows(tmp_path / "eval" / "a.gz", songs, known, window)
    # A song that is too short for a window is in none.
    least = 2 if window.form == "every" else window.length + 1
    expected = [events[: REACH + 1] for events in songs if len(events) >= least]
    found = song_beginnings([str(tmp_path / "eval" / "*")], known)
    assert [len(events) for events in found] == [len(events) for events in expected]
    for mine, theirs in zip(found, expected, strict=True):
        assert np.array_equal(mine, theirs)


def test_of_many_songs_those_with_the_smallest_ids_are_read(split, vocabulary, songs):
    known = vocabulary("notes")
    found = song_beginnings(split, known, most=2)
    # "song 0" is one event long.
    assert [len(events) for events in found] == [len(songs[1]), len(songs[2])]


def test_the_state_is_carried_from_the_first_event_to_the_last(split, songs, vocabulary):
    """As the Keras network reads a whole song at once, however short its windows were."""
    known, window = vocabulary("notes"), WindowSpec(8)
    network = network_of(CHAIN, window, known)
    weights = extract_weights(network, CHAIN)
    long = [events[: REACH + 1] for events in songs[1:]]
    padded = np.zeros((len(long), REACH + 1, 3), np.int32)
    for row, events in enumerate(long):
        padded[row, : len(events)] = known.indices(events)
    told = network([padded[:, :-1], padded[:, 1:]]).numpy().astype(float)
    expected = []
    for row, events in enumerate(long):
        shares = sum(known.share_nll[field][events[1:, field]] for field in range(3))
        expected.append(np.concatenate([[np.nan], told[row, : len(events) - 1] + shares]))
    model = InferenceModel(weights, CHAIN, WindowSpec(REACH), known)
    for mine, theirs in zip(event_nats(model, long), expected, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-4)

    ngram = ngram_of(songs[:3]).model(alphabets(known))
    found = by_position(weights, CHAIN, window, known, split, ngram)
    assert (found.songs, found.carried) == (6, True)
    assert [(one.first, one.last) for one in found.bins] == [
        (first, first + 24) for first in range(1, REACH, 25)
    ]
    last = found.bins[-1]
    assert last.events == 25 * 3 + 24  # of three songs all, of one all but the last
    long = expected[2:]
    assert last.nats == pytest.approx(
        np.concatenate([nats[301:] for nats in long]).mean(), rel=1e-4
    )
    beside = np.concatenate([ngram.nll(events)[301:326] for events in songs[3:]])
    assert last.ngram_nats == pytest.approx(beside.mean())


def test_a_sliding_window_has_figures_from_its_length_on(
    vocabulary, events_of, write_windows, tmp_path
):
    known, window = vocabulary("paper"), WindowSpec(30, "last")
    songs = [events_of(known, count, count) for count in (20, 31, 60, REACH + 40)]
    write_windows(tmp_path / "eval" / "a.gz", songs, known, window)
    network = network_of(PAPER, window, known)
    found = by_position(
        extract_weights(network, PAPER), PAPER, window, known, [str(tmp_path / "eval" / "*")]
    )
    assert (found.songs, found.carried) == (3, False)
    assert [one.first for one in found.bins] == list(range(26, REACH, 25))
    assert found.bins[0].events == 1 + 21 + 21  # event 30 of all, 31 to 50 of two
    assert all(one.ngram_nats is None for one in found.bins)
    events = songs[-1]
    heard = np.stack([events[at - 30 : at, 0] for at in range(301, 326)])
    indices = known.tables[0][heard].astype(np.float32)[..., None] / known.sizes[0]
    told = network(indices).numpy()[np.arange(25), known.tables[0][events[301:326, 0]]]
    assert found.bins[-1].nats == pytest.approx(-np.log(told).mean(), rel=1e-4)


def test_bins_are_means_over_the_songs_that_reach_them():
    # The nats of an event are its position; a song may begin with none.
    songs = [np.arange(float(count)) for count in (10, 40, REACH + 1)]
    songs[1][:30] = np.nan
    found = in_bins(songs, [2 * np.nan_to_num(song) for song in songs])
    assert found[0] == Bin(1, 25, 9 + 25, (45 + 325) / 34, 2 * (45 + 325) / 34)
    among = [*range(30, 40), *range(26, 51)]
    assert found[1] == Bin(26, 50, 35, np.mean(among), 2 * np.mean(among))
    assert found[-1] == Bin(301, 325, 25, 313.0, 626.0)
    assert in_bins([np.zeros(1)]) == ()


def test_the_tables_beside_the_windows_are_the_ngram_that_was_counted(split, songs, vocabulary):
    known = vocabulary("notes")
    expected = ngram_of(songs[:3]).model(alphabets(known))
    with NGramBeside(os.path.dirname(os.path.dirname(split[0])), known) as ngram:
        for events in songs:
            np.testing.assert_allclose(ngram.nll(events), expected.nll(events), rtol=1e-12)


def test_windows_without_an_ngram_have_none(tmp_path, vocabulary):
    with NGramBeside(str(tmp_path), vocabulary("notes")) as ngram:
        assert ngram is None


def test_what_is_told_is_written_and_read_again(split, vocabulary, tmp_path, caplog):
    known, window = vocabulary("notes"), WindowSpec(8)
    weights = extract_weights(network_of(CHAIN, window, known), CHAIN)
    settings = TrainerSettings(CHAIN, TrainingSettings(), window)
    with caplog.at_level(logging.INFO, logger="segue.progress"):
        told = tell_positions(weights, settings, known, split, str(tmp_path))
    assert Positions.from_json((tmp_path / POSITIONS_FILE).read_text()) == told
    first, last = told.bins[0], told.bins[-1]
    (record,) = [record for record in caplog.records if record.name == "segue.progress"]
    assert record.text == (
        f"held-out nats by position in 6 songs: {first.nats:.3f} (n-gram "
        f"{first.ngram_nats:.3f}) at events 1 to 25, {first.events} in all; {last.nats:.3f} "
        f"(n-gram {last.ngram_nats:.3f}) at events 301 to 325, {last.events} in all"
    )


def test_no_song_long_enough_is_a_line_too():
    assert Positions(0, True, ()).line() == (
        "no held-out song is long enough to tell nats by position"
    )


def test_a_split_of_more_songs_than_are_read_is_pruned_on_the_way(
    split, vocabulary, songs, monkeypatch
):
    """Records come one by one, so that pruning falls between the windows of a song."""
    known = vocabulary("notes")
    whole = song_beginnings(split, known)
    monkeypatch.setattr(positions, "_BATCH", 1)
    assert [len(events) for events in song_beginnings(split, known, most=1)] == [len(whole[0])]
