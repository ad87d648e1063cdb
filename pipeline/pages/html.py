"""Puts a page together: a template, the style all pages share, and nothing from outside.

A page is one file: no script, no font, no picture is fetched, so it can be sent,
kept, printed, and read on a phone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).parent


def page(template: str, **values: Any) -> str:
    """A page as HTML.

    Args:
      template: name of a file of this package.
      **values: what the template shows; text is escaped, `Markup` (plots) is not.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["clock"] = clock
    return environment.get_template(template).render(**values)


def clock(seconds: float) -> str:
    """Seconds as a person writes them: 4.2 s, 3:20 min, 1:05 h."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}:{rest:02d} min"
    return f"{minutes // 60}:{minutes % 60:02d} h"
