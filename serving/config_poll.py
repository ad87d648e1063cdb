"""Looks at `--model_config_file` again and again, as the binary does.

Each look replaces the whole configuration by the file's, so that the file has the
last word over what a HandleReloadConfigRequest changed. A file that cannot be
read, or asks for something that is not to be had, is logged, once, and what is
served stays.
"""

from __future__ import annotations

import logging
import threading
from pathlib import Path

from music.errors import SegueError
from serving import model_config
from serving.errors import ServingError
from serving.models import Models

_log = logging.getLogger(__name__)


class ConfigPoller:
    """A thread that reloads the configuration; `stop` ends it.

    Args:
      path: the file.
      models: what is configured by it.
      seconds: pause between two looks.
    """

    def __init__(self, path: Path, models: Models, seconds: float):
        self._path = path
        self._models = models
        self._seconds = seconds
        self._stop = threading.Event()
        self._complaint = ""
        self._thread = threading.Thread(target=self._run, name="model-config", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout: float = 10.0) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout)

    def _run(self) -> None:
        while not self._stop.wait(self._seconds):
            try:
                self.poll()
            except Exception:
                # The thread must outlive whatever a file system comes up with.
                _log.exception("looking at %s failed", self._path)

    def poll(self) -> None:
        """Looks at the file once."""
        complaint = ""
        try:
            configs = model_config.read(self._path, self._models.names)
            if configs is not None:
                self._models.reload(configs, give_up=self._stop.is_set)
        except SegueError as error:
            complaint = f"Failed to read ModelServerConfig file: {error}"
        except ServingError as error:
            complaint = f"Failed to reload the models of {self._path}: {error.message}"
        if complaint and complaint != self._complaint:
            _log.error("%s; what is served stays", complaint)
        self._complaint = complaint
