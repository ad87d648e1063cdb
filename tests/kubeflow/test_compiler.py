"""The one pipeline compiles to a KFP v2 specification, our artifact types with it."""

from __future__ import annotations

import yaml

from kubeflow.compiler import compile_pipeline
from music.corpus import export
from pipeline.configuration import load_configuration


def test_the_pipeline_compiles_with_its_own_artifact_types(tmp_path):
    export("bach", tmp_path / "midi", limit=1, parts=4)
    config = load_configuration(tmp_path / "midi", tmp_path / "root", "smoke")
    compile_pipeline(config, "segue:test", tmp_path / "segue.yaml")
    (spec,) = yaml.safe_load_all((tmp_path / "segue.yaml").read_text())
    assert spec["schemaVersion"] == "2.1.0"
    tasks = spec["root"]["dag"]["tasks"]
    assert set(tasks) == {
        "MidiParser",
        "VocabularyBuilder",
        "ReferenceBuilder",
        "WindowGenerator",
        "StatisticsGen",
        "SchemaGen",
        "ExampleValidator",
        "Trainer",
        "Evaluator",
        "ServingValidator",
        "Pusher",
    }
    outputs = spec["components"]["MidiParser"]["outputDefinitions"]["artifacts"]
    assert "components.Songs" in str(outputs["songs"])
    for executor in spec["deploymentSpec"]["executors"].values():
        assert executor["container"]["image"] == "segue:test"
