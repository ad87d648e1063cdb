"""What Kubeflow's launcher does to a container's command before it starts it.

`{{$}}` becomes the task's ExecutorInput, `{{$.inputs.parameters['x']}}` one value of
it, and so on. An ExecutorInput is here as JSON types, in the spelling of protobuf's
JSON.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from kubeflow.mounts import to_path
from music.errors import SegueError

_PLACEHOLDER = re.compile(r"\{\{\$(.*?)\}\}")
_NAMED = re.compile(
    r"\.(?P<side>inputs|outputs)\.(?P<kind>parameters|artifacts)\[(?P<quote>['\"])"
    r"(?P<name>[^'\"]+)(?P=quote)\](?:\.(?P<field>uri|path|name|output_file))?"
)


def resolve(text: str, executor_input: Mapping[str, Any], top: str | None = None) -> str:
    """An argument with every placeholder replaced.

    Args:
      text: the argument.
      executor_input: of the task, as JSON types.
      top: the folder that buckets are mounted in (`mounts.to_path`).

    Raises:
      SegueError: a placeholder is unknown, or names what the task does not have.
    """
    return _PLACEHOLDER.sub(lambda found: _value(found, executor_input, top), text)


def _value(found: re.Match[str], executor_input: Mapping[str, Any], top: str | None) -> str:
    inner = found.group(1)
    if not inner:
        return json.dumps(executor_input)
    if inner == ".outputs.output_file":
        return executor_input["outputs"]["outputFile"]
    named = _NAMED.fullmatch(inner)
    try:
        if named:
            return _named(executor_input, top, named)
    except (KeyError, IndexError):
        pass
    raise SegueError(f"placeholder {found.group()} cannot be resolved in this task")


def _named(executor_input: Mapping[str, Any], top: str | None, named: re.Match[str]) -> str:
    half, name, field = executor_input[named["side"]], named["name"], named["field"]
    if named["kind"] == "artifacts":
        artifact = half["artifacts"][name]["artifacts"][0]
        if field == "path":
            return to_path(artifact["uri"], top)
        return str(artifact[field or "uri"])
    if named["side"] == "outputs":
        return half["parameters"][name]["outputFile"]
    value = half["parameterValues"][name]
    return value if isinstance(value, str) else json.dumps(value)
