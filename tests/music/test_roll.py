"""The piano roll as SVG."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from music.roll import piano_roll_svg
from music.song import Song

NAMESPACE = "{http://www.w3.org/2000/svg}"


def song(*rows, **facts) -> Song:
    return Song(np.array(rows, np.int32).reshape(-1, 5), **facts)


def bars(svg: str) -> list:
    root = ElementTree.fromstring(svg)
    return [rect for rect in root.iter(f"{NAMESPACE}rect") if rect.get("rx")]


def test_every_note_is_a_bar_at_its_time_and_height():
    low, high = bars(piano_roll_svg(song((0, 24, 60, 80, 0), (24, 48, 72, 80, 0))))
    assert float(high.get("x")) > float(low.get("x"))
    assert float(high.get("y")) < float(low.get("y"))
    assert float(high.get("width")) == pytest.approx(2 * float(low.get("width")), rel=0.01)


def test_bar_lines_follow_the_time_signature():
    notes = [(24 * beat, 24, 60, 80, 0) for beat in range(12)]
    four = piano_roll_svg(song(*notes)).count("<line")
    three = piano_roll_svg(song(*notes, time_signature="3/4")).count("<line")
    assert (four, three) == (4, 5)


def test_a_title_cannot_break_out_of_the_picture():
    svg = piano_roll_svg(song((0, 24, 60, 80, 0), title="<script>&"))
    assert "<script>" not in svg
    ElementTree.fromstring(svg)


def test_parts_have_colours_of_their_own_and_the_same_song_the_same_bytes():
    two = song((0, 24, 60, 80, 0), (0, 24, 67, 80, 1))
    assert len({bar.get("fill") for bar in bars(piano_roll_svg(two))}) == 2
    assert piano_roll_svg(two) == piano_roll_svg(two)


def test_a_song_without_notes_has_no_picture():
    with pytest.raises(ValueError, match="no picture"):
        piano_roll_svg(song())
