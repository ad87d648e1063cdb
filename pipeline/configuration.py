"""One frozen configuration for a whole run.

A preset is a YAML file whose keys are the fields of the dataclasses below; what
it leaves out keeps the default. `--set training.epochs=3` overrides one value.
Whatever is not a field is refused by name, so that a typing mistake cannot pass
for a setting.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import importlib.resources
import math
import os
import types
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from components.evaluator.settings import GateSettings
from components.model_card import CardSettings
from components.serving_validator.settings import PanelSettings
from components.trainer.settings import (
    CHAIN_ONLY,
    ModelSettings,
    RetrainSettings,
    TrainerSettings,
    TrainingSettings,
)
from components.trainer.space import TuningSettings
from music.codec import build_codec
from music.errors import SegueError
from music.windows import WindowSpec

MODEL_NAME = "segue"


@dataclasses.dataclass(frozen=True)
class VocabularySettings:
    """Which codes are kept.

    Attributes:
      min_count: how often a code must be seen in the training split.
      closed: whether rare codes are dropped (the paper) instead of snapped.
      max_size: the most codes that a field keeps, the most frequent ones (pitches,
        which a transposition moves, are all kept).
    """

    min_count: int = 10
    closed: bool = False
    max_size: int = 1024

    def __post_init__(self) -> None:
        if self.min_count < 1:
            raise SegueError(f"min_count {self.min_count} is not allowed; it must be 1 or more")
        if self.max_size < 1:
            raise SegueError(f"max_size {self.max_size} is not allowed; it must be 1 or more")


@dataclasses.dataclass(frozen=True)
class SplitSettings:
    """How songs are divided.

    Attributes:
      eval_share: of songs held out.
      salt: another salt, another split.
    """

    eval_share: float = 0.1
    salt: str = ""

    def __post_init__(self) -> None:
        if not 0 < self.eval_share < 1:
            raise SegueError(
                f"eval_share {self.eval_share} is not allowed; it must be between 0 and 1"
            )


@dataclasses.dataclass(frozen=True)
class Configuration:
    """A run: what to learn from, where to, and how.

    Attributes:
      data: folder of MIDI files.
      root: folder of everything that is made.
      preset: the name of the preset.
      codec: as `music.build_codec` takes it.
      vocabulary, split, window, model, training, gate, panel: the settings of each step.
      card: what only people know of the model: whose songs, by what right.
      tuning: the search for better ones before the training; off unless enabled.
      retrain: what is other when a run comes back: where it begins, and for how long.
      ngram_order: of the baseline, in tokens.
      shards: files a split, at least; larger catalogues get one for every 1,000 songs.
      beam_pipeline_args: arguments for Beam, as TFX takes them: a runner and its
        options. Without a runner the DirectRunner works, in several processes
        where the work is worth it (`components.engine`).
      cache: whether steps whose inputs have not changed are reused.
    """

    data: Path
    root: Path
    preset: str = "default"
    codec: Mapping[str, Any] = dataclasses.field(default_factory=lambda: {"name": "notes"})
    vocabulary: VocabularySettings = VocabularySettings()
    split: SplitSettings = SplitSettings()
    window: WindowSpec = WindowSpec()
    model: ModelSettings = ModelSettings()
    training: TrainingSettings = TrainingSettings()
    gate: GateSettings = GateSettings()
    panel: PanelSettings = PanelSettings()
    card: CardSettings = CardSettings()
    tuning: TuningSettings = dataclasses.field(default_factory=TuningSettings)
    retrain: RetrainSettings = RetrainSettings()
    ngram_order: int = 7
    shards: int = 2
    beam_pipeline_args: tuple[str, ...] = ()
    cache: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "codec", build_codec(dict(self.codec)).config())
        object.__setattr__(self, "beam_pipeline_args", tuple(self.beam_pipeline_args))
        if not 1 <= self.ngram_order <= 64:
            raise SegueError(f"ngram_order {self.ngram_order} is not allowed; it must be 1..64")
        if not 1 <= self.shards <= 4096:
            raise SegueError(f"shards {self.shards} is not allowed; it must be 1..4096")
        if self.tuning.enabled and self.retrain.warm_start != "none":
            raise SegueError(
                f"retrain.warm_start {self.retrain.warm_start!r} does not go with a search: its "
                "trials begin from scratch; leave out --tune, or --warm-start"
            )
        paper = self.model.kind == "paper"
        if paper != (self.window.form == "last"):
            raise SegueError(
                f"model kind {self.model.kind!r} does not go with window form "
                f"{self.window.form!r}; paper takes last, chain takes every"
            )
        if paper:
            self._refuse_what_paper_lacks()
        if paper and self.codec["name"] != "chords":
            raise SegueError(
                f"model kind 'paper' predicts one token and does not go with codec "
                f"{self.codec['name']!r}; use chords"
            )

    def _refuse_what_paper_lacks(self) -> None:
        """A setting that changes nothing must not pass for one that was tried."""
        for group, names in CHAIN_ONLY.items():
            settings = getattr(self, group)
            for name in names:
                searched = self.tuning.enabled and f"{group}.{name}" in self.tuning.choices
                if searched or getattr(settings, name) != getattr(type(settings)(), name):
                    raise SegueError(
                        f"setting {group}.{name} has no effect on model kind 'paper'; "
                        "leave it out, or use kind chain"
                    )

    @property
    def serving_dir(self) -> Path:
        """The folder of the pushed versions."""
        return self.root / "serving" / MODEL_NAME

    @property
    def artifacts_dir(self) -> Path:
        """The folder of TFX's artifacts."""
        return self.root / "pipeline"

    @property
    def metadata_path(self) -> Path:
        """ML Metadata's SQLite file."""
        return self.root / "metadata.sqlite"

    @property
    def readings_dir(self) -> Path:
        """Where what files gave is kept by their content, for the next run."""
        return self.root / "cache" / "readings"

    @property
    def trials_dir(self) -> Path:
        """Where the trainings of searches and studies are kept, whichever run made them."""
        return self.root / "cache" / "trials"

    @property
    def checkpoints_dir(self) -> Path:
        """Where trainings keep where they stand, until they end."""
        return self.root / "cache" / "training"

    @property
    def report_path(self) -> Path:
        """The page of the last run."""
        return self.root / "report.html"

    @property
    def logs_dir(self) -> Path:
        """Where the chatter goes."""
        return self.root / "logs"

    @property
    def songs_dir(self) -> Path:
        """Where generated songs go."""
        return self.root / "songs"

    @property
    def schema(self) -> str:
        """The name of the windows' structural schema."""
        options = [name for name, on in sorted(self.codec.items(), reverse=True) if on is True]
        return "-".join([self.codec["name"], *options])

    def trainer(self, start: str = "") -> TrainerSettings:
        """What the Trainer has to know; `start` is the version it begins from, if any."""
        training = self.retrain.going_on(self.training) if start else self.training
        return TrainerSettings(
            self.model, training, self.window, self.preset, code_fingerprint(), start
        )


