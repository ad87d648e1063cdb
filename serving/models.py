"""Which model a request means: from a ModelSpec proto to a loaded version.

A registry of managers by name, which a configuration fills and another one
replaces while calls run. What is in both goes on undisturbed, what is left out
is unloaded, what is new is loaded before the change is reported as done. Labels
(`stable`, `canary`) belong to the configuration; a label may only be put on a
version that is available, so that moving one never breaks its callers.

The order of the checks, and the words, are those of `ServerCore::ReloadConfig`.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import grpc

from serving import errors
from serving.errors import ServingError
from serving.manager import ModelManager, State, VersionStatus
from serving.model_config import MAX_MODELS, ModelConfig

if TYPE_CHECKING:
    from tensorflow_serving.apis import model_pb2

    from serving.loader import LoadedModel

_log = logging.getLogger(__name__)
# A reload that waits for another one looks this often whether it is still wanted.
_PAUSE = 0.5


class ModelsUnavailable(ServingError):
    """New models of a configuration did not load.

    Attributes:
      failures: name, version and error of each.
    """

    def __init__(self, failures: Sequence[tuple[str, int, ServingError]]):
        # Not the usual spelling of a list, but TensorFlow Serving's.
        told = "".join(
            f"{{{{name: {name} version: {version}}} due to error:"
            f" {error.code.name}: {error.message}}}, "
            for name, version, error in failures
        )
        super().__init__(
            grpc.StatusCode.UNKNOWN,
            f"{len(failures)} model(s) did not become available: {{{told}}}",
        )
        self.failures = tuple(failures)


class Models:
    """The models of a server, by name; safe to use from any thread.

    Args:
      managers: models to begin with, already started.
      make: makes a manager, not yet started, for a model of a configuration.
      allow_unavailable_labels: let a new label point to a version that is not
        available (yet).
    """

    def __init__(
        self,
        managers: Iterable[ModelManager] = (),
        make: Callable[[ModelConfig], ModelManager] | None = None,
        *,
        allow_unavailable_labels: bool = False,
    ):
        # Readers take no lock: both are replaced as a whole, never changed.
        self._managers: Mapping[str, ModelManager] = {m.name: m for m in managers}
        self._labels: Mapping[str, Mapping[str, int]] = {}
        self._configured: tuple[str, ...] = tuple(self._managers)
        self._make = make
        self._allow_unavailable_labels = allow_unavailable_labels
        self._reloading = threading.Lock()

    @property
    def names(self) -> tuple[str, ...]:
        """The models of the configuration, in its order."""
        return self._configured

    def manager(self, name: str) -> ModelManager:
        """The versions of one model; KeyError when it never was configured."""
        return self._managers[name]

    def available(self) -> dict[str, int]:
        """The latest available version of each model that has one."""
        found = {}
        for name in self._configured:
            version = self._managers[name].latest_available()
            if version is not None:
                found[name] = version
        return found

    def all_statuses(self) -> list[tuple[str, list[VersionStatus]]]:
        """What is known of each model: its name, and its versions, the highest first."""
        return [(name, manager.statuses()) for name, manager in self._managers.items()]

    @contextlib.contextmanager
    def acquire(self, spec: model_pb2.ModelSpec) -> Iterator[tuple[int, LoadedModel]]:
        """Lends the model that a request asks for.

        Args:
          spec: a name, and a version or a label, or neither for the latest.

        Yields:
          The version and its model.

        Raises:
          ServingError: INVALID_ARGUMENT without a name or for an unknown label,
            NOT_FOUND when there is no such model or version.
        """
        if not spec.name:
            raise errors.invalid_argument("ModelSpec has no name specified.")
        choice = spec.WhichOneof("version_choice")
        version = spec.version.value if choice == "version" else None
        if choice == "version_label":
            version = self._labels.get(spec.name, {}).get(spec.version_label)
            if version is None:
                raise errors.invalid_argument(
                    f"Unrecognized servable version label: {spec.version_label}"
                )
        manager = self._managers.get(spec.name)
        if manager is None:
            raise errors.servable_not_found(spec.name, version)
        with manager.acquire(version) as lent:
            yield lent

    def statuses(self, spec: model_pb2.ModelSpec) -> list[VersionStatus]:
        """What is known of one version of a model, or of all, the highest first.

        A label is not looked at, as in the binary: it gets all versions.

        Raises:
          ServingError: NOT_FOUND when there is no such model or version.
        """
        manager = self._managers.get(spec.name)
        found = manager.statuses() if manager else []
        if spec.WhichOneof("version_choice") == "version":
            version = spec.version.value
            found = [status for status in found if status.version == version]
            if not found:
                raise errors.not_found(f"Could not find version {version} of model {spec.name}")
        if not found:
            raise errors.not_found(f"Could not find any versions of model {spec.name}")
        return found

    def reload(
        self, configs: Sequence[ModelConfig], give_up: Callable[[], bool] = lambda: False
    ) -> bool:
        """Replaces the whole configuration; blocks until new models are available.

        A refused configuration changes nothing. One whose new models do not load
        is in force nevertheless, as in the binary: they may load later.

        Args:
          configs: all models that are to be served, as `model_config` checked them.
          give_up: asked now and then; True ends the waiting, not the change.

        Returns:
          Whether all is loaded; False when the waiting was given up.

        Raises:
          ServingError: FAILED_PRECONDITION for a label on a version that is not
            available; ModelsUnavailable (UNKNOWN) when new models do not load.
        """
        while not self._reloading.acquire(timeout=_PAUSE):
            if give_up():
                return False
        try:
            self._check_labels(configs)
            new = self._switch(configs)
            return self._await(new, give_up)
        finally:
            self._reloading.release()

    def stop(self, timeout: float) -> None:
        """Unloads everything, in `timeout` seconds; see `ModelManager.stop`."""
        deadline = time.monotonic() + timeout
        for manager in self._managers.values():
            manager.ask_to_stop()
        for manager in self._managers.values():
            manager.stop(max(0.0, deadline - time.monotonic()))

    def _check_labels(self, configs: Iterable[ModelConfig]) -> None:
        for config in configs:
            manager = self._managers.get(config.name)
            statuses = manager.statuses() if manager else []
            available = {s.version for s in statuses if s.state == State.AVAILABLE}
            known = self._labels.get(config.name, {})
            for label, version in sorted(config.labels.items()):
                # Moving a label is never allowed blindly: it has callers.
                new = known.get(label, version) == version
                if version in available or (self._allow_unavailable_labels and new):
                    continue
                raise errors.failed_precondition(
                    f"Request to assign label to version {version} of model {config.name},"
                    " which is not currently available for inference"
                )

    def _switch(self, configs: Sequence[ModelConfig]) -> list[ModelManager]:
        """Puts a configuration in force; returns the models that are new in it."""
        if self._make is None:
            raise errors.unimplemented("The models of this server cannot be changed")
        before = self._configured
        managers = dict(self._managers)
        new = []
        for config in configs:
            if config.name not in managers:
                managers[config.name] = self._make(config)
            if config.name not in before:
                new.append(managers[config.name])
        self._labels = {config.name: dict(config.labels) for config in configs}
        self._configured = tuple(config.name for config in configs)
        for name in set(before).difference(self._configured):
            _log.info("model %s: no longer configured", name)
            managers[name].retire()
        self._managers = self._without_the_forgotten(managers)
        for config in configs:
            managers[config.name].reconfigure(config.base_path, config.policy)
        return new

    def _without_the_forgotten(self, managers: Mapping[str, ModelManager]) -> dict:
        """Drops models that were unloaded long ago: names are the caller's choice.

        The rest of them is kept, since GetModelStatus tells what became of them.
        """
        former = [
            name
            for name, manager in managers.items()
            if name not in self._configured
            and all(status.state == State.END for status in manager.statuses())
        ]
        dropped = set(former[: max(0, len(former) - MAX_MODELS)])
        return {name: manager for name, manager in managers.items() if name not in dropped}

    def _await(self, new: Iterable[ModelManager], give_up: Callable[[], bool]) -> bool:
        failures = []
        for manager in new:
            try:
                if manager.wait_available(give_up=give_up) is None:
                    return False
            except ServingError as error:
                version = next((s.version for s in manager.statuses() if s.error is error), 0)
                failures.append((manager.name, version, error))
        if failures:
            raise ModelsUnavailable(failures)
        return True
