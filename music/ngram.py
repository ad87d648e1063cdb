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

A catalogue of a million songs has billions of contexts, so a count is a number
under a 64-bit key and a table is two sorted arrays. From its highest bit down a
key holds

    48 bits  a hash of the context and its length
     3 bits  the field
    13 bits  the token

so that everything that followed a context stands in one stretch of the table:
three binary searches give c(hw), c(h) and t(h). Two contexts of one hash are
counted as one; of 30 million contexts that befalls about one pair, and as field
and token stand in the key unhashed, even theirs is a distribution that sums to
one. Hashes are evenly spread, so equal ranges of keys cut a table into parts of
about one size, a context never in two of them: counts too many for one worker
are merged, kept and read range by range.

Counts add up, so they can be gathered in pieces, in any order, and merged.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_TOKEN_BITS, _FIELD_BITS = 13, 3
MAX_TOKEN = 2**_TOKEN_BITS - 1
# One less than the bits allow, so that no key is the highest number there is.
MAX_FIELDS = 2**_FIELD_BITS - 1

_HASH = np.uint64(~(2 ** (_TOKEN_BITS + _FIELD_BITS) - 1) % 2**64)
_TOKENS = np.uint64(2**_TOKEN_BITS)
_END = np.uint64(2**64 - 1)
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)

# Keys that wait in memory until they are sorted: 2 MiB, which a cache holds.
_BATCH = 2**18


class NGramCounts:
    """How often each token followed each context, in songs seen so far.

    New keys wait unsorted; a full batch becomes a small table, and tables of
    about one size are merged (a log-structured merge), so that a key is moved
    only log(n) times.

    Args:
      order: the longest n-gram, in tokens; a context has up to order - 1.

    Raises:
      ValueError: the order is under 1.
    """

    def __init__(self, order: int):
        if order < 1:
            raise ValueError(f"an n-gram has an order of at least 1, got {order}")
        self.order = order
        self._waiting: list[np.ndarray] = []
        self._tables: list[np.ndarray] = []  # the largest first

    def __len__(self) -> int:
        """How many entries are held: never fewer than `table` will have."""
        return sum(map(len, self._waiting)) + sum(map(table_entries, self._tables))

    def add(self, events: np.ndarray) -> NGramCounts:
        """Counts the tokens of one song, int32[T, F].

        Raises:
          ValueError: a code is outside 0..`MAX_TOKEN`, or there are more than
            `MAX_FIELDS` fields.
        """
        stream = _Stream([events])
        for length in range(self.order):
            stream.lengthen(length)
            if not len(stream.at):
                break
            self._waiting.append(stream.keys())
        return self._sort_when_full()

    def merge(self, other: NGramCounts) -> NGramCounts:
        """Adds the counts of other songs, which stay as they are."""
        self._waiting += other._waiting
        for table in other._tables:
            self._push(table)
        return self._sort_when_full()

    def table(self) -> np.ndarray:
        """All counts: uint64[2, N + 1], the same for the same songs in any order.

        The first row holds the N keys, ascending, and the highest number; the
        second how many tokens were counted before each key, and at last in all.
        """
        self._sort()
        self._tables = [merge_tables(self._tables)]
        return self._tables[0]

    def model(self, alphabets: Sequence[int]) -> NGramModel:
        """The model of these counts; for the arguments see `NGramModel`."""
        return NGramModel(self.order, [self.table()], alphabets)

    def _sort_when_full(self) -> NGramCounts:
        if sum(map(len, self._waiting)) >= _BATCH:
            self._sort()
        return self

    def _sort(self) -> None:
        if self._waiting:
            keys = np.sort(np.concatenate(self._waiting))
            self._waiting = []
            self._push(_as_table(keys, None))

    def _push(self, table: np.ndarray) -> None:
        group, entries = [table], table_entries(table)
        while self._tables and table_entries(self._tables[-1]) <= 2 * entries:
            group.append(self._tables.pop())
            entries += table_entries(group[-1])
        self._tables.append(merge_tables(group))


