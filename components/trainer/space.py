"""What a search for better settings may choose from, and for how long.

A search space is a table: of groups of settings (`model`, `training`), in each some
settings with the values to try. It says nothing of how the search goes about it;
`components.trainer.tuning` does that with KerasTuner, which nothing else of ours
imports.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import typing
from collections.abc import Mapping
from typing import Any

from components.trainer.settings import ModelSettings, TrainerSettings, TrainingSettings
from music.errors import SegueError

STRATEGIES = ("random", "grid")

_GROUPS = {"model": ModelSettings, "training": TrainingSettings}
# What makes trials comparable, or comes from elsewhere in the configuration.
_FIXED = {
    "model.kind": "it goes with the window and the codec",
    "training.epochs": "tuning.epochs says how long a trial is",
    "training.max_minutes": "trials on a slow day would lose",
    "training.seed": "the luckiest seed is no setting",
}


def default_space() -> dict[str, dict[str, list[Any]]]:
    """What is worth a try around the default preset."""
    return {
        "model": {"dropout": [0.1, 0.3, 0.5], "dense": [128, 256]},
        "training": {"learning_rate": [1e-3, 2e-3, 4e-3], "batch_size": [16, 32, 64]},
    }


@dataclasses.dataclass(frozen=True)
class TuningSettings:
    """A search before the training that counts.

    Attributes:
      enabled: whether there is one.
      strategy: `random` draws trials from the space, none twice; `grid` goes through
        it in order, its last setting first. There is no successive halving: a
        learning rate that falls to the end of its training makes a half-trained
        network a poor forecast of a whole one.
      trials: at most this many; fewer where the space holds fewer.
      epochs: of a trial, at most; patience may end it sooner.
      seed: of what is drawn; weights and windows follow `training.seed`, the same
        in every trial.
      space: values to try, by group and setting.
    """

    enabled: bool = False
    strategy: str = "random"
    trials: int = 8
    epochs: int = 10
    seed: int = 7
    space: Mapping[str, Any] = dataclasses.field(default_factory=default_space)

    def __post_init__(self) -> None:
        for name, most in (("trials", 10_000), ("epochs", 100_000), ("seed", 2**31 - 1)):
            value = getattr(self, name)
            if not 1 <= value <= most:
                raise SegueError(f"tuning.{name} {value} is not allowed; it must be 1..{most}")
        if self.strategy not in STRATEGIES:
            raise SegueError(
                f"tuning.strategy {self.strategy!r} does not exist; "
                f"choose {' or '.join(STRATEGIES)}"
            )
        object.__setattr__(self, "space", _checked(self.space))

    @property
    def choices(self) -> dict[str, tuple[Any, ...]]:
        """The values to try by the setting's whole name, `model.dropout` say."""
        return {
            f"{group}.{name}": tuple(values)
            for group, settings in self.space.items()
            for name, values in settings.items()
        }

    def to_dict(self) -> dict[str, Any]:
        """As JSON types."""
        return dataclasses.asdict(self)


def with_choices(settings: TrainerSettings, chosen: Mapping[str, Any]) -> TrainerSettings:
    """Settings with some of them replaced.

    Args:
      settings: to begin with.
      chosen: values by the settings' whole names, lists as JSON text or as they are.

    Raises:
      SegueError: no such setting, or a value that it does not take.
    """
    groups: dict[str, dict[str, Any]] = {group: {} for group in _GROUPS}
    for whole, value in chosen.items():
        group, _, name = whole.partition(".")
        groups.setdefault(group, {})[name] = from_text(value)
    checked = {
        group: {name: _value(group, name, value) for name, value in values.items()}
        for group, values in groups.items()
    }
    return dataclasses.replace(
        settings,
        model=dataclasses.replace(settings.model, **checked["model"]),
        training=dataclasses.replace(settings.training, **checked["training"]),
    )


def to_text(value: Any) -> Any:
    """A value as KerasTuner takes it, which knows numbers and text but no lists."""
    return json.dumps(value) if isinstance(value, (list, tuple)) else value


def from_text(value: Any) -> Any:
    """What `to_text` gave, back."""
    is_list = isinstance(value, str) and value.startswith("[")
    return json.loads(value) if is_list else value


def _checked(space: Mapping[str, Any]) -> dict[str, dict[str, list[Any]]]:
    checked: dict[str, dict[str, list[Any]]] = {}
    for group, settings in space.items():
        if group not in _GROUPS or not isinstance(settings, Mapping):
            raise SegueError(
                f"tuning.space.{group} is no group of settings; model and training are"
            )
        checked[group] = {}
        for name, values in settings.items():
            place = f"tuning.space.{group}.{name}"
            if f"{group}.{name}" in _FIXED:
                raise SegueError(f"{place} cannot be searched: {_FIXED[f'{group}.{name}']}")
            if not isinstance(values, (list, tuple)) or not values:
                raise SegueError(
                    f"{place} takes a list of values to try, [0.1, 0.3] say, got {values!r}"
                )
            made = [_value(group, name, value) for value in values]
            for place_in_list, value in enumerate(made):
                if value in made[:place_in_list]:
                    raise SegueError(f"{place} names {value!r} twice; name each value once")
            checked[group][name] = made
    if not any(checked.values()):
        raise SegueError(
            "tuning.space is empty; name settings and the values to try, "
            "{model: {dropout: [0.1, 0.3]}} say"
        )
    return checked


def _value(group: str, name: str, value: Any) -> Any:
    """A value of a setting, of the type it has there, checked by the settings themselves."""
    place = f"{group}.{name}"
    if group not in _GROUPS:
        raise SegueError(f"setting {place} does not exist; groups are model and training")
    kind = _GROUPS[group]
    hints = typing.get_type_hints(kind)
    if name not in hints:
        raise SegueError(f"setting {place} does not exist; {group} has: {', '.join(sorted(hints))}")
    wanted = typing.get_origin(hints[name]) or hints[name]
    if wanted is float and type(value) in (int, str):
        with contextlib.suppress(ValueError):  # YAML reads 1e-3, without a dot, as text
            value = float(value)
    if wanted is tuple and isinstance(value, (list, tuple)):
        if not all(type(item) is int for item in value):
            raise SegueError(f"setting {place} takes lists of whole numbers, got {value!r}")
        value = tuple(value)
    if type(value) is not wanted or (wanted is float and not math.isfinite(value)):
        raise SegueError(f"setting {place} takes a value of type {wanted.__name__}, got {value!r}")
    try:
        dataclasses.replace(kind(), **{name: value})
    except SegueError as error:
        raise SegueError(f"{group}.{error}") from None
    return value
