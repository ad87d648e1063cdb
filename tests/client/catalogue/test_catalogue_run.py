"""Runs over a catalogue: what is made, what is left alone, and what is told of it."""

import dataclasses
import json
import os
import shutil
import threading

import grpc
import pytest

from client.catalogue.manifest import read_manifest
from client.catalogue.request import Shard
from client.catalogue.run import plan_run
from client.catalogue.store import Store
from client.catalogue.verify import verify
from client.generation import Sampling
from client.shaping import Shape
from music.errors import SegueError


def generations(toy):
    return [len(call[2]["seed"]) for call in toy.calls if call[0] == "generate"]


def test_every_song_of_a_catalogue_gets_one_and_a_second_run_does_nothing(run, toy):
    told = []
    outcome = run(on_progress=lambda done, of: told.append((done, of)))
    assert (outcome.songs, outcome.selected, outcome.made, outcome.failed) == (10, 10, 10, 0)
    assert (outcome.unchanged, outcome.failures, outcome.missing) == (0, (), 0)
    assert (outcome.left, outcome.pruned, outcome.copies) == (0, 0, 0)
    assert outcome.gallery == run.out / "index.html"
    assert told[-1] == (9, 9), "twins are made once"
    assert sum(generations(toy)) == 9
    rows = read_manifest(run.store)
    assert [row["source"] for row in rows] == sorted(row["source"] for row in rows)
    assert len(rows) == 10
    assert run.store.records() == {}
    assert verify(run.out, run.catalogue).problems == ()
    before = {path: (path.stat().st_mtime_ns, path.read_bytes())
              for path in run.out.rglob("*") if path.is_file()}  # fmt: skip
    again = run()
    assert (again.made, again.unchanged, again.selected) == (0, 10, 10)
    assert again.gallery == outcome.gallery
    assert sum(generations(toy)) == 9
    after = {path: (path.stat().st_mtime_ns, path.read_bytes())
             for path in run.out.rglob("*") if path.is_file()}  # fmt: skip
    assert after == before
    assert json.loads(json.dumps(again.as_dict()))["unchanged"] == 10


@pytest.mark.parametrize("batch", [1, 2, 8, 1000])
def test_batches_of_any_size_give_the_same_bytes(run, tree_of, tmp_path, batch):
    # With eight the last batch is one song.
    run(batch=4)
    run(batch=batch, out=tmp_path / "other")
    assert tree_of(tmp_path / "other") == run.tree()


def test_the_order_of_runs_and_shards_leaves_no_trace(run, tree_of, tmp_path):
    run()
    other = tmp_path / "other"
    for index in (2, 3, 1):
        outcome = run(out=other, shard=Shard(index, 3))
        assert outcome.failed == 0
    assert outcome.missing == 0
    assert tree_of(other) == run.tree()
    limited = tmp_path / "limited"
    assert run(out=limited, limit=3).missing == 7
    run(out=limited, limit=7)
    run(out=limited)
    assert tree_of(limited) == run.tree()


