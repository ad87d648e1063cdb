"""Windows that are not what they must be end the run, in a line that names the fault."""

import importlib.resources
import itertools
import os
from pathlib import Path

import numpy as np
import pytest
import tensorflow_data_validation as tfdv
from tfx.types import artifact_utils, standard_artifacts

from components.example_validator.executor import SCHEMA, Executor
from music.codec import build_codec
from music.errors import SegueError

NOTES = ("step", "pitch", "duration")


def windows(names=NOTES, count=4, events=5, ngram=False, **columns):
    """Windows as TFDV's statistics see a data frame of them: one list a cell."""
    import pandas as pd

    values = {name: [np.arange(events) % 12] * count for name in names}
    values["song"] = [np.array([b"abc"], object)] * count
    values["offset"] = [np.array([75 * row]) for row in range(count)]
    values["scored"] = [np.array([events - 1])] * count
    if ngram:
        values["ngram_nll"] = [np.array([5.5], np.float32)] * count
    values.update(columns)
    return pd.DataFrame({name: value for name, value in values.items() if value is not None})


@pytest.fixture
def validate(tmp_path):
    """validate(schema, train, eval): runs the executor on statistics of data frames."""

    def validate(schema, train, held_out=None):
        statistics = standard_artifacts.ExampleStatistics()
        statistics.uri = str(tmp_path / "statistics")
        anomalies = standard_artifacts.ExampleAnomalies()
        anomalies.uri = str(tmp_path / "anomalies")
        frames = {"train": train, "eval": windows(ngram=True) if held_out is None else held_out}
        statistics.split_names = artifact_utils.encode_split_names(list(frames))
        # TFX marks artifacts with its version; newer ones hold one binary proto a split.
        statistics.set_string_custom_property("tfx_version", "1.16.0")
        for split, frame in frames.items():
            folder = Path(artifact_utils.get_split_uri([statistics], split))
            folder.mkdir(parents=True)
            found = tfdv.generate_statistics_from_dataframe(frame)
            (folder / "FeatureStats.pb").write_bytes(found.SerializeToString())
        Executor().Do(
            {"statistics": [statistics]},
            {"anomalies": [anomalies]},
            {SCHEMA: schema, "exclude_splits": "[]"},
        )
        return anomalies

    return validate


def test_good_windows_pass(validate):
    anomalies = validate("notes", windows())
    for split in ("train", "eval"):
        folder = artifact_utils.get_split_uri([anomalies], split)
        assert os.listdir(folder) == ["SchemaDiff.pb"]


def test_the_statistics_of_statistics_gen_pass_too(tmp_path, vocabulary, events_of, write_windows):
    """The way of a pipeline: tf.train.Examples, StatisticsGen, ExampleValidator."""
    from tfx.components.statistics_gen import executor as statistics_gen
    from tfx.components.util import examples_utils
    from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
    from tfx.proto import example_gen_pb2

    from music.windows import WindowSpec

    known = vocabulary("notes")
    examples = standard_artifacts.Examples()
    examples.uri = str(tmp_path / "examples")
    examples.splits = ["train", "eval"]
    examples_utils.set_payload_format(examples, example_gen_pb2.PayloadFormat.FORMAT_TF_EXAMPLE)
    examples_utils.set_file_format(examples, "tfrecords_gzip")
    songs = [events_of(known, count, count) for count in (30, 11)]
    for split, ngram in (("train", None), ("eval", 4.5)):
        write_windows(
            Path(examples.path(split=split)) / "windows-00000-of-00001.gz",
            songs,
            known,
            WindowSpec(6),
            lambda song, cut, ngram=ngram: ngram,
        )
    statistics = standard_artifacts.ExampleStatistics()
    statistics.uri = str(tmp_path / "statistics")
    statistics.set_string_custom_property("tfx_version", "1.16.0")
    statistics_gen.Executor(
        BaseBeamExecutor.Context(
            beam_pipeline_args=["--direct_running_mode=in_memory"], tmp_dir=str(tmp_path)
        )
    ).Do({"examples": [examples]}, {"statistics": [statistics]}, {"exclude_splits": "[]"})
    anomalies = standard_artifacts.ExampleAnomalies()
    anomalies.uri = str(tmp_path / "anomalies")
    Executor().Do(
        {"statistics": [statistics]},
        {"anomalies": [anomalies]},
        {SCHEMA: "notes", "exclude_splits": "[]"},
    )
    assert artifact_utils.decode_split_names(anomalies.split_names) == ["train", "eval"]


