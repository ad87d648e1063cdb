"""Which songs there are, and what makes one itself."""

import dataclasses
import os
import shutil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client.catalogue.plan import (
    batches,
    check_apart,
    model_identity,
    song_identity,
    song_seed,
    source_fingerprint,
)
from client.catalogue.request import RegenerateRequest, Shard
from client.generation import Sampling
from client.shaping import Shape
from music.errors import SegueError
from music.midi import MAX_FILE_BYTES

VALUES = st.integers() | st.text(max_size=5) | st.none()
INGREDIENTS = st.tuples(
    st.text(), st.text(), st.integers(), st.dictionaries(st.text(max_size=3), VALUES, max_size=3)
)


@settings(deadline=None)
@given(INGREDIENTS, INGREDIENTS)
def test_identities_are_equal_where_all_ingredients_are(one, other):
    assert (song_identity(*one) == song_identity(*other)) == (one == other)


@settings(deadline=None)
@given(st.integers(-(2**63), 2**63 - 1), st.text(max_size=64))
def test_every_songs_seed_is_one(seed, sha256):
    assert 0 <= song_seed(seed, sha256) < 2**63
    assert song_seed(seed, sha256) == song_seed(seed, sha256)
    assert song_seed(seed, sha256) != song_seed(seed, f"{sha256}.")


@settings(deadline=None)
@given(st.lists(st.integers(), max_size=40), st.integers(1, 50))
def test_batches_are_all_jobs_in_their_order(jobs, size):
    made = batches(jobs, size)
    assert [job for batch in made for job in batch] == jobs
    assert all(len(batch) == size for batch in made[:-1])
    assert all(1 <= len(batch) <= size for batch in made)


def identities(run, **settings):
    return {job.source: job.identity for job in run.plan(**settings).jobs}


def test_a_plan_has_every_song_once_and_by_name(run):
    plan = run.plan()
    sources = [job.source for job in plan.jobs]
    assert sources == sorted(sources)
    assert len(sources) == 10
    assert plan.selected == plan.jobs
    # Twins are one song.
    assert len(plan.to_make) == 9
    assert not run.out.exists(), "planning writes nothing"


def test_a_song_is_told_by_its_folder_and_its_name(run):
    jobs = {job.source: job for job in run.plan().jobs}
    job = jobs["Anna_Amalia/1.mid"]
    assert (job.title, job.composer) == ("1", "Anna Amalia")
    assert job.stem == f"anna-amalia-1-{job.identity[:10]}"
    assert (jobs["1.midi"].title, jobs["1.midi"].composer) == ("1", None)
    assert jobs["Bach/Aria 1.MID"].stem.startswith("bach-aria-1-")


CHANGES = [
    {"steps": 21},
    {"sampling": Sampling(seed=1)},
    {"sampling": Sampling(temperature=0.9)},
    {"sampling": Sampling(top_k=5)},
    {"sampling": Sampling(top_p=0.5)},
    {"sampling": Sampling(may_end=True)},
    {"ending": "bar"},
    {"prime_length": 9},
    {"shape": Shape(tempo=100.0)},
    {"shape": Shape(transpose=1)},
    {"shape": Shape(tonic=0)},
    {"shape": Shape(lowest=40, highest=80)},
    {"original": True},
    {"original": True, "tries": 3},
]


def test_each_setting_makes_another_song_of_every_source(run):
    seen = [identities(run), *(identities(run, **change) for change in CHANGES)]
    for source in seen[0]:
        assert len({one[source] for one in seen}) == len(seen)


def test_how_songs_are_made_makes_no_other_song(run):
    plain = identities(run)
    for same in (
        {"batch": 1}, {"batch": 1000}, {"formats": ("midi",)}, {"retry": True}, {"tries": 50},
        {"limit": 2}, {"shard": Shard(1, 3)}, {"prime_length": 75}, {"out": run.out / "other"},
    ):  # fmt: skip
        assert identities(run, **same) == plain


def test_a_song_keeps_its_identity_under_another_name(run, tmp_path):
    moved = tmp_path / "moved"
    moved.mkdir()
    for number, path in enumerate(sorted(run.catalogue.rglob("*.[mM][iI][dD]*"), reverse=True)):
        shutil.copy(path, moved / f"{number}.mid")
    assert sorted(identities(run).values()) == sorted(identities(run, catalogue=moved).values())


def test_a_changed_byte_makes_another_song_of_that_source_alone(run):
    before = identities(run)
    path = run.catalogue / "1.midi"
    path.write_bytes(path.read_bytes() + b"\0")
    after = identities(run)
    assert {source for source in before if before[source] != after[source]} == {"1.midi"}


