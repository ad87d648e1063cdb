"""The one pipeline compiles to what Kubeflow Pipelines reads."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2

from kubeflow.compiler import compile_pipeline, node_properties
from kubeflow.parameters import Parameters
from kubeflow.settings import KubeflowSettings
from music.corpus import export
from music.errors import SegueError
from pipeline.configuration import load_configuration

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
    assert changed("training.epochs=4") == {"Trainer"}
    assert changed("gate.max_nats=9") == {"Evaluator"}
    assert changed("window.length=40") == {"WindowGenerator", "Trainer"}


def test_a_changed_file_changes_what_the_parser_is_told_and_no_more(midi):
    before = properties(midi)
    (path,) = list(midi.rglob("*.mid"))[:1]
    old = path.read_bytes()
    path.write_bytes(old + b"\0")
    after = properties(midi)
    path.write_bytes(old)
    assert {name for name in NODES if before[name] != after[name]} == {"MidiParser"}