def preset_names() -> list[str]:
    """The presets that come with Segue."""
    folder = importlib.resources.files("pipeline") / "presets"
    return sorted(item.name[:-5] for item in folder.iterdir() if item.name.endswith(".yaml"))


def load_configuration(
    data: Path, root: Path, preset: str = "default", overrides: Iterable[str] = (), **fields: Any
) -> Configuration:
    """The configuration of a preset, with overrides.

    Args:
      data, root: the folders.
      preset: a name of `preset_names()`, or the path of a YAML file.
      overrides: `key.key=value` each, the value as YAML reads it.
      **fields: further fields of `Configuration`.

    Raises:
      SegueError: no such preset, no such setting, or a value that is not allowed.
    """
    values = _read_preset(preset)
    for override in overrides:
        apply_override(values, override)
    for reserved in ("data", "root", "preset", "cache"):
        if reserved in values:
            raise SegueError(
                f"setting {reserved} cannot be set here; it is given when a run is started"
            )
    name = Path(preset).stem if preset not in preset_names() else preset
    known = {"data": data.absolute(), "root": root.absolute(), "preset": name, **fields}
    return build_settings(Configuration, {**values, **known}, "")


def _read_preset(preset: str) -> dict[str, Any]:
    if preset in preset_names():
        text = (importlib.resources.files("pipeline") / "presets" / f"{preset}.yaml").read_text()
        return _parse_settings(text, f"preset {preset}")
    if preset.endswith((".yaml", ".yml")):
        return read_settings(Path(preset), "preset")
    told = "is no YAML file by its name" if os.path.exists(preset) else "does not exist"
    raise SegueError(
        f"preset {preset!r} {told}; choose one of {', '.join(preset_names())}, or name a file "
        "that ends in .yaml or .yml"
    )


