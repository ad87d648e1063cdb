"""The flag that ends a server: set by a signal at whatever instant, it never locks up."""

import subprocess
import sys
import threading
from pathlib import Path

from serving.stop_flag import StopFlag

# Signals come while the flag is being waited for; most of them between two bytecodes of it.
HAMMER = """
import os, signal, sys, threading
from serving.stop_flag import StopFlag
make = {"flag": StopFlag, "event": threading.Event}[sys.argv[1]]
for number in range(1000):
    flag = make()
    signal.signal(signal.SIGALRM, lambda *_: flag.set())
    signal.setitimer(signal.ITIMER_REAL, 1e-6 * (1 + number % 97))
    assert flag.wait(20)
print("through")
"""


def hammer(kind, timeout):
    return subprocess.run(
        [sys.executable, "-c", HAMMER, kind],
        cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=timeout, check=False,
    )  # fmt: skip


def test_a_signal_at_any_instant_ends_the_wait():
    done = hammer("flag", 120)
    assert done.stdout == "through\n", done.stderr


def test_all_who_wait_are_woken_and_it_stays_set():
    flag, woken = StopFlag(), []
    threads = [threading.Thread(target=lambda: woken.append(flag.wait(20))) for _ in range(5)]
    for thread in threads:
        thread.start()
    assert not flag.is_set()
    assert not flag.wait(0.01)
    flag.set()
    flag.set()
    for thread in threads:
        thread.join(20)
    assert woken == [True] * 5
    assert flag.is_set()
    assert flag.wait()
    assert flag.wait(0)
