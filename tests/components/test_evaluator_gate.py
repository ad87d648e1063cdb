"""The gate's bounds, as TFMA takes them."""

import math

import pytest
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.proto import config_pb2

from components.evaluator.gate import BASELINE, CANDIDATE, bounds, build_eval_config
from components.evaluator.settings import GateSettings
from music.errors import SegueError

BOUNDS = GateSettings(max_nats=8.0, max_nats_over_ngram=-0.25, max_nats_over_service=0.125)


@pytest.mark.parametrize("gate", [GateSettings(), BOUNDS, GateSettings(0.0, 0.0, 0.0)])
def test_the_bounds_survive_the_eval_config(gate):
    from tfx.utils import proto_utils

    config = build_eval_config(gate)
    assert bounds(config) == gate
    again = config_pb2.EvalConfig()
    proto_utils.json_to_proto(proto_utils.proto_to_json(config), again)
    assert bounds(again) == gate


def test_tfma_accepts_the_eval_config_with_and_without_a_baseline():
    config = build_eval_config(BOUNDS)
    assert [(m.name, m.is_baseline) for m in config.model_specs] == [
        (CANDIDATE, False),
        (BASELINE, True),
    ]
    for has_baseline in (True, False):
        updated = tfma.utils.update_eval_config_with_defaults(
            config, has_baseline=has_baseline, rubber_stamp=True
        )
        tfma.utils.verify_eval_config(updated)
        assert len(updated.model_specs) == 1 + has_baseline
    for spec in config.model_specs:
        # Without a label MeanPrediction is 0.0 and passes every bound.
        assert set(spec.label_keys) == set(spec.example_weight_keys) == {"nll", "nll_minus_ngram"}
        assert all(spec.label_keys.values())
        assert set(spec.example_weight_keys.values()) == {"scored"}
        assert spec.signature_name == "serving_default"


def test_only_the_likelihood_itself_is_held_against_the_model_in_service():
    changes = {
        spec.output_names[0]: spec.metrics[0]
        .per_slice_thresholds[0]
        .threshold.HasField("change_threshold")
        for spec in build_eval_config(BOUNDS).metrics_specs
    }
    assert changes == {"nll": True, "nll_minus_ngram": False}


@pytest.mark.parametrize("name", ["max_nats", "max_nats_over_ngram", "max_nats_over_service"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_bound_that_is_no_number_is_refused(name, value):
    with pytest.raises(SegueError) as caught:
        GateSettings(**{name: value})
    assert str(caught.value) == f"{name} {value!r} is not allowed; it must be a finite number"
