"""What a server is told before it starts: one frozen, checked value.

Fields carry the names of `tensorflow_model_server`'s flags wherever that binary
has such a flag, so that a command line, a Compose file and a Python call read
alike. Every mistake is one `SegueError` line with the value, the accepted range
and the flag that mends it.
"""

from __future__ import annotations

import dataclasses
import math
import os
from pathlib import Path

from music.errors import SegueError
from serving.listen import channel_options

INT32_MAX = 2**31 - 1


def cores() -> int:
    """The cores that this process may use: those it is bound to, or a container's share."""
    bound = len(os.sched_getaffinity(0))
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return max(1, min(bound, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError):  # no such file, or "max": no share
        return bound


def four_a_core() -> int:
    """How many things that compute and wait in turn go on at the same time."""
    return 4 * cores()


@dataclasses.dataclass(frozen=True)
class ServerConfig:
    """Configuration of one `ModelServer`.

    Attributes:
      model_base_path: folder whose numeric child folders are the model's
        versions. Made absolute, against the working folder.
      model_config_file: a text-format ModelServerConfig with several models,
        their version policies and labels; `model_base_path` and `model_name`
        are then ignored.
      model_config_file_poll_wait_seconds: pause between two looks at that file;
        0 looks once, at the start.
      allow_version_labels_for_unavailable_models: let a new label point to a
        version that is not available, as a first start with labels needs.
      host: address to listen on. (The binary always takes 0.0.0.0.)
      port: gRPC port; 0 takes any free one, which `ModelServer.port` tells.
      model_name: the name that requests must give.
      file_system_poll_wait_seconds: pause between two looks at the base path;
        0 looks once, at the start.
      num_load_threads: loads at the same time once the server runs; 0 is one.
        At the start there are four a core, as in the binary.
      num_unload_threads: unloads at the same time; 0 is one.
      saved_model_tags: tags of the graph to load, separated by commas.
      ssl_config_file: a text-format SSLConfig: encrypted calls only.
      grpc_socket_path: a Unix socket to listen on as well; "" for none.
      grpc_channel_arguments: gRPC's own settings, `key=value,...`.
      grpc_max_threads: calls inside at the same time, most of which wait (for
        a batch, or for one of the `max_concurrent_runs`). More wait outside, and
        health with them: keep it above `max_concurrent_calls`.
      max_concurrent_calls: calls of models inside and outside together; one more
        is answered with RESOURCE_EXHAUSTED. 0 for no limit, as in the binary.
      max_concurrent_runs: runs of models at the same time; None for four a core.
      max_num_load_retries: tries after a failed load, before it is given up.
      load_retry_interval_micros: pause between those tries, in microseconds.
      tensorflow_intra_op_parallelism: threads inside one operation; 1 is best
        for one song at a time, 0 lets TensorFlow choose. TensorFlow fixes this
        for the process at the first session it opens.
      tensorflow_inter_op_parallelism: operations at the same time; 0 lets
        TensorFlow choose.
      tensorflow_session_parallelism: sets both of these, unless it is 0.
      tensorflow_session_config_file: a text-format ConfigProto for the sessions;
        the flags about threads and memory overrule it.
      per_process_gpu_memory_fraction: share of a GPU's memory to take at the
        start; 0 takes what is needed, when it is needed.
      max_message_bytes: the largest request and response, at most 2**31 - 1.
      max_rows: the most rows of a request; 0 is what the model allows.
      max_prime: the most events of a prime; 0 likewise.
      max_steps: the most events that a row may ask for; 0 likewise.
      enable_model_warmup: run assets.extra/tf_serving_warmup_requests before a
        version becomes available.
      num_request_iterations_for_warmup: how often each such request is run;
        0 is once.
      enable_grpc_healthcheck_service: offer grpc.health.v1. On here, off in the
        binary.
      enable_batching: run requests that come at the same time together.
      batching_parameters_file: TensorFlow Serving's BatchingParameters as text;
        None for its defaults.
      batching_length_input: name of the input that says how many steps a row
        takes; requests that take about as many share a batch. "" for none.
      enable_continuous_batching: let the songs of a Segue model share the cores,
        whatever calls they belong to.
      continuous_max_rows: songs in one run.
      continuous_max_queued_rows: songs under way or waiting, of one version; calls
        with more are refused.
      wait_for_model_seconds: how long `start` waits for a first version folder
        to appear; 0 demands one at once.
      rest_api_port: REST port, on the same host; 0 for no REST.
      rest_api_timeout_in_ms: milliseconds that a REST request may take; 0 for any
        time.
      rest_api_num_threads: REST requests inside at the same time, as
        `grpc_max_threads`; 0 for 32.
      rest_api_enable_cors_support: let web pages of other origins call.
      rest_api_max_body_bytes: the largest REST request, sent or inflated.
      monitoring_config_file: textproto of a MonitoringConfig, which switches the
        metrics page on; it is on the REST port.
      grace_seconds: how long running calls may go on after a stop is asked for.
    """

    model_base_path: str | os.PathLike[str] | None = None
    model_config_file: str | os.PathLike[str] | None = None
    model_config_file_poll_wait_seconds: float = 0.0
    allow_version_labels_for_unavailable_models: bool = False
    host: str = "127.0.0.1"
    port: int = 8500
    model_name: str = "segue"
    file_system_poll_wait_seconds: float = 1.0
    num_load_threads: int = 0
    num_unload_threads: int = 0
    saved_model_tags: str = "serve"
    ssl_config_file: str | os.PathLike[str] | None = None
    grpc_socket_path: str = ""
    grpc_channel_arguments: str = ""
    grpc_max_threads: int = 1088
    max_concurrent_calls: int = 1024
    max_concurrent_runs: int | None = None
    max_num_load_retries: int = 5
    load_retry_interval_micros: int = 60_000_000
    tensorflow_intra_op_parallelism: int = 1
    tensorflow_inter_op_parallelism: int = 0
    tensorflow_session_parallelism: int = 0
    tensorflow_session_config_file: str | os.PathLike[str] | None = None
    per_process_gpu_memory_fraction: float = 0.0
    max_message_bytes: int = INT32_MAX
    max_rows: int = 0
    max_prime: int = 0
    max_steps: int = 0
    enable_model_warmup: bool = True
    num_request_iterations_for_warmup: int = 0
    enable_grpc_healthcheck_service: bool = True
    enable_batching: bool = False
    batching_parameters_file: str | os.PathLike[str] | None = None
    batching_length_input: str = "steps"
    enable_continuous_batching: bool = True
    continuous_max_rows: int = 64
    continuous_max_queued_rows: int = 4096
    wait_for_model_seconds: float = 0.0
    rest_api_port: int = 0
    rest_api_timeout_in_ms: int = 30_000
    rest_api_num_threads: int = 0
    rest_api_enable_cors_support: bool = False
    rest_api_max_body_bytes: int = 16 * 2**20
    monitoring_config_file: str | os.PathLike[str] | None = None
    grace_seconds: float = 10.0

    def __post_init__(self) -> None:
        # An empty path is no path: that is how the binary's defaults are written.
        for field in (
            "model_config_file",
            "ssl_config_file",
            "tensorflow_session_config_file",
            "monitoring_config_file",
        ):
            if not str(getattr(self, field) or ""):
                object.__setattr__(self, field, None)
        if self.model_config_file is None and not str(self.model_base_path or "").strip():
            raise SegueError(
                "no model to serve: give its folder with --model_base_path, or several with"
                " --model_config_file"
            )
        if not self.model_name:
            raise SegueError("the model has no name: give one with --model_name (default: segue)")
        if not self.host.strip():
            raise SegueError("no address to listen on: give one with --host (default: 127.0.0.1)")
        self._in_range("port", 0, 65535)
        self._in_range("file_system_poll_wait_seconds", 0, INT32_MAX)
        self._in_range("model_config_file_poll_wait_seconds", 0, INT32_MAX)
        self._in_range("num_load_threads", 0, 1024)
        self._in_range("num_unload_threads", 0, 1024)
        channel_options(self.grpc_channel_arguments)
        self._in_range("grpc_max_threads", 1, 4096)
        self._in_range("max_concurrent_calls", 0, INT32_MAX)
        if self.max_concurrent_runs is not None:
            self._in_range("max_concurrent_runs", 1, 4096)
        self._in_range("max_num_load_retries", 0, INT32_MAX)
        self._in_range("load_retry_interval_micros", -(2**63), 2**63 - 1)
        self._in_range("tensorflow_intra_op_parallelism", 0, 1024)
        self._in_range("tensorflow_inter_op_parallelism", 0, 1024)
        self._in_range("tensorflow_session_parallelism", 0, 1024)
        self._in_range("per_process_gpu_memory_fraction", 0, 1)
        self._in_range("num_request_iterations_for_warmup", 0, INT32_MAX)
        self._in_range("max_message_bytes", 1, INT32_MAX)
        self._in_range("wait_for_model_seconds", 0, INT32_MAX)
        self._in_range("rest_api_port", 0, 65535)
        self._in_range("rest_api_timeout_in_ms", 0, INT32_MAX)
        self._in_range("rest_api_num_threads", 0, 4096)
        self._in_range("rest_api_max_body_bytes", 1, INT32_MAX)
        if self.rest_api_port and self.rest_api_port == self.port:
            raise SegueError(
                f"--rest_api_port={self.rest_api_port} is gRPC's port, too; choose another for one"
            )
        self._in_range("grace_seconds", 0, INT32_MAX)
        for field in ("max_rows", "max_prime", "max_steps"):
            self._in_range(field, 0, INT32_MAX)
        self._in_range("continuous_max_rows", 1, 1024)
        self._in_range("continuous_max_queued_rows", 1, 2**31 - 1)
        if self.batching_parameters_file and not self.enable_batching:
            raise SegueError(
                f"--batching_parameters_file={self.batching_parameters_file} is set without"
                " --enable_batching: give both, or neither"
            )
        object.__setattr__(self, "grpc_socket_path", os.fspath(self.grpc_socket_path))
        if self.model_base_path is not None:
            object.__setattr__(self, "model_base_path", Path(self.model_base_path).absolute())

    @property
    def base_path(self) -> Path:
        """`model_base_path` as an absolute Path; of no use with a configuration file."""
        return Path(self.model_base_path or "")

    @property
    def runs(self) -> int:
        """Runs of models at the same time: `max_concurrent_runs`, or four a core."""
        return self.max_concurrent_runs or four_a_core()

    @property
    def intra_op_threads(self) -> int:
        """Threads inside one operation; 0 lets TensorFlow choose."""
        return self.tensorflow_session_parallelism or self.tensorflow_intra_op_parallelism

    @property
    def inter_op_threads(self) -> int:
        """Operations at the same time; 0 lets TensorFlow choose."""
        return self.tensorflow_session_parallelism or self.tensorflow_inter_op_parallelism

    @property
    def rest_threads(self) -> int:
        """REST requests inside at the same time."""
        return self.rest_api_num_threads or 32

    def address(self, port: int) -> str:
        """`host:port` as gRPC and URLs spell it (IPv6 in brackets)."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{port}"

    def _in_range(self, field: str, low: int, high: int) -> None:
        value = getattr(self, field)
        kind = (int, float) if isinstance(getattr(type(self), field), float) else int
        number = isinstance(value, kind) and not isinstance(value, bool)
        if not number or not math.isfinite(value) or not low <= value <= high:
            what = "a number" if kind is not int else "a whole number"
            raise SegueError(f"--{field}={value} is not {what} from {low} to {high}")
