"""The runner of compiled files: order, parameters, artifacts, failures."""

from __future__ import annotations

import json
import os
import sys

import pytest
import yaml

from kubeflow.one_machine import Machine, main, ordered, read_spec, run
from music.errors import SegueError

# Doubles a number, as any program in a container might.
DOUBLE = """
import json, os, sys
given = json.loads(sys.argv[1])
number = given["inputs"]["parameterValues"]["number"]
assert isinstance(number, float)
with open(given["outputs"]["parameters"]["twice"]["outputFile"], "w") as file:
    file.write(str(2 * number))
place = sys.argv[2]
os.makedirs(place)
open(os.path.join(place, "song.txt"), "w").write("la " * int(number))
answer = {"artifacts": {"song": {"artifacts": [{"metadata": {"notes": number}}]}}}
with open(given["outputs"]["outputFile"], "w") as file:
    json.dump(answer, file)
"""
# Reads what the first one made; its artifact comes without a type.
READ = """
import json, os, sys
given = json.loads(sys.argv[1])
(song,) = given["inputs"]["artifacts"]["song"]["artifacts"]
assert song["type"] == {"instanceSchema": ""}, song
text = open(os.path.join(sys.argv[2], "song.txt")).read()
twice = given["inputs"]["parameterValues"]["twice"]
print(text, song["metadata"]["notes"], twice, flush=True)
print(os.environ["VOICE"], file=sys.stderr)
sys.exit(3 if given["inputs"]["parameterValues"]["twice"] > 6 else 0)
"""


def two_tasks():
    return {
        "schemaVersion": "2.1.0",
        "pipelineInfo": {"name": "two"},
        "root": {
            "inputDefinitions": {
                "parameters": {"number": {"parameterType": "NUMBER_INTEGER", "defaultValue": 2}}
            },
            "dag": {
                "tasks": {
                    "A-reader": {
                        "componentRef": {"name": "reader"},
                        "inputs": {
                            "parameters": {
                                "twice": {
                                    "taskOutputParameter": {
                                        "producerTask": "Z-doubler",
                                        "outputParameterKey": "twice",
                                    }
                                }
                            },
                            "artifacts": {
                                "song": {
                                    "taskOutputArtifact": {
                                        "producerTask": "Z-doubler",
                                        "outputArtifactKey": "song",
                                    }
                                }
                            },
                        },
                    },
                    "Z-doubler": {
                        "componentRef": {"name": "doubler"},
                        "inputs": {"parameters": {"number": {"componentInputParameter": "number"}}},
                    },
                }
            },
        },
        "components": {
            "doubler": {
                "executorLabel": "doubling",
                "outputDefinitions": {
                    "parameters": {"twice": {"parameterType": "NUMBER_DOUBLE"}},
                    "artifacts": {"song": {"artifactType": {"schemaTitle": "a.Song"}}},
                },
            },
            "reader": {"executorLabel": "reading"},
        },
        "deploymentSpec": {
            "executors": {
                "doubling": {
                    "container": {
                        "command": ["python", "-c", DOUBLE],
                        "args": ["{{$}}", "{{$.outputs.artifacts['song'].path}}"],
                    }
                },
                "reading": {
                    "container": {
                        "command": ["python", "-c", READ],
                        "args": ["{{$}}", "{{$.inputs.artifacts['song'].path}}"],
                        "env": [{"name": "VOICE", "value": "alto"}],
                    }
                },
            }
        },
    }


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path / "machine", {"PATH": os.path.dirname(sys.executable)})


def test_tasks_run_behind_what_they_need_with_what_it_made(machine):
    done = run(two_tasks(), {"number": 3}, machine)
    assert list(done) == ["Z-doubler", "A-reader"]
    assert done["Z-doubler"].parameters == {"twice": 6.0}
    song = done["Z-doubler"].artifact("song")
    assert song["uri"] == "minio://mlpipeline/v2/artifacts/two/1/Z-doubler/song"
    log = (machine.root / "runs" / "1" / "A-reader" / "log.txt").read_text()
    assert log.splitlines() == ["la la la  3.0 6.0", "alto"]


def test_a_run_does_not_touch_the_run_before(machine):
    run(two_tasks(), {}, machine)
    run(two_tasks(), {}, machine)
    assert sorted(path.name for path in (machine.root / "runs").iterdir()) == ["1", "2"]
    assert (machine.root / "minio" / "mlpipeline" / "v2" / "artifacts" / "two" / "2").is_dir()


def test_a_task_that_fails_ends_the_run_with_its_last_line(machine):
    with pytest.raises(
        SegueError, match=r"^task A-reader failed with exit code 3: alto \(all of it: /"
    ):
        run(two_tasks(), {"number": 4}, machine)


def test_a_program_that_is_not_there_is_one_line(machine):
    spec = two_tasks()
    spec["deploymentSpec"]["executors"]["doubling"]["container"]["command"] = ["no-such-program"]
    with pytest.raises(SegueError, match="^task Z-doubler cannot start no-such-program: No such"):
        run(spec, {}, machine)


def test_an_output_that_was_not_written_is_one_line(machine):
    spec = two_tasks()
    spec["deploymentSpec"]["executors"]["doubling"]["container"]["command"] = ["python", "-c", ""]
    with pytest.raises(SegueError, match="^task Z-doubler did not write its output parameter tw"):
        run(spec, {}, machine)


def test_tasks_in_a_circle_are_refused():
    with pytest.raises(SegueError, match="^tasks wait for each other, or for none: a, b"):
        ordered({"a": {"dependentTasks": ["b"]}, "b": {"dependentTasks": ["a"]}})


def test_wrong_parameters_are_refused_before_anything_runs(machine):
    for values, words in (({"numbr": 1}, "does not exist"), ({"number": "x"}, "a whole number")):
        with pytest.raises(SegueError, match=words):
            run(two_tasks(), values, machine)
    assert not machine.root.exists()


def test_the_command_runs_a_file(tmp_path, capfd):
    path = tmp_path / "two.yaml"
    path.write_text(yaml.safe_dump(two_tasks()))
    common = [str(path), "--root", str(tmp_path / "root")]
    assert main([*common, "--parameter", "number=1"]) == 0
    out = capfd.readouterr().out
    assert out.startswith("Z-doubler begins\n")
    assert out.splitlines()[-1].startswith("2 tasks in ")
    assert main([*common, "--parameter", "number=4"]) == 1
    assert capfd.readouterr().err.startswith("segue: task A-reader failed with exit code 3: alto")


@pytest.mark.parametrize("text", ["[1", "a: 1", json.dumps({"schemaVersion": "2.0.0"}), ""])
def test_what_is_no_compiled_pipeline_is_one_line(tmp_path, text):
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(SegueError, match=r"x\.yaml is (not YAML|no compiled pipeline)"):
        read_spec(path)
