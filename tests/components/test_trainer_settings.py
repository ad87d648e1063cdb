"""Settings travel as JSON, and say what they do not take."""

import dataclasses
import json
import math
import re
from pathlib import Path

import pytest

from components.trainer.settings import (
    ModelSettings,
    RetrainSettings,
    TrainerSettings,
    TrainingSettings,
)
from music.errors import SegueError
from music.windows import WindowSpec


def test_everything_travels_as_json_and_back():
    settings = TrainerSettings(
        ModelSettings("paper", units=(8, 9, 10), dropout=0.25, l2=0.5, activation="tanh"),
        TrainingSettings(batch_size=5, max_minutes=1.5, schedule="constant", transpose=3),
        WindowSpec(12, "last"),
        preset="paper",
        code="abc",
    )
    again = TrainerSettings.from_dict(json.loads(json.dumps(settings.to_dict())))
    assert again == settings
    assert again.model.units == (8, 9, 10)


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"kind": "gru"}, "model kind 'gru' does not exist; choose chain or paper"),
        ({"units": (1, 2)}, "units (1, 2) is not allowed; it must be three numbers"),
        ({"units": (1, 0, 2)}, "units (1, 0, 2) is not allowed; it must be 1..8192 each"),
        ({"units": [1, 2, 8193]}, "units (1, 2, 8193) is not allowed; it must be 1..8192 each"),
        ({"dense": 0}, "dense 0 is not allowed; it must be 1..8192"),
        ({"embedding": 8193}, "embedding 8193 is not allowed; it must be 1..8192"),
        ({"dropout": 1.0}, "dropout 1.0 is not allowed; it must be 0 <= dropout < 1"),
        ({"dropout": -0.1}, "dropout -0.1 is not allowed; it must be 0 <= dropout < 1"),
        ({"dropout": math.nan}, "dropout nan is not allowed; it must be 0 <= dropout < 1"),
        (
            {"activation": "swish"},
            "activation 'swish' is not allowed; it must be relu, tanh, gelu, sigmoid, linear",
        ),
        ({"l1": -1.0}, "l1, l2 (-1.0, 0.0) is not allowed; it must be 0 or more"),
        ({"l2": math.nan}, "l1, l2 (0.0, nan) is not allowed; it must be 0 or more"),
    ],
)
def test_a_model_that_cannot_be_is_refused_in_one_line(given, line):
    with pytest.raises(SegueError) as caught:
        ModelSettings(**given)
    assert str(caught.value) == line


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"batch_size": 0}, "batch_size 0 is not allowed; it must be 1..65536"),
        ({"epochs": 0}, "epochs 0 is not allowed; it must be 1..100000"),
        ({"learning_rate": 0.0}, "learning_rate 0.0 is not allowed; it must be 0 < rate <= 1"),
        ({"learning_rate": 2.0}, "learning_rate 2.0 is not allowed; it must be 0 < rate <= 1"),
        (
            {"learning_rate": math.nan},
            "learning_rate nan is not allowed; it must be 0 < rate <= 1",
        ),
        (
            {"schedule": "linear"},
            "schedule 'linear' is not allowed; it must be cosine, constant",
        ),
        ({"seed": -1}, "seed -1 is not allowed; it must be 0..4294967295"),
        ({"seed": 2**32}, "seed 4294967296 is not allowed; it must be 0..4294967295"),
        ({"patience": 0}, "patience 0 is not allowed; it must be 1 or more"),
        ({"transpose": 13}, "transpose 13 is not allowed; it must be 0..12 semitones"),
        ({"transpose": -1}, "transpose -1 is not allowed; it must be 0..12 semitones"),
        ({"max_minutes": -1.0}, "max_minutes -1.0 is not allowed; it must be 0 or more"),
        ({"clip_norm": -0.5}, "clip_norm -0.5 is not allowed; it must be 0 or more"),
        ({"weight_decay": -0.5}, "weight_decay -0.5 is not allowed; it must be 0 or more"),
        (
            {"precision": "half"},
            "precision 'half' is not allowed; it must be auto, float32, bfloat16, float16",
        ),
        ({"steps_per_execution": 0}, "steps_per_execution 0 is not allowed; it must be 1..10000"),
    ],
)
def test_a_training_that_cannot_be_is_refused_in_one_line(given, line):
    with pytest.raises(SegueError) as caught:
        TrainingSettings(**given)
    assert str(caught.value) == line


@pytest.mark.parametrize(
    ("page", "kinds"),
    [("training.md", (ModelSettings, TrainingSettings)), ("retrain.md", (RetrainSettings,))],
)
def test_the_documents_name_every_setting_with_its_default(page, kinds):
    text = (Path(__file__).parents[2] / "docs" / page).read_text()
    rows = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        for name in re.findall(r"`(\w+)`", cells[0]):
            rows[name] = cells
    for kind in kinds:
        for field in dataclasses.fields(kind):
            assert field.name in rows, field.name
            shown = rows[field.name][2].strip("`") if len(rows[field.name]) > 2 else ""
            if field.name in ("precision", "steps_per_execution", "jit"):
                continue
            default = field.default
            if isinstance(default, tuple):
                shown, default = shown.replace(" ", ""), ",".join(map(str, default))
            elif isinstance(default, bool):
                default = str(default).lower()
            elif isinstance(default, float):
                shown = float(shown)
            assert str(shown) == str(default), field.name
