"""What can be chosen about a model and its training.

Frozen, checked where they are made, and plain enough to travel as JSON through a
pipeline's execution properties.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from music.errors import SegueError
from music.windows import WindowSpec

KINDS = ("paper", "chain")
# What only `chain` has: with `paper` a value other than the default would say nothing.
CHAIN_ONLY = {
    "model": ("embedding", "profile", "variational", "event_dropout", "weight_drop"),
    "training": ("transpose", "weight_decay"),
}
# Of the profile (components/trainer/profile.py): what is left of an event after the next
# one. Half of a pitch class is left after one event, after seven, after fifty; half of a
# pitch after one, after three.
CLASS_DECAYS, PITCH_DECAYS = (0.5, 0.9, 0.986), (0.5, 0.8)
# Semitones that a crop can be moved by at most.
FARTHEST = 12
ACTIVATIONS = ("relu", "tanh", "gelu", "sigmoid", "linear")
PRECISIONS = ("auto", "float32", "bfloat16", "float16")
SCHEDULES = ("cosine", "constant")
WARM_STARTS = ("none", "served")


@dataclasses.dataclass(frozen=True)
class ModelSettings:
    """The shape of the network.

    Attributes:
      kind: `paper`, the paper's own layers on one scaled index, trained on a
        window's last event; or `chain`, embeddings and one head a field by the
        chain rule, trained on every event.
      units: of the three LSTM layers.
      dense: of the layer between the LSTMs and the heads.
      activation: of that layer.
      dropout: share dropped between the layers, 0 <= dropout < 1.
      embedding: width of each field's embedding (`chain` only).
      profile: units of the layers that look at what the song has sounded so far, alike
        in all keys, and move the next pitch by it (`components.trainer.profile`); 0 is
        none (`chain` only).
      l1, l2: weight penalties on the dense layers.
      variational: whether a window's events all lose the same units (Gal and
        Ghahramani 2016), instead of others each (`chain` only).
      event_dropout: share of the events that are not heard in training, field by
        field (`chain` only).
      weight_drop: share of the recurrent weights that a training step leaves out,
        the same for all of its events (Merity et al. 2018; `chain` only).
    """

    kind: str = "chain"
    units: tuple[int, int, int] = (256, 512, 256)
    dense: int = 256
    activation: str = "relu"
    dropout: float = 0.5
    embedding: int = 64
    profile: int = 0
    l1: float = 0.0
    l2: float = 0.0
    variational: bool = False
    event_dropout: float = 0.0
    weight_drop: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "units", tuple(self.units))
        if self.kind not in KINDS:
            raise SegueError(f"model kind {self.kind!r} does not exist; choose chain or paper")
        _check(len(self.units) == 3, "units", self.units, "three numbers")
        for name in ("dense", "embedding"):
            value = getattr(self, name)
            _check(1 <= value <= 8192, name, value, "1..8192")
        _check(0 <= self.profile <= 8192, "profile", self.profile, "0..8192")
        _check(all(1 <= u <= 8192 for u in self.units), "units", self.units, "1..8192 each")
        for name in ("dropout", "event_dropout", "weight_drop"):
            share = getattr(self, name)
            _check(0.0 <= share < 1.0, name, share, f"0 <= {name} < 1")
        _check(self.activation in ACTIVATIONS, "activation", self.activation, ACTIVATIONS)
        _check(self.l1 >= 0 and self.l2 >= 0, "l1, l2", (self.l1, self.l2), "0 or more")


@dataclasses.dataclass(frozen=True)
class TrainingSettings:
    """How the network is fitted.

    Attributes:
      batch_size: windows a step.
      epochs: at most this many passes.
      learning_rate: the peak; AdamW for `chain`, Adam for `paper`.
      schedule: `cosine` (warm-up over a twentieth of the steps, then to a
        hundredth) or `constant`.
      weight_decay: of AdamW.
      clip_norm: of the whole gradient; 0 leaves it alone.
      patience: epochs without a better held-out loss before stopping.
      transpose: each training crop is moved by a random number of semitones in
        -transpose..transpose.
      max_minutes: the epoch that is under way then is the last; 0 is no limit.
      seed: of the weights, the order of the windows, their crops and dropout.
      least_steps: an epoch goes through the windows of a small catalogue as often as
        it takes for this many steps, with other crops each time; 0 is once.
      precision: of the arithmetic: `float32`, `bfloat16` or `float16` (weights, heads
        and loss stay float32), or `auto`, what suits the device.
      steps_per_execution: steps in one call of TensorFlow.
      jit: whether XLA compiles the step.
    """

    batch_size: int = 32
    epochs: int = 60
    learning_rate: float = 2e-3
    schedule: str = "cosine"
    weight_decay: float = 1e-4
    clip_norm: float = 1.0
    patience: int = 8
    transpose: int = 0
    max_minutes: float = 0.0
    seed: int = 7
    least_steps: int = 0
    precision: str = "float32"
    steps_per_execution: int = 1
    jit: bool = False

    def __post_init__(self) -> None:
        _check(1 <= self.batch_size <= 65536, "batch_size", self.batch_size, "1..65536")
        _check(1 <= self.epochs <= 100_000, "epochs", self.epochs, "1..100000")
        _check(0 < self.learning_rate <= 1, "learning_rate", self.learning_rate, "0 < rate <= 1")
        _check(self.schedule in SCHEDULES, "schedule", self.schedule, SCHEDULES)
        _check(self.patience >= 1, "patience", self.patience, "1 or more")
        _check(
            0 <= self.transpose <= FARTHEST, "transpose", self.transpose, f"0..{FARTHEST} semitones"
        )
        _check(0 <= self.seed < 2**32, "seed", self.seed, f"0..{2**32 - 1}")
        _check(0 <= self.least_steps <= 1e6, "least_steps", self.least_steps, "0..1000000")
        _check(self.max_minutes >= 0, "max_minutes", self.max_minutes, "0 or more")
        _check(self.weight_decay >= 0, "weight_decay", self.weight_decay, "0 or more")
        _check(self.clip_norm >= 0, "clip_norm", self.clip_norm, "0 or more")
        _check(self.precision in PRECISIONS, "precision", self.precision, PRECISIONS)
        steps = self.steps_per_execution
        _check(1 <= steps <= 10_000, "steps_per_execution", steps, "1..10000")


@dataclasses.dataclass(frozen=True)
class RetrainSettings:
    """What is other when a run comes back every night: where it begins, and for how long.

    Attributes:
      warm_start: `none` trains from scratch; `served` goes on from the weights of the
        version in service, with its vocabulary as it is (and from scratch where nothing
        is in service yet).
      if_new: whether a run ends at once where music and settings are those of a version
        that is there. With `served` it does in any case, or the same songs would be
        learned again every night.
      epochs: of a training that goes on; 0 is `training.epochs`.
      learning_rate: likewise, the peak; 0 is `training.learning_rate`.
      schedule: likewise; empty is `training.schedule`.
    """

    warm_start: str = "none"
    if_new: bool = False
    epochs: int = 0
    learning_rate: float = 0.0
    schedule: str = ""

    def __post_init__(self) -> None:
        _check(self.warm_start in WARM_STARTS, "warm_start", self.warm_start, WARM_STARTS)
        _check(0 <= self.epochs <= 100_000, "epochs", self.epochs, "0..100000")
        rate = self.learning_rate
        _check(0 <= rate <= 1, "learning_rate", rate, "0 <= rate <= 1")
        schedules = ("", *SCHEDULES)
        words = f"{' or '.join(SCHEDULES)}, or empty"
        _check(self.schedule in schedules, "schedule", self.schedule, words)

    @property
    def looks(self) -> bool:
        """Whether a run looks first if there is anything new."""
        return self.if_new or self.warm_start != "none"

    def going_on(self, training: TrainingSettings) -> TrainingSettings:
        """How a training that begins from weights is fitted."""
        given = {name: getattr(self, name) for name in ("epochs", "learning_rate", "schedule")}
        return dataclasses.replace(training, **{name: v for name, v in given.items() if v})


@dataclasses.dataclass(frozen=True)
class TrainerSettings:
    """Everything `run_fn` has to know beside the data.

    Attributes:
      preset: the name that the model will carry.
      code: fingerprint of the source code, so that changed code trains anew.
      start: the version whose weights it begins from (`components.kept`); empty is from
        scratch.
    """

    model: ModelSettings
    training: TrainingSettings
    window: WindowSpec
    preset: str = ""
    code: str = ""
    start: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As JSON types; without `start` where there is none, as it was before there were any."""
        value = dataclasses.asdict(self)
        if not self.start:
            del value["start"]
        return value

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> TrainerSettings:
        """What `to_dict` gave, back."""
        return cls(
            model=ModelSettings(**value["model"]),
            training=TrainingSettings(**value["training"]),
            window=WindowSpec(**value["window"]),
            preset=value["preset"],
            code=value["code"],
            start=value.get("start", ""),
        )


def _check(good: bool, name: str, value: object, allowed: object) -> None:
    if not good:
        words = ", ".join(map(str, allowed)) if isinstance(allowed, tuple) else allowed
        raise SegueError(f"{name} {value!r} is not allowed; it must be {words}")
