"""A container's command is resolved as Kubeflow's launcher resolves it."""

from __future__ import annotations

import json

import pytest

from kubeflow.placeholders import resolve
from music.errors import SegueError

GIVEN = {
    "inputs": {
        "parameterValues": {"text": "a b", "number": 2.0, "list": ["x"]},
        "artifacts": {"songs": {"artifacts": [{"name": "songs", "uri": "minio://b/songs"}]}},
    },
    "outputs": {
        "artifacts": {"model": {"artifacts": [{"name": "model", "uri": "s3://b/model"}]}},
        "parameters": {"made": {"outputFile": "/tmp/made"}},
        "outputFile": "/tmp/output.json",
    },
}


@pytest.mark.parametrize(
    ("text", "resolved"),
    [
        ("plain {{x}}", "plain {{x}}"),
        ("{{$.inputs.parameters['text']}}", "a b"),
        ('--n={{$.inputs.parameters["number"]}}', "--n=2.0"),
        ("{{$.inputs.parameters['list']}}", '["x"]'),
        ("{{$.inputs.artifacts['songs'].uri}}", "minio://b/songs"),
        ("{{$.inputs.artifacts['songs'].path}}", "/m/minio/b/songs"),
        ("{{$.outputs.artifacts['model'].path}}/1", "/m/s3/b/model/1"),
        ("{{$.outputs.parameters['made'].output_file}}", "/tmp/made"),
        ("{{$.outputs.output_file}}", "/tmp/output.json"),
    ],
)
def test_placeholders_become_what_the_task_was_given(text, resolved):
    assert resolve(text, GIVEN, "/m") == resolved


def test_the_whole_input_is_json():
    assert json.loads(resolve("{{$}}", GIVEN)) == GIVEN


@pytest.mark.parametrize("inner", [".inputs.parameters['none']", ".inputs.none", ".nothing"])
def test_what_the_task_does_not_have_is_one_line(inner):
    with pytest.raises(SegueError, match="^placeholder .* cannot be resolved"):
        resolve("{{$" + inner + "}}", GIVEN)
