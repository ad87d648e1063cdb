"""Which model a request means: from a ModelSpec proto to a loaded version.

A registry of managers by name. It holds one model now; a configuration file and
reloading fill it with several, and labels are resolved here.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from serving import errors
from serving.manager import ModelManager, VersionStatus

if TYPE_CHECKING:
    from tensorflow_serving.apis import model_pb2

    from serving.loader import LoadedModel


class Models:
    """The models of a server, by name."""

    def __init__(self, managers: Iterable[ModelManager]):
        self._managers = {manager.name: manager for manager in managers}

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
        if choice == "version_label":
            raise errors.invalid_argument(
                f"Unrecognized servable version label: {spec.version_label}"
            )
        version = spec.version.value if choice == "version" else None
        manager = self._managers.get(spec.name)
        if manager is None:
            raise errors.servable_not_found(spec.name, version)
        with manager.acquire(version) as lent:
            yield lent

    def statuses(self, spec: model_pb2.ModelSpec) -> list[VersionStatus]:
        """What is known of one version of a model, or of all, the highest first.

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
