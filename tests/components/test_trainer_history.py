"""The record of a training, and its file."""

import dataclasses
import json
import math

import pytest

from components.trainer.history import Epoch, History

EPOCHS = (Epoch(4.0, 3.5, 2.0, 1e-3), Epoch(3.0, 3.25, 1.5, 5e-4), Epoch(2.0, 3.75, 1.0, 1e-5))
HISTORY = History(
    preset="default",
    settings={"window": {"length": 75}},
    parameters=123,
    windows=10,
    held_out=2,
    ngram_nats=3.5,
    epochs=EPOCHS,
    versions={"keras": "3"},
)


def test_the_best_epoch_is_the_one_with_the_least_held_out_nats():
    assert (HISTORY.best, HISTORY.nats, HISTORY.seconds) == (2, 3.25, 4.5)


def test_a_file_gives_back_what_it_was_made_of():
    assert History.from_json(HISTORY.to_json()) == HISTORY
    told = json.loads(HISTORY.to_json())
    assert (told["best"], told["nats"], told["seconds"]) == (2, 3.25, 4.5)


def test_windows_without_an_n_gram_make_a_file_that_is_json():
    bare = dataclasses.replace(HISTORY, ngram_nats=math.nan)
    assert "NaN" not in bare.to_json()
    assert math.isnan(History.from_json(bare.to_json()).ngram_nats)
    assert HISTORY.ngram_nats == pytest.approx(3.5)
