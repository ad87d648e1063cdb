"""Which notes are percussion, by channel, by message and by bank."""

import tracemalloc

import numpy as np
import pytest

from music.drums import Drums
from music.midi import parse_midi
from tests.music.smf_bytes import END, file_of, number, off, on

GM_ON = bytes.fromhex("7e7f0901f7")
GM_OFF = bytes.fromhex("7e7f0902f7")
GM2_ON = bytes.fromhex("7e7f0903f7")
GS_RESET = bytes.fromhex("41104212 40007f 0041f7")
XG_ON = bytes.fromhex("43104c 00007e 00f7")


def exclusive(data):
    return b"\xf0" + number(len(data)) + data


def gs_rhythm(block, value):
    return bytes([0x41, 0x10, 0x42, 0x12, 0x40, 0x10 | block, 0x15, value, 0, 0xF7])


def xg_part_mode(part, value):
    return bytes([0x43, 0x10, 0x4C, 0x08, part, 0x07, value, 0xF7])


def bank(value, channel=1):
    return [(0, bytes([0xB0 | channel - 1, 0, value])), (0, bytes([0xC0 | channel - 1, 0]))]


def note(channel=1, pitch=60):
    return [(0, on(pitch, channel=channel)), (24, off(pitch, channel=channel))]


def heard(*tracks):
    """Pitches that are music, and how many notes are percussion; 127 is always music."""
    sure = [(0, on(127, channel=16)), (24, off(127, channel=16)), END]
    song = parse_midi(file_of(*tracks, sure)).song
    return sorted(song.notes[:, 2].tolist())[:-1], song.percussion


def test_channel_10_is_percussion_and_no_other():
    for channel in range(1, 16):
        assert heard([*note(channel), END]) == (([], 1) if channel == 10 else ([60], 0))


@pytest.mark.parametrize(("block", "channel"), [(1, 1), (9, 9), (0xA, 11), (0xE, 15), (0, 10)])
def test_gs_turns_a_part_into_drums_and_back(block, channel):
    there = [(0, exclusive(gs_rhythm(block, 2))), *note(channel)]
    back = [(0, exclusive(gs_rhythm(block, 0))), *note(channel, 64)]
    assert heard([*there, *back, END]) == ([64], 1)


def test_xg_turns_a_part_into_drums_and_back():
    there = [(0, exclusive(xg_part_mode(2, 2))), *note(3)]
    back = [(0, exclusive(xg_part_mode(2, 0))), *note(3, 64)]
    assert heard([*there, *back, END]) == ([64], 1)


def test_banks_120_and_121_are_rhythm_and_melody():
    assert heard([*bank(120), *note(), *bank(121), *note(pitch=64), END]) == ([64], 1)
    assert heard([*bank(121, 10), *note(10), *bank(120, 10), *note(10), END]) == ([60], 1)


def test_a_bank_comes_into_force_with_the_next_program():
    assert heard([bank(120)[0], *note(), END]) == ([60], 0)


@pytest.mark.parametrize("number_of_bank", [126, 127])
def test_banks_of_xg_are_drums_once_xg_is_on(number_of_bank):
    drums = [*bank(number_of_bank), *note(), *bank(0), *note(pitch=64)]
    assert heard([*drums, END]) == ([60, 64], 0)
    assert heard([(0, exclusive(XG_ON)), *drums, END]) == ([64], 1)


@pytest.mark.parametrize("reset", [GM_ON, GM_OFF, GM2_ON, GS_RESET, XG_ON])
def test_a_reset_gives_the_drums_back_to_channel_10(reset):
    moved = [(0, exclusive(gs_rhythm(1, 1))), (0, exclusive(gs_rhythm(0, 0))), *bank(120, 2)]
    before = [*note(1), *note(2), *note(10, 50)]
    after = [*note(1, 61), *note(2, 62), *note(10, 63)]
    assert heard([*moved, *before, (0, exclusive(reset)), *after, END]) == ([50, 61, 62], 3)


def test_a_bank_chosen_again_after_a_reset_counts_again():
    events = [*bank(120), (0, exclusive(GM2_ON)), *bank(120), *note(), END]
    assert heard(events) == ([], 1)


def test_a_switch_in_one_track_holds_in_all_of_them_from_its_time_on():
    switches = [(24, exclusive(gs_rhythm(1, 1))), END]
    notes = [*note(pitch=60), *note(pitch=62), END]
    assert heard(switches, notes) == ([60], 1)
    assert heard(notes, switches) == ([60], 1)


def test_a_bank_of_another_track_does_not_join_this_ones_program():
    assert heard([bank(120)[0], END], [bank(120)[1], *note(), END]) == ([60], 0)


def test_drums_on_other_channels_take_no_part_number():
    drums = [(0, exclusive(gs_rhythm(1, 1))), *note(1), END]
    song = parse_midi(file_of(drums, [*note(2), END], [*note(3, 62), END])).song
    assert song.parts == [0, 1]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x41",
        b"\x7e\x7f",
        b"\x41\x10\x42\x12\x40\x11\x15",
        b"\x43\x10\x4c\x08\x10\x07\x01\xf7",
        b"\x43\x10\x4c",
    ],
)
def test_an_exclusive_message_cut_short_or_unknown_switches_nothing(data):
    assert heard([(0, exclusive(data)), *note(), END]) == ([60], 0)


# ---- many switches --------------------------------------------------------------


def switched(count, *messages):
    """Drums on all 16 channels by bank and program, then messages in turn, a tick apart."""
    drums = Drums()
    drums.begin_track()
    for tick in range(count):
        if tick < 16 or messages[tick % len(messages)] is None:
            drums.bank(tick % 16 + 1, 120)
            drums.program(tick, tick % 16 + 1)
        else:
            drums.exclusive(tick, messages[tick % len(messages)])
    return drums


@pytest.mark.parametrize("reset", [GM_ON, GS_RESET, XG_ON])
@pytest.mark.parametrize("between", [0, 16])
def test_memory_grows_with_the_switches_and_not_with_the_channels(reset, between):
    count = 10_000
    tracemalloc.start()
    try:
        drums = switched(count, reset, *[None] * between)
        drums.among(np.array([count]), np.array([1]))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # 60 to 100 bytes; one row for each channel at each reset would be 400.
    assert peak < 200 * count


def test_a_reset_that_changes_nothing_leaves_no_trace():
    drums = switched(1_000, GM_ON)
    states = drums._states(lambda: None)
    assert {channel: len(since) for channel, (since, _) in states.items()} == {
        channel: 2 for channel in range(1, 17) if channel != 10
    }


def test_the_order_of_switches_is_worked_out_under_the_callers_eye():
    calls = []
    switched(50_000, GM_ON).among(np.array([0]), np.array([1]), lambda: calls.append(1))
    assert len(calls) >= 3

    def enough():
        raise TimeoutError

    with pytest.raises(TimeoutError):
        switched(100, GM_ON).among(np.array([0]), np.array([1]), enough)
