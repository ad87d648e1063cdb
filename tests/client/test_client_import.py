"""What importing the client costs, and what it leaves alone."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def python(code):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_import_brings_in_no_heavy_package():
    heavy = python(
        "import sys, client\n"
        "tops = {name.split('.')[0] for name in sys.modules}\n"
        "print(sorted(tops & {'tensorflow', 'tensorflow_serving', 'tfx', 'music21', 'keras'}))"
    )
    assert heavy.strip() == "[]"


def test_import_brings_in_no_other_part_of_segue():
    parts = python(
        "import sys, client\n"
        "tops = {name.split('.')[0] for name in sys.modules}\n"
        "print(sorted(tops & {'pipeline', 'components', 'serving', 'kubeflow'}))"
    )
    assert parts.strip() == "[]"


def test_import_takes_less_than_half_a_second():
    """Of a processor: what else the machine does meanwhile is not the import's doing."""
    code = (
        "import time\n"
        "begun = time.process_time()\n"
        "import client\n"
        "print(time.process_time() - begun)"
    )
    seconds = []
    for _ in range(5):
        seconds.append(float(python(code)))
        if seconds[-1] < 0.5:
            break
    assert min(seconds) < 0.5


def test_what_is_imported_late_is_there_when_it_is_asked_for():
    python(
        "import client\n"
        "for name in client.__all__:\n"
        "    assert getattr(client, name).__name__ == name\n"
        "from client import GenerateRequest, prime_from_file\n"
        "assert not hasattr(client, 'tensorflow')"
    )
