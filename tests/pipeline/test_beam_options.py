"""Beam's arguments are passed on, and wrong ones are one line before anything runs."""

import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from music.errors import SegueError
from pipeline.beam_options import (
    MAX_FILE_BYTES,
    beam_arguments,
    check_beam,
    check_job_server,
    is_remote,
    read_arguments,
    told_of_workers,
)
from pipeline.configuration import load_configuration
from pipeline.options import beam_override

REPOSITORY = Path(__file__).parents[2]
UNUSED = "--sdk_container_image=unused"
POOL = ["--environment_type=EXTERNAL", "--environment_config=localhost:50000"]
PORTABLE = ["--runner=PortableRunner", "--job_endpoint=localhost:8099"]
DATAFLOW = [
    "--runner=DataflowRunner",
    "--project=my-project",
    "--region=europe-west1",
    "--temp_location=gs://my-bucket/beam",
    "--sdk_container_image=registry.example.com/segue:1-dataflow",
]


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--direct_num_workers=3", "--direct_running_mode=multi_threading"),
        ("--direct_num_workers", "3"),
        ("--runner=DirectRunner",),
        ("--runner=FlinkRunner",),
        ("--runner=SparkRunner",),
        ("--runner=flink", "--flink_master=localhost:8081", "--an_option_of_its_own=1", *POOL),
        ("--runner=PortableRunner", "--job_endpoint=embed", "--environment_type=LOOPBACK"),
        (*PORTABLE, *POOL),
        (*PORTABLE, "--environment_type=EXTERNAL",
         "--environment_options=external_service_address=localhost:50000"),
        (*PORTABLE, "--environment_config=registry.example.com/segue:1-worker"),
        (*PORTABLE, "--environment_type=PROCESS", '--environment_config={"command": "/boot"}'),
        (*PORTABLE, "--setup_file=./setup.py"),
        DATAFLOW,
    ],
)  # fmt: skip
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
        (["--job_endpoint=localhost:8099"], "says nothing to the DirectRunner"),
        (POOL, "--environment_type=EXTERNAL says nothing to the DirectRunner"),
        (["--runner=PortableRunner", *POOL], "has no job server; add --job_endpoint=HOST:PORT"),
        (["--runner=PortableRunner", "--job_endpoint=here", *POOL], "=here is no address"),
        ([*PORTABLE[:1], "--job_endpoint=localhost:99999", *POOL], "is no address"),
        ([*PORTABLE, "--artifact_endpoint=8098", *POOL], "--artifact_endpoint=8098 is no address"),
        (PORTABLE, "would be of Beam's own image, which has no Segue"),
        (["--runner=FlinkRunner", "--flink_master=flink:8081"], "which has no Segue"),
        ([*PORTABLE, "--environment_type=external"], "must be one of DOCKER, EXTERNAL, PROCESS"),
        ([*PORTABLE, "--environment_type=EXTERNAL"], "has no worker pool"),
        ([*PORTABLE, "--environment_type=PROCESS"], "has nothing to start"),
        (
            [*PORTABLE, *POOL, "--environment_options=process_command=/boot"],
            "Option process_command is not compatible with environment type EXTERNAL",
        ),
        *(
            ([one for one in DATAFLOW if not one.startswith(f"--{name}")], f"needs --{name}")
            for name in ("project", "region", "temp_location")
        ),
        (DATAFLOW[:-1], "would be of Beam's own image"),
        ([*DATAFLOW, "--temp_location=/tmp/beam"], "it must be gs://BUCKET/FOLDER"),
        ([*DATAFLOW, "--machine_typo=e2"], "the DataflowRunner does not know --machine_typo=e2"),
    ],
)
def test_what_cannot_work_is_one_line(arguments, words, capfd):
    with pytest.raises(SegueError) as caught:
        check_beam(arguments)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not capfd.readouterr().err


def test_tfx_does_not_pack_itself_for_workers_that_have_it_or_are_not_sent_it():
    assert beam_arguments([]) == [UNUSED]
    assert beam_arguments(["--direct_num_workers=2"]) == ["--direct_num_workers=2", UNUSED]
    own = ["--sdk_container_image=ours"]
    assert beam_arguments(own) == own
    assert beam_arguments([*PORTABLE, *POOL]) == [*PORTABLE, *POOL, UNUSED]
    flink = ["--runner=FlinkRunner", "--environment_config=ours:1", "--flink_master=flink:8081"]
    assert beam_arguments(flink) == [*flink, "--sdk_container_image=ours:1"]
    packed = [*PORTABLE, "--setup_file=./setup.py"]
    assert beam_arguments(packed) == packed
    assert beam_arguments(DATAFLOW) == DATAFLOW


