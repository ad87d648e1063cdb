"""What a container's log says, and what TFX is given there."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from kfp.pipeline_spec import pipeline_spec_pb2

from kubeflow.configure import find_properties
from kubeflow.entrypoint import declare, main
from kubeflow.parameters import Parameters
from music.errors import SegueError

REPOSITORY = Path(__file__).parents[2]


def configure(tmp_path, **parameters):
    given = {
        "inputs": {"parameterValues": parameters},
        "outputs": {"parameters": {"MidiParser": {"outputFile": str(tmp_path / "out" / "x")}}},
    }
    return main(["--configure", "--json_serialized_invocation_args", json.dumps(given)])


def test_a_folder_that_is_not_there_is_one_line_and_exit_code_1(tmp_path, capsys):
    code = configure(tmp_path, data=str(tmp_path / "none"), root=str(tmp_path), preset="smoke")
    assert code == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"segue: there is no folder {tmp_path / 'none'}")
    assert not (tmp_path / "out").exists()


def test_a_parameter_that_is_missing_or_wrong_is_one_line(tmp_path, capsys):
    assert configure(tmp_path, data="/d") == 1
    assert capsys.readouterr().err == "segue: parameter root is not given; it names a folder\n"
    assert configure(tmp_path, data="/d", root="/r", preset="none") == 1
    assert "preset 'none' does not exist" in capsys.readouterr().err


def test_a_root_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "midi").mkdir()
    (tmp_path / "midi" / "a.mid").write_bytes(b"MThd")
    (tmp_path / "file").write_text("")
    parameters = Parameters(str(tmp_path / "midi"), str(tmp_path / "file" / "root"), "smoke")
    with pytest.raises(SegueError, match="^cannot make the root .*file/root"):
        find_properties(parameters, ["MidiParser"])


def test_types_come_from_the_specification_whatever_the_backend_says():
    songs = pipeline_spec_pb2.ArtifactTypeSchema(instance_schema="title: components.Songs")
    component = pipeline_spec_pb2.ComponentSpec()
    component.input_definitions.artifacts["songs"].artifact_type.CopyFrom(songs)
    given = pipeline_spec_pb2.ExecutorInput()
    listed = given.inputs.artifacts["songs"].artifacts
    listed.add(uri="minio://b/1")
    listed.add(uri="minio://b/2").type.instance_schema = ""
    listed.add(uri="minio://b/3").type.schema_title = "system.Artifact"
    declare(given.inputs.artifacts, component.input_definitions.artifacts)
    assert [one.type for one in listed] == [songs] * 3


def test_an_output_that_the_backend_adds_is_none_of_the_executors():
    component = pipeline_spec_pb2.ComponentSpec()
    schema = component.output_definitions.artifacts["model"].artifact_type
    schema.schema_title = "tfx.Model"
    given = pipeline_spec_pb2.ExecutorInput()
    given.outputs.artifacts["model"].artifacts.add(uri="minio://b/model")
    logs = given.outputs.artifacts["executor-logs"].artifacts.add(uri="minio://b/logs")
    logs.type.schema_title = "system.Artifact"
    declare(given.outputs.artifacts, component.output_definitions.artifacts)
    assert list(given.outputs.artifacts) == ["model"]


def test_the_entrypoint_says_how_it_is_called(capsys):
    with pytest.raises(SystemExit):
        main(["--json_serialized_invocation_args", "{}"])
    assert "give one of --configure and --executor_class_path" in capsys.readouterr().err


def test_help_does_not_wait_for_tfx():
    probe = (
        "import sys, kubeflow.entrypoint, kubeflow.one_machine, kubeflow.submission\n"
        "heavy = {'tfx', 'tensorflow', 'kfp', 'apache_beam'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run(
        [sys.executable, "-c", probe], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
