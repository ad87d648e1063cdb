"""Where a batch gets its model from, and what its songs are checked against.

Both travel to Beam's workers, so what travels is small: where to find them. A worker
opens each once.
"""

from __future__ import annotations

import contextlib
import dataclasses
from typing import TYPE_CHECKING, Protocol

from client.connection import DEFAULT_MODEL, DEFAULT_TIMEOUT, Connection

if TYPE_CHECKING:
    from client.generation import Caller
    from client.originality import OriginalityCheck
    from client.security import Security


class ModelSource(Protocol):
    """Where a model is to be had; small, and can be pickled."""

    def open(self) -> contextlib.AbstractContextManager[Caller]:
        """A model to ask, for as long as it is needed."""


class CheckSource(Protocol):
    """Where the check of originality is to be had; small, and can be pickled."""

    def open(self) -> OriginalityCheck:
        """The check.

        Raises:
          SegueError: it cannot be read.
        """


@dataclasses.dataclass(frozen=True)
class ServerModel:
    """A model on a server.

    Attributes:
      target, model, version, timeout, security: as `client.connection.Connection` takes them.
    """

    target: str
    model: str = DEFAULT_MODEL
    version: int | None = None
    timeout: float = 10 * DEFAULT_TIMEOUT
    security: Security | None = None

    def open(self) -> contextlib.AbstractContextManager[Caller]:
        """A connection to it."""
        return Connection(self.target, self.model, self.version, self.timeout, self.security)
