"""What a run tells the person who waits for it.

Executors and the training loop report here; the command line listens. A report
is an ordinary log record of the logger `segue.progress`, one readable line with
its facts beside it (`record.facts`), so that a pipeline run without our command
line, on Kubeflow say, shows the same lines in its logs.
"""

from __future__ import annotations

import logging
from typing import Any

from music.errors import printable

LOGGER = logging.getLogger("segue.progress")


def report(stage: str, message: str, **facts: Any) -> None:
    """Tells one line.

    Args:
      stage: the component that speaks.
      message: for a person, without a full stop at the end.
      **facts: the numbers in it, for a program.
    """
    text = printable(message)  # there may be names of files in it
    LOGGER.info("%s: %s", stage, text, extra={"stage": stage, "text": text, "facts": facts})


def tick(stage: str, **facts: Any) -> None:
    """Tells how far something has come, for a bar; nobody need listen.

    A record of the level DEBUG, so that ordinary logs are spared: some come a second.

    Args:
      stage: the component that speaks.
      **facts: the numbers, for a program; `ended` when there is nothing more to show.
    """
    LOGGER.debug("%s: %s", stage, facts, extra={"stage": stage, "facts": facts})