@pytest.mark.parametrize(
    ("change", "feature"),
    [
        ({"pitch": [np.array([60, 129, 3, 4, 5])] * 4}, "pitch"),
        ({"pitch": [np.array([60, -1, 3, 4, 5])] * 4}, "pitch"),
        ({"step": [np.array([0, 1537, 3, 4, 5])] * 4}, "step"),
        ({"duration": None}, "duration"),
        ({"scored": [np.array([0])] * 4}, "scored"),
        ({"scored": [np.array([1, 2])] * 4}, "scored"),
        ({"offset": [np.array([-1])] * 4}, "offset"),
        ({"song": None}, "song"),
        ({"velocity": [np.array([1, 2])] * 4}, "velocity"),
        ({"ngram_nll": [np.array([np.nan], np.float32)] * 4}, "ngram_nll"),
        ({"ngram_nll": [np.array([-1.0], np.float32)] * 4}, "ngram_nll"),
        ({"step": [np.array([0.5, 1.0])] * 4}, "step"),
        ({"step": [None, *[np.arange(5)] * 3]}, "step"),
    ],
)
def test_an_anomaly_ends_the_run_and_is_named(validate, change, feature):
    with pytest.raises(SegueError) as caught:
        validate("notes", windows(**change))
    line = str(caught.value)
    assert line.startswith(f"the train windows are not what they must be: {feature}: ")
    assert "SchemaDiff.pb" in line
    assert "\n" not in line


def test_the_eval_split_is_looked_at_as_well(validate):
    with pytest.raises(SegueError) as caught:
        validate("notes", windows(), windows(ngram=True, pitch=[np.array([1, 200])] * 4))
    assert str(caught.value).startswith("the eval windows are not what they must be: pitch: ")


def test_only_three_anomalies_are_spelled_out(validate):
    with pytest.raises(SegueError) as caught:
        validate("notes", windows(step=None, pitch=None, duration=None, song=None, scored=None))
    assert "(5 anomalies in all, see " in str(caught.value)


def variants():
    """Every codec that a configuration can name."""
    yield {"name": "chords"}
    for velocity, part in itertools.product((False, True), repeat=2):
        yield {"name": "notes", "velocity": velocity, "part": part}


@pytest.mark.parametrize("codec", variants(), ids=str)
def test_every_codec_has_a_schema_that_fits_it(codec, tmp_path, validate):
    from google.protobuf import text_format
    from tensorflow_metadata.proto.v0 import schema_pb2

    from components.trainer.settings import ModelSettings
    from pipeline.configuration import Configuration

    name = Configuration(tmp_path, tmp_path, codec=codec, model=ModelSettings()).schema
    folder = importlib.resources.files("components.example_validator") / "schemas"
    schema = text_format.Parse((folder / f"{name}.pbtxt").read_text(), schema_pb2.Schema())
    domains = {feature.name: feature.int_domain for feature in schema.feature}
    fields = build_codec(codec).fields
    for field in fields:
        assert (domains[field.name].min, domains[field.name].max) == (0, field.size - 1)
    more = {"song", "offset", "scored", "ngram_nll"}
    assert set(domains) == {field.name for field in fields} | more
    names = [field.name for field in fields]
    validate(name, windows(names), windows(names, ngram=True))
