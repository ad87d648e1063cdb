"""Several songs in one call, and songs that are made again to be original."""

import dataclasses

import numpy as np
import pytest

from client.connection import Connection
from client.generation import GenerationClient, Sampling
from client.making import Made, Wish, make_songs, play_calls
from client.originality import Checked, another_seed
from client.priming import prime_from_nothing, section_of
from music.codec import NotesCodec
from music.errors import SegueError
from music.measures.originality import Copy
from music.song import ONSET, Song

CODEC = NotesCodec()


@pytest.fixture
def client(toy):
    with Connection(toy.target, timeout=10) as connection:
        yield GenerationClient(connection)


def song(start=60, count=40):
    notes = [(index * 12, 12, start + index % 12, 80, 0) for index in range(count)]
    return Song(np.array(notes, np.int32), id=f"{start:064d}", time_signature="3/4")


def wishes(*seeds, steps=30, ending="chord", **settings):
    return [
        Wish(section_of(song(40 + seed), CODEC, 12, seed), steps + seed % 3,
             Sampling(seed=seed, **settings), ending)
        for seed in seeds
    ]  # fmt: skip


def events_of(made):
    return [one.events.tolist() for one in made]


def test_a_song_does_not_depend_on_those_made_beside_it(client):
    asked = wishes(*range(7))
    facts, play = client.describe(), play_calls(client)
    together = make_songs(facts, asked, play)
    alone = [make_songs(facts, [wish], play)[0] for wish in asked]
    assert events_of(together) == events_of(alone)
    assert [made.song for made in together] == [made.song for made in alone]
    turned = make_songs(facts, asked[::-1], play)[::-1]
    assert events_of(together) == events_of(turned)
    for wish, made in zip(asked, together, strict=True):
        assert len(made.log_prob) == len(made.events) >= wish.steps
        assert (made.checked, made.remade) == (None, 0)


def test_calls_keep_to_what_the_model_takes(serve, make_model):
    model = make_model({"name": "notes"})
    model.limits |= {"max_batch": 4, "max_events": 130}
    server = serve({3: model})
    with Connection(server.target, timeout=10) as connection:
        client = GenerationClient(connection)
        asked = [*wishes(0, 3, 6, 9, 12, 15), *wishes(1, steps=100), *wishes(0, 3, 6, steps=5)]
        made = make_songs(client.describe(), asked, play_calls(client))
        rows = [len(call[2]["seed"]) for call in server.calls if call[0] == "generate"]
        one_by_one = [make_songs(client.describe(), [wish], play_calls(client)) for wish in asked]
    assert max(rows) <= 4
    assert sum(rows) == len(asked)
    assert len(rows) < len(asked)
    assert events_of(made) == [events_of(one)[0] for one in one_by_one]


def test_no_wishes_are_no_songs_and_no_call(client, toy):
    assert make_songs(client.describe(), [], play_calls(client)) == []
    assert [call[0] for call in toy.calls] == ["describe"]


