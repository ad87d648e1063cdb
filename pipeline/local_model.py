"""A pushed model in this process: asked like a model on a server, without a server.

A batch that makes a thousand songs on one machine gains nothing from a wire. What the
model says of itself is read from its assets, without TensorFlow; that is imported when
the first song is asked for.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from client.connection import Answer
from components.versions import version_path, versions
from music.errors import SegueError
from pipeline.configuration import MODEL_NAME

if TYPE_CHECKING:
    from serving.loader import LoadedModel

FACTS_FILE = Path("assets") / "segue.json"


@dataclasses.dataclass(frozen=True)
class SavedModel:
    """A version of a model under a root; small, and can be pickled.

    Attributes:
      path: its folder.
      version: its number.
      name: of the model.
    """

    path: Path
    version: int
    name: str = MODEL_NAME

    @classmethod
    def in_service(cls, root: Path, version: int | None = None) -> SavedModel:
        """A version under a root; None is the one in service.

        Raises:
          SegueError: there is none.
        """
        serving = str(root / "serving" / MODEL_NAME)
        there = versions(serving)
        if not there:
            raise SegueError(
                f"no model has been pushed under {root}; train one with `segue pipeline run`, "
                "name another --root, or a model server with --target"
            )
        if version is not None and version not in there:
            listed = ", ".join(map(str, there[-5:]))
            raise SegueError(f"there is no version {version} under {root}; it has {listed}")
        number = there[-1] if version is None else version
        return cls(Path(version_path(serving, number)), number)

    @contextlib.contextmanager
    def open(self) -> Iterator[LocalModel]:
        """The model, for as long as it is needed."""
        model = LocalModel(self)
        try:
            yield model
        finally:
            model.close()


class LocalModel:
    """A `client.generation.Caller` that runs the model itself; safe to use from many threads.

    Every call runs in its caller's thread: several make use of several cores.
    """

    def __init__(self, source: SavedModel):
        self.model, self.target = source.name, str(source.path)
        self._source = source
        self._loaded: LoadedModel | None = None
        self._lock = threading.Lock()

    def call(
        self,
        signature: str,
        inputs: Mapping[str, Any],
        timeout: float | None = None,
        outputs: Sequence[str] = (),
        version: int | None = None,
    ) -> Answer:
        """Runs one signature; arguments as `client.connection.Connection.call`.

        A run cannot be broken off: `timeout` plays no role.

        Raises:
          SegueError: the model cannot be loaded, or refuses.
        """
        if signature == "describe":
            return Answer({"values": self._facts(inputs["keys"])}, self._source.version)
        from serving.errors import ServingError

        loaded = self._load()
        known = loaded.signatures.get(signature)
        if known is None:
            raise SegueError(f"the model in {self.target} has no {signature!r}")
        feeds = {known.inputs[name].name: np.asarray(array) for name, array in inputs.items()}
        names = list(outputs) or sorted(known.outputs)
        try:
            values = loaded.run_here(feeds, [known.outputs[name].name for name in names])
        except ServingError as error:
            said = " ".join(error.message.split())[:300]
            raise SegueError(f"the model in {self.target} refuses {signature!r}: {said}") from error
        return Answer(dict(zip(names, values, strict=True)), self._source.version)

    def _facts(self, keys: Any) -> np.ndarray:
        path = self._source.path / FACTS_FILE
        try:
            facts = json.loads(path.read_text("utf-8"))
            values = [json.dumps(facts.get(str(key)), sort_keys=True) for key in keys]
        except (OSError, ValueError, AttributeError, RecursionError) as error:
            reason = getattr(error, "strerror", None) or "it is damaged"
            raise SegueError(f"{path} cannot be read: {reason}") from None
        array = np.empty(len(values), object)
        array[:] = [value.encode() for value in values]
        return array

    def _load(self) -> LoadedModel:
        with self._lock:
            if self._loaded is None:
                from serving.errors import ServingError
                from serving.loader import load

                try:
                    self._loaded = load(self._source.path)
                except ServingError as error:
                    said = " ".join(error.message.split())[:300]
                    raise SegueError(
                        f"the model in {self.target} cannot be loaded: {said}"
                    ) from error
            return self._loaded

    def close(self) -> None:
        """Frees the model."""
        with self._lock:
            if self._loaded is not None:
                self._loaded.close()
                self._loaded = None
