"""All that stands anywhere in a set of sequences, in space and time that grow with it.

A suffix automaton reads a sequence and knows, symbol by symbol, the longest stretch
up to there that stands in one of the sequences it was made of. It has at most two
states a symbol. Each state stands for the stretches that end at the same places; its
link leads to the longest shorter stretch that ends at more. Blumer et al. 1985, "The
smallest automaton recognizing the subwords of a text"; for several sequences as in
Mohri, Moreno and Weinstein 2009, "General suffix automaton construction algorithm".

Every state also knows the first and the last sequence that its stretches stand in. So
"in another one than this" is answered by the state alone, and the automaton of all
sequences serves to hold each of them against all others.

`build` works on Python's own lists and dicts; what comes out is numpy arrays, which
are written and read as one file.
"""

from __future__ import annotations

import dataclasses
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import BinaryIO

import numpy as np

ROOT = 0


@dataclasses.dataclass(frozen=True, eq=False)
class Match:
    """A sequence, read by an automaton.

    Attributes:
      lengths: int64[N]: at each place, how many symbols up to it, itself included, stand
        together in one of the automaton's sequences.
      states: int64[N]: the states that say so, for `SuffixAutomaton.place`.
    """

    lengths: np.ndarray
    states: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class SuffixAutomaton:
    """S states, E edges between them; state 0 is the beginning.

    Attributes:
      lengths: int32[S]: of the longest stretch of a state.
      links: int32[S]: -1 for the beginning.
      sequences: int32[S, 2]: the first and the last sequence with its stretches.
      ends: int32[S, 2]: where they end there for the first time, an index.
      edges: int32[S + 1]: a state's edges are from its entry to the next one's.
      symbols: int64[E]: ascending within a state.
      targets: int32[E].
    """

    lengths: np.ndarray
    links: np.ndarray
    sequences: np.ndarray
    ends: np.ndarray
    edges: np.ndarray
    symbols: np.ndarray
    targets: np.ndarray

    def match(self, sequence: Iterable[int], other_than: int | None = None) -> Match:
        """Reads a sequence.

        Args:
          sequence: of symbols.
          other_than: stretches that stand in this one of the automaton's sequences and
            in no other do not count.
        """
        # Numbers out of a memoryview are Python's own, several times faster than numpy's.
        known, links, edges = self.lengths.data, self.links.data, self.edges.data
        symbols, targets = self.symbols.data, self.targets.data
        first, last = (np.ascontiguousarray(side).data for side in self.sequences.T)
        state, length = ROOT, 0
        lengths, states = [], []
        for symbol in sequence:
            while True:
                low, high = edges[state], edges[state + 1]
                place = bisect_left(symbols, symbol, low, high)
                if place < high and symbols[place] == symbol:
                    target = targets[place]
                    if first[target] != other_than or last[target] != other_than:
                        state, length = target, length + 1
                        break
                if state == ROOT:
                    length = 0
                    break
                state = links[state]
                length = known[state]
            lengths.append(length)
            states.append(state)
        return Match(np.array(lengths, np.int64), np.array(states, np.int64))

    def place(self, state: int, other_than: int | None = None) -> tuple[int, int]:
        """(sequence, index of the last symbol) of one occurrence of a state's stretches.

        Args:
          state: not the beginning.
          other_than: a sequence that is not wanted, if there is another.
        """
        which = int(self.sequences[state, 0] == other_than)
        return int(self.sequences[state, which]), int(self.ends[state, which])

    def save(self, file: BinaryIO) -> None:
        """Writes it as .npz."""
        np.savez_compressed(file, **dataclasses.asdict(self))

    @classmethod
    def load(cls, file: BinaryIO) -> SuffixAutomaton:
        """What `save` wrote.

        Raises:
          ValueError: it is no such file.
        """
        names = [field.name for field in dataclasses.fields(cls)]
        with np.load(file, allow_pickle=False) as found:
            missing = sorted(set(names) - set(found.files))
            if missing:
                raise ValueError(f"the index lacks {', '.join(missing)}")
            return cls(**{name: found[name] for name in names})


def build(sequences: Iterable[Sequence[int]]) -> SuffixAutomaton:
    """The automaton of some sequences of symbols, integers of 0 or more.

    Returns:
      One that depends on the sequences and their order alone.
    """
    states = _States()
    for number, sequence in enumerate(sequences):
        last = ROOT
        for index, symbol in enumerate(sequence):
            last = states.extend(last, symbol)
            states.visit(last, number, index)
    return states.freeze()


