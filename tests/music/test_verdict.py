"""Every file has its lot, and a person reads the sum in one line."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from music import verdict as verdicts
from music.midi import Limits, Reading, Repair, Rounding, write_midi
from music.song import Song
from music.verdict import (
    KEPT,
    REJECTED,
    REPAIRED,
    Tally,
    Verdict,
    accepted,
    as_duplicate,
    judge,
    read_bytes,
    summary,
)

SONG = Song([(0, 24, 60, 80, 0), (24, 24, 64, 80, 1)], id="ab" * 32, percussion=7)


def verdict_of(file, kind, cause="", notes=0, mean=0.0, largest=0.0):
    return Verdict(
        file, kind, reason=cause if kind == REJECTED else "", detail=f"about {file}",
        repairs=(cause,) if kind == REPAIRED else (), notes=notes, percussion=notes // 2,
        rounding_mean=mean, rounding_max=largest,
    )  # fmt: skip


some = st.builds(
    verdict_of,
    st.text(max_size=3),
    st.sampled_from([KEPT, REPAIRED, REJECTED]),
    st.sampled_from(["a", "b", "c"]),
    st.integers(0, 9),
)


def test_a_good_file_is_kept_with_its_facts():
    verdict = accepted("a.mid", Reading(SONG, (), Rounding(0.1, 0.5, 1)))
    assert verdict == Verdict(
        "a.mid", KEPT, song="ab" * 32, notes=2, parts=2, percussion=7, rounding_mean=0.1,
        rounding_max=0.5,
    )  # fmt: skip


def test_a_mended_file_says_what_was_mended():
    repairs = (Repair("x", "one"), Repair("y", "two"), Repair("x", "three"))
    verdict = accepted("a.mid", Reading(SONG, repairs))
    assert (verdict.verdict, verdict.repairs) == (REPAIRED, ("x", "y"))
    assert verdict.detail == "one; two; three"


def test_a_duplicate_is_rejected_and_names_the_one_that_stays():
    verdict = as_duplicate(accepted("b.mid", Reading(SONG)), "a.mid")
    assert (verdict.verdict, verdict.reason) == (REJECTED, "duplicate")
    assert verdict.detail == "the same music as a.mid"
    assert verdict.notes == 2


@given(some)
def test_a_verdict_survives_the_table(verdict):
    assert Verdict.from_dict(verdict.as_dict()) == verdict


def test_files_are_judged_by_what_is_in_them():
    verdict, reading = judge("sub/a.mid", write_midi(SONG), Limits())
    assert (verdict.file, verdict.verdict) == ("sub/a.mid", KEPT)
    assert reading.song.title == "sub/a"
    verdict, reading = judge("b.mid", b"prose", Limits())
    assert (verdict.verdict, verdict.reason, reading) == (REJECTED, "not-midi", None)


def test_a_defect_of_ours_costs_one_file_and_says_so(monkeypatch):
    def fail(*_):
        raise RecursionError("too deep")

    monkeypatch.setattr(verdicts, "parse_midi", fail)
    verdict, reading = judge("a.mid", b"", Limits())
    assert (verdict.reason, verdict.detail) == ("failed", "RecursionError: too deep")
    assert reading is None


def test_no_more_of_a_file_is_read_than_is_allowed(tmp_path):
    path = tmp_path / "a.mid"
    path.write_bytes(bytes(1000))
    assert len(read_bytes(path, Limits(bytes=10))) == 11
    assert len(read_bytes(os.fsencode(path), Limits(bytes=2000))) == 1000


def test_what_is_no_file_is_named(tmp_path):
    (tmp_path / "d.mid").mkdir()
    (tmp_path / "l.mid").symlink_to(tmp_path)
    (tmp_path / "g.mid").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "p.mid")
    (tmp_path / "loop.mid").symlink_to(tmp_path / "loop.mid")
    found = {}
    for path in tmp_path.iterdir():
        with pytest.raises(verdicts.MidiError) as caught:
            read_bytes(path, Limits())
        assert caught.value.reason == "unreadable"
        found[path.name] = caught.value.detail
    assert found == {
        "d.mid": "a folder, not a file",
        "l.mid": "a link to a folder, not a file",
        "g.mid": "nothing is there",
        "p.mid": "not a regular file",
        "loop.mid": "nothing is there",
    }


def test_a_file_that_may_not_be_read_says_why(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    (tmp_path / "a.mid").write_bytes(b"x")
    monkeypatch.setattr(verdicts, "open", refuse, raising=False)
    with pytest.raises(verdicts.MidiError, match="unreadable: Permission denied"):
        read_bytes(tmp_path / "a.mid", Limits())


def test_the_sum_is_one_line():
    rows = [verdict_of(f"{n}.mid", KEPT) for n in range(1455)]
    assert summary(rows, "table") == "1,455 files: 1,455 kept, 0 repaired, 0 rejected"
    rows += [verdict_of(f"r{n}", REPAIRED, "end-of-track") for n in range(3)]
    rows += [verdict_of("x", REJECTED, "type-2"), verdict_of("y", REJECTED, "truncated")]
    assert summary(rows, "table") == (
        "1,460 files: 1,455 kept, 3 repaired (3 end-of-track), "
        "2 rejected (1 truncated, 1 type-2); see table"
    )


@given(st.lists(st.lists(some, max_size=6), max_size=5), st.randoms())
def test_pieces_may_be_counted_in_any_order(pieces, random):
    whole = Tally()
    for verdict in (verdict for piece in pieces for verdict in piece):
        whole.add(verdict)
    random.shuffle(pieces)
    merged = Tally()
    for piece in pieces:
        part = Tally()
        for verdict in piece:
            part.add(verdict)
        merged.merge(part)
    assert merged.as_dict() == whole.as_dict()
    assert merged.files == sum(map(len, pieces))


def test_the_error_of_the_grid_is_that_of_its_notes():
    tally = Tally().add(verdict_of("a", KEPT, "", 30, 0.1, 0.2))
    tally.add(verdict_of("b", KEPT, "", 10, 0.5, 0.4)).add(verdict_of("c", REJECTED, "x", 99, 9, 9))
    assert tally.rounding_mean == pytest.approx(0.2)
    assert tally.rounding_largest == 0.4
    assert (tally.notes, tally.percussion, tally.songs) == (40, 20, 2)


def test_the_first_few_of_a_cause_are_named():
    tally = Tally()
    for name in "hgfedcba":
        tally.add(verdict_of(name, REJECTED, "type-2"))
    assert tally.examples("type-2") == [(name, f"about {name}") for name in "abc"]
    assert tally.examples("smpte") == []
