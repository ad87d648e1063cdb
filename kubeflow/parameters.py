"""What can be given anew to every run of a compiled pipeline.

A compiled pipeline fixes the order of the tasks; what they do follows from these
parameters, which the backend hands to the task `Configure` (kubeflow/configure.py).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kubeflow.mounts import to_path
from music.errors import SegueError

if TYPE_CHECKING:
    from pipeline.configuration import Configuration

STRING, INTEGER, LIST = "STRING", "NUMBER_INTEGER", "LIST"
# What each type of the specification is in JSON.
_TYPES: dict[str, tuple[tuple[type, ...], str]] = {
    STRING: ((str,), "a text"),
    INTEGER: ((int,), "a whole number"),
    "NUMBER_DOUBLE": ((int, float), "a number"),
    "BOOLEAN": ((bool,), "true or false"),
    LIST: ((list,), "a list"),
    "STRUCT": ((dict,), "a table"),
}


@dataclasses.dataclass(frozen=True)
class Parameters:
    """The parameters of a run.

    Attributes:
      data: folder of MIDI files, as the containers see it.
      root: folder of what lasts from run to run: versions, readings, checkpoints.
      preset: a name, or a YAML file as the containers see it.
      epochs: of the training; 0 is the preset's own.
      set: further overrides, as `--set` takes them.
    """

    data: str
    root: str
    preset: str = "default"
    epochs: int = 0
    set: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "set", tuple(self.set))

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Parameters:
        """As the backend hands them to a task: numbers are floats there.

        Raises:
          SegueError: one is missing, unknown, or of another type.
        """
        checked = checked_values({name: one["parameterType"] for name, one in SPEC.items()}, values)
        missing = [name for name in ("data", "root") if not checked.get(name)]
        if missing:
            raise SegueError(f"parameter {missing[0]} is not given; it names a folder")
        return cls(**checked)

    def values(self) -> dict[str, Any]:
        """As JSON types, by name."""
        return {**dataclasses.asdict(self), "set": list(self.set)}

    def overrides(self) -> list[str]:
        """Everything that changes the preset, the epochs last."""
        return [*self.set, *([f"training.epochs={self.epochs}"] if self.epochs else [])]

    def configuration(self, **fields: Any) -> Configuration:
        """The configuration of the run, as where this is called.

        Args:
          **fields: further fields of Configuration.

        Raises:
          SegueError: no such preset or setting, or a value that is not allowed.
        """
        from pipeline.configuration import load_configuration

        if self.epochs < 0:
            raise SegueError(
                f"parameter epochs {self.epochs} is not allowed; it must be 1 or more, "
                "or 0 for the preset's own"
            )
        data, root = Path(to_path(self.data)), Path(to_path(self.root))
        return load_configuration(data, root, to_path(self.preset), self.overrides(), **fields)


# By name, as a PipelineSpec has its inputs.
SPEC: dict[str, dict[str, Any]] = {
    "data": {
        "parameterType": STRING,
        "description": "Folder of MIDI files, as the containers see it.",
    },
    "root": {
        "parameterType": STRING,
        "description": "Folder of what lasts from run to run, as the containers see it.",
    },
    "preset": {
        "parameterType": STRING,
        "description": "default, paper or smoke, or a YAML file as the containers see it.",
    },
    "epochs": {
        "parameterType": INTEGER,
        "description": "Of the training; 0 is the preset's own.",
    },
    "set": {
        "parameterType": LIST,
        "description": 'Single settings, ["split.salt=b"] say.',
    },
}


def checked_values(types: Mapping[str, str], values: Mapping[str, Any]) -> dict[str, Any]:
    """Values that go with their types; whole numbers are ints again.

    Args:
      types: each parameter's type, as a specification names it.
      values: as JSON has them.

    Raises:
      SegueError: a parameter is unknown, or its value of another type.
    """
    checked = {}
    for name, value in values.items():
        if name not in types:
            raise SegueError(
                f"parameter {name} does not exist; the pipeline has: {', '.join(sorted(types))}"
            )
        kinds, words = _TYPES[types[name]]
        if types[name] == INTEGER and isinstance(value, float) and value.is_integer():
            value = int(value)
        good = isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool))
        if name == "set" and good:
            good, words = all(isinstance(item, str) for item in value), "a list of texts"
        if not good:
            raise SegueError(f"parameter {name} takes {words}, got {value!r}")
        checked[name] = value
    return checked


def parse_values(types: Mapping[str, str], pairs: Iterable[str]) -> dict[str, Any]:
    """`name=value` each, the value as its type wants it.

    Raises:
      SegueError: as `checked_values`, or it is no such pair.
    """
    import yaml

    values: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise SegueError(f"parameter {pair!r} is not given a value; write name=value")
        if types.get(name) in (None, STRING):
            values[name] = text
            continue
        try:
            values[name] = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise SegueError(f"parameter {pair!r}: {' '.join(str(error).split())}") from None
    return checked_values(types, values)
