"""The files that TensorFlow Serving is deployed with: each fits its schema, all fit the code.

Every test takes `files`, what the files say. The last one changes one file in one
place after the other and demands that the test for it notices, so no check here is
one that cannot fail.
"""

from __future__ import annotations

import importlib.resources
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jsonschema
import kubernetes_validate
import pytest
import yaml
from google.protobuf import text_format

from pipeline.configuration import MODEL_NAME, load_configuration
from serving import batching_parameters
from serving.config import ServerConfig

REPOSITORY = Path(__file__).parents[2]
SERVING = REPOSITORY / "serving"
CONFIG = "/etc/segue"
# The oldest and the newest Kubernetes that the files are checked for.
KUBERNETES = ["1.29", kubernetes_validate.latest_version()]

# The flags of `tensorflow_model_server` 2.16, by its main.cc.
FLAGS = """
    port grpc_socket_path rest_api_port rest_api_num_threads rest_api_timeout_in_ms
    rest_api_enable_cors_support enable_batching allow_version_labels_for_unavailable_models
    batching_parameters_file enable_per_model_batching_parameters model_config_file
    model_config_file_poll_wait_seconds model_name model_base_path num_load_threads
    num_unload_threads max_num_load_retries load_retry_interval_micros
    file_system_poll_wait_seconds flush_filesystem_caches tensorflow_session_parallelism
    tensorflow_session_config_file tensorflow_intra_op_parallelism
    tensorflow_inter_op_parallelism use_alts_credentials ssl_config_file platform_config_file
    per_process_gpu_memory_fraction saved_model_tags grpc_channel_arguments grpc_max_threads
    enable_model_warmup num_request_iterations_for_warmup version monitoring_config_file
    remove_unused_fields_from_bundle_metagraph prefer_tflite_model num_tflite_pools
    num_tflite_interpreters_per_pool enable_signature_method_name_check
    xla_cpu_compilation_enabled xla_gpu_compilation_enabled enable_profiler
    thread_pool_factory_config_file mixed_precision skip_initialize_tpu
    enable_grpc_healthcheck_service
"""


class _Strict(yaml.SafeLoader):
    """YAML in which a key that is given twice is an error, as its users treat it."""

    def construct_mapping(self, node, deep=False):
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        assert len(keys) == len(set(keys)), f"a key is given twice: {keys}"
        return super().construct_mapping(node, deep)


class Files:
    """What the files in serving/ say; `changed` makes a copy that says something else."""

    def __init__(self, textproto, changes=()):
        self._textproto, self._changes = textproto, dict(changes)

    def changed(self, name, old, new):
        text = self.text(name)
        assert old in text, f"{name} does not hold {old!r}"
        return Files(self._textproto, {**self._changes, name: text.replace(old, new)})

    def text(self, name):
        return self._changes.get(name) or (SERVING / name).read_text()

    def yaml(self, name):
        return list(yaml.load_all(self.text(name), _Strict))

    @property
    def compose(self):
        (document,) = self.yaml("docker-compose.yaml")
        return document

    @property
    def objects(self):
        """The objects of kubernetes/, by kind and name."""
        (kustomization,) = self.yaml("kubernetes/kustomization.yaml")
        files = [name for name in kustomization["resources"] if name.endswith(".yaml")]
        found = [o for name in files for o in self.yaml(f"kubernetes/{name}")]
        return {(o["kind"], o["metadata"]["name"]): o for o in found}

    @property
    def pod(self):
        return self.objects["Deployment", "segue-serving"]["spec"]["template"]

    @property
    def container(self):
        (container,) = self.pod["spec"]["containers"]
        return container

    @property
    def flags(self):
        """Flag values by name, the same in both deployments."""
        lists = self.container["args"], self.compose["services"]["serving"]["command"]
        assert lists[0] == lists[1]
        parts = [re.fullmatch(r"--(\w+)=(.+)", flag).groups() for flag in lists[0]]
        assert len(parts) == len(dict(parts)), "a flag is given twice"
        return dict(parts)

    def proto(self, name, message):
        return self._textproto(message, self.text(f"config/{name}"))

    @property
    def batching(self):
        return self.proto("batching.config", "BatchingParameters")

    @property
    def model(self):
        (model,) = self.proto("models.config", "ModelServerConfig").model_config_list.config
        return model

    @property
    def monitoring(self):
        return self.proto("monitoring.config", "MonitoringConfig").prometheus_config


