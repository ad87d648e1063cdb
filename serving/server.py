"""The life of a model server: check, load, open the port, serve, drain, stop.

The order is TensorFlow Serving's: the port opens only when each model has a
version, so that whoever can connect can predict. What can be found wrong sooner
(a taken port, a folder without versions, a bad certificate) is checked before
TensorFlow is even imported, which takes seconds.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent import futures
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import grpc

from music.errors import SegueError
from serving import batching_parameters, listen, model_config, tls, watching
from serving.config import ServerConfig, four_a_core
from serving.config_poll import ConfigPoller
from serving.errors import ServingError, one_line
from serving.limits import Places
from serving.manager import ModelManager
from serving.metrics import Metrics
from serving.model_config import ModelConfig
from serving.models import Models, ModelsUnavailable
from serving.monitoring import prometheus_path
from serving.policies import find_versions
from serving.stop_flag import StopFlag

if TYPE_CHECKING:
    from serving.batching import Batching
    from serving.http_server import HttpServer

_log = logging.getLogger(__name__)
# Health and reflection come through when the models' callers fill the server.
_SPARE_CALLS = 64


class ModelServer:
    """A gRPC and REST server for models; a context manager that starts and stops it.

    Args:
      config: what to serve, and where.
      import_tensorflow: called once, just before TensorFlow is first needed.
    """

    def __init__(self, config: ServerConfig, import_tensorflow: Callable[[], None] | None = None):
        self.config = config
        self._import_tensorflow = import_tensorflow
        self._stop_asked = StopFlag()
        self._stopped = threading.Event()
        self._stop_lock = threading.Lock()
        self._models: Models | None = None
        self._batching: Batching | None = None
        self._poller: ConfigPoller | None = None
        self._server: grpc.Server | None = None
        self._pool: futures.ThreadPoolExecutor | None = None
        self._health: Any = None
        self._credentials: grpc.ServerCredentials | None = None
        self._rest: HttpServer | None = None
        self._metrics_path: str | None = None
        self._port = 0
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
    def models(self) -> Models:
        """All models by name.

        Raises:
          RuntimeError: the server was not started.
        """
        if self._models is None:
            raise RuntimeError("the server was not started")
        return self._models

    @property
    def manager(self) -> ModelManager:
        """The versions of the model, of the first one when there are several.

        Raises:
          RuntimeError: the server was not started.
          IndexError: it serves no model at all.
        """
        return self.models.manager(self.models.names[0])

    def start(self) -> int | None:
        """Loads the models and opens the port; blocks until both are done.

        Returns:
          The version that is served, of the first model when there are several
          (0 when there is none); None when a stop was asked for meanwhile.

        Raises:
          SegueError: the port is taken, something in the configuration cannot be
            used, there is no model, or one does not load.
        """
        config = self.config
        parameters = None
        if config.enable_batching:
            parameters = batching_parameters.read(config.batching_parameters_file)
        if config.ssl_config_file:
            self._credentials = tls.server_credentials(Path(config.ssl_config_file))
        if config.monitoring_config_file:
            self._metrics_path = prometheus_path(config.monitoring_config_file)
            if self._metrics_path and not config.rest_api_port:
                _log.warning(
                    "--monitoring_config_file shows metrics on the REST port, and there is "
                    "none: set --rest_api_port"
                )
        for flag in ("port", "rest_api_port"):
            if getattr(config, flag):
                _check_port(config, flag)
        if config.grpc_socket_path:
            listen.free_socket_path(config.grpc_socket_path)
        configs = self._configured()
        if not self._wait_for_versions(configs):
            return None
        # TensorFlow comes with these imports: not before all that is said without it.
        if self._import_tensorflow is not None:
            self._import_tensorflow()
        from serving.batching import Batching
        from serving.loading import manager_maker

        if parameters is not None:
            self._batching = batching = Batching(parameters, config.batching_length_input)
            self.metrics.watch_queue(lambda: batching.queued)
        # So many loads at the start, when nobody is served yet; see below.
        loads = Places(four_a_core())
        try:
            self._models = models = Models(
                make=manager_maker(config, loads, self._batching, self.metrics),
                allow_unavailable_labels=config.allow_version_labels_for_unavailable_models,
            )
            if not models.reload(configs, give_up=self._stop_asked.is_set):
                return None
            loads.resize(max(1, config.num_load_threads))
            self._open(models)
            if config.model_config_file and config.model_config_file_poll_wait_seconds:
                self._poller = ConfigPoller(
                    Path(config.model_config_file),
                    models,
                    config.model_config_file_poll_wait_seconds,
                )
                self._poller.start()
            return next(iter(models.available().values()), 0)
        except ModelsUnavailable as error:
            self.stop()
            name, _, cause = error.failures[0]
            path = next(c.base_path for c in configs if c.name == name)
            raise SegueError(
                f"model {name} in {path} does not load: "
                f"{cause.code.name}: {' '.join(cause.message.split())}"
            ) from error
        except ServingError as error:
            self.stop()
            raise _config_error(config, error) from error
        except BaseException:
            self.stop()
            raise

    def _configured(self) -> Sequence[ModelConfig]:
        config = self.config
        if config.model_config_file is None:
            return [ModelConfig(config.model_name, config.base_path)]
        try:
            return model_config.read(Path(config.model_config_file)) or ()
        except ServingError as error:
            raise _config_error(config, error) from error

    def ask_to_stop(self) -> None:
        """Ends `wait`, and `start` as soon as it can; safe in a signal handler."""
        self._stop_asked.set()

    def wait(self, timeout: float | None = None) -> bool:
        """Blocks until the server is stopped or asked to; False when time was up."""
        return self._stop_asked.wait(timeout)

    def stop(self, grace: float | None = None) -> None:
        """Refuses new calls, lets running ones finish, unloads the models.

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
            if self._poller is not None:
                self._poller.stop(0)
            drained = self._server.stop(grace) if self._server is not None else None
            if self._rest is not None:
                self._rest.stop(grace)
            # The calls under way have the grace; watches of health, which have no end
            # of their own, only the moment it takes to tell them.
            if drained is not None and not drained.wait(0.2):
                if self._health is not None:
                    self._health.end_watches()
                drained.wait()
            if self._pool is not None:
                self._pool.shutdown(wait=False)
            if self._poller is not None:
                self._poller.stop(grace)
            if self._models is not None:
                self._models.stop(grace)
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

    def _wait_for_versions(self, models: Sequence[ModelConfig]) -> bool:
        """Waits for a first version folder of each model, as long as configured."""
        config = self.config
        deadline = time.monotonic() + config.wait_for_model_seconds
        for model in models:
            while (missing := _missing(model)) is not None:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise SegueError(missing)
                if self._stop_asked.wait(min(left, config.file_system_poll_wait_seconds or 1.0)):
                    return False
        return True

    def _open(self, models: Models) -> None:
        from grpc_reflection.v1alpha import reflection
        from tensorflow_serving.apis import model_service_pb2_grpc, prediction_service_pb2_grpc

        from serving import services

        config = self.config
        self.metrics.watch(models.all_statuses)
        options: dict[str, int | str] = {
            # Two servers on one port would each get a part of the calls.
            "grpc.so_reuseport": 0,
            "grpc.max_receive_message_length": config.max_message_bytes,
            "grpc.max_send_message_length": config.max_message_bytes,
        }
        options.update(listen.channel_options(config.grpc_channel_arguments))
        # Threads are made as calls come in; most of them wait, not compute.
        self._pool = futures.ThreadPoolExecutor(
            config.grpc_max_threads, thread_name_prefix="serving"
        )
        most = config.max_concurrent_calls
        server = grpc.server(
            self._pool,
            interceptors=[watching.Watch(self.metrics, services.SERVICE_NAMES, most)],
            options=list(options.items()),
            maximum_concurrent_rpcs=most + _SPARE_CALLS if most else None,
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
        self._port = _bind(server, config, self._credentials)
        if config.grpc_socket_path:
            listen.add_socket(server, config.grpc_socket_path, self._credentials)
        rest = self._new_rest(models) if config.rest_api_port else None
        server.start()
        self._server = server
        if rest is not None:
            rest.start()
            self._rest = rest
        _log.info("listening on %s", " and ".join(filter(None, (self.address, self.rest_address))))

    def _new_rest(self, models: Models) -> HttpServer:
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
        listener = listen.bind(config.host, config.rest_api_port, "rest_api_port")
        return HttpServer(app, listener, config.rest_threads, config.rest_api_max_body_bytes)

    def _add_health(self, server: grpc.Server) -> str:
        from grpc_health.v1 import health, health_pb2, health_pb2_grpc

        from serving import services
        from serving.health import Health

        # A thread of its own for watchers, who would each keep one of the
        # server's for as long as they watch.
        self._health = Health(
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


def _missing(model: ModelConfig) -> str | None:
    """Why there is no version to serve, as one line; None when there is one."""
    hint = "`segue pipeline run` trains and pushes one, --model_base_path names another folder"
    base_path = model.base_path
    try:
        found = find_versions(base_path)
    except FileNotFoundError:
        return f"no model at {base_path}: the folder does not exist; {hint}"
    except NotADirectoryError:
        return f"no model at {base_path}: that is a file; {hint}"
    except OSError as error:
        return f"no model at {base_path}: {error.strerror or one_line(error)}; {hint}"
    if not found:
        return f"no model at {base_path}: it holds no version (a folder named by a number); {hint}"
    if not model.policy(found):
        there = ", ".join(str(number) for number in sorted(found)[-10:])
        return (
            f"no model at {base_path}: none of the versions that model_version_policy names is"
            f" there, only {there}"
        )
    return None


def _config_error(config: ServerConfig, error: ServingError) -> SegueError:
    message = " ".join(error.message.split())
    if "which is not currently available" in message:
        message += "; labels at the first start need --allow_version_labels_for_unavailable_models"
    return SegueError(f"--model_config_file={config.model_config_file}: {message}")


def _check_port(config: ServerConfig, flag: str) -> None:
    """Fails early if a port cannot be had; opening it has the last word."""
    listen.bind(config.host, getattr(config, flag), flag).close()


def _bind(
    server: grpc.Server, config: ServerConfig, credentials: grpc.ServerCredentials | None
) -> int:
    try:
        port = listen.add_port(server, config.address(config.port), credentials)
    except RuntimeError as error:
        raise listen.port_error(config.host, config.port, "port") from error
    if not port:
        # Older releases of grpcio answer 0 instead of raising.
        raise listen.port_error(config.host, config.port, "port")
    return port
