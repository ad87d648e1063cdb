"""`python -m serving`: the model server as a program.

Flags are `tensorflow_model_server`'s, as `--flag=value` or `--flag value`. When
the models answer, one line on standard output says which versions, and where.
SIGTERM and Ctrl-C stop it: health turns to NOT_SERVING, running calls finish,
and it ends with code 0.
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
import os
import signal
import sys
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from music.errors import SegueError
from serving import flags as flag_list
from serving import logs
from serving.config import ServerConfig

_HELP = {
    "model_base_path": "folder whose numeric child folders are the model's versions",
    "model_config_file": "models, policies and labels; a text-format ModelServerConfig",
    "model_config_file_poll_wait_seconds": "pause between two looks at that file; 0 looks once",
    "allow_version_labels_for_unavailable_models": "let new labels point to any version",
    "host": "address to listen on",
    "port": "gRPC port; 0 takes any free one",
    "model_name": "name of the model in requests",
    "file_system_poll_wait_seconds": "pause between two looks for versions; 0 looks once",
    "num_load_threads": "loads at the same time, once the server runs; 0 is one",
    "num_unload_threads": "unloads at the same time; 0 is one",
    "saved_model_tags": "tags of the graph to load, separated by commas",
    "ssl_config_file": "key and certificate for TLS; a text-format SSLConfig",
    "grpc_socket_path": "a Unix socket to listen on as well",
    "grpc_channel_arguments": "gRPC's own settings, key=value,...",
    "grpc_max_threads": "calls inside at the same time",
    "max_concurrent_calls": "calls inside and waiting, before one is refused; 0: no limit",
    "max_concurrent_runs": "runs of models at the same time (default: four a core)",
    "max_num_load_retries": "tries after a failed load",
    "load_retry_interval_micros": "pause between those tries, in microseconds",
    "tensorflow_intra_op_parallelism": "threads inside one operation; 0 for automatic",
    "tensorflow_inter_op_parallelism": "operations at the same time; 0 for automatic",
    "tensorflow_session_parallelism": "sets both of these, unless 0",
    "tensorflow_session_config_file": "settings of the sessions; a text-format ConfigProto",
    "per_process_gpu_memory_fraction": "share of a GPU's memory to take at once; 0: as needed",
    "max_message_bytes": "largest request and response",
    "max_rows": "most rows of a request; 0: as the model allows",
    "max_prime": "most events of a prime; 0: as the model allows",
    "max_steps": "most events that a row may ask for; 0: as the model allows",
    "enable_model_warmup": "run assets.extra/tf_serving_warmup_requests after loading",
    "num_request_iterations_for_warmup": "runs of each of them; 0 is one",
    "enable_grpc_healthcheck_service": "offer grpc.health.v1",
    "enable_batching": "run requests that come at the same time together",
    "batching_parameters_file": "BatchingParameters as text (default: TensorFlow Serving's)",
    "batching_length_input": "batch by the powers of two of this input",
    "enable_continuous_batching": "let songs share the cores, whatever calls they belong to",
    "continuous_max_rows": "songs in one run",
    "continuous_max_queued_rows": "songs under way or waiting; calls with more are refused",
    "wait_for_model_seconds": "wait so long for a first version to be pushed",
    "rest_api_port": "REST port; 0 for none",
    "rest_api_timeout_in_ms": "time for a REST request, in milliseconds; 0 for any",
    "rest_api_num_threads": "REST requests inside at the same time; 0 for 32",
    "rest_api_enable_cors_support": "let web pages of other origins call",
    "rest_api_max_body_bytes": "largest REST request, also once it is inflated",
    "monitoring_config_file": "puts metrics on the REST port; a text-format MonitoringConfig",
    "grace_seconds": "time for running calls when the server is stopped",
}
# Of the fields whose default is None.
_WHOLE_NUMBERS = ("max_concurrent_runs",)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> Any:
        raise SegueError(f"{message}; see --help")


def build_parser() -> argparse.ArgumentParser:
    """The flags; a field of ServerConfig each, and those of the program."""
    parser = _Parser(
        prog="python -m serving",
        description="Serves SavedModels over gRPC and REST as tensorflow_model_server does, whose"
        " other flags are accepted too.",
        allow_abbrev=False,
    )
    for field in dataclasses.fields(ServerConfig):
        default = field.default
        options: dict[str, Any] = {"help": f"{_HELP[field.name]} ({default})"}
        if default in (None, ""):
            options["help"] = _HELP[field.name]
        if default is not None:
            options |= flag_list.of_type(default)
        elif field.name in _WHOLE_NUMBERS:
            options["type"] = int
        parser.add_argument(f"--{field.name}", default=argparse.SUPPRESS, **options)
    flag_list.add_others(parser, list(_HELP))
    parser.add_argument(
        "--port_file",
        "--port-file",
        metavar="PATH",
        help="write the port there when the model answers; for scripts that use port 0",
    )
    parser.add_argument(
        "--version", default=False, help="print the versions and end", **flag_list.of_type(False)
    )
    parser.add_argument(
        "--log_format", choices=logs.FORMATS, default="text", help="how log lines look (text)"
    )
    parser.add_argument(
        "--verbose", action="store_true", help="log what happens and each request, with traces"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the server until it is told to stop.

    Args:
      argv: the flags; None for the process's own.

    Returns:
      The exit code: 0 after a stop, 1 when it could not start.
    """
    verbose = False
    try:
        parser = build_parser()
        parsed, rest = parser.parse_known_args(argv)
        if rest:
            raise flag_list.unknown(rest, parser)
        flags = vars(parsed)
        if flags.pop("version"):
            print(flag_list.versions())
            return 0
        verbose = flags.pop("verbose")
        port_file = flags.pop("port_file")
        logs.configure(flags.pop("log_format"), verbose)
        _quieten(verbose)
        in_vain = flag_list.take_others(flags, list(_HELP))
        if in_vain:
            names = ", ".join(f"--{name}" for name in in_vain)
            print(f"segue: without effect in this server: {names}", file=sys.stderr, flush=True)
        return _serve(ServerConfig(**flags), port_file, verbose)
    except SegueError as error:
        if verbose:
            logging.getLogger(__name__).exception("the server could not start")
        print(f"segue: {error}", file=sys.stderr, flush=True)
        return 1


