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

from components.evaluator import contexts
from components.evaluator.executor import Executor
from components.evaluator.gate import build_eval_config
from components.evaluator.settings import GateSettings
from components.evaluator.verdict import Verdict, read_songs
from components.files import CONTEXTS_FILE, GATE_FILE

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


def test_every_held_out_song_has_its_own_figures_and_no_bound_of_its_own(
    candidate, evaluate, examples, load, tmp_path
):
    import tensorflow as tf

    windows, scored = records(examples)
    parsed = [tf.train.Example.FromString(record) for record in windows]
    songs = [one.features.feature["song"].bytes_list.value[0].decode() for one in parsed]
    out = load(candidate.path)("serving_default", examples=windows)
    expected = {}
    for song in set(songs):
        rows = [row for row, of in enumerate(songs) if of == song]
        expected[song] = [
            float(np.average(out[name][rows].astype(np.float64), weights=scored[rows]))
            for name in ("nll", "nll_minus_ngram")
        ]
    assert len(expected) == 5
    overall = float(np.average(out["nll"].astype(np.float64), weights=scored))
    worst = max(nll for nll, _ in expected.values())
    assert worst > overall + 0.01
    # Some songs are above the bound, all together are not.
    gate = GateSettings(max_nats=(worst + overall) / 2, max_nats_over_ngram=1000.0)
    blessed, _, verdict = evaluate(candidate.path, gate)
    assert blessed
    assert verdict.nats == pytest.approx(overall, abs=1e-5)
    found = read_songs(str(tmp_path / "evaluation"))
    assert [one.nats for one in found] == sorted((one.nats for one in found), reverse=True)
    for one in found:
        assert [one.nats, one.nats_minus_ngram] == pytest.approx(expected[one.song], abs=1e-5)
        assert one.nats_minus_service is None
    assert {one.song for one in found} == set(expected)


def test_nats_stand_by_how_much_of_a_window_came_before(
    candidate, evaluate, examples, load, tmp_path, monkeypatch
):
    monkeypatch.setattr(contexts, "BIN", 2)
    windows, scored = records(examples)
    _, _, verdict = evaluate(candidate.path)
    bins = json.loads((tmp_path / "evaluation" / CONTEXTS_FILE).read_text())
    # All events are in some bin, once.
    assert sum(one["events"] for one in bins) == scored.sum()
    mean = sum(one["nats"] * one["events"] for one in bins) / scored.sum()
    assert mean == pytest.approx(verdict.nats, abs=1e-5)
    # A song's second and third events follow from one and two: the window's first ones.
    steps = load(candidate.path)("serving_default", examples=windows)["nll_steps"]
    import tensorflow as tf

    first = []
    for row, record in enumerate(windows):
        feature = tf.train.Example.FromString(record).features.feature
        length = len(feature[candidate.vocabulary.fields[0].name].int64_list.value)
        first += [
            steps[row, step] for step in range(scored[row]) if length - scored[row] + step <= 2
        ]
    assert (bins[0]["first"], bins[0]["last"]) == (1, 2)
    assert bins[0]["events"] == len(first) > 5
    assert bins[0]["nats"] == pytest.approx(np.mean(first), abs=1e-5)


def test_of_many_windows_an_even_sample_is_scored(candidate, examples):
    pattern = str(pathlib.Path(examples.path(split="eval")) / "*")
    field = candidate.vocabulary.fields[0].name
    every = contexts.by_context(candidate.path, [pattern], field)
    some = contexts.by_context(candidate.path, [pattern], field, most=4)
    assert 0 < sum(one.events for one in some) < sum(one.events for one in every)


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