def test_endings_share_their_first_notes_and_end_differently(client):
    facts, play = client.describe(), play_calls(client)
    for seed in range(6):
        chord, bar = (
            make_songs(facts, wishes(seed, ending=ending), play)[0] for ending in ("chord", "bar")
        )
        shared = min(len(chord.events), len(bar.events))
        assert shared >= 30
        assert np.array_equal(chord.events[:shared], bar.events[:shared])
        assert bar.song.end <= (bar.song.notes[-1, ONSET] // 72 + 1) * 72
        assert bar.song.notes[0, ONSET] == chord.song.notes[0, ONSET] < 72


def test_a_song_that_ended_before_its_first_note_is_told_and_stops_no_other(client, toy):
    toy.versions[3].ends_one_in = 5
    made = make_songs(client.describe(), wishes(*range(40), may_end=True), play_calls(client))
    silent = [one for one in made if isinstance(one, SegueError)]
    assert 0 < len(silent) < 40
    assert "ended the song before its first note; choose another --seed" in str(silent[0])
    assert all(len(one.song) for one in made if isinstance(one, Made))


# originality


class Copying:
    """A check to which every note of some pitches is a copy, from the first such bar on."""

    bound = 3

    def __init__(self, *pitches):
        self.pitches, self.seen = set(pitches), []

    def check(self, song):
        self.seen.append(song)
        at = [i for i, note in enumerate(song.notes) if int(note[2]) in self.pitches]
        if not at:
            return Checked(None, 1, self.bound, 0.0)
        bar = int(song.notes[at[0], ONSET]) // 72 + 1
        longest = Copy(9, at[0], bar, "0" * 64, "learned", 1)
        return Checked(longest, 9, self.bound, 99.0)


def copying(client, asked, seeds):
    """A check that the songs of these seeds fail, and no others'."""
    plain = make_songs(client.describe(), asked, play_calls(client))
    pitches = {seed: {int(n[2]) for n in made.song.notes} for seed, made in enumerate(plain)}
    clean = set.union(*(pitches[seed] for seed in range(len(asked)) if seed not in seeds))
    return plain, [next(iter(sorted(pitches[seed] - clean))) for seed in seeds]


def test_copies_are_made_again_together_and_the_others_are_left(client, toy):
    asked = wishes(*range(4))
    plain, marked = copying(client, asked, (1, 3))
    check, before = Copying(*marked), len(toy.calls)
    made = make_songs(client.describe(), asked, play_calls(client), check, tries=8)
    calls = [call for call in toy.calls[before:] if call[0] == "generate"]
    assert [len(call[2]["seed"]) for call in calls][:2] == [4, 2]
    assert calls[1][2]["seed"].tolist() == [another_seed(1, 1), another_seed(3, 1)]
    for index in (0, 2):
        assert np.array_equal(made[index].events, plain[index].events)
        assert made[index].remade == 0
    for index in (1, 3):
        again = made[index]
        assert isinstance(again, Made)
        assert again.remade >= 1
        assert not again.checked.is_copy
        assert len(again.events) >= asked[index].steps
        assert len(again.log_prob) == len(again.events)
        # What stands before the bar of the copy is kept.
        bar = Copying(*marked).check(plain[index].song).longest.bar
        kept = int((plain[index].song.notes[:, ONSET] < (bar - 1) * 72).sum())
        assert np.array_equal(again.events[:kept], plain[index].events[:kept])
        assert not np.array_equal(again.events[:40], plain[index].events[:40])


def test_a_song_that_is_made_again_does_not_depend_on_those_beside_it(client):
    asked = wishes(*range(4))
    _, marked = copying(client, asked, (1, 3))
    facts, play, check = client.describe(), play_calls(client), Copying(*marked)
    together = make_songs(facts, asked, play, check, tries=8)
    alone = [make_songs(facts, [wish], play, check, tries=8)[0] for wish in asked]
    assert events_of(together) == events_of(alone)
    assert [one.remade for one in together] == [one.remade for one in alone]


def test_what_stays_a_copy_is_told_or_kept(client):
    asked = wishes(0, 1)
    check = Copying(*range(128))
    facts, play = client.describe(), play_calls(client)
    kept = make_songs(facts, asked, play, check)
    assert all(one.checked.is_copy and one.remade == 0 for one in kept)
    refused = make_songs(facts, asked, play, check, tries=2)
    assert all(isinstance(one, SegueError) for one in refused)
    assert "after 2 tries the song still shares 9 notes in a row with learned, allowed are 3" in (
        str(refused[0])
    )


def test_a_prime_that_grows_stays_within_what_the_model_takes(client, toy):
    toy.versions[3].limits["max_prime"] = 20
    asked = [dataclasses.replace(one, prime=section_of(song(50), CODEC, 20)) for one in wishes(0)]
    plain = make_songs(client.describe(), asked, play_calls(client))[0]
    # A pitch that first stands after the first bar.
    first = {int(n[2]) for n in plain.song.notes if n[ONSET] < 72}
    late = next(int(n[2]) for n in plain.song.notes if int(n[2]) not in first)
    check = Copying(late)
    made = make_songs(client.describe(), asked, play_calls(client), check, tries=20)[0]
    assert isinstance(made, Made)
    assert made.remade >= 1
    assert max(call[2]["prime_length"].max() for call in toy.calls if call[0] == "generate") == 20


def test_a_model_that_refuses_makes_nothing(client, toy):
    import grpc

    facts = client.describe()
    toy.failures.append((grpc.StatusCode.INTERNAL, "broken"))
    with pytest.raises(SegueError, match="failed with INTERNAL"):
        make_songs(facts, wishes(0, 1), play_calls(client))


def test_songs_from_nothing_are_songs(client):
    wish = Wish(prime_from_nothing(CODEC), 20, Sampling(seed=4))
    (made,) = make_songs(client.describe(), [wish], play_calls(client))
    assert len(made.song) == len(made.events) >= 20
