"""Wishes for songs, and the songs that a model makes of them: several in one call.

A wish is a prime, a length and how to draw. Songs are made together, brought to their
ends, and held against the training songs. Where a song must be original and is not, it
is made again from the bar in which its copy begins, with another seed: all that need it
together, round by round. What a song becomes does not depend on the others.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from client.assembling import CHORD, end_of, events_to_ask, onset_in_bar, song_of, whole_bar
from client.generation import Generated, GenerationClient, ModelFacts, Sampling
from client.originality import Checked, OriginalityCheck, another_seed, events_before_copy
from client.priming import Prime
from music.errors import SegueError
from music.song import Song

# Primes, numbers of steps and settings, one each a song; what the model made of them.
Play = Callable[[list[np.ndarray], list[int], list[Sampling]], list[Generated]]


@dataclasses.dataclass(frozen=True, eq=False)
class Wish:
    """One song that is wanted.

    Attributes:
      prime: what it goes on from.
      steps: events that it is to have, about: up to its ending.
      sampling: how they are drawn.
      ending: one of `client.assembling.ENDINGS`.
    """

    prime: Prime
    steps: int
    sampling: Sampling
    ending: str = CHORD


@dataclasses.dataclass(frozen=True, eq=False)
class Made:
    """A song that was made.

    Attributes:
      events: int32[S, F] codes, as far as the song goes.
      log_prob: float32[S], nats.
      song: what they spell, by itself: its first note stands where it did in its bar.
      checked: what it shares with the training songs; None where that was not looked at.
      remade: how often it was made again to be original.
    """

    events: np.ndarray
    log_prob: np.ndarray
    song: Song
    checked: Checked | None
    remade: int = 0


def play_calls(client: GenerationClient) -> Play:
    """Plays by as few `generate` calls as the model's limits allow."""

    def play(
        primes: list[np.ndarray], steps: list[int], samplings: list[Sampling]
    ) -> list[Generated]:
        limits = client.describe().limits
        made: list[Generated] = []
        while len(made) < len(primes):
            rest = slice(len(made), None)
            longest = max(*steps[rest], *map(len, primes[rest]))
            rows = max(min(limits.max_batch, limits.max_events // max(longest, 1)), 1)
            part = slice(len(made), len(made) + rows)
            made += client.generate(primes[part], steps[part], samplings[part])
        return made

    return play


def make_songs(
    facts: ModelFacts,
    wishes: Sequence[Wish],
    play: Play,
    check: OriginalityCheck | None = None,
    tries: int = 0,
) -> list[Made | SegueError]:
    """Makes songs, one a wish.

    Args:
      facts: of the model.
      wishes: what is wanted.
      play: how the model is asked.
      check: of originality; None checks nothing.
      tries: how often a song that copies may be made again; with 0 it stays as it is.

    Returns:
      In order, each song or why there is none: it ended before its first note, or it
      still copies after as many tries as were allowed.

    Raises:
      SegueError: the model refuses or cannot be asked; then nothing is made.
    """
    asked = [_asked(facts, wish) for wish in wishes]
    played = play([wish.prime.events for wish in wishes], asked, [wish.sampling for wish in wishes])
    found: list[Made | SegueError] = []
    for wish, generated in zip(wishes, played, strict=True):
        made = _ended(facts, wish, generated, check)
        found.append(made if len(made.song) else _silent(facts))
    raw = list(played)
    for attempt in range(1, tries + 1):
        copies = [i for i, made in enumerate(found) if isinstance(made, Made) and _copies(made)]
        if not copies or check is None:
            break
        _make_again(facts, wishes, asked, play, check, attempt, copies, found, raw)
    return [
        _not_original(made, tries) if tries and isinstance(made, Made) and _copies(made) else made
        for made in found
    ]


def _make_again(
    facts: ModelFacts,
    wishes: Sequence[Wish],
    asked: Sequence[int],
    play: Play,
    check: OriginalityCheck,
    attempt: int,
    copies: Sequence[int],
    found: list[Made | SegueError],
    raw: list[Generated],
) -> None:
    """Another way on, from the bar in which each copy begins; mends `found` and `raw`."""
    primes, steps, samplings, kept = [], [], [], []
    for i in copies:
        wish, made = wishes[i], found[i]
        assert isinstance(made, Made)
        assert made.checked is not None
        assert made.checked.longest is not None  # it is a copy
        onset = onset_in_bar(facts.codec, wish.prime, raw[i].events)
        before = events_before_copy(
            facts.codec, raw[i].events, made.song, made.checked.longest, onset
        )
        kept.append(before)
        heard = np.concatenate([wish.prime.events, raw[i].events[:before]])
        primes.append(heard[-facts.limits.max_prime :])
        steps.append(asked[i] - before)
        seed = another_seed(wish.sampling.seed, attempt)
        samplings.append(dataclasses.replace(wish.sampling, seed=seed))
    for i, before, rest in zip(copies, kept, play(primes, steps, samplings), strict=True):
        whole = Generated(
            np.concatenate([raw[i].events[:before], rest.events]),
            np.concatenate([raw[i].log_prob[:before], rest.log_prob]),
            rest.state,
        )
        again = _ended(facts, wishes[i], whole, check)
        if len(again.song):  # else it ended before its first note: another try
            raw[i], found[i] = whole, dataclasses.replace(again, remade=attempt)


def _asked(facts: ModelFacts, wish: Wish) -> int:
    return events_to_ask(facts.codec, wish.steps, wish.ending, facts.limits.max_steps)


def _ended(
    facts: ModelFacts, wish: Wish, generated: Generated, check: OriginalityCheck | None
) -> Made:
    """A song of what was generated, up to its end."""
    codec, bar = facts.codec, whole_bar(wish.prime.song)
    onset = onset_in_bar(codec, wish.prime, generated.events)
    end = end_of(codec, generated.events, wish.steps, wish.ending, bar, onset)
    events = generated.events[: end.events]
    song = song_of(codec, events, wish.prime.song, onset, end.tick)
    checked = check.check(song) if check is not None and len(song) else None
    return Made(events, generated.log_prob[: end.events], song, checked)


def _copies(made: Made) -> bool:
    return made.checked is not None and made.checked.is_copy


def _silent(facts: ModelFacts) -> SegueError:
    return SegueError(
        f"model {facts.model!r} ended the song before its first note; "
        "choose another --seed, or keep it from ending"
    )


def _not_original(made: Made, tries: int) -> SegueError:
    assert made.checked is not None
    assert made.checked.longest is not None
    return SegueError(
        f"after {tries} tries the song still shares {made.checked.run} notes in a row with "
        f"{made.checked.longest.title}, allowed are {made.checked.bound}: choose another --seed "
        "or prime, a higher --temperature, or more --tries"
    )
