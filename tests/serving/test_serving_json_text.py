"""JSON with RapidJSON's liberties, its words for mistakes, and its numbers."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving import json_text
from serving.errors import ServingError

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(),
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20
)


@given(st.dictionaries(st.text(), VALUES))
def test_what_json_says_is_read_as_it_is(document):
    assert json_text.parse(json.dumps(document).encode()) == document


@given(st.dictionaries(st.text(), VALUES))
def test_both_parsers_read_alike(document):
    text = json.dumps(document)
    # The second member is one that only the loose parser takes.
    loose = text[:-1] + (", " if document else "") + '"not a number": NaN}'
    found = json_text.parse(loose.encode())
    assert math.isnan(found.pop("not a number"))
    assert found == {k: v for k, v in document.items() if k != "not a number"}


def test_numbers_beyond_json():
    found = json_text.parse(b'{"a": [NaN, Inf, -Inf, Infinity, -Infinity], "Inf": " Inf "}')
    assert math.isnan(found["a"][0])
    assert found["a"][1:] == [math.inf, -math.inf, math.inf, -math.inf]
    assert found["Inf"] == " Inf "


def test_integers_are_exact_up_to_64_bits_and_doubles_above():
    found = json_text.parse(b'{"a": [9223372036854775807, 18446744073709551615, 1.0, 1e2]}')["a"]
    assert found == [2**63 - 1, 2**64 - 1, 1.0, 100.0]
    assert [type(n) for n in found] == [int, int, float, float]
    for text in (b'{"a": 18446744073709551616}', b'{"a": 18446744073709551616, "b": NaN}'):
        assert type(json_text.parse(text)["a"]) is float


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "JSON Parse error: The document is empty"),
        (b"  ", "JSON Parse error: Invalid value. at offset: 2"),
        (b"instances", "JSON Parse error: Invalid value. at offset: 0"),
        (b'{"a" 1}', "JSON Parse error: Missing a colon after a name of object member."),
        (b'{"a": 1 "b": 1}', "JSON Parse error: Missing a comma or } after an object member."),
        (b'{"a": [1 "b"]}', "JSON Parse error: Missing a comma or ] after an array element."),
        (b'{"a": {"[": 1 2}}', "JSON Parse error: Missing a comma or } after an object member."),
        (b'{"a": "x', "JSON Parse error: Missing a closing quotation mark in string."),
        (b'{"a": "\\q"}', "JSON Parse error: Invalid escape character in string."),
        (b'{"a": "\\u12g4"}', "Incorrect hex digit after \\u escape in string."),
        (b'{"a": "\\ud800"}', "JSON Parse error: The surrogate pair in string is invalid."),
        (b'{"a": "\xff"}', "JSON Parse error: Invalid encoding in string. at offset: 7"),
        (b'{"a": 1e400}', "JSON Parse error: Number too big to be stored in double."),
        (
            b'{"a": ' + b"9" * 5000 + b"}",
            "JSON Parse error: Number too big to be stored in double.",
        ),
        (
            b'{"a": 1} {',
            "JSON Parse error: The document root must not be followed by other values.",
        ),
        (b"[" * 10**6, "JSON Parse error: "),
    ],
)
def test_mistakes_are_told_in_the_words_of_the_binary(text, said):
    with pytest.raises(ServingError) as caught:
        json_text.parse(text)
    assert caught.value.code.name == "INVALID_ARGUMENT"
    assert said in caught.value.message


def test_a_float32_is_written_with_its_shortest_digits():
    assert json_text.dump(np.float32([0.1, 2, 1 / 3])) == b"[0.1,2.0,0.33333334]"


@given(st.lists(st.floats(width=32), min_size=1))
def test_every_float32_reads_back(values):
    array = np.array(values, np.float32)
    text = json_text.dump(json_text.writable(array))
    np.testing.assert_array_equal(np.array(json.loads(text), np.float32), array)


def test_not_a_number_is_written_as_the_binary_does():
    array = np.array([[math.nan, math.inf], [-math.inf, 0.1]], np.float32)
    assert json_text.dump(json_text.writable(array)) == b"[[NaN, Infinity], [-Infinity, 0.1]]"


def test_long_values_are_quoted_in_part():
    assert json_text.show({"a": [1, "é"]}) == '{\n    "a": [\n        1,\n        "é"\n    ]\n}'
    shown = json_text.show(list(range(10**6)))
    assert len(shown) < 1100
    assert shown.endswith("...TRUNCATED")