def test_the_model_is_what_it_says_of_itself(run, facts):
    base = model_identity(facts)
    renamed = model_identity(dataclasses.replace(facts, model="other", version=None))
    assert renamed["sha256"] == base["sha256"]
    trained = dataclasses.replace(facts, training={**facts.training, "weights": "ab"})
    assert model_identity(trained)["sha256"] != base["sha256"]
    before = identities(run)
    run.facts = trained
    assert not set(before.values()) & set(identities(run).values())


def test_what_originality_is_held_against_makes_another_song(run):
    before = identities(run)
    run.making = dataclasses.replace(run.making, reference="a" * 64)
    assert not set(before.values()) & set(identities(run).values())


def test_shards_and_limits_select(run):
    shards = [run.plan(shard=Shard(index, 3)) for index in (1, 2, 3)]
    chosen = [job.source for plan in shards for job in plan.selected]
    assert sorted(chosen) == [job.source for job in run.plan().jobs]
    assert [job.source for job in run.plan(limit=3).selected] == ["0.midi", "1.midi", "2.midi"]
    both = run.plan(limit=5, shard=Shard(1, 2)).selected
    assert set(both) == set(run.plan(limit=5).selected) & set(run.plan(shard=Shard(1, 2)).selected)


# names and files of all kinds


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        (b"Pr\xc3\xa9lude.mid", "prelude-"),
        (b"Pr\xe9lude.mid", "prlude-"),
        (b"a'\"<b>.mid", "a-b-"),
        (b"line\nbreak\x1b[31m.mid", "line-break-31m-"),
        ("音楽.mid".encode(), ""),
        (b"-rf.mid", "rf-"),
        (b"a" * 200 + b".mid", "a" * 60 + "-"),
    ],
)
def test_files_are_called_by_letters_and_digits_alone(run, make_song, tmp_path, name, stem):
    folder = tmp_path / "odd"
    folder.mkdir()
    with open(os.path.join(os.fsencode(folder), name), "wb") as file:
        file.write(make_song(1))
    (job,) = run.plan(catalogue=folder).jobs
    assert job.stem == f"{stem}{job.identity[:10]}"
    assert set(job.stem) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")


def test_what_cannot_be_read_has_a_reason(tmp_path):
    fine, folder, link, pipe, large = (tmp_path / name for name in "abcde")
    fine.write_bytes(b"MThd")
    folder.mkdir()
    link.symlink_to(tmp_path / "nowhere")
    os.mkfifo(pipe)
    with open(large, "wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    assert source_fingerprint(os.fsencode(fine))[1] is None
    for path in (folder, link, pipe):
        assert source_fingerprint(os.fsencode(path))[1] == "it is no regular file"
    sha256, problem = source_fingerprint(os.fsencode(large))
    assert problem == f"it has {MAX_FILE_BYTES + 1:,} bytes; at most {MAX_FILE_BYTES:,} are read"
    assert len(sha256) == 64
    with open(large, "wb") as file:
        file.truncate(MAX_FILE_BYTES)
    assert source_fingerprint(os.fsencode(large))[1] is None


# where songs go


@pytest.mark.parametrize("inside", ["", "new", "Bach", "a/b/c"])
def test_new_songs_do_not_go_among_the_old(catalogue, inside):
    with pytest.raises(SegueError, match="lies in the catalogue"):
        check_apart(RegenerateRequest(catalogue, catalogue / inside))


@pytest.mark.parametrize("name", ["songs", "songs/deep", "gallery", ".segue/records"])
def test_the_catalogue_does_not_lie_where_new_songs_go(tmp_path, name):
    folder = tmp_path / name
    folder.mkdir(parents=True)
    with pytest.raises(SegueError, match="lies where --out .* keeps its own files"):
        check_apart(RegenerateRequest(folder, tmp_path))


def test_links_are_followed_before_folders_are_compared(catalogue, tmp_path):
    link, out = tmp_path / "link", tmp_path / "out"
    link.symlink_to(catalogue)
    out.mkdir()
    (out / "songs").symlink_to(catalogue)
    for request in (
        RegenerateRequest(catalogue, link), RegenerateRequest(link, catalogue / "new"),
        RegenerateRequest(catalogue, out), RegenerateRequest(catalogue, out / ".." / "link"),
    ):  # fmt: skip
        with pytest.raises(SegueError):
            check_apart(request)


def test_a_folder_beside_or_around_the_catalogue_will_do(catalogue, tmp_path):
    check_apart(RegenerateRequest(catalogue, tmp_path / "catalogue-new"))
    check_apart(RegenerateRequest(catalogue, tmp_path))
