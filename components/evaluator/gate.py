"""The gate: what TFMA is asked to measure, and what the person is told.

Three bounds, all in nats an event, each event of the held-out songs counting
once (windows weigh what they score):

    nll              below an absolute bound
    nll_minus_ngram  below its own: how the model stands to the n-gram
    nll              no worse than that of the model now in service

A figure that is no number passes none of them.
"""

from __future__ import annotations

import math

import tensorflow_model_analysis as tfma
from google.protobuf import json_format, wrappers_pb2
from tensorflow_model_analysis.proto import config_pb2

from components.evaluator.settings import GateSettings
from components.evaluator.verdict import SongFigures, Verdict

SIGNATURE = "serving_default"
CANDIDATE, BASELINE = "candidate", "baseline"

# MeanPrediction asks for a label and then ignores it; without one it silently
# yields 0.0, which passes every bound. Any numeric feature serves.
_LABEL = "offset"
_OUTPUTS = ("nll", "nll_minus_ngram")
# The feature with a song's id.
_SONG = "song"


def build_eval_config(gate: GateSettings) -> config_pb2.EvalConfig:
    """The EvalConfig of the three bounds, with a baseline that may be missing."""

    def model(name: str, is_baseline: bool) -> config_pb2.ModelSpec:
        return config_pb2.ModelSpec(
            name=name,
            is_baseline=is_baseline,
            signature_name=SIGNATURE,
            label_keys=dict.fromkeys(_OUTPUTS, _LABEL),
            example_weight_keys=dict.fromkeys(_OUTPUTS, "scored"),
        )

    def mean(output: str, bound: float, change: float | None) -> config_pb2.MetricsSpec:
        threshold = config_pb2.MetricThreshold(
            value_threshold=config_pb2.GenericValueThreshold(
                upper_bound=wrappers_pb2.DoubleValue(value=bound)
            )
        )
        if change is not None:
            threshold.change_threshold.CopyFrom(
                config_pb2.GenericChangeThreshold(
                    direction=config_pb2.MetricDirection.LOWER_IS_BETTER,
                    absolute=wrappers_pb2.DoubleValue(value=change),
                )
            )
        # A plain `threshold` would ask the same of every song by itself.
        overall = config_pb2.PerSliceMetricThreshold(
            slicing_specs=[config_pb2.SlicingSpec()], threshold=threshold
        )
        metric = config_pb2.MetricConfig(
            class_name="MeanPrediction", per_slice_thresholds=[overall]
        )
        return config_pb2.MetricsSpec(
            metrics=[metric],
            model_names=[CANDIDATE, BASELINE],
            output_names=[output],
            example_weights=config_pb2.ExampleWeightOptions(weighted=True),
        )

    return config_pb2.EvalConfig(
        model_specs=[model(CANDIDATE, False), model(BASELINE, True)],
        metrics_specs=[
            mean("nll", gate.max_nats, gate.max_nats_over_service),
            mean("nll_minus_ngram", gate.max_nats_over_ngram, None),
        ],
        slicing_specs=[config_pb2.SlicingSpec(), config_pb2.SlicingSpec(feature_keys=[_SONG])],
    )


def bounds(config: config_pb2.EvalConfig) -> GateSettings:
    """The settings that `build_eval_config` was given."""
    by_output = {
        spec.output_names[0]: spec.metrics[0].per_slice_thresholds[0].threshold
        for spec in config.metrics_specs
    }
    nll, over = by_output["nll"], by_output["nll_minus_ngram"]
    return GateSettings(
        max_nats=nll.value_threshold.upper_bound.value,
        max_nats_over_ngram=over.value_threshold.upper_bound.value,
        max_nats_over_service=nll.change_threshold.absolute.value,
    )


def read_verdict(folder: str, blessed: bool, settings: GateSettings) -> Verdict:
    """The gate's figures from TFMA's results in a folder."""
    figures = _figures(folder)[None]
    nats, over = figures.get(("nll", False)), figures.get(("nll_minus_ngram", False))
    return Verdict(
        blessed=blessed,
        nats=math.nan if nats is None else nats,
        nats_minus_ngram=math.nan if over is None else over,
        nats_minus_service=figures.get(("nll", True)),
        settings=settings,
    )


def read_by_song(folder: str) -> list[SongFigures]:
    """The figures of each held-out song from TFMA's results, those it knows least first."""
    found = [
        SongFigures(
            song=song,
            nats=figures[("nll", False)],
            nats_minus_ngram=figures[("nll_minus_ngram", False)],
            nats_minus_service=figures.get(("nll", True)),
        )
        for song, figures in _figures(folder).items()
        if song is not None
    ]
    # What is no number stands before all.
    return sorted(found, key=lambda one: (math.isfinite(one.nats), -one.nats, one.song))


def _figures(folder: str) -> dict[str | None, dict[tuple[str, bool], float]]:
    """By song, None for all together: the candidate's by (output, whether a difference)."""
    found: dict[str | None, dict[tuple[str, bool], float]] = {}
    for metrics in tfma.load_metrics(folder):
        keys = metrics.slice_key.single_slice_keys
        song = keys[0].bytes_value.decode() if keys else None
        figures = found.setdefault(song, {})
        for pair in metrics.metric_keys_and_values:
            if pair.key.model_name not in ("", CANDIDATE):
                continue
            value = json_format.MessageToDict(pair.value).get("doubleValue", {})
            figure = float(value.get("value", 0.0) if isinstance(value, dict) else value)
            figures.setdefault((pair.key.output_name, pair.key.is_diff), figure)
    return found
