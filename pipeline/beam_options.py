"""Beam's arguments: passed on as they are configured, once they make sense.

Who does the work is for Beam's own arguments to say: a runner here, one behind a job
server, Flink, Dataflow. Beam tells of a wrong argument by a usage text and an exit, or
not at all, and of workers that cannot do the work after minutes, in words that name
none of it. What can be known before anything runs is told here, in one line.
"""

from __future__ import annotations

import contextlib
import io
import logging
import re
import shutil
import socket
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from music.errors import SegueError, find_segue_error

DIRECT, PORTABLE, FLINK, SPARK, DATAFLOW = (
    "DirectRunner",
    "PortableRunner",
    "FlinkRunner",
    "SparkRunner",
    "DataflowRunner",
)
_DIRECT_RUNNERS = (DIRECT, "BundleBasedDirectRunner")
_PORTABLE_RUNNERS = (PORTABLE, FLINK, SPARK)
# For which nothing may be unknown; another runner's server has options of its own.
_STRICT = (*_DIRECT_RUNNERS, DATAFLOW)

# Where portable runners have their workers from.
_DOCKER, _EXTERNAL, _PROCESS, _LOOPBACK = "DOCKER", "EXTERNAL", "PROCESS", "LOOPBACK"
_ENVIRONMENTS = (_DOCKER, _EXTERNAL, _PROCESS, _LOOPBACK)
# What the workers are to install before they work.
_PACKAGES = ("setup_file", "extra_packages", "requirements_file")
_IMAGE = "--sdk_container_image"
_EMBEDDED = "embed"  # a job server in this process
_SECONDS = 5.0  # that a job server is waited for

MAX_FILE_BYTES = 64 * 1024
_GAVE_UP = re.compile(r"\bpipeline\b.*\bfailed\b", re.IGNORECASE)  # as Beam's runners begin
# What is worth a person's eyes in the trace by which a job server tells of a failure:
# gRPC's own words, or the error itself.
_DETAILS = re.compile(r'^\s*details = "(.+)"$', re.MULTILINE)
_RAISED = re.compile(r"^[A-Za-z_][\w.]*(?:Error|Exception)\b.*$", re.MULTILINE)
_COMMENT = re.compile(r"\s*(?:#.*)?")


def read_arguments(given: Sequence[str]) -> list[str]:
    """Beam arguments, those of files among them.

    Args:
      given: arguments, and `@FILE` for a text file with one argument on each line, where
        empty lines and lines that begin with # say nothing.

    Raises:
      SegueError: a file cannot be read, or is none of this kind.
    """
    arguments: list[str] = []
    for one in given:
        arguments += _of_file(Path(one[1:])) if one.startswith("@") else [one]
    return arguments


