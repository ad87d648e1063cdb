"""Options of the commands that make songs, and what they stand for."""

import click
import pytest
from click.testing import CliRunner

from client.generation import Sampling
from client.rendering import FORMATS
from client.shaping import Shape
from music.errors import SegueError
from pipeline.song_options import (
    formats_option,
    sampling_of,
    sampling_options,
    shape_of,
    shape_options,
)


def parsed(*arguments):
    found = {}

    @click.command()
    @sampling_options
    @shape_options
    @formats_option("midi")
    def command(**values):
        found.update(values)

    ran = CliRunner().invoke(command, arguments)
    assert ran.exit_code == 0, ran.output
    return found


def test_what_is_not_said_is_the_clients_own_default():
    values = parsed()
    assert sampling_of(values) == Sampling()
    assert shape_of(values) == Shape()
    assert (values["ending"], values["formats"], values["steps"]) == ("chord", "midi", 250)


def test_what_is_said_is_taken():
    values = parsed(
        "--temperature", "0.5", "--top-k", "3", "--top-p", "0.9", "--seed", "-4", "--may-end",
        "--key", "Eb", "--range", "C2-C6", "--tempo", "90", "--ending", "bar",
    )  # fmt: skip
    assert sampling_of(values) == Sampling(0.5, 3, 0.9, -4, True)
    assert shape_of(values) == Shape(90.0, 0, 3, 36, 84)
    assert values["ending"] == "bar"
    assert shape_of(parsed("--transpose", "-5")) == Shape(transpose=-5)


def test_what_cannot_be_is_told():
    with pytest.raises(SegueError, match="is no tonic"):
        shape_of(parsed("--key", ""))
    with pytest.raises(SegueError, match="range 'high' is none"):
        shape_of(parsed("--range", "high"))


def test_help_names_every_format():
    @click.command()
    @formats_option("midi")
    def command(formats):
        pass

    told = CliRunner().invoke(command, ["--help"]).output
    assert all(name in told for name in FORMATS)