def read_settings(path: Path, what: str = "file") -> dict[str, Any]:
    """The table of settings that a YAML file holds.

    Args:
      path: the file.
      what: it is, in errors.

    Raises:
      SegueError: it cannot be read, or holds something else.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise SegueError(f"cannot read the {what} {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SegueError(f"the {what} {path} is not text in UTF-8") from None
    return _parse_settings(text, f"{what} {path}")


def _parse_settings(text: str, what: str) -> dict[str, Any]:
    import yaml

    try:
        values = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        line = " ".join(str(error).split())
        raise SegueError(f"the {what} is not YAML: {line}") from None
    if not isinstance(values, dict):
        raise SegueError(f"the {what} is not a table of settings")
    return values


def apply_override(values: dict[str, Any], override: str) -> None:
    """Puts one setting, `key.key=value`, into a table of settings.

    Raises:
      SegueError: it is no such setting.
    """
    import yaml

    key, equals, text = override.partition("=")
    if not equals:
        raise SegueError(
            f"--set {override!r} is no setting; write key=value, training.epochs=3 say"
        )
    *path, last = key.split(".")
    for step in path:
        values = values.setdefault(step, {})
        if not isinstance(values, dict):
            raise SegueError(f"--set {override!r}: {step} is not a group of settings")
    try:
        values[last] = yaml.safe_load(text)
    except yaml.YAMLError as error:
        line = " ".join(str(error).split())
        raise SegueError(f"--set {override!r}: the value is not YAML: {line}") from None


def build_settings(kind: Any, values: Mapping[str, Any], path: str) -> Any:
    """A dataclass from a table, down to its nested dataclasses.

    Args:
      kind: the dataclass.
      values: by the names of its fields.
      path: what stands before these names in errors, with a dot behind it.

    Raises:
      SegueError: no such setting, or a value that is not allowed.
    """
    hints = typing.get_type_hints(kind)
    unknown = sorted(map(str, set(values) - set(hints)))
    if unknown:
        raise SegueError(
            f"setting {path}{unknown[0]!s} does not exist; {path or 'the top level'} has: "
            f"{', '.join(sorted(hints))}"
        )
    fields = {}
    for name, value in values.items():
        hint = hints[name]
        if dataclasses.is_dataclass(hint):
            if not isinstance(value, Mapping):
                raise SegueError(f"setting {path}{name} is a group of settings, got {value!r}")
            fields[name] = build_settings(hint, value, f"{path}{name}.")
        else:
            fields[name] = _coerce(hint, value, f"{path}{name}")
    try:
        return kind(**fields)
    except SegueError as error:
        words = str(error)
        if words.partition(" ")[0].rstrip(",") in hints:  # it knows its own name alone
            raise SegueError(f"{path}{words}") from None
        raise


def _coerce(hint: Any, value: Any, name: str) -> Any:
    if hint is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        value = float(value)
    if hint is float and isinstance(value, str):
        with contextlib.suppress(ValueError):  # YAML reads 1e-3, without a dot, as text
            value = float(value)
    origin = typing.get_origin(hint)
    wanted = {tuple: (list, tuple)}.get(origin or hint, origin or hint)
    if isinstance(wanted, types.UnionType):
        return value
    if wanted is Mapping or origin is Mapping:
        wanted = Mapping
    good = isinstance(value, wanted) and not (hint is int and isinstance(value, bool))
    if not good:
        kind = getattr(hint, "__name__", str(hint))
        if origin is tuple:
            kind = "list ([one, another])"
        raise SegueError(f"setting {name} takes a value of type {kind}, got {value!r}")
    if origin is tuple:
        element = typing.get_args(hint)[0]
        return tuple(_coerce(element, item, f"{name}[{i}]") for i, item in enumerate(value))
    if isinstance(value, float) and not math.isfinite(value):
        raise SegueError(f"setting {name} takes a finite number, got {value!r}")
    return value


def code_fingerprint() -> str:
    """SHA-256 (hex) over the sources that decide what a run's steps produce."""
    digest = hashlib.sha256()
    for package in ("music", "components"):
        top = Path(str(importlib.resources.files(package)))
        for parent, folders, names in os.walk(top):
            folders[:] = sorted(name for name in folders if name != "__pycache__")
            for name in sorted(names):
                if name.endswith((".py", ".pbtxt")):
                    digest.update(f"{Path(parent, name).relative_to(top)}\0".encode())
                    digest.update(Path(parent, name).read_bytes())
    return digest.hexdigest()
