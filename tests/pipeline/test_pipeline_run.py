"""The whole pipeline on real MIDI: what runs, what is reused, what is pushed."""

from __future__ import annotations

import json

import pytest

from music.measures import Reference

NODES = {
    "MidiParser",
    "VocabularyBuilder",
    "ReferenceBuilder",
    "WindowGenerator",
    "StatisticsGen",
    "SchemaGen",
    "ExampleValidator",
    "Trainer",
    "Evaluator",
    "ServingValidator",
    "Pusher",
}


def versions(root):
    return sorted(path.name for path in (root / "serving" / "segue").iterdir())


def test_every_node_runs_once_and_a_good_model_is_blessed_and_pushed(first_run):
    outcome = first_run.outcome
    assert len(outcome["executed"]) == len(NODES)
    assert set(outcome["executed"]) == NODES
    assert outcome["cached"] == []
    assert outcome["blessed"]
    assert versions(first_run.root) == [str(outcome["version"])]
    version = first_run.root / "serving" / "segue" / str(outcome["version"])
    assert (version / "saved_model.pb").exists()
    card = json.loads((version / "assets.extra" / "model_card.json").read_text())
    assert card["likelihood"]["nats"] == pytest.approx(outcome["nats"])
    assert len(card["originality"]["runs"]) == 4
    facts = json.loads((version / "assets" / "segue.json").read_text())
    assert facts["codec"]["name"] == "notes"
    # What the Trainer saw, the n-gram wrote and TFMA measured are one set of events.
    assert facts["training"]["nats"] == pytest.approx(outcome["nats"], abs=1e-4)
    assert facts["training"]["ngram_nats"] == pytest.approx(outcome["ngram_nats"], abs=1e-4)


def test_held_out_nats_stand_by_position_in_the_song_beside_the_ngrams(first_run):
    (path,) = (first_run.root / "pipeline" / "Trainer" / "model_run").glob("*/positions.json")
    told = json.loads(path.read_text())
    events = sum(one["events"] for one in told["bins"])
    assert told["carried"]
    assert told["songs"] >= 1
    assert [one["first"] for one in told["bins"]] == [1 + 25 * i for i in range(len(told["bins"]))]
    # Most held-out events are among these: the means are about what the windows say.
    for name in ("nats", "ngram_nats"):
        mean = sum(one["events"] * one[name] for one in told["bins"]) / events
        assert mean == pytest.approx(first_run.outcome[name], abs=0.5)
    assert "held-out nats by position in" in first_run.log


def test_the_training_songs_are_measured_against_each_other(first_run):
    (path,) = (first_run.root / "pipeline" / "ReferenceBuilder").glob("reference/*/reference.json")
    reference = Reference.from_json(path.read_text())
    lines = (path.parent / "songs.jsonl").read_text().splitlines()
    assert reference.songs == len(lines) > 1
    assert f"{reference.songs} songs" in first_run.log
    assert reference.borrowing.bound() > 1
    # The index holds the training songs, and is no part of what is served.
    assert (path.parent / "index.zip").exists()
    assert not list((first_run.root / "serving").rglob("*index*.zip"))


def test_the_gate_heard_songs_over_grpc_from_a_server_in_a_process_of_its_own(first_run):
    (path,) = (first_run.root / "pipeline" / "ServingValidator").glob("panel/*/panel.json")
    told = json.loads(path.read_text())
    assert told["reasons"] == []
    assert len(told["songs"]) == told["settings"]["songs"] == 4
    assert len(list(path.parent.glob("song-*.mid"))) == 4
    log = (path.parent / "server.log").read_text()
    assert "segue serving: model candidate" in log


def test_corrupt_files_among_good_ones_are_counted_and_named(first_run):
    assert "18 files: 16 kept, 0 repaired, 2 rejected (1 " in first_run.log
    assert "odd/letter.mid (not-midi)" in first_run.log
    assert "odd/cut.MID (truncated)" in first_run.log
    (path,) = (first_run.root / "pipeline" / "MidiParser" / "verdicts").glob(
        "*/verdicts-00000-of-00001.jsonl"
    )
    rows = {row["file"]: row for row in map(json.loads, path.read_text().splitlines())}
    assert len(rows) == 18
    assert rows["odd/letter.mid"]["reason"] == "not-midi"
    assert sum(row["verdict"] == "kept" for row in rows.values()) == 16
    assert rows["Pr\ufffdlude.mid"]["verdict"] == "kept"


def test_the_screen_shows_progress_and_the_log_file_the_chatter(first_run):
    assert "epoch 3 of 3: loss" in first_run.log
    assert "blessed: held-out" in first_run.log
    assert "blessed: served in" in first_run.log
    assert "tensorflow" not in first_run.log.lower()
    (log,) = (first_run.root / "logs").glob("pipeline-*.log")
    assert "Component MidiParser is running" in log.read_text()


