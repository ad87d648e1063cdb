"""A model of one stack on the other's server: the parts that scripts/debian13.sh puts together.

    python scripts/cross_serving.py model WORK         a smoke model in WORK/root
    python scripts/cross_serving.py song ROOT SONG     serves ROOT's model, and has a song made
    python scripts/cross_serving.py compare A B        how far two songs are the same

`song` is what anyone does: `segue serve`, `segue generate` against it, and a signal to
stop. Both songs of a model are asked for with one seed, so that what differs is the stack.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SEGUE = [sys.executable, "-m", "pipeline.cli"]
CHECKOUT = Path(__file__).resolve().parents[1]
SONG = ["--steps", "250", "--seed", "7"]
# A server imports TensorFlow first, on a machine with other work.
START_SECONDS = 300


def segue(*arguments: str | Path) -> None:
    subprocess.run([*SEGUE, *map(str, arguments)], check=True, cwd=CHECKOUT)


def model(work: Path) -> None:
    """The smoke pipeline on sixteen chorales; its root is WORK/root."""
    midi, root = work.absolute() / "midi", work.absolute() / "root"
    if not midi.exists():
        segue("corpus", "export", "bach", "--limit", "16", "--parts", "4", "--out", midi)
    segue(
        *("pipeline", "run", "--engine", "local", "--preset", "smoke"),
        *("--data", midi, "--root", root),
    )


@contextmanager
def served(root: Path, port_file: Path) -> Iterator[int]:
    """The port of a server of ROOT's model, which ends with the block, by itself."""
    port_file.unlink(missing_ok=True)
    command = [*SEGUE, "serve", "--root", str(root), "--port=0", f"--port_file={port_file}"]
    server = subprocess.Popen(command, cwd=CHECKOUT)
    try:
        deadline = time.monotonic() + START_SECONDS
        while not port_file.exists():
            if server.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"no server of {root} within {START_SECONDS} s")
            time.sleep(0.2)
        yield int(port_file.read_text())
    finally:
        server.terminate()
        code = server.wait(timeout=60)
        port_file.unlink(missing_ok=True)
    if code:
        raise SystemExit(f"the server of {root} ended with code {code}")


def song(root: Path, out: Path) -> None:
    root, out = root.absolute(), out.absolute()
    with served(root, out.with_suffix(".port")) as port:
        target = f"127.0.0.1:{port}"
        segue("generate", "--target", target, "--root", root, *SONG, "--out", out)


def compare(first: Path, second: Path) -> str:
    """One line: the same bytes, the same notes, or the first note that is another."""
    from music.midi import read_midi

    names = f"{first.name} and {second.name}"
    if first.read_bytes() == second.read_bytes():
        return f"{names}: the same bytes"
    notes = [read_midi(path.read_bytes()).notes for path in (first, second)]
    length = min(map(len, notes))
    same = (notes[0][:length] == notes[1][:length]).all(axis=1)
    alike = length if same.all() else int(same.argmin())
    if alike == len(notes[0]) == len(notes[1]):
        return f"{names}: the same {alike} notes, in files that differ"
    return f"{names}: the same first {alike} of {len(notes[0])} and {len(notes[1])} notes"


def main(command: str, *paths: str) -> None:
    given = [Path(path) for path in paths]
    if command == "compare":
        print(compare(*given))
    else:
        {"model": model, "song": song}[command](*given)


if __name__ == "__main__":
    sys.path.insert(0, str(CHECKOUT))
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
