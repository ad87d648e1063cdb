"""The quickstart notebook, run from its first cell to its last."""

import os
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).parents[1] / "notebooks" / "quickstart.ipynb"


@pytest.mark.slow
def test_the_quickstart_runs_and_shows_what_it_promises(tmp_path, monkeypatch):
    import nbformat
    from nbclient import NotebookClient

    settings = {"": str(tmp_path / "made"), "_PRESET": "smoke", "_SONGS": "24"}
    for name, value in settings.items():
        monkeypatch.setenv(f"SEGUE_QUICKSTART{name}", value)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(NOTEBOOK.parents[1])]))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    ).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    shown = [set(output.get("data", {})) for output in outputs]
    text = "\n".join(output.get("text", "") for output in outputs)
    # The song, the new one and its score; the windows that move, and the curves.
    assert sum("image/svg+xml" in kinds for kinds in shown) == 3
    assert any("image/gif" in kinds for kinds in shown)
    assert any("image/png" in kinds for kinds in shown)
    assert "24 songs" in text
    assert "nats an event" in text
    assert "longest copied run" in text or "no two notes" in text
    assert "the same: True   another: True" in text
    assert (tmp_path / "made" / "song.mid").read_bytes().startswith(b"MThd")


def test_the_notebook_is_kept_with_what_it_showed():
    """Whoever reads it where nothing can be run sees its pictures."""
    import nbformat

    notebook = nbformat.read(NOTEBOOK, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in code)
    outputs = [output for cell in code for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error"]
    assert sum("image/svg+xml" in output.get("data", {}) for output in outputs) == 3
    assert NOTEBOOK.stat().st_size < 3_000_000