def test_workers_are_elsewhere_with_every_runner_but_the_direct_one():
    assert not is_remote([])
    assert not is_remote(["--runner=direct"])
    assert is_remote([*PORTABLE, *POOL])
    assert is_remote(["--runner=FlinkRunner"])
    assert is_remote(DATAFLOW)


def test_a_file_holds_an_argument_a_line(tmp_path):
    file = tmp_path / "beam.args"
    file.write_text("# a cluster\n\n--runner=FlinkRunner\n  # and how\n --x=a b \n")
    assert read_arguments(["--y", f"@{file}"]) == ["--y", "--runner=FlinkRunner", "--x=a b"]
    assert read_arguments(["--y=@z"]) == ["--y=@z"]


def test_what_the_command_is_given_is_a_setting_of_the_pipeline(tmp_path):
    file = tmp_path / "beam.args"
    file.write_text('--x={"command": "/boot", "a": [1]}\n')
    assert beam_override(()) == []
    overrides = beam_override(("--runner=FlinkRunner", f"@{file}"))
    config = load_configuration(tmp_path, tmp_path, "smoke", overrides)
    assert config.beam_pipeline_args == (
        "--runner=FlinkRunner",
        '--x={"command": "/boot", "a": [1]}',
    )


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "No such file or directory"),
        (b"runner: FlinkRunner\n", "'runner: FlinkRunner' is no argument; write --name=value"),
        (b"--x=\xff\n", "is not text in UTF-8"),
        (b"#" * (MAX_FILE_BYTES + 1), "more than 65,536 bytes"),
    ],
)
def test_a_file_of_another_kind_is_one_line(tmp_path, content, words):
    file = tmp_path / "beam.args"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SegueError) as caught:
        read_arguments([f"@{file}"])
    assert words in str(caught.value)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize("name", ["flink", "dataflow"])
def test_the_files_that_users_adapt_are_taken(name):
    arguments = read_arguments([f"@{REPOSITORY / 'kubeflow' / name / 'beam.args'}"])
    check_beam(arguments)
    assert is_remote(arguments)
    assert any("image" in one for one in beam_arguments(arguments))


def test_a_job_server_that_is_not_there_is_told_at_once():
    check_job_server([])
    with socket.create_server(("localhost", 0)) as server:
        endpoint = f"localhost:{server.getsockname()[1]}"
        check_job_server(["--runner=PortableRunner", f"--job_endpoint={endpoint}"])
    with pytest.raises(SegueError, match=f"no job server at {endpoint} .*; start it"):
        check_job_server(["--runner=PortableRunner", f"--job_endpoint={endpoint}"])


def test_flinks_own_job_server_takes_java(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SegueError, match="with 'java', which is not there"):
        check_job_server(["--runner=FlinkRunner"])
    check_job_server(["--runner=FlinkRunner", "--flink_submit_uber_jar"])


# ---- workers that give up ---------------------------------------------------


@pytest.fixture
def job_server(tmp_path):
    """Beam's own, in a process of its own; its port."""
    with socket.create_server(("localhost", 0)) as free:
        port = free.getsockname()[1]
    module = "apache_beam.runners.portability.local_job_service_main"
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", module, f"--port={port}"],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=tmp_path,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + 120
        while True:
            try:
                socket.create_connection(("localhost", port), 1).close()
                break
            except OSError:
                assert process.poll() is None, (tmp_path / "log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.1)
        yield port
    finally:
        process.kill()
        process.wait()


def test_a_pool_that_is_down_is_one_line(job_server):
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions

    with socket.create_server(("localhost", 0)) as free:
        nobody = f"localhost:{free.getsockname()[1]}"
    arguments = [
        "--runner=PortableRunner",
        f"--job_endpoint=localhost:{job_server}",
        "--environment_type=EXTERNAL",
        f"--environment_config={nobody}",
    ]
    told = r"^the workers of the PortableRunner gave up: .*Connection refused; see that they are"
    with (
        pytest.raises(SegueError, match=told) as caught,
        told_of_workers(arguments),
        beam.Pipeline(options=PipelineOptions(arguments)) as pipeline,
    ):
        _ = pipeline | beam.Create([1]) | beam.Map(str)
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is not None


def test_what_fails_here_and_errors_of_ours_stay_what_they_are():
    with pytest.raises(ValueError, match="a defect"), told_of_workers([]):
        raise ValueError("a defect")
    with pytest.raises(ValueError, match="a defect"), told_of_workers(PORTABLE):
        raise ValueError("a defect")
    with pytest.raises(SegueError, match=r"^no songs$"), told_of_workers([*PORTABLE, *POOL]):
        raise SegueError("no songs")
    with pytest.raises(SegueError, match="gave up: KeyError: 7; "), told_of_workers(PORTABLE):
        raise RuntimeError("Pipeline failed: Traceback:\n  File x\nKeyError: 7\n\nmore")