def _serve(config: ServerConfig, port_file: str | None, verbose: bool) -> int:
    from serving.server import ModelServer, serve_until_stopped

    server = ModelServer(config, None if verbose else _import_tensorflow)

    def ready(_: int) -> None:
        if port_file:
            _write_atomically(Path(port_file), f"{server.port}\n")
        models = ", ".join(f"model {n} version {v}" for n, v in server.models.available().items())
        also = f" and unix:{config.grpc_socket_path}" if config.grpc_socket_path else ""
        also += f", REST on {server.rest_address}" if server.rest_address else ""
        print(f"segue serving: {models or 'no model'} on {server.address}{also}", flush=True)

    # Before anything is loaded: a stop that comes early must not leave a trace.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: server.ask_to_stop())
    serve_until_stopped(server, ready)
    return 0


def _quieten(verbose: bool) -> None:
    """Keeps TensorFlow's start-up chatter from the screen; our warnings stay."""
    if not verbose:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        logging.getLogger("tensorflow").setLevel(logging.ERROR)
        # grpc logs a trace for every request that is no message at all.
        logging.getLogger("grpc._common").setLevel(logging.CRITICAL)
        # Libraries announce which Python they will drop next; a person who starts
        # a server can do nothing about it.
        warnings.simplefilter("ignore", FutureWarning)


def _import_tensorflow() -> None:
    """Imports TensorFlow without what its libraries say while they are loaded.

    Those of 2.21 tell of CUDA that is not there, whatever TF_CPP_MIN_LOG_LEVEL is. What
    an import raises is raised here as well; with --verbose nothing is held back.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        import tensorflow  # noqa: F401
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _write_atomically(path: Path, text: str) -> None:
    """Writes a file that a reader sees whole or not at all."""
    try:
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as file:
            file.write(text)
        os.replace(file.name, path)
    except OSError as error:
        raise SegueError(f"--port_file={path} cannot be written: {error.strerror}") from error


if __name__ == "__main__":
    sys.exit(main())
