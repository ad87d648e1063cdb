"""The one kind of error that a person is meant to read."""

import pickle

from music.errors import MidiError, SegueError


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
