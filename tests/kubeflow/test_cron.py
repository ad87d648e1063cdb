"""A schedule is checked field by field before anything is submitted."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubeflow.cron import to_six_fields
from music.errors import SegueError


@pytest.mark.parametrize(
    ("given", "six"),
    [
        ("0 3 * * *", "0 0 3 * * *"),
        ("*/15 0-5,22 1,15 jan-mar MON-fri", "0 */15 0-5,22 1,15 JAN-MAR MON-FRI"),
        ("  5   4  *  *  0 ", "0 5 4 * * 0"),
        ("0-30/10 3 31 12 6", "0 0-30/10 3 31 12 6"),
    ],
)
def test_five_fields_of_crontab_become_six_with_the_seconds_first(given, six):
    assert to_six_fields(given) == six


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("", "five fields are wanted"),
        ("0 3 * *", "five fields are wanted"),
        ("0 0 3 * * *", "five fields are wanted"),
        ("@daily", "five fields are wanted"),
        ("60 3 * * *", "'60' is no minute, which is 0..59"),
        ("0 24 * * *", "'24' is no hour, which is 0..23"),
        ("0 3 0 * *", "'0' is no day of the month"),
        ("0 3 * 13 *", "'13' is no month, which is 1..12 or JAN..DEC"),
        ("0 3 * * 7", "'7' is no day of the week, which is 0..6 or SUN..SAT"),
        ("0 3 * * MAN", "'MAN' is no day of the week"),
        ("5-1 3 * * *", "'5-1' is no minute"),
        ("*/0 3 * * *", "'\\*/0' is no minute"),
        ("1,,2 3 * * *", "'' is no minute"),
        ("1- 3 * * *", "'1-' is no minute"),
        ("-1 3 * * *", "'-1' is no minute"),
        ("³ 3 * * *", "'³' is no minute"),
        ("1\n 3 * * * *", "five fields are wanted"),
        ("0 " * 200, "five fields are wanted"),
    ],
)
def test_what_is_no_schedule_is_one_line(expression, words):
    with pytest.raises(SegueError, match=words) as error:
        to_six_fields(expression)
    assert str(error.value).startswith("schedule ")
    assert "\n" not in str(error.value)


_LIMITS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 6))


@given(st.data())
def test_every_range_with_its_step_within_the_limits_is_taken(data):
    fields = []
    for least, most in _LIMITS:
        first, last = sorted(data.draw(st.tuples(*[st.integers(least, most)] * 2)))
        step = data.draw(st.integers(1, most))
        fields.append(f"{first}-{last}/{step}")
    assert to_six_fields(" ".join(fields)) == " ".join(["0", *fields])


@given(st.text("0123456789*/,- \nA³", max_size=30))
def test_whatever_is_given_ends_as_six_fields_or_is_refused(text):
    six = ""
    with contextlib.suppress(SegueError):
        six = to_six_fields(text)
    assert not six or len(six.split(" ")) == 6
