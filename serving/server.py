"""The life of a model server: check, load, open the port, serve, drain, stop.

The order is TensorFlow Serving's: the port opens only when the model has a
version, so that whoever can connect can predict. What can be found wrong sooner
(a taken port, a folder without versions) is checked before TensorFlow is even
imported, which takes seconds.
"""

from __future__ import annotations

import errno
import functools
import logging
import socket
import threading
import time
from collections.abc import Callable
from concurrent import futures
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import grpc

from music.errors import SegueError
from serving import batching_parameters
from serving.config import ServerConfig
from serving.errors import ServingError, one_line
from serving.manager import ModelManager, find_versions
from serving.metrics import Metrics
from serving.models import Models
from serving.monitoring import prometheus_path

if TYPE_CHECKING:
    from serving.batching import Batching

# Callers wait in a thread each; more of them than this would rather wait in
# gRPC's own queue.
_MAX_BATCHING_THREADS = 256
_log = logging.getLogger(__name__)
_HOST_HINT = "give one with --host (127.0.0.1: this machine only, 0.0.0.0: all networks)"


class ModelServer:
    """A gRPC server for one model; a context manager that starts and stops it.

    Args:
      config: what to serve, and where.
    """

    def __init__(self, config: ServerConfig):
        self.config = config
        self._stop_asked = threading.Event()
        self._stopped = threading.Event()
        self._stop_lock = threading.Lock()
        self._manager: ModelManager | None = None
        self._batching: Batching | None = None
        self._server: grpc.Server | None = None
        self._health: Any = None
        self._rest: Any = None
        self._port = 0
        self._metrics_path: str | None = None
        self.metrics = Metrics()

    @property
    def port(self) -> int:
        """The port that is open; 0 before `start`."""
        return self._port

    @property
    def address(self) -> str:
        """`host:port`, for a gRPC channel."""
        return self.config.address(self._port)

    @property
    def rest_address(self) -> str:
        """`host:port` of REST; "" when it is off or not yet open."""
        return self.config.address(self.config.rest_api_port) if self._rest else ""

    @property
    def manager(self) -> ModelManager:
        """The model's versions.

        Raises:
          RuntimeError: the server was not started.
        """
        if self._manager is None:
            raise RuntimeError("the server was not started")
        return self._manager

    def start(self) -> int | None:
        """Loads the model and opens the port; blocks until both are done.

        Returns:
          The version that is served; None when a stop was asked for meanwhile.

        Raises:
          SegueError: the port is taken, there is no model, or it does not load.
        """
        config = self.config
        if config.monitoring_config_file is not None:
            self._metrics_path = prometheus_path(config.monitoring_config_file)
        parameters = None
        if config.enable_batching:
            parameters = batching_parameters.read(config.batching_parameters_file)
        for flag in ("port", "rest_api_port"):
            if getattr(config, flag):
                _check_port(config, flag)
        if not self._wait_for_versions():
            return None
        # TensorFlow comes with these imports.
        from serving.batching import Batching
        from serving.loader import load
        from serving.warmup import warm_up

        if parameters is not None:
            self._batching = Batching(
                parameters,
                config.batching_length_input,
                on_run=lambda signature, rows, _: self.metrics.observe_run(
                    config.model_name, signature, rows
                ),
            )
            batching = self._batching
            self.metrics.watch_queue(config.model_name, lambda: batching.queued)

        def load_version(path: Path) -> Any:
            model = load(
                path,
                intra_op_threads=config.tensorflow_intra_op_parallelism,
                inter_op_threads=config.tensorflow_inter_op_parallelism,
            )
            if self._batching is not None:
                model = self._batching.wrap(model)
            if config.enable_model_warmup:
                try:
                    warm_up(model)
                except BaseException:
                    model.close()
                    raise
            if self._batching is None:
                # From here on: runs of the warm-up are nobody's.
                model.on_run = functools.partial(self.metrics.observe_run, config.model_name)
            return model

        self._manager = ModelManager(
            config.model_name,
            config.base_path,
            load_version,
            poll_seconds=config.file_system_poll_wait_seconds,
            max_num_load_retries=config.max_num_load_retries,
            load_retry_seconds=config.load_retry_interval_micros / 1e6,
        )
        try:
            self._manager.start()
            version = self._manager.wait_available(give_up=self._stop_asked.is_set)
            if version is not None:
                self._open(Models([self._manager]))
            return version
        except ServingError as error:
            self.stop()
            raise SegueError(
                f"model {config.model_name} in {config.base_path} does not load: "
                f"{error.code.name}: {' '.join(error.message.split())}"
            ) from error
        except BaseException:
            self.stop()
            raise

    def ask_to_stop(self) -> None:
        """Ends `wait`, and `start` as soon as it can; safe in a signal handler."""
        self._stop_asked.set()

    def wait(self, timeout: float | None = None) -> bool:
        """Blocks until the server is stopped or asked to; False when time was up."""
        return self._stop_asked.wait(timeout)

    def stop(self, grace: float | None = None) -> None:
        """Refuses new calls, lets running ones finish, unloads the model.

        Args:
          grace: seconds that running calls may take; the rest is cancelled. None
            for the configuration's.
        """
        grace = self.config.grace_seconds if grace is None else grace
        self._stop_asked.set()
        with self._stop_lock:
            if self._stopped.is_set():
                return
            if self._health is not None:
                # Load balancers that watch see it before connections are refused.
                self._health.enter_graceful_shutdown()
            drained = self._server.stop(grace) if self._server is not None else None
            if self._rest is not None:
                self._rest.stop(grace)
            if drained is not None:
                drained.wait()
            if self._manager is not None:
                self._manager.stop(grace)
            if self._batching is not None:
                self._batching.close()
            self._stopped.set()

    def __enter__(self) -> ModelServer:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _wait_for_versions(self) -> bool:
        """Waits for a first version folder, as long as configured."""
        config = self.config
        deadline = time.monotonic() + config.wait_for_model_seconds
        while True:
            missing = _missing(config.base_path)
            if missing is None:
                return True
            left = deadline - time.monotonic()
            if left <= 0:
                raise SegueError(missing)
            if self._stop_asked.wait(min(left, config.file_system_poll_wait_seconds or 1.0)):
                return False

    def _open(self, models: Models) -> None:
        from grpc_reflection.v1alpha import reflection
        from tensorflow_serving.apis import model_service_pb2_grpc, prediction_service_pb2_grpc

        from serving import services, watching

        config = self.config
        self.metrics.watch(models.all_statuses)
        server = grpc.server(
            futures.ThreadPoolExecutor(self._threads(), thread_name_prefix="serving"),
            interceptors=[watching.Watch(self.metrics, services.SERVICE_NAMES)],
            options=[
                # Two servers on one port would each get a part of the calls.
                ("grpc.so_reuseport", 0),
                ("grpc.max_receive_message_length", config.max_message_bytes),
                ("grpc.max_send_message_length", config.max_message_bytes),
            ],
        )
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
            services.PredictionService(models), server
        )
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(
            services.ModelService(models), server
        )
        names = [*services.SERVICE_NAMES, reflection.SERVICE_NAME]
        if config.enable_grpc_healthcheck_service:
            names.append(self._add_health(server))
        reflection.enable_server_reflection(names, server)
        self._port = _bind(server, config)
        rest = self._new_rest(models) if config.rest_api_port else None
        server.start()
        self._server = server
        if rest is not None:
            rest.start()
            self._rest = rest
        _log.info("listening on %s", " and ".join(filter(None, (self.address, self.rest_address))))

    def _new_rest(self, models: Models) -> Any:
        from serving.http_server import HttpServer
        from serving.rest import RestApp, RestConfig

        config = self.config
        millis = config.rest_api_timeout_in_ms
        app = RestApp(
            models,
            self.metrics,
            RestConfig(
                timeout=millis / 1000 if millis else None,
                max_body_bytes=config.rest_api_max_body_bytes,
                cors=config.rest_api_enable_cors_support,
                metrics_path=self._metrics_path,
            ),
        )
        listener = _listen(config, "rest_api_port")
        threads = self._enough_threads(config.rest_api_num_threads, config.rest_threads)
        return HttpServer(app, listener, threads, config.rest_api_max_body_bytes)

    def _threads(self) -> int:
        """Calls by gRPC at the same time."""
        return self._enough_threads(self.config.grpc_max_threads, self.config.threads)

    def _enough_threads(self, asked: int | None, default: int) -> int:
        """What was asked for; or with batching, enough to fill two batches."""
        if self._batching is None or asked is not None:
            return default
        filling = 2 * self._batching.parameters.max_batch_size
        return max(default, min(filling, _MAX_BATCHING_THREADS))

    def _add_health(self, server: grpc.Server) -> str:
        from grpc_health.v1 import health, health_pb2, health_pb2_grpc

        from serving import services

        # A thread of its own for watchers, who would each keep one of the
        # server's for as long as they watch.
        self._health = health.HealthServicer(
            experimental_non_blocking=True,
            experimental_thread_pool=futures.ThreadPoolExecutor(1),
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        for name in ("", *services.HEALTH_NAMES, *services.SERVICE_NAMES):
            self._health.set(name, health_pb2.HealthCheckResponse.SERVING)
        return health.SERVICE_NAME


def serve_until_stopped(server: ModelServer, ready: Callable[[int], None]) -> None:
    """Starts a server, calls `ready(version)`, waits for a stop, and drains.

    Raises:
      SegueError: as `ModelServer.start`.
    """
    version = server.start()
    try:
        if version is not None:
            ready(version)
            server.wait()
    finally:
        server.stop()


def _missing(base_path: Path) -> str | None:
    """Why there is no version to serve, as one line; None when there is one."""
    hint = "`segue pipeline run` trains and pushes one, --model_base_path names another folder"
    try:
        if find_versions(base_path):
            return None
    except FileNotFoundError:
        return f"no model at {base_path}: the folder does not exist; {hint}"
    except NotADirectoryError:
        return f"no model at {base_path}: that is a file; {hint}"
    except OSError as error:
        return f"no model at {base_path}: {error.strerror or one_line(error)}; {hint}"
    return f"no model at {base_path}: it holds no version (a folder named by a number); {hint}"


def _check_port(config: ServerConfig, flag: str) -> None:
    """Fails early if a port cannot be had; opening it has the last word."""
    _listen(config, flag).close()


def _listen(config: ServerConfig, flag: str) -> socket.socket:
    """A socket that is bound to the host and the port of a flag."""
    port = getattr(config, flag)
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            config.host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror as error:
        raise SegueError(
            f"{config.host} is no address of this machine ({error.strerror}); {_HOST_HINT}"
        ) from error
    bound = socket.socket(family, kind, protocol)
    try:
        # As gRPC does: a port whose last connections are still closing is free,
        # one that somebody listens on is not.
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError as error:
        bound.close()
        raise _port_error(config, flag, error) from error
    return bound


def _bind(server: grpc.Server, config: ServerConfig) -> int:
    try:
        port = server.add_insecure_port(config.address(config.port))
    except RuntimeError as error:
        raise _port_error(config, "port", None) from error
    if not port:
        # Older releases of grpcio answer 0 instead of raising.
        raise _port_error(config, "port", None)
    return port


def _port_error(config: ServerConfig, flag: str, error: OSError | None) -> SegueError:
    where = f"port {getattr(config, flag)} on {config.host}"
    if error is None or error.errno == errno.EADDRINUSE:
        return SegueError(
            f"{where} is already in use; stop its owner, or choose another with --{flag}"
            f" ({'0 takes any free one' if flag == 'port' else '0 for none'})"
        )
    if error.errno == errno.EACCES:
        return SegueError(f"{where} needs privileges; choose one above 1023 with --{flag}")
    if error.errno == errno.EADDRNOTAVAIL:
        return SegueError(f"{config.host} is no address of this machine; {_HOST_HINT}")
    return SegueError(f"{where} cannot be opened: {error.strerror}; choose another with --{flag}")
