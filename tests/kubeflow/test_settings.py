"""What a cluster would refuse is refused here, in one line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubeflow.settings import (
    KubeflowSettings,
    check_image,
    check_namespace,
    check_package,
    check_path,
    check_shared_artifacts,
    load_settings,
)
from music.errors import SegueError


@pytest.mark.parametrize(
    "image",
    [
        "segue",
        "segue:1",
        "registry.example.com/team/segue:1.2-gpu",
        "localhost:5000/segue",
        "ghcr.io/a/b__c/d-e.f@sha256:" + "0" * 64,
        "segue:1@sha256:" + "a" * 64,
    ],
)
def test_references_of_images_are_taken(image):
    check_image(image)


@pytest.mark.parametrize(
    "image",
    ["", "Segue:1", "segue:", "segue 1", "segue:1\n", "/segue", "a//b", "segue@sha256:12",
     "segue:-1", "http://example.com/segue", "-segue", "a" * 300],
)  # fmt: skip
def test_what_is_no_reference_of_an_image_is_refused(image):
    with pytest.raises(SegueError, match=r"^image .* is not allowed; it must be a reference"):
        check_image(image)


@given(
    st.from_regex(r"[a-z0-9]{1,20}(-[a-z0-9]{1,5})?", fullmatch=True),
    st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}", fullmatch=True),
)
def test_any_name_with_any_tag_is_a_reference(name, tag):
    check_image(f"registry.example.com:5000/{name}:{tag}")


@pytest.mark.parametrize("name", ["Segue", "-segue", "", "segue_1", "s" * 129, "sé"])
def test_names_that_the_backend_refuses_are_refused(name):
    with pytest.raises(SegueError, match=r"^pipeline name .* \[a-z0-9\]"):
        KubeflowSettings(image="segue:1", name=name)


def test_names_that_the_backend_takes_are_taken():
    for name in ("s", "0-1", "s" * 128):
        assert KubeflowSettings(image="segue:1", name=name).name == name


def test_without_an_image_there_is_a_line_that_says_how_to_get_one():
    with pytest.raises(SegueError, match="^there is no image .*kubeflow/Dockerfile.*--image"):
        load_settings(None, ())


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("tasks.Trainer.gpu=-1", "^kubeflow.tasks.Trainer.gpu -1 is not allowed"),
        ("tasks.Trainer.gpu=many", "^setting kubeflow.tasks.Trainer.gpu takes a value of type int"),
        ("tasks.Trainer.memory=-2", "memory -2.0 is not allowed"),
        ("tasks.Trainer={cpu: 2, cpu_request: 3}", "cpu_request 3.0 is not allowed.*at most 2"),
        ("tasks.Trainer.cores=2", "^setting kubeflow.tasks.Trainer.cores does not exist"),
        ("tasks.Trainer=2", "is a group of settings, got 2"),
        ("tasks.Trainer.image=A:1", "^kubeflow.tasks.Trainer.image 'A:1' is not allowed"),
        ("tasks.Trainer.node_selector={a b: c}", "node_selector 'a b' is not allowed"),
        ("tasks.Trainer.node_selector={gpu: 1}", "node_selector gpu 1 is not allowed.*a text"),
        ("tasks.Trainer.tolerations=[{key: a, operator: Is}]", "'Is' is not allowed.*Exists"),
        (
            "tasks.Trainer.tolerations=[{key: a, effect: Never}]",
            "'Never' is not allowed.*NoSchedule",
        ),
        ("tasks.Trainer.tolerations=[{colour: red}]", "with key, operator, value, effect"),
        ("tasks.Trainer.tolerations=[{operator: Equal}]", "tolerations '' is not allowed"),
        ("volumes={Segue: /segue}", "volumes 'Segue' is not allowed.*the name of a claim"),
        ("volumes={segue: segue}", "volumes segue 'segue' is not allowed.*an absolute path"),
        ("volumes={segue: /a/../b}", "an absolute path"),
        ("volumes={a: /x, b: /x/}", "a folder for each claim"),
        ("pipeline_root=/tmp", "pipeline_root '/tmp' is not allowed.*a URI"),
        ("pull_secrets=[A]", "pull_secrets 'A' is not allowed"),
        ("service_account=A B", "service_account 'A B' is not allowed"),
        ("colour=red", "^setting kubeflow.colour does not exist"),
    ],
)
def test_a_wrong_setting_is_one_line_with_its_name(override, words):
    with pytest.raises(SegueError, match=words) as error:
        load_settings(None, [override], image="segue:1")
    assert "\n" not in str(error.value)


def test_a_file_is_read_and_single_settings_go_before_it(tmp_path):
    file = tmp_path / "cluster.yaml"
    file.write_text("image: segue:1\ntasks: {Trainer: {gpu: 1, cpu: 4}}\n")
    settings = load_settings(file, ["tasks.Trainer.gpu=2"], image="segue:2")
    assert settings.image == "segue:2"
    assert (settings.tasks["Trainer"].gpu, settings.tasks["Trainer"].cpu) == (2, 4.0)


def test_a_file_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(SegueError, match=r"^cannot read the file .*none.yaml: No such file"):
        load_settings(tmp_path / "none.yaml", ())


def test_folders_must_lie_on_a_volume():
    settings = KubeflowSettings(image="segue:1")
    check_path("data", "/segue/midi", settings)
    check_path("root", "/segue", settings)
    for path in ("midi", "/segue/../etc", "gs://bucket/midi"):
        with pytest.raises(SegueError, match="must be an absolute path as the containers see it"):
            check_path("data", path, settings)
    with pytest.raises(SegueError, match="^root /segueroot lies on no volume.*segue at /segue"):
        check_path("root", "/segueroot", settings)


@pytest.mark.parametrize(
    ("pipeline_root", "bucket"),
    [
        ("", "/minio/mlpipeline"),
        ("minio://mlpipeline/v2/artifacts", "/minio/mlpipeline"),
        ("gs://music/runs/a", "/gcs/music"),
        ("s3://music", "/s3/music"),
    ],
)
def test_artifacts_that_only_their_task_would_see_are_refused(pipeline_root, bucket):
    def settings(**volumes):
        return KubeflowSettings(
            image="segue:1", pipeline_root=pipeline_root, volumes={"segue": "/segue", **volumes}
        )

    with pytest.raises(SegueError, match=f"^Beam's workers would not .* a claim at {bucket} "):
        check_shared_artifacts(settings())
    with pytest.raises(SegueError):
        check_shared_artifacts(settings(artifacts="/minio/another"))
    check_shared_artifacts(settings(artifacts=bucket))


def test_namespaces_are_those_of_kubernetes():
    check_namespace("team-1")
    for name in ("Team", "a.b", "-a", "a" * 64):
        with pytest.raises(SegueError, match="^namespace "):
            check_namespace(name)


def test_a_package_is_yaml_in_a_folder_that_is_there(tmp_path):
    check_package(tmp_path / "a.yaml")
    with pytest.raises(SegueError, match="ends in .yaml"):
        check_package(tmp_path / "a.json")
    with pytest.raises(SegueError, match="^there is no folder"):
        check_package(tmp_path / "none" / "a.yaml")