class NGramModel:
    """Witten-Bell probabilities from counts.

    Args:
      order: of the counts.
      tables: what `NGramCounts.table` gave, cut at `part_bounds(len(tables))`;
        they may be memory-mapped.
      alphabets: how many codes each field could take.
    """

    def __init__(self, order: int, tables: Sequence[np.ndarray], alphabets: Sequence[int]):
        self.order = order
        self.tables = list(tables)
        self.alphabets = tuple(alphabets)
        self._bounds = part_bounds(len(self.tables))

    def probability(self, field: int, context: Sequence[int], token: int) -> float:
        """p(token | context) for a token of a field; the context is cut to the order."""
        tokens = np.array([*context, token], np.int64)[-self.order :]
        stream = _Stream.ending_in(tokens, field)
        uniform = np.full(len(tokens), self.alphabets[field])
        return float(self._probabilities(stream, uniform)[-1])

    def nll(self, events: np.ndarray) -> np.ndarray:
        """Nats of each event of a song given those before it.

        Args:
          events: int32[T, F] codes.

        Returns:
          float64[T].
        """
        return self.nlls([events])[0]

    def nlls(self, songs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """`nll` of several songs: in a large table, much quicker than one by one.

        Raises:
          ValueError: as `NGramCounts.add`.
        """
        if not songs:
            return []
        fields = songs[0].shape[1]
        stream = _Stream(songs)
        uniform = np.asarray(self.alphabets)[stream.field]
        nats = -np.log(self._probabilities(stream, uniform)).reshape(-1, fields).sum(axis=1)
        return np.split(nats, np.cumsum([len(events) for events in songs])[:-1])

    def _probabilities(self, stream: _Stream, alphabets: np.ndarray) -> np.ndarray:
        result = 1.0 / alphabets
        for length in range(self.order):
            stream.lengthen(length)
            if not len(stream.at):
                break
            found = self._look_up(stream.keys())
            seen = found[2] > 0  # where it is not, no longer context was seen either
            stream.keep(seen)
            count, total, kinds = found[:, seen]
            result[stream.at] = (count + kinds * result[stream.at]) / (total + kinds)
        return result

    def _look_up(self, keys: np.ndarray) -> np.ndarray:
        """int64[3, N]: c(hw), c(h), t(h) of keys uint64[N]."""
        found = np.zeros((3, len(keys)), np.int64)
        order = np.argsort(keys)  # neighbours in a table are searched one after the other
        keys = keys[order]
        cuts = [*np.searchsorted(keys, self._bounds).tolist(), len(keys)]
        for table, first, last in zip(self.tables, cuts[:-1], cuts[1:], strict=True):
            codes, before = table
            here = keys[first:last]
            context = here - here % _TOKENS
            start = codes.searchsorted(context)
            stop = codes.searchsorted(context + _TOKENS)
            place = codes.searchsorted(here)
            hit = codes[place] == here
            count = np.zeros(len(here), np.int64)
            count[hit] = before[place[hit] + 1] - before[place[hit]]
            found[:, order[first:last]] = count, before[stop] - before[start], stop - start
        return found


class _Stream:
    """The tokens of songs in a row, and the keys of their contexts, one length at a time.

    Args:
      songs: int32[T, F] each, of one F.

    Attributes:
      field: int64[N], the field of each token.
      at: which tokens still have a context of the present length.
    """

    def __init__(self, songs: Sequence[np.ndarray]):
        fields = songs[0].shape[1]
        if fields > MAX_FIELDS:
            raise ValueError(f"an n-gram takes up to {MAX_FIELDS} fields, got {fields}")
        tokens = np.concatenate([events.ravel() for events in songs])
        before = np.concatenate([np.arange(events.size) for events in songs])
        self._begin(tokens, np.arange(len(tokens)) % max(fields, 1), before, np.arange(len(tokens)))

    @classmethod
    def ending_in(cls, tokens: np.ndarray, field: int) -> _Stream:
        """Only the last token is looked at; it is one of this field."""
        stream = cls.__new__(cls)
        before = np.arange(len(tokens))
        stream._begin(tokens, np.full(len(tokens), field), before, before[-1:])
        return stream

    def _begin(self, tokens, field, before, at) -> None:
        if len(tokens) and not 0 <= tokens.min() <= tokens.max() <= MAX_TOKEN:
            worst = tokens.min() if tokens.min() < 0 else tokens.max()
            raise ValueError(f"an n-gram takes codes of 0..{MAX_TOKEN}, got {worst}")
        self.field = field
        self._before = before  # how many tokens of its song each has before it
        self._tokens = tokens.astype(np.uint64)
        self._low = (field.astype(np.uint64) << np.uint64(_TOKEN_BITS)) | self._tokens
        self.at = at
        self._hash = np.zeros(len(at), np.uint64)

    def lengthen(self, length: int) -> None:
        """From contexts of length - 1 to those of `length` tokens."""
        if length:
            self.keep(self._before[self.at] >= length)
            oldest = self._tokens[self.at - length]
            self._hash = _mix(self._hash + (oldest + np.uint64(1)) * _GOLDEN)

    def keep(self, which: np.ndarray) -> None:
        """Goes on with some of the tokens, bool[len(at)]."""
        self.at, self._hash = self.at[which], self._hash[which]

    def keys(self) -> np.ndarray:
        """The key of each token after its context, uint64[len(at)]."""
        return (self._hash & _HASH) | self._low[self.at]


def _mix(state: np.ndarray) -> np.ndarray:
    """The finaliser of SplitMix64 (Steele, Lea & Flood 2014): every bit moves every other."""
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


def table_entries(table: np.ndarray) -> int:
    """How many counts a table holds."""
    return table.shape[1] - 1


def merge_tables(tables: Sequence[np.ndarray]) -> np.ndarray:
    """The table of the counts of several, added up."""
    if len(tables) == 1:
        return tables[0]
    if not tables:
        return _as_table(np.zeros(0, np.uint64), None)
    keys = np.concatenate([table[0, :-1] for table in tables])
    counts = np.concatenate([np.diff(table[1]) for table in tables])
    # Sorted stretches in a row are what numpy's stable sort merges in linear time.
    order = np.argsort(keys, kind="stable")
    return _as_table(keys[order], counts[order])


def part_bounds(parts: int) -> np.ndarray:
    """The lowest key of each part of a table, uint64[parts]; the first is 0."""
    return np.array([(part << 48) // parts << 16 for part in range(parts)], np.uint64)


def part_cuts(table: np.ndarray, parts: int) -> list[int]:
    """Where the parts of a table begin, and where the last one ends: parts + 1 places."""
    cuts = np.searchsorted(table[0, :-1], part_bounds(parts))
    return [*cuts.tolist(), table_entries(table)]


def stretch_table(rows: np.ndarray) -> np.ndarray:
    """The table of some entries: table[:, first : stop + 1] as a table of its own."""
    table = np.array(rows)
    table[0, -1] = _END
    table[1] -= table[1, 0]
    return table


def _as_table(keys: np.ndarray, counts: np.ndarray | None) -> np.ndarray:
    """A table from ascending keys, each with a count (1 without counts), equal ones added up."""
    new = np.ones(len(keys), bool)
    new[1:] = keys[1:] != keys[:-1]
    first = np.flatnonzero(new)
    table = np.empty((2, len(first) + 1), np.uint64)
    table[0, :-1], table[0, -1] = keys[first], _END
    if counts is None:
        table[1, :-1], table[1, -1] = first, len(keys)
    else:
        table[1, 0] = 0
        table[1, 1:] = np.cumsum(counts)[np.append(first[1:], len(keys))[: len(first)] - 1]
    return table
