"""Every row of TensorFlow Serving's behaviour has a test that is named by its number."""

import re
import shutil
from pathlib import Path

import pytest

ROWS = set(range(1, 45))
# XLA is switched on by a flag of the binary that the embedded server does not have.
LEFT_OUT = {43}


def _rows_with_tests():
    """The numbers that names of tests in this folder give: test_row_07_..., test_row_33_34_..."""
    rows = set()
    for path in Path(__file__).parent.glob("test_*.py"):
        for numbers in re.findall(r"(?m)^def test_row((?:_\d\d)+)_", path.read_text()):
            rows |= {int(number) for number in numbers.split("_")[1:]}
    return rows


def test_every_row_has_a_test():
    assert _rows_with_tests() == ROWS - LEFT_OUT


def test_rows_that_are_left_out_are_named_in_the_docs():
    docs = (Path(__file__).parents[2] / "docs" / "serving.md").read_text()
    section = docs.split("## Left out", 1)[1].split("\n## ", 1)[0]
    for word in ("XLA", "TFLite", "profiler"):
        assert word in section


def test_the_rows_were_tested_on_the_real_server_as_well():
    # The one skip that says so; `make serving-real` runs them with the Docker image.
    if shutil.which("tensorflow_model_server") is None:
        pytest.skip("tensorflow_model_server is not on PATH: only the embedded server was tested")
