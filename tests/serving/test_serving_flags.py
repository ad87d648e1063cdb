"""The binary's whole command line, and what is said about the rest."""

import pytest

from serving.__main__ import main

# Every flag of tensorflow_model_server 2.16, with a value that it takes.
BINARY_FLAGS = {
    "port": "8500",
    "grpc_socket_path": "/tmp/grpc.sock",
    "rest_api_port": "0",
    "rest_api_num_threads": "8",
    "rest_api_timeout_in_ms": "30000",
    "rest_api_enable_cors_support": "false",
    "enable_batching": "false",
    "allow_version_labels_for_unavailable_models": "true",
    "batching_parameters_file": "",
    "enable_per_model_batching_parameters": "false",
    "model_config_file": "",
    "model_config_file_poll_wait_seconds": "0",
    "model_name": "default",
    "model_base_path": "/models/default",
    "num_load_threads": "2",
    "num_unload_threads": "2",
    "max_num_load_retries": "5",
    "load_retry_interval_micros": "-1",
    "file_system_poll_wait_seconds": "1",
    "flush_filesystem_caches": "true",
    "tensorflow_session_parallelism": "0",
    "tensorflow_session_config_file": "",
    "tensorflow_intra_op_parallelism": "0",
    "tensorflow_inter_op_parallelism": "0",
    "use_alts_credentials": "false",
    "ssl_config_file": "",
    "platform_config_file": "",
    "per_process_gpu_memory_fraction": "0.5",
    "saved_model_tags": "serve",
    "grpc_channel_arguments": "grpc.max_connection_age_ms=2000",
    "grpc_max_threads": "64",
    "enable_model_warmup": "true",
    "num_request_iterations_for_warmup": "0",
    "version": "false",
    "monitoring_config_file": "",
    "remove_unused_fields_from_bundle_metagraph": "true",
    "prefer_tflite_model": "false",
    "num_tflite_pools": "1",
    "num_tflite_interpreters_per_pool": "1",
    "enable_signature_method_name_check": "false",
    "xla_cpu_compilation_enabled": "false",
    "xla_gpu_compilation_enabled": "false",
    "enable_profiler": "false",
    "thread_pool_factory_config_file": "",
    "mixed_precision": "",
    "skip_initialize_tpu": "false",
    "enable_grpc_healthcheck_service": "true",
    "enable_serialization_as_tensor_content": "false",
}


@pytest.fixture
def run(monkeypatch):
    """run(*flags): the configuration that a server would start with."""

    def run(*flags):
        configs = []
        with monkeypatch.context() as patch:
            patch.setattr("serving.__main__._serve", lambda config, *_: configs.append(config) or 0)
            assert main(list(flags)) == 0
        return configs[0]

    return run


@pytest.fixture
def refusal(capsys):
    """refusal(*flags): the one line that such a start ends with."""

    def refusal(*flags):
        assert main(list(flags)) == 1
        err = capsys.readouterr().err
        assert err.startswith("segue: ")
        assert err.count("\n") == 1
        return err.removeprefix("segue: ").rstrip("\n")

    return refusal


@pytest.mark.parametrize("spelling", ["--{}={}", "--{} {}"])
def test_row_44_every_flag_of_the_binary_is_accepted(run, spelling):
    flags = []
    for name, value in BINARY_FLAGS.items():
        if spelling == "--{}={}":
            flags.append(spelling.format(name, value))
        elif value:
            flags += [f"--{name}", value]
    config = run(*flags)
    assert (config.port, config.model_name, config.num_load_threads) == (8500, "default", 2)
    assert config.allow_version_labels_for_unavailable_models
    assert config.grpc_socket_path == "/tmp/grpc.sock"
    assert config.per_process_gpu_memory_fraction == 0.5
    assert (config.model_config_file, config.ssl_config_file) == (None, None)


def test_row_44_a_server_starts_by_the_binarys_command_line(launch, base, push, connect, tmp_path):
    push(base, 1)
    flags = BINARY_FLAGS | {"model_name": "m", "model_base_path": str(base)}
    # launch gives these; and XLA's and TFLite's do nothing to this model.
    own = ("port", "rest_api_port", "version", "grpc_socket_path", "mixed_precision")
    server = launch(*(f"--{name}={value}" for name, value in flags.items() if name not in own))
    assert connect(server.address).one(1.0, model="m") == (2.0, 1)


def test_row_44_booleans_need_no_value(run):
    config = run("--model_base_path=/m", "--allow_version_labels_for_unavailable_models")
    assert config.allow_version_labels_for_unavailable_models
    config = run("--model_base_path=/m", "--enable_grpc_healthcheck_service=false")
    assert not config.enable_grpc_healthcheck_service


def test_flags_without_effect_are_named_in_one_line(run, capsys):
    run(
        "--model_base_path=/m",
        "--prefer_tflite_model",
        "--xla_cpu_compilation_enabled=true",
        "--mixed_precision=bfloat16",
        "--enable_profiler=false",
        "--flush_filesystem_caches",
    )
    assert capsys.readouterr().err == (
        "segue: without effect in this server: --prefer_tflite_model, "
        "--xla_cpu_compilation_enabled, --mixed_precision\n"
    )


def test_flags_that_ask_for_nothing_are_not_mentioned(run, capsys):
    run("--model_base_path=/m", "--num_tflite_pools=0", "--enable_profiler=false")
    assert capsys.readouterr().err == ""


def test_encryption_is_not_promised_in_vain(refusal):
    assert refusal("--model_base_path=/m", "--use_alts_credentials") == (
        "--use_alts_credentials: this server cannot do ALTS; --ssl_config_file encrypts calls"
    )


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--model_bas_path=/m"], "unknown flag --model_bas_path; did you mean --model_base_path?"),
        (["--model-name=m"], "unknown flag --model-name; did you mean --model_name?"),
        (["-port=1"], "unknown flag -port; did you mean --port?"),
        (["--zzz"], "unknown flag --zzz; see --help"),
        (
            ["--port=1", "/models"],
            "unexpected argument '/models'; flags are --name=value; see --help",
        ),
        (
            ["--num_tflite_pools=many"],
            "argument --num_tflite_pools: invalid int value: 'many'; see --help",
        ),
    ],
)
def test_a_misspelt_flag_is_one_line_with_the_one_that_was_meant(refusal, flags, message):
    assert refusal(*flags) == message


def test_version_tells_what_runs_and_starts_nothing(capsys):
    assert main(["--version", "--model_base_path=/nowhere"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert [line.partition(": ")[0] for line in out] == [
        "Segue model server",
        "TensorFlow Serving API",
        "TensorFlow Library",
        "gRPC",
    ]
