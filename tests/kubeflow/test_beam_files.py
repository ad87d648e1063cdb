"""The files of Flink and Dataflow: each fits its schema, and all fit each other.

The operator's FlinkDeployment has no schema here; what a test can know of it is that its
pods are pods, and that the rest agrees with what Beam's arguments say.
"""

from __future__ import annotations

import copy
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import apache_beam
import kubernetes_validate
import pytest
import yaml
from apache_beam.options.pipeline_options import FlinkRunnerOptions

from kubeflow.settings import DEFAULT_PIPELINE_ROOT, KubeflowSettings
from pipeline.beam_options import read_arguments

REPOSITORY = Path(__file__).parents[2]
FLINK = REPOSITORY / "kubeflow" / "flink"
DATAFLOW = REPOSITORY / "kubeflow" / "dataflow"
KUBERNETES = ["1.29", kubernetes_validate.latest_version()]
IMAGE = "registry.example.com/segue:1"


def objects(*names: str) -> list[dict[str, Any]]:
    return [one for name in names for one in yaml.safe_load_all((FLINK / name).read_text())]


@pytest.fixture(scope="module")
def session() -> dict[str, Any]:
    (one,) = objects("session.yaml")
    return one["spec"]


def pod(spec: dict[str, Any], part: str) -> dict[str, Any]:
    """A template as the operator fills it in, as far as its own container's image."""
    given = copy.deepcopy(spec[part]["podTemplate"])
    # Some operators' templates are pods, others' have what every template has, and no more.
    assert set(given) <= {"metadata", "spec"}
    template = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": part.lower()}, **given}
    for container in template["spec"]["containers"]:
        container.setdefault("image", spec["image"])
    return template


@pytest.fixture(scope="module")
def task_manager(session) -> dict[str, Any]:
    return pod(session, "taskManager")


@pytest.fixture(scope="module")
def pool(task_manager) -> dict[str, Any]:
    (one,) = [one for one in task_manager["spec"]["containers"] if one["name"] == "workers"]
    return one


@pytest.fixture(scope="module")
def job_server() -> dict[str, Any]:
    (deployment,) = [one for one in objects("job-server.yaml") if one["kind"] == "Deployment"]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    return container


def flags(arguments: list[str]) -> dict[str, str]:
    pairs = [one.removeprefix("--").partition("=") for one in arguments]
    return {name: value for name, _, value in pairs}


@pytest.fixture(scope="module")
def arguments() -> dict[str, str]:
    return flags(read_arguments([f"@{FLINK / 'beam.args'}"]))


def beam_version() -> str:
    constraints = (REPOSITORY / "constraints-py313.txt").read_text()
    return re.search(r"(?m)^apache-beam(?:\[\w+\])?==([\d.]+)", constraints)[1]


def bases() -> dict[str, str]:
    """What each stage of the image is made from, by its name; the last has none."""
    text = (REPOSITORY / "kubeflow" / "Dockerfile").read_text()
    found = re.findall(r"(?m)^FROM (\S+)(?: AS (\S+))?$", text)
    return {name: base for base, name in found}


@pytest.mark.parametrize("version", KUBERNETES)
def test_kubernetes_own_objects_fit_their_schemas(version, session):
    pods = [pod(session, part) for part in ("jobManager", "taskManager")]
    for one in [*objects("job-server.yaml", "volume.yaml", "regenerate.yaml"), *pods]:
        kubernetes_validate.validate(one, version, strict=True)


def test_the_kustomization_names_what_is_there():
    (one,) = objects("kustomization.yaml")
    (generated,) = one["configMapGenerator"]
    for name in [*one["resources"], *generated["files"]]:
        assert (FLINK / name).is_file()
    (job,) = objects("regenerate.yaml")
    volumes = {v["name"]: v for v in job["spec"]["template"]["spec"]["volumes"]}
    assert volumes["beam"]["configMap"]["name"] == generated["name"]
    assert one["generatorOptions"]["disableNameSuffixHash"], "the job is not of the kustomization"


def test_the_image_has_a_stage_of_each_kind_and_the_tasks_where_none_is_named():
    assert bases()["worker"] == "tasks"
    assert bases()["dataflow"] == "worker"
    text = (REPOSITORY / "kubeflow" / "Dockerfile").read_text()
    assert text.rstrip().endswith("\nFROM tasks")
    assert "COPY --from=beam /opt/apache/beam /opt/apache/beam" in text
    assert "ENV RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT=1" in text


def test_versions_of_beam_and_flink_are_one_everywhere(session, job_server):
    beam = beam_version()
    assert bases()["beam"] == f"apache/beam_python3.13_sdk:{beam}"
    flink = "1.20"
    # The tests may run with the other stack's Beam, which has its own list.
    if apache_beam.__version__ == beam:
        assert flink in FlinkRunnerOptions.PUBLISHED_FLINK_VERSIONS
    assert job_server["image"] == f"apache/beam_flink{flink}_job_server:{beam}"
    assert session["flinkVersion"] == f"v{flink.replace('.', '_')}"
    assert session["image"].startswith(f"flink:{flink}-")


