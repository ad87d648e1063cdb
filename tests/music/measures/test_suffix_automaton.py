"""Held against looking everywhere."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from music.measures.suffix_automaton import ROOT, SuffixAutomaton, build

sequences = st.lists(st.lists(st.integers(0, 2), max_size=12), min_size=1, max_size=5)


def stands_in(stretch, sequence):
    return any(
        sequence[first : first + len(stretch)] == stretch
        for first in range(len(sequence) - len(stretch) + 1)
    )


def longest_before(sequence, end, others):
    """How many symbols up to and with `end` stand together in one of the others."""
    for length in range(end + 1, 0, -1):
        stretch = sequence[end + 1 - length : end + 1]
        if any(stands_in(stretch, other) for other in others):
            return length
    return 0


@given(sequences, st.lists(st.integers(0, 3), max_size=12))
def test_lengths_are_those_of_looking_everywhere(known, read):
    match = build(known).match(read)
    expected = [longest_before(read, end, known) for end in range(len(read))]
    assert match.lengths.tolist() == expected


@given(sequences)
def test_leaving_one_out_is_an_automaton_of_the_others(known):
    automaton = build(known)
    for number, sequence in enumerate(known):
        others = known[:number] + known[number + 1 :]
        match = automaton.match(sequence, other_than=number)
        assert match.lengths.tolist() == [
            longest_before(sequence, end, others) for end in range(len(sequence))
        ]


@given(sequences, st.lists(st.integers(0, 2), max_size=12))
def test_a_place_is_where_the_stretch_stands(known, read):
    automaton = build(known)
    match = automaton.match(read)
    for end, (length, state) in enumerate(
        zip(match.lengths.tolist(), match.states.tolist(), strict=True)
    ):
        if state == ROOT:
            assert length == 0
            continue
        number, last = automaton.place(state)
        assert known[number][last + 1 - length : last + 1] == read[end + 1 - length : end + 1]


@given(sequences)
def test_a_place_in_another_sequence_is_in_another_one(known):
    automaton = build(known)
    for number, sequence in enumerate(known):
        match = automaton.match(sequence, other_than=number)
        for end, (length, state) in enumerate(
            zip(match.lengths.tolist(), match.states.tolist(), strict=True)
        ):
            if length:
                other, last = automaton.place(state, other_than=number)
                assert other != number
                stretch = sequence[end + 1 - length : end + 1]
                assert known[other][last + 1 - length : last + 1] == stretch


@given(sequences)
def test_there_are_at_most_two_states_a_symbol(known):
    symbols = sum(map(len, known))
    assert len(build(known).lengths) <= max(1, 2 * symbols)


def test_it_is_read_as_it_was_written():
    automaton, file = build([[1, 2, 1, 2, 3], [2, 3, 3]]), io.BytesIO()
    automaton.save(file)
    again = io.BytesIO()
    build([[1, 2, 1, 2, 3], [2, 3, 3]]).save(again)
    assert file.getvalue() == again.getvalue()
    file.seek(0)
    match = SuffixAutomaton.load(file).match([1, 2, 3, 3, 1])
    assert match.lengths.tolist() == [1, 2, 3, 3, 1]


def test_another_file_is_refused():
    file = io.BytesIO()
    np.savez(file, lengths=np.zeros(1))
    file.seek(0)
    with pytest.raises(ValueError, match="the index lacks edges, ends, links"):
        SuffixAutomaton.load(file)
