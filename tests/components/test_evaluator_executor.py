"""TFMA's figure against numpy's, and what the gate makes of it.

TFMA's MeanPrediction is 0.0 for every model, a broken one included, when its
configuration is not exactly right; so the figure itself is held against the mean
of what the signature returns.
"""

import json
import os
import pathlib
import shutil

import numpy as np
import pytest
from tfx.components.util import examples_utils
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.proto import example_gen_pb2
from tfx.types import standard_artifacts
from tfx.utils import proto_utils

from components.evaluator.executor import Executor
from components.evaluator.gate import GATE_FILE, Verdict, build_eval_config
from components.evaluator.settings import GateSettings

WIDE = GateSettings(max_nats=1000.0, max_nats_over_ngram=1000.0, max_nats_over_service=0.0)
BEAM = ["--direct_running_mode=in_memory", "--direct_num_workers=1"]


@pytest.fixture(scope="module")
def candidate(exported):
    return exported("small")


@pytest.fixture(scope="module")
def examples(tmp_path_factory, candidate, events_of, write_windows):
    """An Examples artifact: ragged windows whose n-gram nats all differ."""
    artifact = standard_artifacts.Examples()
    artifact.uri = str(tmp_path_factory.mktemp("examples"))
    artifact.splits = ["train", "eval"]
    examples_utils.set_payload_format(artifact, example_gen_pb2.PayloadFormat.FORMAT_TF_EXAMPLE)
    examples_utils.set_file_format(artifact, "tfrecords_gzip")
    known, window = candidate.vocabulary, candidate.window
    songs = [events_of(known, count, count) for count in (40, 9, 3, 2, 26)]
    rng = np.random.default_rng(0)
    for split in ("train", "eval"):
        write_windows(
            pathlib.Path(artifact.path(split=split)) / "windows-00000-of-00001.gz",
            songs if split == "eval" else songs[:1],
            known,
            window,
            lambda song, cut: float(rng.uniform(1, 9)),
        )
    return artifact


def records(examples):
    """The eval windows as the signature takes them, and how many events each scores."""
    import tensorflow as tf

    found = [
        record
        for path in sorted(pathlib.Path(examples.path(split="eval")).iterdir())
        for record in tf.data.TFRecordDataset(str(path), "GZIP").as_numpy_iterator()
    ]
    parsed = [tf.train.Example.FromString(record) for record in found]
    scored = [example.features.feature["scored"].int64_list.value[0] for example in parsed]
    return np.array(found, object), np.array(scored)


@pytest.fixture(scope="module")
def means(examples, load):
    """means(path): (nll, nll_minus_ngram) of a SavedModel by numpy, events weighing alike."""

    def means(path):
        windows, scored = records(examples)
        out = load(path)("serving_default", examples=windows)
        return [
            float(np.average(out[name].astype(np.float64), weights=scored))
            for name in ("nll", "nll_minus_ngram")
        ]

    return means


@pytest.fixture
def evaluate(tmp_path, examples):
    """evaluate(SavedModel, gate, serving_dir): (blessed, gate.json, Verdict)."""

    def evaluate(saved, gate=WIDE, serving_dir=None):
        model = standard_artifacts.Model()
        model.uri = str(tmp_path / "model")
        shutil.copytree(saved, tmp_path / "model" / "Format-Serving")
        outputs = {
            "evaluation": [standard_artifacts.ModelEvaluation()],
            "blessing": [standard_artifacts.ModelBlessing()],
        }
        for name, (artifact,) in outputs.items():
            artifact.uri = str(tmp_path / name)
            os.makedirs(artifact.uri)
        executor = Executor(
            BaseBeamExecutor.Context(
                beam_pipeline_args=BEAM, tmp_dir=str(tmp_path / "tmp"), unique_id="1"
            )
        )
        executor.Do(
            {"examples": [examples], "model": [model]},
            outputs,
            {
                "eval_config": proto_utils.proto_to_json(build_eval_config(gate)),
                "example_splits": '["eval"]',
                "fairness_indicator_thresholds": "null",
                "serving_dir": str(serving_dir or tmp_path / "serving"),
            },
        )
        (blessing,) = outputs["blessing"]
        blessed = blessing.get_int_custom_property("blessed") == 1
        assert os.listdir(blessing.uri) == ["BLESSED" if blessed else "NOT_BLESSED"]
        told = json.loads((tmp_path / "evaluation" / GATE_FILE).read_text())
        assert told["blessed"] is blessed
        return blessed, told, Verdict.read(str(tmp_path / "evaluation"))

    return evaluate