def test_beams_arguments_lead_to_the_job_server_and_that_to_flink(arguments, job_server):
    (service,) = [one for one in objects("job-server.yaml") if one["kind"] == "Service"]
    ports = {one["name"]: one["port"] for one in service["spec"]["ports"]}
    inside = {one["name"]: one["containerPort"] for one in job_server["ports"]}
    name = service["metadata"]["name"]
    assert arguments["job_endpoint"] == f"{name}:{ports['jobs']}"
    assert arguments["artifact_endpoint"] == f"{name}:{ports['artifacts']}"
    given = flags(job_server["args"])
    assert {"jobs": int(given["job-port"]), "artifacts": int(given["artifact-port"])} == inside
    (session,) = objects("session.yaml")
    assert given["flink-master"] == f"{session['metadata']['name']}-rest:8081"
    (deployment,) = [one for one in objects("job-server.yaml") if one["kind"] == "Deployment"]
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= labels.items()


def test_the_pool_listens_where_flink_is_told_that_it_does(arguments, pool):
    (port,) = [one["containerPort"] for one in pool["ports"]]
    assert arguments["environment_type"] == "EXTERNAL"
    assert arguments["environment_config"] == f"localhost:{port}"
    assert pool["args"] == ["--worker_pool"]
    assert pool["image"] == f"{IMAGE}-worker"


def test_a_pool_has_a_process_for_each_slot(arguments, session):
    slots = session["flinkConfiguration"]["taskmanager.numberOfTaskSlots"]
    assert arguments["sdk_worker_parallelism"] == slots


def mounts(container: dict[str, Any], volumes: list[dict[str, Any]]) -> dict[str, str]:
    """Where a container has each claim."""
    claims = {
        one["name"]: one["persistentVolumeClaim"]["claimName"]
        for one in volumes
        if "persistentVolumeClaim" in one
    }
    return {
        claims[one["name"]]: one["mountPath"]
        for one in container["volumeMounts"]
        if one["name"] in claims
    }


def test_workers_see_what_the_pipelines_tasks_and_the_job_see(pool, task_manager):
    seen = mounts(pool, task_manager["spec"]["volumes"])
    settings = KubeflowSettings(image=IMAGE)
    assert settings.volumes.items() <= seen.items()
    (claim,) = objects("volume.yaml")
    artifacts = DEFAULT_PIPELINE_ROOT.replace("minio://", "/minio/")
    assert artifacts.startswith(seen[claim["metadata"]["name"]])
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    (job,) = objects("regenerate.yaml")
    pod = job["spec"]["template"]["spec"]
    assert mounts(pod["containers"][0], pod["volumes"]).items() <= seen.items()


def test_flink_finds_what_the_job_server_lays_down(session, job_server):
    assert flags(job_server["args"])["artifacts-dir"].startswith("/segue/")
    assert {"name": "segue", "mountPath": "/segue"} in job_server["volumeMounts"]
    for part in ("jobManager", "taskManager"):
        spec = pod(session, part)["spec"]
        (main,) = [one for one in spec["containers"] if one["name"] == "flink-main-container"]
        assert mounts(main, spec["volumes"]) == {"segue": "/segue"}


def test_who_writes_to_the_volumes_is_one_user(pool, job_server):
    (job,) = objects("regenerate.yaml")
    for context in (
        pool["securityContext"],
        job_server["securityContext"],
        job["spec"]["template"]["spec"]["securityContext"],
    ):
        assert (context["runAsUser"], context["runAsGroup"]) == (65532, 65532)


def test_the_job_regenerates_by_these_arguments():
    from click.testing import CliRunner

    from pipeline.cli import main

    (job,) = objects("regenerate.yaml")
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["image"] == IMAGE
    assert "--beam=@/etc/segue/beam.args" in container["args"]
    # The command knows its flags, and gets as far as a catalogue that is not there.
    ran = CliRunner().invoke(main, container["args"])
    assert "there is no folder /segue/midi" in ran.output


@pytest.fixture
def boot(tmp_path):
    """boot(**environment): runs Dataflow's entrypoint with programs that only tell."""
    text = (DATAFLOW / "boot.sh").read_text()
    for path in ("/segue", "/proc/mounts", "/opt/apache/beam/boot"):
        assert path in text
        text = text.replace(f" {path}", f" {tmp_path}{path}")
    (tmp_path / "boot.sh").write_text(text)
    for path in ("bin/mount", "opt/apache/beam/boot"):
        program = tmp_path / path
        program.parent.mkdir(parents=True)
        program.write_text(f'#!/bin/sh\necho {program.name} "$@"\n')
        program.chmod(0o755)
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc" / "mounts").write_text("")

    def run(**environment: str) -> subprocess.CompletedProcess[str]:
        path = f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"
        return subprocess.run(
            ["/bin/sh", tmp_path / "boot.sh", "--id=1"],
            env={"PATH": path, **environment},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def test_dataflows_workers_mount_the_share_once_and_start(boot, tmp_path):
    ran = boot(SEGUE_SHARE="10.0.0.2:/segue")
    mounted, booted = ran.stdout.splitlines()
    assert mounted == f"mount -t nfs -o vers=3,nolock,hard 10.0.0.2:/segue {tmp_path}/segue"
    assert booted == "boot --id=1"
    (tmp_path / "proc" / "mounts").write_text(f"10.0.0.2:/segue {tmp_path}/segue nfs rw 0 0\n")
    assert boot(SEGUE_SHARE="10.0.0.2:/segue").stdout == "boot --id=1\n"


def test_an_image_without_a_share_says_so(boot):
    for environment in ({}, {"SEGUE_SHARE": ""}):
        ran = boot(**environment)
        assert ran.returncode != 0
        assert "built without --build-arg SHARE" in ran.stderr
        assert not ran.stdout
