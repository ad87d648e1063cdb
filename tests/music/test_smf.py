"""The container: what is read, what is mended, and what is refused."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from music.errors import MidiError, SegueError
from music.midi import Limits, parse_midi, write_midi
from music.song import Song
from tests.music.smf_bytes import END, NOTE, chunk, file_of, header, meta, number, off, on

WHOLE = [[0, 24, 60, 80, 0]]
TWO = [[0, 24, 60, 80, 0], [0, 24, 62, 80, 1]]
SECOND = [(0, on(62)), (24, off(62)), END]
TWO_TRACKS = file_of(NOTE, SECOND)


def rejection(data, limits=None):
    with pytest.raises(MidiError) as caught:
        parse_midi(data, "", limits or Limits())
    error = caught.value
    assert isinstance(error, SegueError)
    assert str(error) == f"{error.reason}: {error.detail}"
    assert error.detail.isprintable()
    return error


def read(data):
    """The notes, and the names of what was mended."""
    reading = parse_midi(data)
    assert all(repair.detail.isprintable() for repair in reading.repairs)
    return reading.song.notes.tolist(), [repair.name for repair in reading.repairs]


def track(*events, length=None):
    """A track whose length may lie."""
    data = chunk(*events)
    return data if length is None else data[:4] + length.to_bytes(4, "big") + data[8:]


# ---- the header ---------------------------------------------------------------


def test_no_bytes_are_an_empty_file():
    assert rejection(b"").reason == "empty"


@pytest.mark.parametrize(
    "data",
    [b"MT", b"<html>", b"MT0d" + TWO_TRACKS[4:], b"RIFF" + TWO_TRACKS, b"\0" + TWO_TRACKS],
)
def test_bytes_of_another_kind_are_not_midi(data):
    assert rejection(data).reason == "not-midi"


@pytest.mark.parametrize("size", [4, 10, 13, 14])
def test_a_file_of_a_header_alone_is_truncated(size):
    assert rejection(file_of(NOTE)[:size]).reason == "truncated"


def test_a_longer_header_is_read_past():
    longer = header(1, 1, 24)[:7] + b"\x0a" + header(1, 1, 24)[8:] + b"what"
    assert read(longer + chunk(*NOTE)) == (WHOLE, [])


@pytest.mark.parametrize("length", [0, 4, 5, 7, 22, 2**32 - 1])
def test_a_wrong_header_length_is_mended_where_a_track_follows(length):
    data = file_of(NOTE)
    wrong = data[:4] + length.to_bytes(4, "big") + data[8:]
    assert read(wrong) == (WHOLE, ["header-length"])


def test_a_header_that_leads_nowhere_is_refused():
    data = header(1, 1, 24)[:7] + b"\x08" + header(1, 1, 24)[8:] + bytes(40)
    assert rejection(data).reason == "damaged"
    assert rejection(data[:7] + b"\x80" + data[8:]).reason == "truncated"


def test_a_type_2_file_is_named_as_such():
    assert rejection(header(2, 1, 24) + chunk(*NOTE)).reason == "type-2"


def test_a_type_that_does_not_exist_is_damage():
    error = rejection(header(3, 1, 24) + chunk(*NOTE))
    assert (error.reason, error.detail) == (
        "damaged",
        "the header names type 3; there are 0, 1 and 2",
    )


@pytest.mark.parametrize("division", [0xE728, 0xE250, 0xE818, 0xF060])
def test_time_in_film_frames_is_refused(division):
    assert rejection(file_of(NOTE, division=division)).reason == "smpte"


def test_a_division_of_nothing_is_damage():
    assert rejection(file_of(NOTE, division=0)).reason == "damaged"


def riff(*chunks):
    body = b"RMID" + b"".join(
        name + len(data).to_bytes(4, "little") + data + bytes(len(data) % 2)
        for name, data in chunks
    )
    return b"RIFF" + len(body).to_bytes(4, "little") + body


def test_a_riff_wrapper_is_taken_off():
    odd = b"abc"
    assert read(riff((b"LIST", odd), (b"data", TWO_TRACKS), (b"DISP", odd))) == (TWO, [])
    assert rejection(riff((b"LIST", odd))).reason == "not-midi"


# ---- the chunks ---------------------------------------------------------------


@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_foreign_chunk_is_passed_over(at):
    chunks = [chunk(*NOTE), chunk(*SECOND)]
    chunks.insert(at, b"XFIH" + (9).to_bytes(4, "big") + b"MTrkMThd!")
    assert read(header(1, 2, 24) + b"".join(chunks)) == (TWO, ["foreign-chunk"])


def test_many_repairs_of_one_kind_are_told_once():
    junk = b"Junk" + bytes(4)
    (repair,) = parse_midi(header(1, 1, 24) + junk * 1_235 + chunk(*NOTE)).repairs
    assert repair.detail == "a chunk 'Junk' is no track; passed over (and 1,234 more)"


@pytest.mark.parametrize("announced", [0, 1, 3, 65_535])
def test_all_tracks_are_read_whatever_the_header_counts(announced):
    tracks = TWO_TRACKS[14:]
    assert read(header(1, announced, 24) + tracks) == (TWO, ["track-count"])


def test_a_type_0_file_of_two_tracks_is_read_as_type_1():
    assert read(header(0, 2, 24) + TWO_TRACKS[14:]) == (TWO, ["type-0"])


def test_a_track_whose_name_is_broken_is_not_lost_in_silence():
    broken = TWO_TRACKS[:14] + TWO_TRACKS[14:].replace(b"MTrk", b"mTrk", 1)
    error = rejection(broken)
    assert error.reason == "damaged"
    assert error.detail == "tracks announced: 2, found: 1, besides 1 of what is no track"
    assert rejection(file_of(NOTE).replace(b"MTrk", b"MTrx")).reason == "damaged"


@pytest.mark.parametrize(
    "extra", [b"\0", b"*", b"MTr", b"MTrk", b"MTrk\0\0\0", b"MThd", bytes(100), b"\xff" * 9]
)
def test_bytes_after_the_last_track_are_ignored(extra):
    assert read(TWO_TRACKS + extra) == (TWO, ["extra-bytes"])


def test_bytes_between_two_tracks_are_ignored():
    between = file_of(NOTE) + b"\0\0\0" + chunk(*SECOND)
    assert read(between[:11] + b"\2" + between[12:]) == (TWO, ["extra-bytes"])


# ---- the ends of tracks -------------------------------------------------------


def test_a_missing_end_of_track_is_mended():
    assert read(file_of(NOTE[:-1], SECOND)) == (TWO, ["end-of-track"])
    assert read(file_of(NOTE, SECOND[:-1])) == (TWO, ["end-of-track"])


@pytest.mark.parametrize("missing", [1, 2, 3, 4])
@pytest.mark.parametrize("delta", [0, 127, 128, 300_000])
def test_a_file_that_breaks_off_inside_its_last_end_of_track_is_mended(missing, delta):
    data = file_of(NOTE, [*SECOND[:-1], (delta, meta(0x2F))])
    nothing_of_it = missing == 4 and delta < 128
    assert read(data[:-missing]) == (TWO, ["end-of-track" if nothing_of_it else "last-byte"])


FOUR_EVENTS = [(0, on(60)), (24, off(60)), *SECOND]


@pytest.mark.parametrize("lost", range(5, len(chunk(*FOUR_EVENTS)) - 7))
def test_a_file_that_breaks_off_among_its_notes_is_truncated(lost):
    assert rejection(file_of(NOTE, FOUR_EVENTS)[:-lost]).reason == "truncated"


def test_a_file_that_breaks_off_before_a_track_is_truncated():
    first = len(file_of(NOTE))
    for more in range(1, 8):
        assert rejection(TWO_TRACKS[: first + more]).reason == "truncated"


@pytest.mark.parametrize("wrong", [-12, -8, -4, -3, -1, 1, 2, 9, 19, 10_000, 2**31])
@pytest.mark.parametrize("which", [0, 1])
def test_a_wrong_length_is_mended_by_the_end_of_track(wrong, which):
    events = [NOTE, SECOND]
    tracks = [
        track(*own, length=len(chunk(*own)) - 8 + (wrong if i == which else 0))
        for i, own in enumerate(events)
    ]
    assert read(header(1, 2, 24) + b"".join(tracks)) == (TWO, ["chunk-length"])


def test_a_length_of_zero_is_mended():
    data = header(1, 2, 24) + track(*NOTE, length=0) + track(*SECOND, length=0)
    assert read(data) == (TWO, ["chunk-length"])


def test_a_length_over_the_whole_next_track_swallows_nothing():
    length = len(chunk(*NOTE)) - 8 + len(chunk(*SECOND))
    data = header(1, 2, 24) + track(*NOTE, length=length) + chunk(*SECOND)
    assert read(data) == (TWO, ["chunk-length"])


def test_without_a_true_length_and_an_end_the_next_track_is_the_end():
    first = track(*NOTE[:-1], length=3)
    notes, repairs = read(header(1, 2, 24) + first + chunk(*SECOND))
    assert (notes, repairs) == (TWO, ["chunk-length", "end-of-track"])


def test_a_text_that_says_mtrk_is_no_track():
    text = (0, meta(0x01, *b"MTrk and MTrk"))
    assert read(file_of([text, *NOTE], SECOND)) == (TWO, [])
    lying = header(1, 2, 24) + track(text, *NOTE, length=5) + chunk(*SECOND)
    assert read(lying) == (TWO, ["chunk-length"])


def test_notes_that_spell_mtrk_are_notes():
    # Delta 77, a note-on by running status of pitch 84 and velocity 114, delta 107.
    body = b"\x00" + on(60) + b"MTrk" + bytes([84, 0]) + b"\x00" + off(60) + b"\x00" + meta(0x2F)
    data = header(1, 1, 24) + b"MTrk" + len(body).to_bytes(4, "big") + body
    notes, repairs = read(data)
    assert (notes, repairs) == ([[0, 184, 60, 80, 0], [77, 107, 84, 114, 0]], [])


def test_what_follows_the_end_of_track_inside_a_track_is_ignored_and_told():
    after = [*NOTE, (0, on(72)), (24, off(72))]
    assert read(file_of(after, SECOND)) == (TWO, ["after-end"])


def test_an_event_that_does_not_fit_into_its_track_is_damage():
    cut = [(0, on(60)), (24, bytes([0x80, 60]))]
    assert rejection(file_of(cut, SECOND)).reason == "damaged"
    assert rejection(file_of([*NOTE[:-1], (0, b"\xff\x01\x7fabc")], SECOND)).reason == "damaged"


# ---- the events ---------------------------------------------------------------

ILLEGAL = [b"\xf1\x7f", b"\xf2\x7f\x7f", b"\xf3\x7f"] + [bytes([0xF0 + i]) for i in (4, 5, 6)]
ILLEGAL += [bytes([0xF0 + i]) for i in range(8, 15)]


@pytest.mark.parametrize("message", ILLEGAL)
def test_a_system_message_is_passed_over_with_its_data(message):
    events = [(0, on(60)), (12, message), (12, bytes([60, 0])), END]
    # Status 9n goes on behind it, as players have it.
    assert read(file_of(events)) == (WHOLE, ["illegal-message"])


@pytest.mark.parametrize("message", [b"\xf1\x90", b"\xf2\x00\x90", b"\xf3\xff"])
def test_a_system_message_without_its_data_is_damage(message):
    assert rejection(file_of([(0, message), *NOTE])).reason == "damaged"


@pytest.mark.parametrize(
    "between", [meta(0x01, 65), b"\xf0\x03\x7e\x09\xf7", b"\xf7\x02\xf3\x01", meta(0x60)]
)
def test_a_status_byte_holds_over_what_is_no_channels_message(between):
    events = [(0, on(60)), (12, between), (12, bytes([60, 0])), END]
    assert read(file_of(events)) == (WHOLE, [])


def test_a_status_byte_does_not_hold_from_one_track_to_the_next():
    assert rejection(file_of(NOTE, [(0, bytes([60, 80])), END])).reason == "damaged"


@pytest.mark.parametrize("data", [[0x90, 200, 80], [0x90, 60, 200], [0x80, 60, 0x90]])
def test_a_note_with_a_data_byte_above_127_is_damage(data):
    assert rejection(file_of([(0, bytes(data)), *NOTE])).reason == "damaged"


@pytest.mark.parametrize("data", [[0xB0, 7, 200], [0xC0, 200], [0xE0, 200, 64], [0xA0, 60, 128]])
def test_a_controller_with_a_data_byte_above_127_is_passed_over(data):
    assert read(file_of([(0, bytes(data)), *NOTE])) == (WHOLE, ["data-byte"])


@pytest.mark.parametrize("digits", [4, 12, 300])
def test_a_number_of_more_bytes_than_midi_allows_is_damage(digits):
    # music21 reads up to a thousand; from ten on they fit no machine integer.
    wide = b"\xff" * digits + b"\x7f"
    for body in (b"\x00" + on(60) + wide + off(60), b"\x00\xff\x01" + wide, b"\x00\xf0" + wide):
        body += b"\x00" + meta(0x2F)
        data = header(1, 1, 24) + b"MTrk" + len(body).to_bytes(4, "big") + body
        assert rejection(data).reason == "damaged"


def test_deltas_of_up_to_four_bytes_are_read():
    for digits in range(1, 5):
        body = b"\x00" + on(60) + b"\x80" * (digits - 1) + b"\x18" + off(60) + b"\x00" + meta(0x2F)
        data = header(1, 1, 24) + b"MTrk" + len(body).to_bytes(4, "big") + body
        assert read(data) == (WHOLE, [])


events = st.lists(
    st.tuples(
        st.one_of(st.integers(0, 300), st.integers(0, 3_000)),
        st.one_of(
            st.builds(on, st.integers(0, 127), st.integers(0, 127), st.sampled_from([1, 2, 9])),
            st.builds(off, st.integers(0, 127), st.integers(0, 127), st.sampled_from([1, 2, 9])),
            st.builds(lambda data: meta(1, *data), st.binary(max_size=200)),
            st.builds(lambda data: b"\xf0" + number(len(data)) + data, st.binary(max_size=200)),
            st.builds(bytes, st.tuples(st.just(0xB3), st.integers(0, 119), st.integers(0, 127))),
        ),
    ),
    max_size=40,
)


@given(events)
def test_running_status_changes_nothing(events):
    """Dropping the status bytes that repeat gives the same notes and times."""
    running, status = [], None
    for delta, data in events:
        same = data[0] == status and data[0] < 0xF0
        status = data[0] if data[0] < 0xF0 else status
        running.append((delta, data[1:] if same else data))
    notes = [(0, on(60)), (24, off(60)), END]
    assert read(file_of([*events, *notes]))[0] == read(file_of([*running, *notes]))[0]


@given(events)
def test_a_note_begins_where_the_sum_of_all_deltas_is(events):
    at = list(itertools.accumulate(delta for delta, _ in events))
    begun = [
        (tick, data[1], data[2])
        for tick, (_, data) in zip(at, events, strict=True)
        if data[0] >> 4 == 9 and data[2]
    ]
    notes, _ = read(file_of([*events, (0, on(1, 1, channel=16)), (1, off(1, channel=16)), END]))
    assert sorted((n[0], n[2], n[3]) for n in notes) == sorted(
        [*begun, (sum(d for d, _ in events), 1, 1)]
    )


# ---- the limits ---------------------------------------------------------------


def test_a_file_that_is_too_large_is_refused_by_its_bytes_alone():
    error = rejection(b"MThd" + bytes(100), Limits(bytes=103))
    assert (error.reason, error.detail) == ("too-large", "more than 103 bytes; no more are read")
    assert rejection(bytes(104), Limits(bytes=104)).reason == "not-midi"


def test_events_are_counted_over_all_tracks():
    half = [(0, bytes([0xB0, 1, 1]))] * 1_100
    data = file_of([*half, *NOTE], [*half, *SECOND])
    assert rejection(data, Limits(events=2_000)).detail == "more than 2,000 events"
    assert len(parse_midi(data, "", Limits(events=3_000)).song) == 2


def test_a_file_that_takes_too_long_is_given_up():
    data = write_midi(Song([(i, 1, 60, 80, 0) for i in range(2_000)]))
    error = rejection(data, Limits(seconds=0))
    assert error.reason == "time-out"
    assert "within 0 s" in error.detail


def test_the_limit_of_events_is_kept_to_the_event():
    track = [(0, on(60)), (24, off(60))] * 300 + [END]
    counted = len(track) + 1  # the chunk
    assert len(parse_midi(file_of(track), "", Limits(events=counted)).song) == 300
    assert rejection(file_of(track), Limits(events=counted - 1)).reason == "too-large"
    assert rejection(file_of(track), Limits(events=10)).detail == "more than 10 events"


def test_a_small_file_may_be_late_too():
    assert rejection(file_of(NOTE), Limits(seconds=-1)).reason == "time-out"
