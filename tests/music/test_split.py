"""Songs on one side or the other, whatever catalogue they stand in."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from music.song import DURATION, PITCH, VELOCITY, Song
from music.split import EVAL, SPLITS, TRAIN, Extremes, Splitter, eval_bound, rank, split_of

songs = st.from_type(Song)
ranks = st.lists(st.integers(0, 2**40).map(lambda n: rank(str(n))), max_size=30)
shares = st.floats(0.01, 0.99)

CATALOGUE = [rank(Song([(0, 1 + i, 60, 80, 0)]).fingerprint()) for i in range(2_000)]


def sides(ranks, share):
    bound = eval_bound(ranks, share)
    return [split_of(song_rank, bound) for song_rank in ranks]


@given(songs, st.data())
def test_the_same_music_falls_on_the_same_side(song, data):
    notes = song.notes.copy()
    if len(notes):
        low, high = -int(notes[:, PITCH].min()), 127 - int(notes[:, PITCH].max())
        notes[:, PITCH] += data.draw(st.integers(low, high))
        notes[:, VELOCITY] = 1
    other = Song(notes, id="another file", title="another title")
    assert rank(other.fingerprint()) == rank(song.fingerprint())


def test_other_music_has_another_rank():
    assert len(set(CATALOGUE)) == len(CATALOGUE)
    song = Song([(0, 6, 60, 80, 0)])
    longer = song.notes.copy()
    longer[0, DURATION] += 1
    assert rank(Song(longer).fingerprint()) != rank(song.fingerprint())


@pytest.mark.parametrize("share", [0.05, 0.1, 0.5])
def test_about_the_share_is_held_out(share):
    assert 0 <= min(CATALOGUE) <= max(CATALOGUE) < 1
    held_out = np.mean([side == EVAL for side in sides(CATALOGUE, share)])
    assert held_out == pytest.approx(share, abs=4 * np.sqrt(share * (1 - share) / 2_000))


@given(st.integers(40, 400), st.integers(1, 200), st.sampled_from([0.1, 0.2, 0.5]))
def test_a_song_stays_on_its_side_while_the_catalogue_grows(size, more, share):
    before, after = CATALOGUE[:size], CATALOGUE[: size + more]
    assume(min(before) < share)
    assert sides(after, share)[:size] == sides(before, share)


def test_the_order_of_songs_plays_no_role():
    assert sides(CATALOGUE[::-1], 0.1) == sides(CATALOGUE, 0.1)[::-1]


@given(ranks, shares)
def test_both_sides_have_a_song_where_there_are_two(ranks, share):
    assume(len(set(ranks)) >= 2)
    assert set(sides(ranks, share)) == set(SPLITS)


@given(ranks, shares)
def test_the_bound_is_the_share_where_that_leaves_no_side_empty(ranks, share):
    assume(any(r < share for r in ranks) and any(r >= share for r in ranks))
    assert eval_bound(ranks, share) == share


@pytest.mark.parametrize(
    ("ranks", "held_out"), [([0.3, 0.6, 0.9], [0.3]), ([0.01, 0.03, 0.04, 0.04], [0.01, 0.03])]
)
def test_the_bound_moves_just_far_enough(ranks, held_out):
    bound = eval_bound(ranks, 0.1)
    assert [r for r in ranks if split_of(r, bound) == EVAL] == held_out


@pytest.mark.parametrize("ranks", [[], [0.5], [0.5, 0.5, 0.5]])
def test_a_catalogue_of_one_song_is_not_divided(ranks):
    assert eval_bound(ranks, 0.1) == 0.1
    assert set(sides(ranks, 0.1)) <= {TRAIN}


def test_a_song_at_the_bound_is_learned_from():
    assert split_of(0.1, 0.1) == TRAIN
    assert split_of(np.nextafter(0.1, 0), 0.1) == EVAL


def test_another_salt_is_another_split():
    prints = [Song([(0, 1 + i, 60, 80, 0)]).fingerprint() for i in range(200)]
    plain, salted = ([rank(p, salt) for p in prints] for salt in ("", "b"))
    assert not set(plain) & set(salted)
    assert sides(plain, 0.3) != sides(salted, 0.3)
    assert [rank(p, "b") for p in prints] == salted


def test_ranks_are_the_same_on_every_machine():
    # The first 16 digits of the SHA-256 of ":abc" and of "salt:abc".
    assert rank("abc") == 0x6E850A0E91C14C7D / 2**64
    assert rank("abc", "salt") == 0x3581C353FCF9B9AC / 2**64


@given(st.lists(ranks, max_size=5), shares)
def test_the_extremes_of_many_ranks_say_as_much_as_all_of_them(pieces, share):
    extremes = Extremes()
    for piece in pieces:
        extremes = extremes.add(Extremes().add(piece).ranks)
    assert len(extremes.ranks) <= 4
    whole = [song_rank for piece in pieces for song_rank in piece]
    assert eval_bound(extremes.ranks, share) == eval_bound(whole, share)


fingerprints = st.lists(st.integers(0, 2**40).map(str), unique=True, max_size=8)


@given(st.lists(fingerprints, min_size=1, max_size=6), shares)
def test_no_song_moves_from_eval_to_train_while_a_catalogue_of_any_size_grows(additions, share):
    catalogue, remembered, judged_by = [], frozenset(), set()
    for more in additions:
        catalogue = list(dict.fromkeys([*catalogue, *more]))
        if len(catalogue) < 2:
            continue
        splitter = Splitter(share, "", remembered)
        extremes = Extremes().add(map(splitter.rank, catalogue))
        held_out = {one for one in catalogue if splitter.side(one, extremes) == EVAL}
        assert judged_by <= held_out
        assert 0 < len(held_out) < len(catalogue)
        judged_by = held_out
        beyond = {one for one in catalogue if splitter.beyond_share(one, extremes)}
        assert beyond == {one for one in held_out - remembered if rank(one) >= share}
        remembered |= beyond


def test_a_song_that_was_held_out_once_makes_another_needless():
    prints = sorted(map(str, range(30)), key=rank)
    low, high = prints[10], prints[20]
    splitter = Splitter(0.01, "", frozenset({high}))
    extremes = Extremes().add(map(splitter.rank, (low, high)))
    assert splitter.side(high, extremes) == EVAL
    assert splitter.side(low, extremes) == TRAIN
    assert not splitter.beyond_share(high, extremes)
