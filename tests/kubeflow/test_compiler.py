"""The one pipeline compiles to what Kubeflow Pipelines reads."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2

from components.kept import KEPT_VOCABULARY_FILE, REQUEST_FILE, WEIGHTS_FILE, Request, start_of
from components.midi_parser.reader import music_digest
from kubeflow.compiler import compile_pipeline, node_properties
from kubeflow.parameters import Parameters
from kubeflow.settings import KubeflowSettings
from music.corpus import export
from music.errors import SegueError
from music.folder import fingerprint
from music.midi import read_midi
from pipeline.configuration import load_configuration
from pipeline.retrain import asked_settings, make_plan

NODES = {
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
SETTINGS = KubeflowSettings(
    image="segue:test",
    name="bach-1",
    tasks={
        "Trainer": {
            "image": "segue:gpu",
            "cpu": 8,
            "memory": 16.5,
            "gpu": 2,
            "node_selector": {"pool": "gpu"},
            "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
            "retries": 2,
        }
    },
)


def compiled(folder: Path, parameters: Parameters, settings=SETTINGS, cache=True) -> Path:
    path = folder / "segue.yaml"
    compile_pipeline(parameters, settings, path, cache)
    return path


@pytest.fixture(scope="module")
def smoke(tmp_path_factory) -> Path:
    """Compiled where there is no data folder to see."""
    parameters = Parameters("/segue/midi", "/segue/root", "smoke", 3, ("split.salt=b",))
    return compiled(tmp_path_factory.mktemp("compiled"), parameters)


@pytest.fixture(scope="module")
def spec(smoke):
    return next(iter(yaml.safe_load_all(smoke.read_text())))


def executors(spec):
    return {
        name: spec["deploymentSpec"]["executors"][component["executorLabel"]]["container"]
        for name, component in spec["components"].items()
    }


def test_it_is_a_pipeline_spec_of_the_schema_that_the_open_backend_reads(spec):
    assert spec["schemaVersion"] == "2.1.0"
    assert spec["pipelineInfo"]["name"] == "bach-1"
    message = json_format.ParseDict(spec, pipeline_spec_pb2.PipelineSpec())
    assert set(message.root.dag.tasks) == {"Configure", *NODES}
    assert "resolver" not in str(spec["deploymentSpec"])


def test_kfps_client_takes_the_file_for_a_package(smoke):
    from kfp.client import client
    from kfp.components import load_component_from_file

    document = client._extract_pipeline_yaml(str(smoke))
    assert set(document.platform_spec.platforms) == {"kubernetes"}
    component = load_component_from_file(str(smoke))
    assert sorted(component.pipeline_spec.root.input_definitions.parameters) == [
        "data", "epochs", "preset", "root", "set",
    ]  # fmt: skip


def test_artifact_types_of_our_own_travel(spec):
    outputs = spec["components"]["MidiParser"]["outputDefinitions"]["artifacts"]
    assert "components.Songs" in str(outputs["songs"])


def test_what_a_run_takes_by_default_is_what_it_was_compiled_with(spec):
    given = spec["root"]["inputDefinitions"]["parameters"]
    assert {name: one["defaultValue"] for name, one in given.items()} == {
        "data": "/segue/midi",
        "root": "/segue/root",
        "preset": "smoke",
        "epochs": 3,
        "set": ["split.salt=b"],
    }


def test_every_task_waits_for_its_properties_and_holds_none(spec):
    for name in NODES:
        task = spec["root"]["dag"]["tasks"][name]
        assert task["inputs"]["parameters"] == {
            "properties": {
                "taskOutputParameter": {
                    "producerTask": "Configure",
                    "outputParameterKey": name,
                }
            }
        }
        assert "Configure" in task["dependentTasks"]
        assert task["cachingOptions"] == {"enableCache": True}
    # What looks into the data folder must look each time.
    assert spec["root"]["dag"]["tasks"]["Configure"]["cachingOptions"] == {}
    assert "/segue/midi" not in json.dumps(spec["root"]["dag"])


def test_containers_start_our_entrypoint_with_an_executor(spec):
    for name, container in executors(spec).items():
        assert container["command"] == ["python", "-m", "kubeflow.entrypoint"]
        assert "{{$}}" in container["args"]
        assert container["image"] == ("segue:gpu" if name == "Trainer" else "segue:test")
    args = executors(spec)["Evaluator"]["args"]
    assert args[:2] == ["--executor_class_path", "components.evaluator.executor.Executor"]


def test_resources_and_nodes_are_those_of_the_settings(smoke, spec):
    assert executors(spec)["Trainer"]["resources"] == {
        "cpuLimit": 8.0,
        "memoryLimit": 16.5,
        "accelerator": {"type": "nvidia.com/gpu", "count": "2"},
    }
    assert "resources" not in executors(spec)["Evaluator"]
    assert spec["root"]["dag"]["tasks"]["Trainer"]["retryPolicy"]["maxRetryCount"] == 2
    _, platform = yaml.safe_load_all(smoke.read_text())
    placed = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert set(placed) == {f"{name}_executor" for name in {"Configure", *NODES}}
    assert placed["Trainer_executor"]["nodeSelector"] == {"labels": {"pool": "gpu"}}
    assert placed["Trainer_executor"]["tolerations"] == [
        {"key": "nvidia.com/gpu", "operator": "Exists"}
    ]
    # The outer folder first.
    assert placed["Pusher_executor"]["pvcMount"] == [
        {"constant": "segue", "mountPath": "/segue"},
        {"constant": "segue-models", "mountPath": "/segue/root/serving"},
    ]


def test_the_same_settings_make_the_same_bytes(smoke, tmp_path):
    parameters = Parameters("/segue/midi", "/segue/root", "smoke", 3, ("split.salt=b",))
    assert compiled(tmp_path, parameters).read_bytes() == smoke.read_bytes()


def test_without_cache_no_task_is_reused(tmp_path):
    path = compiled(tmp_path, Parameters("/segue/midi", "/segue/root", "smoke"), cache=False)
    spec = next(iter(yaml.safe_load_all(path.read_text())))
    assert not any(
        task.get("cachingOptions", {}).get("enableCache")
        for task in spec["root"]["dag"]["tasks"].values()
    )


def test_no_folder_is_made_where_the_clusters_volume_would_be(tmp_path):
    volume = tmp_path / "volume"
    compiled(tmp_path, Parameters(str(volume / "midi"), str(volume / "root"), "smoke"))
    assert not volume.exists()


def test_a_search_is_a_task_more(tmp_path):
    path = compiled(tmp_path, Parameters("/d", "/r", "smoke", 0, ("tuning.enabled=true",)))
    spec = next(iter(yaml.safe_load_all(path.read_text())))
    assert set(spec["root"]["dag"]["tasks"]) == {"Configure", "Tuner", *NODES}
    outputs = spec["components"]["Configure"]["outputDefinitions"]["parameters"]
    assert set(outputs) == {"Tuner", *NODES}


def test_a_task_that_the_pipeline_does_not_have_is_refused_by_name(tmp_path):
    settings = KubeflowSettings(image="segue:1", tasks={"Trainr": {"cpu": 1}})
    with pytest.raises(SegueError, match=r"^setting kubeflow.tasks.Trainr does not exist; .*Tra"):
        compiled(tmp_path, Parameters("/d", "/r", "smoke"), settings)


# ---- what Configure tells the others ----


@pytest.fixture(scope="module")
def midi(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("midi")
    export("bach", folder, limit=2, parts=4)
    return folder


def properties(midi, *overrides, root="/r"):
    return node_properties(load_configuration(midi, Path(root), "smoke", overrides))


def test_each_node_is_told_its_properties_with_whole_numbers_whole(midi):
    found = properties(midi)
    assert set(found) == NODES
    told = json.loads(found["WindowGenerator"])["exec_properties"]
    assert told["length"] == 32
    assert isinstance(told["length"], int)
    assert json.loads(found["MidiParser"])["exec_properties"]["data"] == str(midi)


def test_each_node_is_told_who_does_beams_work(midi):
    arguments = ["--runner=FlinkRunner", "--sdk_container_image=segue:1-worker"]
    found = properties(midi, f"beam_pipeline_args={json.dumps(arguments)}")
    for node in ("MidiParser", "WindowGenerator", "StatisticsGen", "Evaluator"):
        assert json.loads(found[node])["beam"] == arguments


def test_what_a_local_run_would_reuse_stays_the_same(midi):
    """The backend reuses a task whose properties and inputs are the same."""

    def changed(*overrides):
        before, after = properties(midi), properties(midi, *overrides)
        return {name for name in NODES if before[name] != after[name]}

    assert changed() == set()
    # The last writes down what was asked for; with another model it runs again anyway.
    assert changed("training.epochs=4") == {"Trainer", "ServingValidator"}
    assert changed("gate.max_nats=9") == {"Evaluator", "ServingValidator"}
    assert changed("window.length=40") == {"WindowGenerator", "Trainer", "ServingValidator"}
    # How a training would go on is nothing to one from scratch.
    assert changed("retrain.epochs=2", "retrain.warm_start=served") == set()


def test_a_changed_file_changes_what_the_parser_is_told_and_no_more(midi):
    before = properties(midi)
    (path,) = list(midi.rglob("*.mid"))[:1]
    old = path.read_bytes()
    path.write_bytes(old + b"\0")
    after = properties(midi)
    path.write_bytes(old)
    assert {name for name in NODES if before[name] != after[name]} == {
        "MidiParser",
        "ServingValidator",
    }


@pytest.fixture
def night(midi, tmp_path):
    """night(version, start): a configuration, with a version in service made of its music."""

    def night(number: int, start: str = ""):
        data = tmp_path / "midi"
        if not data.exists():
            shutil.copytree(midi, data)
        asked = ["retrain.warm_start=served", "retrain.epochs=2"]
        config = load_configuration(data, tmp_path / "root", "smoke", asked)
        version = config.serving_dir / str(number)
        (version / WEIGHTS_FILE).parent.mkdir(parents=True)
        (version / "saved_model.pb").write_bytes(b"")
        shape = json.dumps(dataclasses.asdict(config.model)).encode()
        np.savez(version / WEIGHTS_FILE, model=np.frombuffer(shape, np.uint8))
        (version / KEPT_VOCABULARY_FILE).write_text(str(number))
        songs = {read_midi(path.read_bytes()).fingerprint() for path in data.glob("*.mid")}
        request = Request(
            asked_settings(config, start), music_digest(songs), fingerprint(data), start
        )
        (version / REQUEST_FILE).write_text(request.to_json())
        return config

    return night


@pytest.mark.parametrize("start", ["", "a" * 64])
def test_with_nothing_new_every_task_is_told_what_the_run_that_did_it_was_told(night, start):
    config = night(7, start)
    before = node_properties(config, fingerprint(config.data), start)
    min(config.data.glob("*.mid")).rename(config.data / "another name.mid")
    plan = make_plan(config)
    assert plan.nothing
    assert node_properties(config, plan.content, plan.start) == before


def test_with_a_new_song_the_version_in_service_is_part_of_what_tasks_are_told(night):
    config = night(7)
    export("bach", config.data, limit=3, parts=4)

    def told():
        plan = make_plan(config)
        return node_properties(config, plan.content, plan.start)

    first = told()
    start = start_of(str(config.serving_dir / "7"))
    assert json.loads(first["VocabularyBuilder"])["exec_properties"]["start"] == start
    trainer = json.loads(json.loads(first["Trainer"])["exec_properties"]["custom_config"])
    settings = json.loads(trainer["settings"])
    assert (settings["start"], settings["training"]["epochs"]) == (start, 2)
    assert trainer["serving"] == str(config.serving_dir)
    assert told() == first
    # Rolled back, or pushed by hand: another model to begin from.
    shutil.copytree(config.serving_dir / "7", config.serving_dir / "8")
    (config.serving_dir / "8" / KEPT_VOCABULARY_FILE).write_text("8")
    after = told()
    assert {name for name in NODES if first[name] != after[name]} == {
        "VocabularyBuilder", "Trainer", "ServingValidator",
    }  # fmt: skip
