"""How a server's log lines look: text for people, JSON for machines.

Code logs a readable message and may add fields to it with `fields(...)`. The text
format shows the message; the JSON format is an object a line with `time`, `level`,
`logger`, `message`, the fields beside them, and `trace` where there is one.
"""

from __future__ import annotations

import datetime
import json
import logging
from typing import Any

FORMATS = ("text", "json")
TEXT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_FIELDS = "segue_fields"


def fields(**values: Any) -> dict[str, Any]:
    """The `extra` of a logging call: values by name; those that are None are left out."""
    return {_FIELDS: {name: value for name, value in values.items() if value is not None}}


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON, times in UTC."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.datetime.fromtimestamp(record.created, datetime.timezone.utc)
        line = {
            "time": time.isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, _FIELDS, {}),
        }
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def configure(style: str, verbose: bool) -> None:
    """Sets the process's log up: warnings and worse, or with `verbose` every request.

    Args:
      style: one of FORMATS.
      verbose: show what happens, down to single requests, with traces.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if style == "json" else logging.Formatter(TEXT))
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, handlers=[handler])
    if verbose:
        logging.getLogger("serving").setLevel(logging.DEBUG)
    # It warns of every request that has to wait for a thread.
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
