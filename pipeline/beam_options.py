"""Beam's arguments: passed on as they are configured, once they make sense.

Beam itself tells of a wrong argument by a usage text and an exit, or not at all.
"""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Sequence

from music.errors import SegueError

DIRECT = "DirectRunner"
_DIRECT_RUNNERS = (DIRECT, "BundleBasedDirectRunner")


def beam_arguments(arguments: Sequence[str]) -> list[str]:
    """The configured Beam arguments, and what TFX needs said beside them.

    With an image named, TFX does not pack itself into a temporary folder (49 MB for
    each step, kept) for workers that the DirectRunner does not send it to.
    """
    named = {argument.split("=")[0] for argument in arguments}
    if _runner(arguments) in _DIRECT_RUNNERS and not (
        named & {"--sdk_container_image", "--setup_file", "--extra_package"}
    ):
        return [*arguments, "--sdk_container_image=unused"]
    return list(arguments)


def _runner(arguments: Sequence[str]) -> str:
    from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions

    return PipelineOptions(list(arguments)).view_as(StandardOptions).runner or DIRECT


class _Discarded(logging.Handler):
    """Hears which arguments Beam does not know."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.arguments: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if isinstance(record.args, tuple) and record.args and isinstance(record.args[0], list):
            self.arguments += record.args[0]


def check_beam(arguments: Sequence[str]) -> None:
    """Refuses Beam arguments that name no runner, or that Beam cannot read.

    Args:
      arguments: as configured. What only another runner's own server can read is
        left to it; for the DirectRunner nothing may be unknown.

    Raises:
      SegueError: with the argument.
    """
    from apache_beam.options.pipeline_options import PipelineOptions
    from apache_beam.runners.runner import create_runner

    said, heard = io.StringIO(), _Discarded()
    logger = logging.getLogger("apache_beam.options.pipeline_options")
    logger.addHandler(heard)
    try:
        with contextlib.redirect_stderr(said):
            runner = _runner(arguments)
            PipelineOptions(list(arguments)).get_all_options(drop_default=True)
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
    if runner in _DIRECT_RUNNERS and heard.arguments:
        raise SegueError(
            f"beam_pipeline_args: the {runner} does not know {', '.join(heard.arguments)}; "
            "name another runner, or leave it out"
        )
