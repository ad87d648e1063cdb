"""The one kind of error that a person is meant to read."""

import pickle

import pytest

from music.errors import MidiError, SegueError, find_segue_error


def test_a_midi_error_is_a_segue_error_with_a_reason_that_can_be_counted():
    error = MidiError("no-notes", "there are no notes")
    assert isinstance(error, SegueError)
    assert (error.reason, error.detail) == ("no-notes", "there are no notes")
    assert str(error) == "no-notes: there are no notes"


def test_errors_come_back_whole_from_another_process():
    for error in (MidiError("damaged", "cut short"), SegueError("no such folder")):
        again = pickle.loads(pickle.dumps(error))
        assert type(again) is type(error)
        assert again.args == error.args
        assert vars(again) == vars(error)


def test_what_is_behind_an_error_of_a_library_is_found_as_it_was_raised():
    cause = MidiError("damaged", "cut short")
    wrapped = RuntimeError("a step failed")
    wrapped.__cause__ = cause
    assert find_segue_error(cause) is cause
    assert find_segue_error(wrapped) is cause
    assert find_segue_error(RuntimeError("SegueError: by the way")) is None


@pytest.mark.parametrize(
    "told",
    [
        SegueError("no such folder [while running 'MakeSongs']"),
        SegueError("no such folder [while running 'A/B'] [while running 'C']"),
        RuntimeError(
            "Pipeline job-1 failed in state FAILED: Traceback (most recent call last):\n"
            '  File "worker.py", line 1, in process\n'
            "music.errors.SegueError: an earlier one\n\nDuring handling of ...\n"
            "music.errors.SegueError: no such folder [while running 'MakeSongs']\n\n"
        ),
    ],
)
def test_what_beam_makes_of_an_error_in_a_worker_is_the_line_that_was_raised(told):
    found = find_segue_error(told)
    assert type(found) is SegueError
    assert str(found) == "no such folder"
