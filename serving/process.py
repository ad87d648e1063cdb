"""A model server in a process of its own, for as long as a `with` block lasts.

    with model_server(folder, "segue", log) as target:
        ...  # "127.0.0.1:43211" answers

The embedded server writes its port when its models answer. TensorFlow Serving's
binary takes a port that is free when it is asked for, and answers connections before
it has loaded a model, so whoever calls it has to try again for a while.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from music.errors import SegueError

BINARY = "tensorflow_model_server"


class ServerTooSlow(SegueError):
    """A server was still coming up when its time was over: it is not said that it never would."""


_POLL_SECONDS = 0.05
_STOP_SECONDS = 20.0


def find_binary() -> str | None:
    """TensorFlow Serving's own server, where it is on the PATH."""
    return shutil.which(BINARY)


@contextlib.contextmanager
def model_server(
    base_path: Path,
    name: str,
    log: Path,
    seconds: float = 120.0,
    binary: str | None = None,
    flags: Sequence[str] = (),
) -> Iterator[str]:
    """Serves a model's folder of versions on a free port of this machine.

    Args:
      base_path: the folder.
      name: of the model in requests.
      log: what the server says is added to this file.
      seconds: for it to come up.
      binary: path of TensorFlow Serving's server; None is the embedded one.
      flags: more of them.

    Yields:
      Its address, "127.0.0.1:port".

    Raises:
      ServerTooSlow: it did not come up in time; the last line that it said.
      SegueError: it ended; the same.
    """
    with tempfile.TemporaryDirectory() as folder:
        port_file = Path(folder, "port")
        command = [f"--model_name={name}", f"--model_base_path={base_path}", *flags]
        if binary is None:
            port = 0
            command = [
                *(sys.executable, "-m", "serving", "--port=0", f"--port-file={port_file}"),
                *command,
            ]
        else:
            port = _free_port()
            command = [binary, f"--port={port}", "--rest_api_port=0", *command]
        log.parent.mkdir(parents=True, exist_ok=True)
        with open(log, "ab") as sink:
            began = sink.tell()
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink)
        try:
            deadline = time.monotonic() + seconds
            while not (_listens(port) if port else port_file.exists()):
                if process.poll() is not None:
                    raise SegueError(_why(log, began))
                if time.monotonic() > deadline:
                    raise ServerTooSlow(f"{_why(log, began)}, within {seconds:g} s")
                time.sleep(_POLL_SECONDS)
            yield f"127.0.0.1:{port or port_file.read_text().strip()}"
        finally:
            process.terminate()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
        return True
    return False


def _why(log: Path, began: int) -> str:
    with log.open("rb") as file:
        file.seek(began)
        said = file.read().decode(errors="replace").splitlines()
    last = next((line.strip() for line in reversed(said) if line.strip()), "it said nothing")
    return f"the model server did not come up ({last.removeprefix('segue: ')}); see {log}"
