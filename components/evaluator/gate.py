"""The gate: what TFMA is asked to measure, and what the person is told.

Three bounds, all in nats an event, each event of the held-out songs counting
once (windows weigh what they score):

    nll              below an absolute bound
    nll_minus_ngram  below its own: how the model stands to the n-gram
    nll              no worse than that of the model now in service

A figure that is no number passes none of them.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os

import tensorflow_model_analysis as tfma
from google.protobuf import json_format, wrappers_pb2

from components.evaluator.settings import GateSettings

SIGNATURE = "serving_default"
CANDIDATE, BASELINE = "candidate", "baseline"
GATE_FILE = "gate.json"

# MeanPrediction asks for a label and then ignores it; without one it silently
# yields 0.0, which passes every bound. Any numeric feature serves.
_LABEL = "offset"
_OUTPUTS = ("nll", "nll_minus_ngram")


def build_eval_config(gate: GateSettings) -> tfma.EvalConfig:
    """The EvalConfig of the three bounds, with a baseline that may be missing."""

    def model(name: str, is_baseline: bool) -> tfma.ModelSpec:
        return tfma.ModelSpec(
            name=name,
            is_baseline=is_baseline,
            signature_name=SIGNATURE,
            label_keys=dict.fromkeys(_OUTPUTS, _LABEL),
            example_weight_keys=dict.fromkeys(_OUTPUTS, "scored"),
        )

    def mean(output: str, bound: float, change: float | None) -> tfma.MetricsSpec:
        threshold = tfma.MetricThreshold(
            value_threshold=tfma.GenericValueThreshold(
                upper_bound=wrappers_pb2.DoubleValue(value=bound)
            )
        )
        if change is not None:
            threshold.change_threshold.CopyFrom(
                tfma.GenericChangeThreshold(
                    direction=tfma.MetricDirection.LOWER_IS_BETTER,
                    absolute=wrappers_pb2.DoubleValue(value=change),
                )
            )
        metric = tfma.MetricConfig(class_name="MeanPrediction", threshold=threshold)
        return tfma.MetricsSpec(
            metrics=[metric],
            model_names=[CANDIDATE, BASELINE],
            output_names=[output],
            example_weights=tfma.ExampleWeightOptions(weighted=True),
        )

    return tfma.EvalConfig(
        model_specs=[model(CANDIDATE, False), model(BASELINE, True)],
        metrics_specs=[
            mean("nll", gate.max_nats, gate.max_nats_over_service),
            mean("nll_minus_ngram", gate.max_nats_over_ngram, None),
        ],
        slicing_specs=[tfma.SlicingSpec()],
    )


def bounds(config: tfma.EvalConfig) -> GateSettings:
    """The settings that `build_eval_config` was given."""
    by_output = {spec.output_names[0]: spec.metrics[0].threshold for spec in config.metrics_specs}
    nll, over = by_output["nll"], by_output["nll_minus_ngram"]
    return GateSettings(
        max_nats=nll.value_threshold.upper_bound.value,
        max_nats_over_ngram=over.value_threshold.upper_bound.value,
        max_nats_over_service=nll.change_threshold.absolute.value,
    )


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What the gate found.

    Attributes:
      blessed: whether the model may be pushed.
      nats: held-out nats an event.
      nats_minus_ngram: the same less the n-gram's.
      nats_minus_service: the same less that of the model in service; None when
        there is none.
      settings: the bounds.
    """

    blessed: bool
    nats: float
    nats_minus_ngram: float
    nats_minus_service: float | None
    settings: GateSettings

    @property
    def shortfalls(self) -> list[str]:
        """For each bound that is missed, by how much."""
        rows = [
            ("the bound", self.nats, self.settings.max_nats),
            ("the n-gram", self.nats_minus_ngram, self.settings.max_nats_over_ngram),
            (
                "the model in service",
                self.nats_minus_service,
                self.settings.max_nats_over_service,
            ),
        ]
        missed = []
        for name, value, bound in rows:
            if value is None:
                continue
            if not math.isfinite(value):
                missed.append(f"against {name} it is no number ({value})")
            elif value > bound or (name != "the model in service" and value == bound):
                missed.append(
                    f"against {name} it stands at {value:.3f}, allowed is {bound:.3f}: "
                    f"{value - bound:.3f} nats too many"
                )
        return missed

    def line(self) -> str:
        """For a person."""
        ngram = self.nats - self.nats_minus_ngram
        text = f"held-out {self.nats:.3f} nats an event, the n-gram {ngram:.3f}"
        if self.nats_minus_service is not None:
            text += f", the model in service {self.nats - self.nats_minus_service:.3f}"
        if self.blessed:
            if self.nats_minus_ngram < 0:
                text += f"; beats the n-gram by {-self.nats_minus_ngram:.3f}"
            return f"blessed: {text}"
        return f"refused: {text}; " + "; ".join(self.shortfalls)

    def write(self, folder: str) -> None:
        """Leaves `gate.json` beside TFMA's own results."""
        with open(os.path.join(folder, GATE_FILE), "w") as file:
            value = {**dataclasses.asdict(self), "shortfalls": self.shortfalls}
            for name in _FIGURES:
                value[name] = as_json(value[name])
            json.dump(value, file, indent=1, sort_keys=True, allow_nan=False)

    @classmethod
    def read(cls, folder: str) -> Verdict:
        """What `write` left."""
        with open(os.path.join(folder, GATE_FILE)) as file:
            value = json.load(file)
        value.pop("shortfalls")
        for name in _FIGURES:
            value[name] = None if value[name] is None else float(value[name])
        return cls(**{**value, "settings": GateSettings(**value["settings"])})


_FIGURES = ("nats", "nats_minus_ngram", "nats_minus_service")


def as_json(figure: float | None) -> float | str | None:
    """A figure as strict JSON has it: what is no number as text, "nan" say."""
    return figure if figure is None or math.isfinite(figure) else str(figure)


def read_verdict(folder: str, blessed: bool, settings: GateSettings) -> Verdict:
    """The gate's figures from TFMA's results in a folder."""
    figures: dict[tuple[str, str, bool], float] = {}
    for slice_metrics in tfma.load_metrics(folder):
        for pair in slice_metrics.metric_keys_and_values:
            key = (pair.key.output_name, pair.key.model_name, pair.key.is_diff)
            value = json_format.MessageToDict(pair.value).get("doubleValue", {})
            figures[key] = float(value.get("value", 0.0) if isinstance(value, dict) else value)

    def figure(output: str, is_diff: bool) -> float | None:
        found = [
            value
            for (name, model, diff), value in figures.items()
            if name == output and diff == is_diff and model in ("", CANDIDATE)
        ]
        return found[0] if found else None

    nats, over = figure("nll", False), figure("nll_minus_ngram", False)
    return Verdict(
        blessed=blessed,
        nats=math.nan if nats is None else nats,
        nats_minus_ngram=math.nan if over is None else over,
        nats_minus_service=figure("nll", True),
        settings=settings,
    )