def _of_file(path: Path) -> list[str]:
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
        if len(data) > MAX_FILE_BYTES:
            raise SegueError(
                f"{path} has more than {MAX_FILE_BYTES:,} bytes; give a file of Beam's arguments"
            )
        lines = data.decode("utf-8").splitlines()
    except OSError as error:
        raise SegueError(f"cannot read Beam's arguments in {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SegueError(f"{path} is not text in UTF-8; give a file of Beam's arguments") from None
    arguments = [line.strip() for line in lines if not _COMMENT.fullmatch(line)]
    for argument in arguments:
        if not argument.startswith("--"):
            raise SegueError(f"{path}: {argument[:80]!r} is no argument; write --name=value")
    return arguments


def beam_arguments(arguments: Sequence[str]) -> list[str]:
    """The configured Beam arguments, and what TFX needs said beside them.

    With an image named, TFX does not pack itself into a temporary folder (49 MB for
    each step, kept) for workers that are not sent it, or that have it installed.
    """
    options = _options(arguments)
    if options["sdk_container_image"] or any(options[name] for name in _PACKAGES):
        return list(arguments)
    runner = _runner(arguments)
    if runner in _DIRECT_RUNNERS:
        return [*arguments, f"{_IMAGE}=unused"]
    if runner in _PORTABLE_RUNNERS:
        if _environment(runner, options) != _DOCKER:
            return [*arguments, f"{_IMAGE}=unused"]
        image = options["environment_config"] or _environment_option(
            options, "docker_container_image"
        )
        if image:
            return [*arguments, f"{_IMAGE}={image}"]
    return list(arguments)


def is_remote(arguments: Sequence[str]) -> bool:
    """Whether workers may be on other machines, which see only what is shared with them."""
    return _runner(arguments) not in _DIRECT_RUNNERS


def _import_beam() -> None:
    """Beam, without what the libraries behind it warn of on stderr when they are imported."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import apache_beam  # noqa: F401


def _options(arguments: Sequence[str]) -> dict[str, Any]:
    _import_beam()
    from apache_beam.options.pipeline_options import PipelineOptions

    return PipelineOptions(list(arguments)).get_all_options()


def _runner(arguments: Sequence[str]) -> str:
    """The runner's full name, however Beam lets it be written; an unknown one as it is."""
    _import_beam()
    from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions

    named = PipelineOptions(list(arguments)).view_as(StandardOptions).runner or DIRECT
    for known in (*_DIRECT_RUNNERS, *_PORTABLE_RUNNERS, DATAFLOW):
        if named.lower() in (known.lower(), known.lower().removesuffix("runner")):
            return known
    return named


def _environment(runner: str, options: dict[str, Any]) -> str:
    """Where a portable runner has its workers from."""
    if options["environment_type"]:
        return options["environment_type"]
    # As these runners have it where they start all that they need here.
    flink = runner == FLINK and options["flink_master"] in ("[local]", "[auto]")
    spark = runner == SPARK and options["spark_master_url"].startswith("local")
    return _LOOPBACK if (flink or spark) and not options["job_endpoint"] else _DOCKER


def _environment_option(options: dict[str, Any], name: str) -> str:
    for one in options["environment_options"] or ():
        key, _, value = one.partition("=")
        if key == name:
            return value
    return ""


class _Discarded(logging.Handler):
    """Hears which arguments Beam does not know."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.arguments: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if isinstance(record.args, tuple) and record.args and isinstance(record.args[0], list):
            self.arguments += record.args[0]


def check_beam(arguments: Sequence[str]) -> None:
    """Refuses Beam arguments that name no runner, that Beam cannot read, or that cannot work.

    Nothing is asked of any other machine.

    Args:
      arguments: as configured. What only another runner's own server can read is
        left to it; for the DirectRunner and Dataflow nothing may be unknown.

    Raises:
      SegueError: with the argument.
    """
    _import_beam()
    from apache_beam.options.pipeline_options import PipelineOptions
    from apache_beam.runners.runner import create_runner

    said, heard = io.StringIO(), _Discarded()
    logger = logging.getLogger("apache_beam.options.pipeline_options")
    logger.addHandler(heard)
    try:
        with contextlib.redirect_stderr(said):
            runner = _runner(arguments)
            PipelineOptions(list(arguments)).get_all_options(drop_default=True)
            options = _options(arguments)
    except SystemExit:
        reason = (said.getvalue().strip().splitlines() or ["no reason given"])[-1]
        raise SegueError(
            f"beam_pipeline_args {list(arguments)} cannot be read: "
            f"{reason.partition('error: ')[2] or reason}"
        ) from None
    finally:
        logger.removeHandler(heard)
    try:
        create_runner(runner)
    except (ValueError, ImportError, AttributeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise SegueError(f"beam_pipeline_args: Beam has no runner {runner!r} ({reason})") from None
    if runner in _STRICT and heard.arguments:
        unknown = ", ".join(dict.fromkeys(heard.arguments))
        raise SegueError(
            f"beam_pipeline_args: the {runner} does not know {unknown}; "
            "name another runner, or leave it out"
        )
    if runner in _DIRECT_RUNNERS:
        _refuse_for_direct(runner, options)
    elif runner == DATAFLOW:
        _refuse_for_dataflow(options)
    elif runner in _PORTABLE_RUNNERS:
        _refuse_for_portable(runner, options)


def _refuse_for_direct(runner: str, options: dict[str, Any]) -> None:
    for name in ("job_endpoint", "environment_type", "environment_config"):
        if options[name]:
            raise SegueError(
                f"beam_pipeline_args: --{name}={options[name]} says nothing to the {runner}, which "
                f"works here; add --runner={PORTABLE}, or leave it out"
            )


def _refuse_for_portable(runner: str, options: dict[str, Any]) -> None:
    from apache_beam.options.pipeline_options import PipelineOptions, PortableOptions
    from apache_beam.options.pipeline_options_validator import PipelineOptionsValidator

    if runner == PORTABLE and not options["job_endpoint"]:
        raise SegueError(
            f"beam_pipeline_args: the {runner} has no job server; add --job_endpoint=HOST:PORT"
        )
    for name in ("job_endpoint", "artifact_endpoint"):
        if options[name] and options[name] != _EMBEDDED:
            _address(name, options[name])
    kind = _environment(runner, options)
    config = options["environment_config"]
    if kind not in _ENVIRONMENTS and not kind.startswith("beam:env:"):
        raise SegueError(
            f"beam_pipeline_args: --environment_type={kind} does not exist; it must be one of "
            f"{', '.join(_ENVIRONMENTS)}"
        )
    if kind == _EXTERNAL and not (
        config or _environment_option(options, "external_service_address")
    ):
        raise SegueError(
            f"beam_pipeline_args: environment {kind} has no worker pool; add "
            "--environment_config=HOST:PORT"
        )
    if kind == _PROCESS and not (config or _environment_option(options, "process_command")):
        raise SegueError(
            f"beam_pipeline_args: environment {kind} has nothing to start; add "
            '--environment_config={"command": "/opt/apache/beam/boot"}'
        )
    packed = any(options[name] for name in _PACKAGES)
    if kind == _DOCKER and not (
        packed or config or _environment_option(options, "docker_container_image")
    ):
        raise SegueError(
            f"beam_pipeline_args: the {runner}'s workers would be of Beam's own image, which has "
            "no Segue; add --environment_config=IMAGE (kubeflow/Dockerfile, target worker), or "
            f"--environment_type={_EXTERNAL} with a pool of workers"
        )
    # What Beam itself holds against the rest, environments that do not go together say.
    options_of = PipelineOptions.from_dictionary({}).view_as(PortableOptions)
    for name in ("environment_type", "environment_config", "environment_options"):
        setattr(options_of, name, options[name])
    for error in PipelineOptionsValidator(options_of, None).validate_environment_options(
        options_of
    ):
        raise SegueError(f"beam_pipeline_args: {error.rstrip('.')}; see docs/beam.md")


def _refuse_for_dataflow(options: dict[str, Any]) -> None:
    for name, what in {
        "project": "PROJECT",
        "region": "REGION",
        "temp_location": "gs://BUCKET/FOLDER",
    }.items():
        if not options[name]:
            raise SegueError(f"beam_pipeline_args: {DATAFLOW} needs --{name}; add --{name}={what}")
    for name in ("temp_location", "staging_location"):
        if options[name] and not re.fullmatch(r"gs://[a-z0-9][a-z0-9._-]+(/.*)?", options[name]):
            raise SegueError(
                f"beam_pipeline_args: --{name}={options[name]} is no folder of a bucket; it must "
                "be gs://BUCKET/FOLDER"
            )
    if not (options["sdk_container_image"] or any(options[name] for name in _PACKAGES)):
        raise SegueError(
            f"beam_pipeline_args: {DATAFLOW}'s workers would be of Beam's own image, which has no "
            f"Segue; add {_IMAGE}=IMAGE (kubeflow/Dockerfile, target dataflow)"
        )


def check_job_server(arguments: Sequence[str]) -> None:
    """Refuses a job server that does not answer, asked from this machine.

    Beam would try for minutes and end with a trace. To be called where the pipeline is
    started, after `check_beam`.

    Raises:
      SegueError: nobody listens at the endpoint, or Flink's job server is to be started
        here and there is no Java.
    """
    runner = _runner(arguments)
    if runner not in _PORTABLE_RUNNERS:
        return
    options = _options(arguments)
    endpoint = options["job_endpoint"]
    if endpoint and endpoint != _EMBEDDED:
        host, port = _address("job_endpoint", endpoint)
        try:
            socket.create_connection((host, port), _SECONDS).close()
        except OSError as error:
            reason = error.strerror or str(error) or "no answer"
            raise SegueError(
                f"there is no job server at {endpoint} ({reason}); start it, or give another "
                "--job_endpoint"
            ) from None
    elif not endpoint and not any(
        options.get(f"{name}_submit_uber_jar") for name in ("flink", "spark")
    ):
        java = options["job_server_java_launcher"]
        if shutil.which(java) is None:
            raise SegueError(
                f"the {runner} starts its job server with {java!r}, which is not there; install "
                "Java, or name a job server by --job_endpoint=HOST:PORT"
            )


@contextlib.contextmanager
def told_of_workers(arguments: Sequence[str]) -> Iterator[None]:
    """Tells in one line of workers elsewhere that gave up, a pool that is down among them.

    Where workers are is for the job server to know, so none is asked before a run.

    Raises:
      SegueError: a run on workers elsewhere failed, and not by an error of ours.
    """
    try:
        yield
    except Exception as error:
        said = str(error)
        # A step without Beam may fail as well, and is not the workers' doing.
        ours = find_segue_error(error) is not None or not _GAVE_UP.search(said)
        if ours or not is_remote(arguments):
            raise
        lines = _DETAILS.findall(said) or _RAISED.findall(said) or [said or type(error).__name__]
        reason = " ".join(lines[-1].split())[:200]
        raise SegueError(
            f"the workers of the {_runner(arguments)} gave up: {reason}; see that they are up, "
            "and have Segue (docs/beam.md)"
        ) from error


def _address(name: str, text: str) -> tuple[str, int]:
    match = re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+):(\d{1,5})", text)
    if match is None or not 1 <= int(match[2]) <= 65535:
        raise SegueError(
            f"beam_pipeline_args: --{name}={text} is no address; it must be HOST:PORT, "
            "localhost:8099 say"
        )
    return match[1].strip("[]"), int(match[2])
