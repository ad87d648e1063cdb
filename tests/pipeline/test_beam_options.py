"""Beam's arguments are passed on, and wrong ones are one line before anything runs."""

import pytest

from music.errors import SegueError
from pipeline.beam_options import beam_arguments, check_beam


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--direct_num_workers=3", "--direct_running_mode=multi_threading"),
        ("--direct_num_workers", "3"),
        ("--runner=DirectRunner",),
        ("--runner=FlinkRunner", "--flink_master=localhost:8081", "--an_option_of_its_own=1"),
        ("--runner=PortableRunner", "--job_endpoint=embed"),
    ],
)
def test_what_beam_knows_passes(arguments):
    check_beam(arguments)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--direct_num_workers=abc"], "invalid int value: 'abc'"),
        (["--direct_running_mode=bogus"], "invalid choice: 'bogus'"),
        (["--runner=NopeRunner"], "Beam has no runner 'NopeRunner'"),
        (["--no_such_option=3"], "the DirectRunner does not know --no_such_option=3"),
        (["--direct_num_worker_count=3"], "does not know --direct_num_worker_count=3"),
    ],
)
def test_what_beam_does_not_know_is_one_line(arguments, words, capfd):
    with pytest.raises(SegueError) as caught:
        check_beam(arguments)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not capfd.readouterr().err


def test_tfx_does_not_pack_itself_for_workers_on_this_machine():
    image = "--sdk_container_image=unused"
    assert beam_arguments([]) == [image]
    assert beam_arguments(["--direct_num_workers=2"]) == ["--direct_num_workers=2", image]
    own = ["--sdk_container_image=ours"]
    assert beam_arguments(own) == own
    flink = ["--runner=FlinkRunner"]
    assert beam_arguments(flink) == flink
