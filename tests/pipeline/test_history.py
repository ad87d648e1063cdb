"""The last run of a root: where what it left lies now, and what is no root."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from components.files import PANEL_FILE, VOCABULARY_FILE
from music.errors import SegueError
from pipeline.history import artifact_folder, last_run
from pipeline.listen_command import listen

URI = "/old/root/pipeline/Trainer/model/8"


def test_what_lies_where_it_was_written_is_found_there(tmp_path):
    uri = str(tmp_path / "pipeline" / "Trainer" / "model" / "8")
    Path(uri).mkdir(parents=True)
    assert str(artifact_folder(uri, tmp_path)) == uri


def test_what_was_moved_with_its_root_is_found_below_it_also_where_it_is_gone(tmp_path):
    (tmp_path / "pipeline").mkdir()
    assert artifact_folder(URI, tmp_path) == tmp_path / "pipeline" / "Trainer" / "model" / "8"


def test_a_root_without_artifacts_of_its_own_is_read_where_they_were_written(tmp_path):
    assert artifact_folder(URI, tmp_path) == Path(URI)
    (tmp_path / "pipeline").mkdir()
    assert artifact_folder("/elsewhere/8", tmp_path) == Path("/elsewhere/8")


@pytest.fixture
def copy(first_run, tmp_path):
    """The first run's root as it was then, copied; the old one is still there."""
    root = tmp_path / "copied"
    shutil.copytree(first_run.root / "pipeline", root / "pipeline")
    shutil.copy(first_run.left / "metadata.sqlite", root)
    return root


def test_a_copied_root_reads_its_own_files(copy, first_run, segue, one_line, tmp_path):
    found = last_run(copy / "metadata.sqlite")
    assert found.outputs
    for uri in found.outputs.values():
        assert Path(uri).is_relative_to(copy)
        assert Path(uri).is_dir()
    page = tmp_path / "page.html"
    ran = segue("report", "--root", copy, "--out", page)
    assert ran.code == 0, ran.err
    assert page.read_text() == (first_run.left / "report.html").read_text()
    ran = segue("listen", copy, "--seconds", "5", "--out", tmp_path / "listen")
    assert ran.code == 0, ran.err
    # Not that of the root that it was copied from.
    (path,) = (copy / "pipeline" / "ServingValidator" / "panel").glob(f"*/{PANEL_FILE}")
    path.unlink()
    told = f"{path} is missing; run the pipeline again, with --no-cache"
    assert one_line(segue("report", "--root", copy)) == told
    assert one_line(segue("listen", copy)) == told


@pytest.mark.parametrize(
    ("pattern", "data"),
    [
        (f"VocabularyBuilder/vocabulary/*/{VOCABULARY_FILE}", b"{"),
        (f"VocabularyBuilder/vocabulary/*/{VOCABULARY_FILE}", None),
        (f"ServingValidator/panel/*/{PANEL_FILE}", b'{"songs": ['),
        (f"ServingValidator/panel/*/{PANEL_FILE}", b"{}"),
        (f"ServingValidator/panel/*/{PANEL_FILE}", None),
        ("MidiParser/songs/*/Split-eval/songs-00000-of-00002.parquet", b"PAR1PAR1"),
    ],
)
def test_a_listening_test_of_a_damaged_root_is_one_line(copy, pattern, data):
    for path in (copy / "pipeline").glob(pattern):
        if data is None:
            path.unlink()
        else:
            path.write_bytes(data)
    with pytest.raises(SegueError) as told:
        listen.main([str(copy)], standalone_mode=False)
    assert str(path) in str(told.value)
    assert str(told.value).endswith("; run the pipeline again, with --no-cache")
    assert not (copy / "listen").exists()


def test_a_model_that_played_nothing_is_not_listened_to(copy):
    (path,) = (copy / "pipeline" / "ServingValidator" / "panel").glob(f"*/{PANEL_FILE}")
    told = json.loads(path.read_text())
    path.write_text(json.dumps({"settings": told["settings"], "reasons": ["it did not serve"]}))
    with pytest.raises(SegueError, match=r"played nothing: it did not serve$"):
        listen.main([str(copy)], standalone_mode=False)


@pytest.mark.parametrize("data", [b"no database", b"SQLite format 3\0" + 200 * b"\xff", None])
def test_metadata_that_is_no_database_is_one_line(segue, one_line, copy, tmp_path, data):
    path = copy / "metadata.sqlite"
    path.write_bytes(path.read_bytes()[:5000] if data is None else data)
    for command in (("report", "--root", copy), ("listen", copy)):
        line = one_line(segue(*command))
        assert line.startswith(str(path))
        assert line.endswith("; remove it and run the pipeline again, or choose another --root")


@pytest.mark.slow
def test_a_moved_root_is_run_again(segue, first_run, copy):
    shutil.copytree(first_run.root / "serving", copy / "serving")
    ran = segue(
        "pipeline", "run", "--preset", "smoke", "--data", first_run.data, "--root", copy, "--json",
        "--set", "gate.max_nats_over_service=1.0",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    assert ran.json["blessed"]
    ran = segue("report", "--root", copy)
    assert ran.code == 0, ran.err
