"""What a run shows: a bar on a terminal, and nothing but lines elsewhere."""

from __future__ import annotations

import os
import pty
import re
import select
import struct
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
# The Trainer's own voice, without TensorFlow: its epochs and steps at the real console.
SCRIPT = """
import sys, time
from pathlib import Path
from components.progress import report, tick
from pipeline.console import quiet

with quiet(Path(sys.argv[1]), "test"):
    for epoch in (1, 2):
        for step in (1, 120):
            facts = dict(epoch=epoch, epochs=40, step=step, steps=350, loss=5.25, seconds_left=83.0)
            if epoch > 1:
                facts |= dict(nats=5.402, best=5.302)
            tick("Trainer", ngram_nats=5.121, **facts)
            report("Trainer", f"epoch {epoch} of 40, step {step} of 350", passing=True, **facts)
            time.sleep(0.05)
        report("Trainer", f"epoch {epoch} of 40: loss 5.250, held-out [5.402] nats", epoch=epoch)
    tick("Trainer", ended=True)
    report("Pusher", "done")
"""


def shown_on_a_terminal(arguments, columns=120):
    """Everything that a process writes to a terminal of its own."""
    import fcntl
    import termios

    # These would stand above what the terminal says of its size.
    sized_by_terminal = {
        name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")
    }
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    process = subprocess.Popen(
        arguments, cwd=REPOSITORY, stdin=theirs, stdout=theirs, stderr=theirs,
        env={**sized_by_terminal, "PYTHONPATH": str(REPOSITORY), "TERM": "xterm"},
    )  # fmt: skip
    os.close(theirs)
    written = b""
    while select.select([ours], [], [], 120)[0]:
        try:
            written += os.read(ours, 65536)
        except OSError:  # the other side is closed
            break
    os.close(ours)
    assert process.wait(timeout=60) == 0, written
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written.decode())


def test_a_terminal_shows_a_bar_with_loss_nats_the_n_gram_and_the_time_left(tmp_path):
    shown = shown_on_a_terminal([sys.executable, "-c", SCRIPT, str(tmp_path)])
    assert "120/350 epoch 1 of 40 · loss 5.250 · n-gram 5.121 · 1:23 left" in shown
    assert (
        "120/350 epoch 2 of 40 · loss 5.250 · held-out 5.402, best 5.302 · n-gram 5.121 · 1:23 left"
    ) in shown
    # An epoch's line stays above the bar, once; a line a minute is for logs.
    lines = [line.strip() for line in re.split(r"[\r\n]+", shown)]
    for epoch in (1, 2):
        told = f"Trainer            epoch {epoch} of 40: loss 5.250, held-out [5.402] nats"
        assert lines.count(told) == 1
    assert not any("step 120 of 350" in line for line in lines)
    assert lines.count("Pusher             done") == 1


def test_a_narrow_terminal_shows_the_bar_the_epoch_and_the_time_left_in_one_line(tmp_path):
    for columns, second in (
        (80, "epoch 2 of 40 · loss 5.250 · best 5.302 · 1:23 left"),
        (60, "epoch 2 of 40 · 1:23 left"),
    ):
        shown = shown_on_a_terminal([sys.executable, "-c", SCRIPT, str(tmp_path)], columns)
        bars = [line for line in re.split(r"[\r\n]+", shown) if "120/350" in line]
        assert bars[-1].rstrip().endswith(f"120/350 {second}")
        assert all("━" in line and line.rstrip().endswith(" left") for line in bars)
        assert all(len(line) <= columns for line in bars)
        assert "?" not in shown


def test_without_a_terminal_there_are_lines_only(tmp_path):
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path)],
        cwd=REPOSITORY, env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    assert ran.stderr.splitlines() == [
        "Trainer            epoch 1 of 40, step 1 of 350",
        "Trainer            epoch 1 of 40, step 120 of 350",
        "Trainer            epoch 1 of 40: loss 5.250, held-out [5.402] nats",
        "Trainer            epoch 2 of 40, step 1 of 350",
        "Trainer            epoch 2 of 40, step 120 of 350",
        "Trainer            epoch 2 of 40: loss 5.250, held-out [5.402] nats",
        "Pusher             done",
    ]
    assert ran.stdout == ""