class _States:
    """The automaton while it grows.

    Most states have one edge, which is kept in two arrays; the others of a state, if it
    has any, in a dict of its own.
    """

    def __init__(self) -> None:
        self.lengths, self.links = array("i", [0]), array("i", [-1])
        # (first sequence, its end, last sequence, its end); -1 where none was visited.
        self.visits = [array("i", [-1]) for _ in range(4)]
        self.symbol, self.target = array("q", [-1]), array("i", [-1])
        self.more: dict[int, dict[int, int]] = {}

    def extend(self, last: int, symbol: int) -> int:
        """The state of what `last` stands for and one symbol more."""
        known = self._get(last, symbol)
        if known >= 0:  # another sequence went the same way
            return self._exactly(last, symbol, known)
        state = self._new(self.lengths[last] + 1)
        while last >= 0 and self._get(last, symbol) < 0:
            self._put(last, symbol, state)
            last = self.links[last]
        self.links[state] = (
            ROOT if last < 0 else self._exactly(last, symbol, self._get(last, symbol))
        )
        return state

    def visit(self, state: int, sequence: int, index: int) -> None:
        """Notes that a sequence up to an index is what the state stands for."""
        first, first_end, last, last_end = self.visits
        if first[state] < 0:
            first[state], first_end[state] = sequence, index
        if last[state] != sequence:
            last[state], last_end[state] = sequence, index

    def _exactly(self, state: int, symbol: int, target: int) -> int:
        """The state of `state`'s longest stretch and a symbol, split off where it shares one."""
        length = self.lengths[state] + 1
        if self.lengths[target] == length:
            return target
        clone = self._new(length)
        self.links[clone] = self.links[target]
        self.symbol[clone], self.target[clone] = self.symbol[target], self.target[target]
        if target in self.more:
            self.more[clone] = dict(self.more[target])
        self.links[target] = clone
        while state >= 0 and self._get(state, symbol) == target:
            self._put(state, symbol, clone)
            state = self.links[state]
        return clone

    def _new(self, length: int) -> int:
        self.lengths.append(length)
        for column in (self.links, self.symbol, self.target, *self.visits):
            column.append(-1)
        return len(self.lengths) - 1

    def _get(self, state: int, symbol: int) -> int:
        if self.symbol[state] == symbol:
            return self.target[state]
        edges = self.more.get(state)
        return -1 if edges is None else edges.get(symbol, -1)

    def _put(self, state: int, symbol: int, target: int) -> None:
        if self.symbol[state] in (-1, symbol):
            self.symbol[state], self.target[state] = symbol, target
        else:
            self.more.setdefault(state, {})[symbol] = target

    def freeze(self) -> SuffixAutomaton:
        """The arrays; what a state stands for ends also where those ended that link to it."""
        lengths, links = np.array(self.lengths), self.links
        first, first_end, last, last_end = self.visits
        for state in np.argsort(-lengths, kind="stable")[:-1].tolist():
            link = links[state]
            if first[link] < 0 or (first[state], first_end[state]) < (first[link], first_end[link]):
                first[link], first_end[link] = first[state], first_end[state]
            if (last[state], -last_end[state]) > (last[link], -last_end[link]):
                last[link], last_end[link] = last[state], last_end[state]
        states = np.flatnonzero(np.array(self.symbol) >= 0)
        extra = [(s, y, t) for s, edges in self.more.items() for y, t in edges.items()]
        rows = np.array(extra, np.int64).reshape(-1, 3)
        state = np.concatenate([states, rows[:, 0]])
        symbol = np.concatenate([np.array(self.symbol)[states], rows[:, 1]])
        target = np.concatenate([np.array(self.target)[states], rows[:, 2]])
        order = np.lexsort((symbol, state))
        counts = np.bincount(state, minlength=len(lengths))
        return SuffixAutomaton(
            lengths=lengths,
            links=np.array(links),
            sequences=np.stack([np.array(first), np.array(last)], axis=1),
            ends=np.stack([np.array(first_end), np.array(last_end)], axis=1),
            edges=np.concatenate([[0], np.cumsum(counts)]).astype(np.int32),
            symbols=symbol[order],
            targets=target[order].astype(np.int32),
        )