@pytest.fixture(scope="module")
def files(textproto):
    return Files(textproto)


# ---- each file by itself ----


def test_the_compose_file_fits_the_compose_specification(files):
    vendored = importlib.resources.files("check_jsonschema.builtin_schemas.vendor")
    schema = json.loads((vendored / "compose-spec.json").read_text())
    jsonschema.validate(files.compose, schema)


def test_kubernetes_objects_fit_their_schemas_strictly(files):
    for described in files.objects.values():
        for version in KUBERNETES:
            kubernetes_validate.validate(described, version, strict=True)


def test_every_file_of_the_kubernetes_folder_is_applied(files):
    (kustomization,) = files.yaml("kubernetes/kustomization.yaml")
    there = {path.name for path in (SERVING / "kubernetes").iterdir()}
    assert {*kustomization["resources"]} == {*there, "../config"} - {"kustomization.yaml"}
    assert len(kustomization["resources"]) == len(there)


def test_the_kinds_of_objects_are_those_of_a_service_in_production(files):
    assert sorted(files.objects) == [
        ("Deployment", "segue-serving"),
        ("HorizontalPodAutoscaler", "segue-serving"),
        ("NetworkPolicy", "segue-serving"),
        ("PersistentVolumeClaim", "segue-models"),
        ("PodDisruptionBudget", "segue-serving"),
        ("Service", "segue-grpc"),
        ("Service", "segue-rest"),
    ]


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not on PATH")
def test_kustomize_builds_valid_objects_with_the_configuration_in_them():
    built = subprocess.run(
        ["kubectl", "kustomize", SERVING / "kubernetes"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    objects = {o["kind"]: o for o in yaml.load_all(built.stdout, _Strict) if o["kind"] != "Service"}
    for described in objects.values():
        kubernetes_validate.validate(described, KUBERNETES[-1], strict=True)
    config = objects["ConfigMap"]
    for name in ("models.config", "batching.config", "monitoring.config"):
        assert config["data"][name] == (SERVING / "config" / name).read_text()
    # The name carries a hash, and the Deployment follows it.
    name = config["metadata"]["name"]
    assert re.fullmatch(r"segue-serving-config-[a-z0-9]+", name)
    volumes = objects["Deployment"]["spec"]["template"]["spec"]["volumes"]
    assert name in [volume.get("configMap", {}).get("name") for volume in volumes]


def test_docker_reads_the_compose_file_as_it_is_meant(files, tmp_path):
    docker = shutil.which("docker")
    version = [docker, "compose", "version"]
    if not docker or subprocess.run(version, capture_output=True, check=False).returncode:
        pytest.skip("docker compose is not there")
    read = subprocess.run(
        [docker, "compose", "-f", SERVING / "docker-compose.yaml", "config", "--format=json"],
        env={"SEGUE_ROOT": str(tmp_path), "PATH": "/usr/bin:/bin:/usr/local/bin"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    service = json.loads(read.stdout)["services"]["serving"]
    assert service["command"] == files.compose["services"]["serving"]["command"]
    assert {port["host_ip"] for port in service["ports"]} == {"127.0.0.1"}
    assert service["volumes"][0]["source"] == f"{tmp_path}/serving"


def test_the_package_brings_every_file(tmp_path):
    # Into a wheel goes what `build_py` copies.
    subprocess.run(
        [sys.executable, "setup.py", "-q", "build_py", "--build-lib", tmp_path],
        cwd=REPOSITORY,
        capture_output=True,
        timeout=120,
        check=True,
    )
    for folder in ("config", "kubernetes"):
        for path in [*(SERVING / folder).iterdir(), SERVING / "docker-compose.yaml"]:
            assert (tmp_path / path.relative_to(REPOSITORY)).read_bytes() == path.read_bytes()


def test_flags_are_flags_of_the_binary(files):
    assert set(files.flags) <= set(FLAGS.split())


def test_the_docs_give_a_reason_for_every_flag(files):
    docs = (REPOSITORY / "docs" / "serving.md").read_text()
    table = docs.split("## The flags, and why", 1)[1].split("\n## ", 1)[0]
    rows = "".join(line.split("|")[1] for line in table.splitlines() if line.startswith("| `--"))
    told = dict(re.findall(r"`--(\w+)(?:=([^`]+))?`", rows))
    assert set(told) == set(files.flags)
    for flag, value in told.items():
        assert not value or value == files.flags[flag], flag


def test_flags_name_files_that_are_there(files):
    named = {value for flag, value in files.flags.items() if flag.endswith("_file")}
    assert named == {f"{CONFIG}/{name}.config" for name in ("models", "batching", "monitoring")}
    (kustomization,) = files.yaml("config/kustomization.yaml")
    (generator,) = kustomization["configMapGenerator"]
    assert {f"{CONFIG}/{name}" for name in generator["files"]} == named
    for name in generator["files"]:
        assert (SERVING / "config" / name).is_file()


def test_batching_parameters_are_ones_that_the_binary_takes(files):
    batching = files.batching
    allowed = list(batching.allowed_batch_sizes)
    assert allowed == sorted(set(allowed))
    assert batching.enable_large_batch_splitting.value
    # With splitting on, the last size is that of a run, not of a request.
    assert allowed[-1] == batching.max_execution_batch_size.value
    assert batching.max_execution_batch_size.value <= batching.max_batch_size.value
    # A request of the largest size must find room in an empty queue.
    room = batching.max_enqueued_batches.value * batching.max_execution_batch_size.value
    assert room >= batching.max_batch_size.value
    assert batching.pad_variable_length_inputs
    assert 0 < batching.batch_timeout_micros.value < 100_000


def test_the_embedded_server_takes_the_batching_file_too():
    parameters = batching_parameters.read(SERVING / "config" / "batching.config")
    assert (parameters.max_batch_size, parameters.execution_batch_size) == (1024, 32)
    assert parameters.padded(5) == 8


# ---- what they say to each other, and to the code ----


def test_the_model_is_called_what_the_code_calls_it(files):
    assert files.model.name == MODEL_NAME == ServerConfig(model_base_path="/m").model_name
    assert files.model.model_platform == "tensorflow"
    for probe in ("startupProbe", "readinessProbe"):
        assert files.container[probe]["httpGet"]["path"] == f"/v1/models/{MODEL_NAME}/metadata"
    health = files.compose["services"]["serving"]["healthcheck"]["test"]
    assert f"GET /v1/models/{MODEL_NAME} HTTP/1.1" in health[-1]
    assert '"state": *"AVAILABLE"' in health[-1]


def test_the_volume_is_the_folder_that_a_pipeline_pushes_to(files, tmp_path):
    pushed = load_configuration(tmp_path, tmp_path / "root", "smoke").serving_dir
    assert pushed == tmp_path / "root" / "serving" / MODEL_NAME
    models, config = files.compose["services"]["serving"]["volumes"]
    assert models["source"] == "${SEGUE_ROOT:-../segue-demo}/serving"
    assert f"{models['target']}/{MODEL_NAME}" == files.model.base_path
    assert (config["source"], config["target"]) == ("./config", CONFIG)
    assert models["read_only"]
    assert config["read_only"]
    mounts = {mount["name"]: mount for mount in files.container["volumeMounts"]}
    assert f"{mounts['models']['mountPath']}/{MODEL_NAME}" == files.model.base_path
    assert mounts["config"]["mountPath"] == CONFIG
    volumes = {volume["name"]: volume for volume in files.pod["spec"]["volumes"]}
    assert set(mounts) == set(volumes)
    claim = volumes["models"]["persistentVolumeClaim"]
    assert claim["readOnly"]
    assert ("PersistentVolumeClaim", claim["claimName"]) in files.objects
    (kustomization,) = files.yaml("config/kustomization.yaml")
    assert volumes["config"]["configMap"]["name"] == kustomization["configMapGenerator"][0]["name"]


def test_ports_are_the_same_everywhere(files):
    grpc, rest = ServerConfig(model_base_path="/m").port, 8501
    assert grpc == 8500
    assert (files.flags["port"], files.flags["rest_api_port"]) == (str(grpc), str(rest))
    ports = {port["name"]: port["containerPort"] for port in files.container["ports"]}
    assert ports == {"grpc": grpc, "rest": rest}
    for name, number in ports.items():
        service = files.objects["Service", f"segue-{name}"]["spec"]["ports"]
        assert [(p["name"], p["port"], p["targetPort"]) for p in service] == [(name, number, name)]
    assert files.container["startupProbe"]["httpGet"]["port"] == "rest"
    assert files.container["readinessProbe"]["httpGet"]["port"] == "rest"
    assert files.container["livenessProbe"]["grpc"]["port"] == grpc
    policy = files.objects["NetworkPolicy", "segue-serving"]["spec"]["ingress"]
    assert [[p["port"] for p in rule["ports"]] for rule in policy] == [["grpc", "rest"], ["rest"]]
    compose = files.compose["services"]["serving"]
    assert [port.rpartition(":")[2] for port in compose["ports"]] == [str(grpc), str(rest)]
    assert f"/dev/tcp/127.0.0.1/{rest} " in compose["healthcheck"]["test"][-1]


def test_a_compose_port_is_open_to_this_machine_only_unless_told(files):
    for service in files.compose["services"].values():
        for port in service["ports"]:
            assert port.startswith(("127.0.0.1:", "${SEGUE_HOST:-127.0.0.1}:"))


def test_selectors_find_the_pods(files):
    labels = files.pod["metadata"]["labels"]
    objects = files.objects
    (spread,) = files.pod["spec"]["topologySpreadConstraints"]
    selectors = [
        objects["Deployment", "segue-serving"]["spec"]["selector"]["matchLabels"],
        objects["PodDisruptionBudget", "segue-serving"]["spec"]["selector"]["matchLabels"],
        objects["NetworkPolicy", "segue-serving"]["spec"]["podSelector"]["matchLabels"],
        objects["Service", "segue-grpc"]["spec"]["selector"],
        objects["Service", "segue-rest"]["spec"]["selector"],
        spread["labelSelector"]["matchLabels"],
    ]
    for selector in selectors:
        assert selector
        assert selector.items() <= labels.items()
    target = objects["HorizontalPodAutoscaler", "segue-serving"]["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) in objects
    # A number of replicas here would undo the autoscaler's at every apply.
    assert "replicas" not in objects["Deployment", "segue-serving"]["spec"]


def test_grpc_clients_see_every_pod(files):
    service = files.objects["Service", "segue-grpc"]["spec"]
    assert service["clusterIP"] == "None"
    arguments = dict(a.split("=") for a in files.flags["grpc_channel_arguments"].split(","))
    assert int(arguments["grpc.max_connection_age_ms"]) >= 60_000


def test_a_stop_reaches_the_binary_after_calls_had_their_time(files):
    compose = files.compose["services"]["serving"]
    assert compose["init"] is True
    assert compose["entrypoint"] == files.container["command"] == ["tensorflow_model_server"]
    assert files.pod["spec"]["shareProcessNamespace"] is True
    command, seconds = files.container["lifecycle"]["preStop"]["exec"]["command"]
    assert command == "sleep"
    longest_call = int(files.flags["rest_api_timeout_in_ms"]) / 1000
    assert longest_call < int(seconds) < files.pod["spec"]["terminationGracePeriodSeconds"]


def test_threads_fit_the_cores_that_are_asked_for(files):
    threads = files.batching.num_batch_threads.value
    assert files.flags["enable_batching"] == "true"
    assert files.flags["tensorflow_intra_op_parallelism"] == "1"
    assert files.flags["tensorflow_inter_op_parallelism"] == str(threads)
    assert files.container["resources"]["requests"]["cpu"] == str(threads)
    # A call holds a thread while it waits: enough of them to fill every batch.
    rows = threads * files.batching.max_execution_batch_size.value
    assert int(files.flags["grpc_max_threads"]) >= rows


def test_health_is_offered_where_a_probe_asks_for_it(files):
    assert files.flags["enable_grpc_healthcheck_service"] == "true"
    assert files.container["livenessProbe"]["grpc"]["service"] == "PredictionService"


def test_metrics_are_scraped_where_they_are(files):
    assert files.monitoring.enable
    path = files.monitoring.path
    (prometheus,) = files.yaml("config/prometheus.yaml")
    (job,) = prometheus["scrape_configs"]
    assert job["metrics_path"] == path == "/monitoring/prometheus/metrics"
    (target,) = job["static_configs"][0]["targets"]
    service, port = target.split(":")
    assert service in files.compose["services"]
    annotations = files.pod["metadata"]["annotations"]
    assert annotations["prometheus.io/path"] == path
    assert annotations["prometheus.io/port"] == port == files.flags["rest_api_port"]
    (flag,) = files.compose["services"]["prometheus"]["command"]
    assert flag == f"--config.file={CONFIG}/prometheus.yaml"


def test_the_image_is_the_release_that_the_client_library_is_of(files):
    constraints = (REPOSITORY / "constraints-py313.txt").read_text()
    release = re.search(r"^tensorflow-serving-api==(2\.19\.\d+)$", constraints, re.M).group(1)
    assert files.container["image"] == f"tensorflow/serving:{release}"
    assert files.compose["services"]["serving"]["image"] == f"tensorflow/serving:{release}"


def test_nothing_runs_with_more_rights_than_it_needs(files):
    pod, own = files.pod["spec"], files.container["securityContext"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] >= 10_000
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert own["allowPrivilegeEscalation"] is False
    assert own["readOnlyRootFilesystem"] is True
    assert own["capabilities"] == {"drop": ["ALL"]}
    assert all(mount.get("readOnly") for mount in files.container["volumeMounts"][:2])
    policy = files.objects["NetworkPolicy", "segue-serving"]["spec"]
    assert sorted(policy["policyTypes"]) == ["Egress", "Ingress"]
    assert policy["egress"] == []
    assert all(rule["from"] for rule in policy["ingress"])
    compose = files.compose["services"]["serving"]
    assert compose["user"] == "65532:65532"
    assert compose["read_only"] is True
    for service in files.compose["services"].values():
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]


# ---- no check that cannot fail ----

DEPLOYMENT, COMPOSE = "kubernetes/deployment.yaml", "docker-compose.yaml"
BATCHING = "config/batching.config"
NOTICED = (
    AssertionError,
    KeyError,
    jsonschema.ValidationError,
    kubernetes_validate.ValidationError,
    text_format.ParseError,
)


@pytest.mark.parametrize(
    ("check", "name", "old", "new"),
    [
        (test_the_compose_file_fits_the_compose_specification, COMPOSE, "init: true", "inti: true"),
        (
            test_the_compose_file_fits_the_compose_specification,
            COMPOSE,
            "entrypoint: [tensorflow_model_server]",
            "entrypoint: 7",
        ),
        (
            test_the_compose_file_fits_the_compose_specification,
            COMPOSE,
            "    init: true\n",
            "    init: true\n    init: true\n",
        ),
        (
            test_kubernetes_objects_fit_their_schemas_strictly,
            DEPLOYMENT,
            "readinessProbe:",
            "readynessProbe:",
        ),
        (
            test_kubernetes_objects_fit_their_schemas_strictly,
            DEPLOYMENT,
            "terminationGracePeriodSeconds: 45",
            "terminationGracePeriodSeconds: long",
        ),
        (
            test_kubernetes_objects_fit_their_schemas_strictly,
            "kubernetes/autoscaler.yaml",
            "  maxReplicas: 8\n",
            "",
        ),
        (
            test_every_file_of_the_kubernetes_folder_is_applied,
            "kubernetes/kustomization.yaml",
            "  - autoscaler.yaml\n",
            "",
        ),
        (
            test_the_kinds_of_objects_are_those_of_a_service_in_production,
            "kubernetes/services.yaml",
            "name: segue-rest",
            "name: segue-http",
        ),
        (test_flags_are_flags_of_the_binary, DEPLOYMENT, "--port=", "--prot="),
        (test_flags_are_flags_of_the_binary, COMPOSE, "--port=8500", "--port=8502"),
        (test_flags_are_flags_of_the_binary, COMPOSE, "--enable_batching=true", "--version=true"),
        (
            test_flags_name_files_that_are_there,
            "config/kustomization.yaml",
            "- batching.config",
            "- batch.config",
        ),
        (
            test_batching_parameters_are_ones_that_the_binary_takes,
            BATCHING,
            "allowed_batch_sizes: 32",
            "allowed_batch_sizes: 31",
        ),
        (
            test_batching_parameters_are_ones_that_the_binary_takes,
            BATCHING,
            "max_enqueued_batches { value: 64 }",
            "max_enqueued_batches { value: 16 }",
        ),
        (
            test_batching_parameters_are_ones_that_the_binary_takes,
            BATCHING,
            "batch_timeout_micros {",
            "batch_timeout_millis {",
        ),
        (
            test_the_model_is_called_what_the_code_calls_it,
            "config/models.config",
            'name: "segue"',
            'name: "bach"',
        ),
        (test_the_model_is_called_what_the_code_calls_it, DEPLOYMENT, "/v1/models/segue", "/"),
        (
            test_the_volume_is_the_folder_that_a_pipeline_pushes_to,
            "config/models.config",
            "/models/segue",
            "/models/serving/segue",
        ),
        (
            test_the_volume_is_the_folder_that_a_pipeline_pushes_to,
            "kubernetes/volume.yaml",
            "name: segue-models",
            "name: models",
        ),
        (
            test_the_volume_is_the_folder_that_a_pipeline_pushes_to,
            "config/kustomization.yaml",
            "segue-serving-config",
            "segue-config",
        ),
        (
            test_ports_are_the_same_everywhere,
            DEPLOYMENT,
            "containerPort: 8501",
            "containerPort: 8502",
        ),
        (
            test_ports_are_the_same_everywhere,
            "kubernetes/network-policy.yaml",
            "port: grpc",
            "port: 8600",
        ),
        (test_ports_are_the_same_everywhere, COMPOSE, "tcp/127.0.0.1/8501", "tcp/127.0.0.1/8500"),
        (
            test_a_compose_port_is_open_to_this_machine_only_unless_told,
            COMPOSE,
            '"127.0.0.1:9090:9090"',
            '"9090:9090"',
        ),
        (
            test_selectors_find_the_pods,
            "kubernetes/services.yaml",
            "  selector:\n    app.kubernetes.io/name: segue-serving",
            "  selector:\n    app.kubernetes.io/name: segue",
        ),
        (
            test_selectors_find_the_pods,
            "kubernetes/autoscaler.yaml",
            "    name: segue-serving",
            "    name: serving",
        ),
        (test_grpc_clients_see_every_pod, "kubernetes/services.yaml", "clusterIP: None", ""),
        (
            test_a_stop_reaches_the_binary_after_calls_had_their_time,
            DEPLOYMENT,
            'command: [sleep, "35"]',
            'command: [sleep, "5"]',
        ),
        (test_a_stop_reaches_the_binary_after_calls_had_their_time, COMPOSE, "init: true", ""),
        (
            test_threads_fit_the_cores_that_are_asked_for,
            BATCHING,
            "num_batch_threads { value: 4 }",
            "num_batch_threads { value: 8 }",
        ),
        (
            test_health_is_offered_where_a_probe_asks_for_it,
            DEPLOYMENT,
            "service: PredictionService",
            "service: segue",
        ),
        (
            test_metrics_are_scraped_where_they_are,
            "config/monitoring.config",
            "/monitoring/prometheus/metrics",
            "/metrics",
        ),
        (
            test_metrics_are_scraped_where_they_are,
            "config/prometheus.yaml",
            "serving:8501",
            "server:8501",
        ),
        (
            test_the_image_is_the_release_that_the_client_library_is_of,
            DEPLOYMENT,
            "serving:2.19.1",
            "serving:latest",
        ),
        (
            test_nothing_runs_with_more_rights_than_it_needs,
            DEPLOYMENT,
            "readOnlyRootFilesystem: true",
            "readOnlyRootFilesystem: false",
        ),
        (
            test_nothing_runs_with_more_rights_than_it_needs,
            "kubernetes/network-policy.yaml",
            "  egress: []",
            "  egress: [{}]",
        ),
    ],
)
def test_a_change_in_one_place_is_noticed(files, tmp_path, check, name, old, new):
    arguments = {"files": files.changed(name, old, new)}
    if "tmp_path" in check.__code__.co_varnames:
        arguments["tmp_path"] = tmp_path
    with pytest.raises(NOTICED):
        check(**arguments)
