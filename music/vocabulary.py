"""Which codes a model keeps, and where all the others go.

Codes are the same for everybody; a vocabulary belongs to one catalogue and lives
inside one model. Per field it keeps the codes seen often enough, and for every
other code names the nearest kept one, as a table over all codes of the field, so
that no input can be unknown.

Snapping must not buy likelihood: a model that called every duration "a quarter"
would predict durations perfectly. So a code also pays for its place among those
that share its class. With c(v) the count of code v in the training split and C
the class it falls in,

    p(v | C) = (c(v) + 1/|C|) / (sum of c over C + 1),

one pseudo-count spread evenly, so that the shares of a class sum to one and no
code is impossible. `share_nll` holds -log p(v | C) for every code; added to the
model's own cross-entropy it gives the likelihood of the raw event.

A closed vocabulary is the paper's: rare tokens are dropped from the music before
anything is predicted, nothing is snapped in training, and no share is paid.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from music.codec import Codec, build_codec
from music.errors import SegueError


@dataclasses.dataclass(frozen=True)
class FieldVocabulary:
    """The kept codes of one field.

    Attributes:
      name: the field's name.
      kept: ascending; a code's place here is its index in the model.
      counts: (code, count in the training split), ascending by code, for every
        code that was seen.
    """

    name: str
    kept: tuple[int, ...]
    counts: tuple[tuple[int, int], ...]

    def __len__(self) -> int:
        return len(self.kept)


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """The kept codes of every field of a codec.

    Attributes:
      codec: as `build_codec` takes it.
      fields: one for each field of the codec, in its order.
      closed: whether other codes are dropped from the music instead of snapped.
    """

    codec: Mapping[str, Any]
    fields: tuple[FieldVocabulary, ...]
    closed: bool = False

    @property
    def sizes(self) -> tuple[int, ...]:
        """The number of kept codes of each field."""
        return tuple(len(field) for field in self.fields)

    @functools.cached_property
    def tables(self) -> tuple[np.ndarray, ...]:
        """For each field int32[size]: a code's index in the model."""
        codec = build_codec(dict(self.codec))
        return tuple(
            _nearest(codec, column, field.kept) for column, field in enumerate(self.fields)
        )

    @functools.cached_property
    def share_nll(self) -> tuple[np.ndarray, ...]:
        """For each field float32[size]: -log of a code's share in its class, nats."""
        tables = self.tables
        if self.closed:
            return tuple(np.zeros(len(table), np.float32) for table in tables)
        return tuple(
            _share_nll(table, field) for table, field in zip(tables, self.fields, strict=True)
        )

    def indices(self, events: np.ndarray) -> np.ndarray:
        """Model indices int32[T, F] of codes int32[T, F]."""
        columns = [table[events[:, column]] for column, table in enumerate(self.tables)]
        return np.stack(columns, axis=1).astype(np.int32)

    def snap(self, events: np.ndarray) -> np.ndarray:
        """int32[T, F]: each code's nearest kept one, which is what a model hears and plays."""
        kept = [np.array(field.kept, np.int32) for field in self.fields]
        indices = self.indices(events)
        return np.stack([codes[indices[:, f]] for f, codes in enumerate(kept)], axis=1)

    def keeps(self, events: np.ndarray) -> np.ndarray:
        """bool[T]: events all of whose codes are kept."""
        keep = np.ones(len(events), bool)
        for column, field in enumerate(self.fields):
            keep &= np.isin(events[:, column], field.kept)
        return keep

    def admit(self, events: np.ndarray) -> np.ndarray:
        """The events that this vocabulary lets into the music."""
        return events[self.keeps(events)] if self.closed else events

    def to_json(self) -> str:
        """Everything, as one JSON object; the same vocabulary gives the same text."""
        return json.dumps(
            {
                "codec": dict(self.codec),
                "closed": self.closed,
                "fields": [
                    {
                        "name": field.name,
                        "kept": list(field.kept),
                        "counts": [list(pair) for pair in field.counts],
                    }
                    for field in self.fields
                ],
            },
            sort_keys=True,
        )

    @classmethod
    def from_json(cls, text: str) -> Vocabulary:
        """The vocabulary that `to_json` wrote."""
        value = json.loads(text)
        return cls(
            codec=value["codec"],
            closed=value["closed"],
            fields=tuple(
                FieldVocabulary(
                    field["name"],
                    tuple(field["kept"]),
                    tuple((code, count) for code, count in field["counts"]),
                )
                for field in value["fields"]
            ),
        )


# A field of no more codes keeps them all.
_SMALL = 256


def build_vocabulary(
    codec: Codec,
    counts: Sequence[Mapping[int, int]],
    min_count: int = 1,
    closed: bool = False,
    max_size: int | None = None,
) -> Vocabulary:
    """The vocabulary of a catalogue.

    Small fields (pitch, velocity, part) keep every code: a transposed song may need
    any pitch. The others keep what was seen at least `min_count` times, and of that, where a large
    catalogue has seen almost everything, the `max_size` most frequent codes.

    Args:
      codec: what the codes belong to.
      counts: for each field, how often a code stands in the training split.
      min_count: how often a code must be seen to be kept.
      closed: see `Vocabulary`.
      max_size: the most codes that such a field keeps; of equally frequent ones
        the smaller come first. None keeps all.

    Raises:
      SegueError: nothing is frequent enough to be kept.
    """
    fields = []
    for column, field in enumerate(codec.fields):
        seen = {int(code): int(count) for code, count in counts[column].items()}
        if field.size <= _SMALL:
            kept = set(range(field.size))
        else:
            often = [code for code, count in seen.items() if count >= min_count]
            kept = set(sorted(often, key=lambda code: (-seen[code], code))[:max_size])
        if not kept:
            raise SegueError(
                f"no {field.name} is seen {min_count} times in {sum(seen.values()):,} events; "
                "give more music or lower min_count"
            )
        fields.append(FieldVocabulary(field.name, tuple(sorted(kept)), tuple(sorted(seen.items()))))
    return Vocabulary(codec.config(), tuple(fields), closed)


def _nearest(codec: Codec, column: int, kept: tuple[int, ...]) -> np.ndarray:
    size = codec.fields[column].size
    table = np.zeros(size, np.int32)
    kept_codes = np.array(kept)
    for start in range(0, size, 512):  # 512 rows at a time bound the matrix
        codes = np.arange(start, min(start + 512, size))
        # argmin takes the first of equals: the smaller code.
        table[codes] = codec.distances(column, codes, kept_codes).argmin(axis=1)
    return table


def _share_nll(table: np.ndarray, field: FieldVocabulary) -> np.ndarray:
    counts = np.zeros(len(table), np.float64)
    for code, count in field.counts:
        counts[code] = count
    members = np.bincount(table, minlength=len(field)).astype(np.float64)
    totals = np.bincount(table, weights=counts, minlength=len(field))
    share = (counts + 1.0 / members[table]) / (totals[table] + 1.0)
    return (-np.log(share)).astype(np.float32)