def test_shards_run_side_by_side(run, tree_of, tmp_path):
    run()
    other, outcomes = tmp_path / "other", {}

    def part(index):
        outcomes[index] = run(out=other, shard=Shard(index, 3), batch=1)

    threads = [threading.Thread(target=part, args=(index,)) for index in (1, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(outcome.made for outcome in outcomes.values()) == 10
    assert tree_of(other) == run.tree()


def test_a_shard_does_not_let_go_of_records_that_another_writes_meanwhile(run, monkeypatch):
    run(formats=("midi",))
    plan = run.plan(formats=("midi", "roll"), shard=Shard(2, 2))
    assert plan.to_make
    theirs = run.store.folder / ".segue" / "records" / f"{plan.to_make[0].identity}.json"
    known = read_manifest(run.store)
    mine = next(row for row in known if row["identity"] == plan.to_make[0].identity)
    settle = Store.settle

    def meanwhile(store):
        store.record({**mine, "notes": 1})
        settle(store)

    monkeypatch.setattr(Store, "settle", meanwhile)
    run(formats=("midi", "roll"), shard=Shard(1, 2))
    assert theirs.exists()


def test_only_what_changed_is_made_again(run, toy, make_song):
    run()
    (run.catalogue / "0.midi").write_bytes(make_song(50, 60))
    (run.catalogue / "1.midi").rename(run.catalogue / "renamed.midi")
    (run.catalogue / "2.midi").unlink()
    (run.catalogue / "new.mid").write_bytes(make_song(51, 60))
    before = sum(generations(toy))
    outcome = run()
    assert sum(generations(toy)) - before == 2
    assert (outcome.made, outcome.unchanged) == (2, 8)
    # The songs of the file as it was, and of the one that is gone.
    assert outcome.left == 8
    pruned = run(prune=True)
    assert (pruned.made, pruned.pruned, pruned.left) == (0, 8, 0)
    found = verify(run.out, run.catalogue)
    assert (found.problems, found.strangers) == ((), ())
    assert "renamed.midi" in {row["source"] for row in read_manifest(run.store)}


def test_prune_deletes_files_among_the_songs_and_nothing_else(run):
    run()
    (run.out / "mine.txt").write_text("mine")
    (run.out / "songs" / "folder").mkdir()
    (run.out / "songs" / "old.mid").write_bytes(b"")
    outcome = run(prune=True)
    assert (outcome.pruned, outcome.left) == (1, 1)
    assert (run.out / "mine.txt").exists()
    assert (run.out / "songs" / "folder").is_dir()
    # What other shards are writing stands in no row yet.
    (run.out / "songs" / "old.mid").write_bytes(b"")
    assert run(prune=True, shard=Shard(1, 2)).pruned == 0
    assert (run.out / "songs" / "old.mid").exists()


def test_formats_that_are_added_later_only_add_files(run, tree_of, tmp_path):
    run(formats=("midi",))
    before = run.tree()
    outcome = run(formats=("midi", "roll"))
    assert (outcome.made, outcome.left) == (10, 0)
    songs = {path: data for path, data in run.tree().items() if path.startswith("songs/")}
    assert {path: songs[path] for path in before if path in songs} == {
        path: data for path, data in before.items() if path.startswith("songs/")
    }
    assert len(songs) == 36
    run(formats=("midi", "roll"), out=tmp_path / "at once")
    at_once = tree_of(tmp_path / "at once")
    assert {path: at_once[path] for path in at_once if path.startswith("songs/")} == songs
    assert read_manifest(Store(tmp_path / "at once")) == read_manifest(run.store)


def test_formats_that_are_there_stay_when_others_are_asked_for(run):
    run(formats=("midi",))
    rolls = run(formats=("roll",))
    assert (rolls.made, rolls.left) == (10, 0)
    assert len(list((run.out / "songs").glob("*.roll.svg"))) == 18
    assert run(formats=("midi",)).unchanged == 10
    assert verify(run.out, run.catalogue).strangers == ()


def test_a_file_that_went_is_made_again_as_it_was(run):
    run()
    before = run.tree()
    for path in sorted((run.out / "songs").iterdir())[:3]:
        path.unlink()
    run()
    assert run.tree() == before


def test_failures_are_told_and_not_tried_again_unless_asked(run, toy):
    shape = Shape(transpose=33)
    first = run(shape=shape)
    assert 0 < first.failed < 10
    assert len(first.failures) == first.failed
    assert first.made + first.failed == 10
    before = sum(generations(toy))
    again = run(shape=shape)
    assert (again.made, again.failed, again.unchanged) == (0, 0, first.made)
    assert again.failures == first.failures
    assert sum(generations(toy)) == before
    tree = run.tree()
    retried = run(shape=shape, retry=True)
    assert (retried.made, retried.failed) == (0, first.failed)
    assert sum(generations(toy)) - before == len({source for source, _ in first.failures}) - (
        {"Anna_Amalia/1.mid", "Bach/twin.mid"} <= {source for source, _ in first.failures}
    )
    assert run.tree() == tree


def test_bad_files_do_not_stop_the_others(run, make_song):
    (run.catalogue / "empty.mid").write_bytes(b"")
    (run.catalogue / "cut.mid").write_bytes(make_song(5)[:60])
    (run.catalogue / "folder.mid").mkdir()
    name = os.fsencode(run.catalogue) + b"/\xff\"'\n\xe2\x80\xa8\xc2\x85;rm -rf.mid"
    with open(name, "wb") as file:
        file.write(make_song(6))
    outcome = run()
    assert (outcome.made, outcome.failed) == (11, 3)
    assert dict(outcome.failures).keys() == {"empty.mid", "cut.mid", "folder.mid"}
    assert (run().made, run().unchanged) == (0, 11)
    found = verify(run.out, run.catalogue)
    assert (found.problems, found.strangers, found.songs) == ((), (), 14)


def test_another_seed_makes_other_songs_and_the_old_ones_are_left(run):
    run(limit=3)
    outcome = run(limit=3, sampling=Sampling(seed=1))
    assert (outcome.made, outcome.left) == (3, 12)


def test_planning_tells_what_would_be_done_and_does_nothing(run):
    run(limit=2)
    before = run.tree()
    plan = plan_run(run.request(limit=5), run.facts, run.making)
    assert (len(plan.jobs), len(plan.selected), len(plan.to_make)) == (10, 5, 3)
    assert run.tree() == before


def test_nothing_is_written_among_the_sources(run):
    with pytest.raises(SegueError, match="lies in the catalogue"):
        run(out=run.catalogue / "new")
    with pytest.raises(SegueError, match="lies in the catalogue"):
        run.plan(out=run.catalogue)
    assert not (run.catalogue / "new").exists()


def test_a_run_keeps_others_out(run):
    with run.store.held(None), pytest.raises(SegueError, match="another run is writing"):
        run()


def test_a_server_that_goes_away_is_one_line_and_the_next_run_goes_on(run, toy, tree_of, tmp_path):
    run(batch=1, out=tmp_path / "undisturbed")
    left = [4]

    def goes_away():
        left[0] -= 1
        if left[0] < 0:
            toy.failures.append((grpc.StatusCode.UNAVAILABLE, "Socket closed"))

    toy.before = goes_away
    with pytest.raises(SegueError) as caught:
        run(batch=1)
    line = str(caught.value)
    assert line.startswith(f"the model server at {toy.target} stopped answering (Socket closed)")
    assert "\n" not in line
    assert "MakeSongs" not in line
    there = run.store.count()
    assert 0 < there < 9
    toy.before = None
    outcome = run(batch=1)
    assert outcome.unchanged == there
    assert outcome.made == 10 - there
    assert run.tree() == tree_of(tmp_path / "undisturbed")


# the page


def test_a_page_is_written_only_where_it_is_wanted(run):
    assert run(gallery=False).gallery is None
    assert not (run.out / "index.html").exists()
    assert run().gallery.exists()


@pytest.fixture
def page(monkeypatch):
    """Pages of the manifest's digest; pages.broken makes the next one stop half way."""
    import client.gallery
    from client.catalogue.manifest import digest_of

    class Pages:
        broken, written = False, 0

    def write(folder, rows, about):
        if Pages.broken:
            raise KeyboardInterrupt
        Pages.written += 1
        (folder / "index.html").write_text(digest_of(rows))
        return folder / "index.html"

    monkeypatch.setattr(client.gallery, "write_gallery", write)
    return Pages


def shows(run):
    from client.catalogue.manifest import digest_of

    return (run.out / "index.html").read_text() == digest_of(read_manifest(run.store))


def test_a_page_that_was_not_finished_is_made_by_the_next_run(run, page):
    run(limit=3)
    assert shows(run)
    page.broken = True
    with pytest.raises(KeyboardInterrupt):
        run()
    assert not shows(run)
    page.broken = False
    run()
    assert shows(run)
    run()
    assert page.written == 2


def test_a_run_without_a_page_leaves_an_old_one_to_the_next_that_wants_it(run, page):
    run(limit=3)
    run(gallery=False)
    assert not shows(run)
    run()
    assert shows(run)


def test_a_manifest_that_lost_one_of_its_forms_is_written_again(run):
    run(limit=3)
    before = run.tree()
    (run.out / "manifest.parquet").unlink()
    run(limit=3)
    assert run.tree() == before


def test_working_files_can_be_thrown_away(run, toy):
    run()
    before = run.tree()
    shutil.rmtree(run.out / ".segue")
    assert run().unchanged == 10
    assert run.tree() == before
    assert sum(generations(toy)) == 9


# originality


class Source:
    """Where workers get a check by which all songs are copies, or none is."""

    def __init__(self, copies):
        self.copies = copies

    def open(self):
        return self

    bounds = None

    def check(self, song):
        from client.originality import Checked
        from music.measures.originality import Copy

        if not self.copies:
            return Checked(None, 1, 5, 0.0)
        return Checked(Copy(9, 0, 1, "0" * 64, "learned", 4), 9, 5, 99.0)


@pytest.mark.parametrize("copies", [False, True])
def test_originality_is_told_song_by_song(run, monkeypatch, copies):
    from client.catalogue import songs

    monkeypatch.setattr(songs, "degeneration", lambda measured, bounds: [])
    making = {"check": Source(copies), "reference": "e" * 64}
    outcome = run(limit=3, **making)
    assert outcome.copies == (3 if copies else 0)
    row = read_manifest(run.store)[0]
    assert row["originality"]["is_copy"] is copies
    assert row["originality"]["title"] == ("learned" if copies else None)
    assert row["settings"]["reference"] == "e" * 64
    strict = run(limit=3, original=True, tries=2, **making)
    if copies:
        assert (strict.failed, strict.made) == (3, 0)
        assert "after 2 tries the song still shares 9 notes" in strict.failures[0][1]
    else:
        assert (strict.failed, strict.made) == (0, 3)


def test_outcomes_and_makings_cannot_be_changed(run):
    with pytest.raises(dataclasses.FrozenInstanceError):
        run(limit=1).made = 5
    with pytest.raises(dataclasses.FrozenInstanceError):
        run.making.prune = True
