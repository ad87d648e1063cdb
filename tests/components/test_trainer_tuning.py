"""The search: what it tries, what it keeps, and what the Trainer is given."""

import dataclasses
import json
import types

import pytest

from components.trainer.settings import ModelSettings, TrainerSettings, TrainingSettings
from components.trainer.space import TuningSettings
from components.trainer.tuning import tuner_fn
from music.errors import SegueError
from music.windows import WindowSpec

WINDOW = WindowSpec(4, "last")
SETTINGS = TrainerSettings(
    ModelSettings("paper", units=(4, 4, 4), dense=4, dropout=0.0),
    TrainingSettings(batch_size=32, epochs=50, learning_rate=0.02, schedule="constant"),
    WINDOW,
)
DROPOUTS = {"model": {"dropout": [0.0, 0.2, 0.4]}}


@pytest.fixture(scope="module")
def files(paper_splits):
    return paper_splits(WINDOW)


@pytest.fixture(scope="module")
def search(files, tmp_path_factory):
    """search(trials=2, ...): the tuner as TFX's executor has it after the search."""
    store = tmp_path_factory.mktemp("store")

    def search(**given):
        given = {"epochs": 1, **given}
        arguments = types.SimpleNamespace(
            custom_config={
                "settings": json.dumps(SETTINGS.to_dict()),
                "tuning": json.dumps(TuningSettings(**given).to_dict()),
                "store": str(store),
            },
            train_files=files[0],
            eval_files=files[1],
            # TFX gives every execution another one.
            working_dir=str(tmp_path_factory.mktemp("execution")),
        )
        found = tuner_fn(arguments)
        found.tuner.search(**found.fit_kwargs)
        return found.tuner

    return search


@pytest.fixture(scope="module")
def cut_short(search):
    """A search of which one trial was made."""
    return search(trials=1, space=DROPOUTS, seed=3)


@pytest.fixture(scope="module")
def whole(search, cut_short):
    return search(trials=2, space=DROPOUTS, seed=3)


def test_a_search_that_was_cut_short_goes_on_where_it_was(cut_short, whole):
    (only,) = cut_short.made
    again, new = whole.made
    assert (again.key, again.kept) == (only.key, True)
    assert again.history.to_json() == only.history.to_json()  # its seconds, too
    assert not new.kept
    assert new.key != only.key


def test_the_best_are_those_with_the_least_held_out_nats(whole):
    best = min(whole.made, key=lambda trial: trial.history.nats)
    (found,) = whole.get_best_hyperparameters()
    assert found.values == {"model.dropout": best.history.settings["model"]["dropout"]}
    assert whole.oracle.get_best_trials(1)[0].score == best.history.nats


def test_a_trial_is_a_training_with_what_was_drawn_and_the_searchs_epochs(whole):
    for trial in whole.made:
        made = TrainerSettings.from_dict(trial.history.settings)
        assert made.model.dropout in DROPOUTS["model"]["dropout"]
        assert (made.training.epochs, len(trial.history.epochs)) == (1, 1)
        assert made.model.units == SETTINGS.model.units


def test_a_trial_that_breaks_down_is_recorded_and_the_search_goes_on(search):
    # More than a float32 can hold.
    both = search(trials=9, space={"model": {"l2": [1e39, 0.0]}}, strategy="grid")
    broken, good = both.made
    assert broken.history is None
    assert [trial.status for trial in both.oracle.trials.values()] == ["FAILED", "COMPLETED"]
    assert both.get_best_hyperparameters()[0].values == {"model.l2": 0.0}
    assert good.history.settings["model"]["l2"] == 0.0


def test_a_search_without_a_best_is_one_line(search):
    with pytest.raises(SegueError) as caught:
        search(trials=9, space={"model": {"l2": [1e39]}}, strategy="grid")
    assert str(caught.value).startswith("all 1 trials of the search broke down; the first: ")


def test_what_every_trial_would_meet_ends_the_search(search, files, tmp_path):
    held_out = files[1][:]
    files[1][:] = [str(tmp_path / "nothing")]
    try:
        with pytest.raises(Exception) as caught:
            search(trials=2, space=DROPOUTS)
    finally:
        files[1][:] = held_out
    assert isinstance(caught.value.__cause__, SegueError)
    assert str(caught.value).startswith("the eval split has no window")


def test_the_trainer_is_given_what_the_search_found(whole):
    from components.trainer.module import chosen_settings

    arguments = types.SimpleNamespace(custom_config={"settings": json.dumps(SETTINGS.to_dict())})
    assert chosen_settings(arguments) == SETTINGS
    (best,) = whole.get_best_hyperparameters()
    # As the Tuner's artifact holds them.
    arguments.hyperparameters = json.loads(json.dumps(best.get_config()))
    model = dataclasses.replace(SETTINGS.model, dropout=best.values["model.dropout"])
    assert chosen_settings(arguments) == dataclasses.replace(SETTINGS, model=model)