@pytest.fixture(scope="module")
def variant(tmp_path_factory, candidate):
    """variant(name, change): the candidate's SavedModel with other head weights."""
    import dataclasses

    from components.trainer.export import export
    from components.trainer.inference import InferenceModel

    def variant(name, change):
        path = str(tmp_path_factory.mktemp("variants") / name)
        heads = tuple((change(kernel), change(bias)) for kernel, bias in candidate.weights.heads)
        weights = dataclasses.replace(candidate.weights, heads=heads)
        model = InferenceModel(weights, candidate.settings, candidate.window, candidate.vocabulary)
        export(model, {}, path)
        return path

    return variant


@pytest.fixture(scope="module")
def better(variant):
    # Flatter distributions do better on events that were drawn at random.
    return variant("better", lambda values: 0.1 * values)


def serve(folder, **versions):
    """A serving folder with such versions."""
    for version, path in versions.items():
        shutil.copytree(path, folder / version.lstrip("v"))
    return folder


def test_the_figures_are_numpys_mean_over_scored_events(
    candidate, evaluate, means, examples, tmp_path
):
    _, scored = records(examples)
    assert len(set(scored.tolist())) > 2  # so that weights matter
    serving = tmp_path / "serving"
    serving.mkdir()  # a serving folder without a version: no baseline
    blessed, told, verdict = evaluate(candidate.path, serving_dir=serving)
    nll, over = means(candidate.path)
    assert verdict.nats == pytest.approx(nll, abs=1e-5)
    assert verdict.nats_minus_ngram == pytest.approx(over, abs=1e-5)
    assert abs(nll) > 1
    assert verdict.nats_minus_service is None
    assert blessed
    assert told["shortfalls"] == []


def test_a_model_that_is_no_number_is_never_blessed(candidate, evaluate, variant):
    broken = variant("nan", lambda values: values * np.nan)
    blessed, told, verdict = evaluate(broken)
    assert not blessed
    assert np.isnan(verdict.nats)
    assert told["shortfalls"] == [
        "against the bound it is no number (nan)",
        "against the n-gram it is no number (nan)",
    ]


def test_a_missed_bound_is_not_blessed_and_told_with_how_much(candidate, evaluate, means):
    nll, over = means(candidate.path)
    gate = GateSettings(max_nats=nll - 0.5, max_nats_over_ngram=over - 0.25)
    blessed, told, verdict = evaluate(candidate.path, gate)
    assert not blessed
    assert told["shortfalls"] == [
        f"against the bound it stands at {nll:.3f}, allowed is {nll - 0.5:.3f}: "
        "0.500 nats too many",
        f"against the n-gram it stands at {over:.3f}, allowed is {over - 0.25:.3f}: "
        "0.250 nats too many",
    ]
    assert verdict.line().startswith("refused: held-out ")


def test_a_model_worse_than_the_one_in_service_is_refused(
    candidate, better, evaluate, means, tmp_path
):
    # The newest version is the better one, though the older one's name sorts behind it.
    serving = serve(tmp_path / "serving", v10=better, v9=candidate.path)
    blessed, told, verdict = evaluate(candidate.path, serving_dir=serving)
    assert not blessed
    over_service = means(candidate.path)[0] - means(better)[0]
    assert over_service > 0.1
    assert verdict.nats == pytest.approx(means(candidate.path)[0], abs=1e-5)
    assert verdict.nats_minus_service == pytest.approx(over_service, abs=1e-5)
    assert told["shortfalls"] == [
        f"against the model in service it stands at {verdict.nats_minus_service:.3f}, "
        f"allowed is 0.000: {verdict.nats_minus_service:.3f} nats too many"
    ]


def test_a_model_better_than_the_one_in_service_is_blessed(
    candidate, better, evaluate, means, tmp_path
):
    serving = serve(tmp_path / "serving", v9=candidate.path)
    blessed, _, verdict = evaluate(better, serving_dir=serving)
    assert blessed
    assert verdict.nats_minus_service == pytest.approx(
        means(better)[0] - means(candidate.path)[0], abs=1e-5
    )
    assert (serving / "9" / "saved_model.pb").exists()


def test_the_same_model_again_is_no_worse(candidate, evaluate, tmp_path):
    serving = serve(tmp_path / "serving", v9=candidate.path)
    blessed, _, verdict = evaluate(candidate.path, serving_dir=serving)
    assert blessed
    assert verdict.nats_minus_service == 0
