"""What may be searched: values of the settings' own types, and nothing that misleads."""

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.trainer.settings import ModelSettings, TrainerSettings, TrainingSettings
from components.trainer.space import TuningSettings, from_text, to_text, with_choices
from music.errors import SegueError
from music.windows import WindowSpec

SETTINGS = TrainerSettings(ModelSettings(), TrainingSettings(), WindowSpec(), "default", "code")


def test_there_is_no_search_unless_one_is_asked_for():
    assert not TuningSettings().enabled


def test_a_space_is_its_settings_by_their_whole_names():
    tuning = TuningSettings(
        space={"model": {"units": [[8, 8, 8], [16, 32, 16]]}, "training": {"learning_rate": [1]}}
    )
    assert tuning.choices == {
        "model.units": ((8, 8, 8), (16, 32, 16)),
        "training.learning_rate": (1.0,),
    }
    assert type(tuning.choices["training.learning_rate"][0]) is float


def test_a_number_without_a_dot_is_the_number_that_it_looks_like():
    tuning = TuningSettings(space={"training": {"learning_rate": ["1e-3"]}})
    assert tuning.choices == {"training.learning_rate": (1e-3,)}


def test_tuning_settings_survive_json():
    tuning = TuningSettings(True, "grid", 3, 4, 5, {"model": {"units": [[8, 8, 8], [4, 4, 4]]}})
    assert TuningSettings(**json.loads(json.dumps(tuning.to_dict()))) == tuning


@given(
    st.one_of(
        st.integers(),
        st.floats(allow_nan=False),
        st.sampled_from(["relu", "cosine"]),
        st.lists(st.integers(), min_size=1).map(tuple),
    )
)
def test_a_value_survives_the_way_through_kerastuner(value):
    text = to_text(value)
    assert isinstance(text, (int, float, str))
    again = from_text(text)
    assert (tuple(again) if isinstance(again, list) else again) == value


def test_choices_replace_what_they_name_and_nothing_else():
    chosen = {"model.dropout": 0.1, "model.units": "[8, 16, 8]", "training.batch_size": 4}
    assert with_choices(SETTINGS, chosen) == dataclasses.replace(
        SETTINGS,
        model=dataclasses.replace(SETTINGS.model, dropout=0.1, units=(8, 16, 8)),
        training=dataclasses.replace(SETTINGS.training, batch_size=4),
    )


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"trials": 0}, "tuning.trials 0 is not allowed; it must be 1.."),
        ({"seed": 0}, "tuning.seed 0 is not allowed"),
        ({"strategy": "luck"}, "'luck' does not exist; choose random or grid"),
        ({"space": {}}, "tuning.space is empty"),
        ({"space": {"gate": {"max_nats": [1.0]}}}, "tuning.space.gate is no group of settings"),
        ({"space": {"model": {"dropuot": [0.1]}}}, "setting model.dropuot does not exist"),
        ({"space": {"model": {"dropout": 0.1}}}, "takes a list of values to try"),
        ({"space": {"model": {"dropout": []}}}, "takes a list of values to try"),
        ({"space": {"model": {"dropout": [0.1, 1.5]}}}, "dropout 1.5 is not allowed"),
        ({"space": {"model": {"dropout": ["much"]}}}, "takes a value of type float, got 'much'"),
        ({"space": {"model": {"dropout": [0.1, 0.1]}}}, "names 0.1 twice"),
        ({"space": {"model": {"units": [[8, 8, True]]}}}, "takes lists of whole numbers"),
        ({"space": {"training": {"batch_size": [True]}}}, "takes a value of type int, got True"),
        ({"space": {"training": {"epochs": [3, 4]}}}, "tuning.epochs says how long a trial is"),
        ({"space": {"training": {"seed": [3, 4]}}}, "the luckiest seed is no setting"),
    ],
)
def test_what_cannot_be_searched_is_one_line(given, words):
    with pytest.raises(SegueError) as caught:
        TuningSettings(**given)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
