"""The baseline that a trained model has to beat: an n-gram with Witten-Bell back-off.

Events are read field by field as one stream of tokens; a token's probability
given the n - 1 tokens before it is interpolated with that of ever shorter
contexts (Witten & Bell 1991, method C, as in Chen & Goodman 1999, section 2.4):

    p(w | h) = (c(hw) + t(h) p(w | h')) / (c(h) + t(h)),

with c(hw) how often w followed h, c(h) how often anything did, t(h) how many
different tokens did, and h' the context without its oldest token. The chain ends
in the uniform distribution over the field's codes, so nothing is impossible and
every conditional sums to one. As tokens are in the order step, pitch, duration,
the probabilities of an event's fields multiply to that of the event, and its nats
can stand beside the model's.

Counts add up, so they can be gathered in pieces, in any order, and merged.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_Counts = dict[tuple[int, ...], dict[int, int]]


class NGramCounts:
    """How often each token followed each context, in songs seen so far.

    Args:
      order: the longest n-gram, in tokens; a context has up to order - 1.

    Raises:
      ValueError: the order is under 1.
    """

    def __init__(self, order: int):
        if order < 1:
            raise ValueError(f"an n-gram has an order of at least 1, got {order}")
        self.order = order
        # One table for each place in an event, as fields must not be mixed up.
        self.tables: list[_Counts] = []

    def add(self, events: np.ndarray) -> NGramCounts:
        """Counts the tokens of one song, int32[T, F]."""
        fields = events.shape[1]
        self._widen(fields)
        tokens = events.ravel().tolist()
        for index, token in enumerate(tokens):
            table = self.tables[index % fields]
            for length in range(min(index, self.order - 1) + 1):
                context = tuple(tokens[index - length : index])
                followers = table.setdefault(context, {})
                followers[token] = followers.get(token, 0) + 1
        return self

    def merge(self, other: NGramCounts) -> NGramCounts:
        """Adds the counts of other songs."""
        self._widen(len(other.tables))
        for mine, theirs in zip(self.tables, other.tables, strict=False):
            for context, followers in theirs.items():
                known = mine.setdefault(context, {})
                for token, count in followers.items():
                    known[token] = known.get(token, 0) + count
        return self

    def _widen(self, fields: int) -> None:
        while len(self.tables) < fields:
            self.tables.append({})


class NGramModel:
    """Witten-Bell probabilities from counts.

    Args:
      counts: of the training songs.
      alphabets: how many codes each field could take.
    """

    def __init__(self, counts: NGramCounts, alphabets: Sequence[int]):
        self.order = counts.order
        self.alphabets = tuple(alphabets)
        self._tables = counts.tables
        self._totals = [
            {context: sum(followers.values()) for context, followers in table.items()}
            for table in counts.tables
        ]

    def probability(self, field: int, context: Sequence[int], token: int) -> float:
        """p(token | context) for a token of a field; the context is cut to the order."""
        probability = 1.0 / self.alphabets[field]
        if field >= len(self._tables):
            return probability
        table, totals = self._tables[field], self._totals[field]
        longest = min(len(context), self.order - 1)
        for length in range(longest + 1):
            key = tuple(context[len(context) - length :])
            followers = table.get(key)
            if followers is None:  # then no longer context was seen either
                break
            kinds = len(followers)
            probability = (followers.get(token, 0) + kinds * probability) / (totals[key] + kinds)
        return probability

    def nll(self, events: np.ndarray) -> np.ndarray:
        """Nats of each event of a song given those before it.

        Args:
          events: int32[T, F] codes.

        Returns:
          float64[T].
        """
        count, fields = events.shape
        tokens = events.ravel().tolist()
        probabilities = [
            self.probability(index % fields, tokens[max(0, index - self.order + 1) : index], token)
            for index, token in enumerate(tokens)
        ]
        return -np.log(probabilities).reshape(count, fields).sum(axis=1)