def test_a_run_without_changes_runs_no_node_again(segue, first_run):
    ran = segue(
        "pipeline", "run", "--preset", "smoke", "--data", first_run.data,
        "--root", first_run.root, "--json",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    assert ran.json["executed"] == []
    assert set(ran.json["cached"]) == NODES
    assert ran.json["version"] == first_run.outcome["version"]
    assert versions(first_run.root) == [str(first_run.outcome["version"])]


def test_a_bound_that_is_missed_blocks_the_push_and_says_by_how_much(segue, one_line, first_run):
    ran = segue(
        "pipeline", "run", "--preset", "smoke", "--data", first_run.data,
        "--root", first_run.root, "--set", "gate.max_nats=0.1",
    )  # fmt: skip
    assert ran.code == 1
    line = ran.err.splitlines()[-1]
    nats = first_run.outcome["nats"]
    assert line.startswith("segue: the model is not pushed; refused: held-out")
    assert f"against the bound it stands at {nats:.3f}, allowed is 0.100" in line
    assert f"{nats - 0.1:.3f} nats too many" in line
    assert versions(first_run.root) == [str(first_run.outcome["version"])]


def test_a_panel_that_is_not_heard_blocks_the_push_and_names_the_page(segue, first_run):
    ran = segue(
        "pipeline", "run", "--preset", "smoke", "--data", first_run.data,
        "--root", first_run.root, "--set", "panel.max_seconds=1e-6",
    )  # fmt: skip
    assert ran.code == 1
    line = ran.err.splitlines()[-1]
    assert line.startswith("segue: the model is not pushed; refused: a song of 64 events took")
    assert line.endswith(f"; see {first_run.root / 'report.html'}")
    assert "Not pushed." in (first_run.root / "report.html").read_text()
    assert versions(first_run.root) == [str(first_run.outcome["version"])]
    # The same again as it was, from the cache; and the page with it.
    again = segue(
        "pipeline", "run", "--preset", "smoke", "--data", first_run.data,
        "--root", first_run.root, "--json",
    )  # fmt: skip
    assert again.json["executed"] == []
    assert "Pushed as version" in (first_run.root / "report.html").read_text()


def test_what_a_cached_step_left_and_was_cut_off_since_is_one_line(segue, first_run):
    (path,) = (first_run.root / "pipeline/ReferenceBuilder/reference").glob("*/index.zip")
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    try:
        ran = segue(
            "pipeline", "run", "--preset", "smoke", "--data", first_run.data,
            "--root", first_run.root, "--set", "panel.seed=9",
        )  # fmt: skip
    finally:
        path.write_bytes(whole)
    assert ran.code == 1
    assert "Traceback" not in ran.err
    line = ran.err.splitlines()[-1]
    told = f"{path} is damaged, or of another version; run the pipeline again, with --no-cache"
    assert line == f"segue: {told}"


@pytest.mark.slow
def test_a_changed_setting_trains_again_and_meets_the_model_in_service(segue, first_run, tmp_path):
    import shutil

    root = tmp_path / "root"
    shutil.copytree(first_run.root / "serving", root / "serving")
    ran = segue(
        "pipeline", "run", "--preset", "smoke", "--data", first_run.data, "--root", root,
        "--set", "training.epochs=1", "--set", "gate.max_nats_over_service=0.0", "--json",
    )  # fmt: skip
    assert ran.code == 1
    assert not ran.json["blessed"]
    assert "against the model in service it stands at" in ran.err.splitlines()[-1]
    assert versions(root) == [str(first_run.outcome["version"])]


@pytest.mark.slow
def test_a_model_that_is_pushed_while_another_is_pinned_is_parked(segue, first_run, root_copy):
    pinned = first_run.outcome["version"]
    assert segue("models", "pin", pinned, "--root", root_copy).code == 0
    ran = segue(
        "pipeline", "run", "--preset", "smoke", "--data", first_run.data, "--root", root_copy,
        "--set", "gate.max_nats_over_service=1.0",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    assert f"parked, since version {pinned} is pinned" in ran.err
    assert "parked, so another one is in service; see: segue models list" in ran.out
    listing = segue("models", "list", "--root", root_copy, "--json").json
    assert [row["state"] for row in listing["versions"]] == ["parked", "in service"]
    assert listing["in_service"] == listing["pinned"] == pinned
    new = listing["versions"][0]["version"]
    assert segue("models", "unpin", "--root", root_copy, "--json").json["in_service"] == new
    assert versions(root_copy) == [str(pinned), str(new)]


@pytest.mark.slow
def test_the_43_songs_of_the_papers_size_end_with_a_pushed_version(segue, reichardt, tmp_path):
    ran = segue(
        "pipeline", "run", "--engine", "local", "--preset", "smoke",
        "--data", reichardt, "--root", tmp_path / "root", "--json",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    assert set(ran.json["executed"]) == NODES
    assert ran.json["present"]


def test_a_damaged_model_in_service_is_named_before_any_training(segue, first_run, root_copy):
    (version,) = (root_copy / "serving" / "segue").iterdir()
    (data,) = (version / "variables").glob("*.data-*")
    data.write_bytes(data.read_bytes()[:1000])
    ran = segue(
        "pipeline", "run", "--preset", "smoke", "--data", first_run.data, "--root", root_copy
    )
    assert ran.code == 1
    assert "epoch" not in ran.err
    line = ran.err.splitlines()[-1]
    assert line.startswith(f"segue: the model in service, {version}, is damaged (")
    assert line.endswith("remove that folder")


def test_a_page_that_cannot_be_written_is_told_before_any_work(
    segue, one_line, first_run, tmp_path
):
    page = tmp_path / "root" / "report.html"
    page.mkdir(parents=True)
    ran = segue(
        "pipeline", "run", "--preset", "smoke", "--data", first_run.data,
        "--root", tmp_path / "root",
    )  # fmt: skip
    assert one_line(ran) == f"{page} is a folder; remove it, or choose another --root"


@pytest.mark.parametrize("place", ["pipeline", "metadata.sqlite", "logs"])
def test_a_root_whose_places_are_taken_is_one_line(segue, one_line, first_run, tmp_path, place):
    root = tmp_path / "root"
    root.mkdir()
    (root / place).write_text("in the way of everything")
    ran = segue("pipeline", "run", "--preset", "smoke", "--data", first_run.data, "--root", root)
    assert str(root / place) in one_line(ran)


def test_a_run_leaves_nothing_in_the_temporary_folder(first_run):
    log = next((first_run.root / "logs").glob("pipeline-*.log")).read_text()
    assert "Copying all content from install dir" not in log
