"""A pushed model in this process: the songs of a server, without one."""

import concurrent.futures
import json
import pickle
import shutil
import subprocess
import sys

import numpy as np
import pytest

from client.generation import GenerationClient, Sampling
from music.errors import SegueError
from pipeline.local_model import SavedModel


@pytest.fixture(scope="module")
def root(first_run, tmp_path_factory):
    """A root with the model of the pipeline's run as versions 3 and 12."""
    folder = tmp_path_factory.mktemp("root")
    pushed = SavedModel.in_service(first_run.root).path
    for version in (3, 12):
        shutil.copytree(pushed, folder / "serving" / "segue" / str(version))
    return folder


@pytest.fixture(scope="module")
def client(root):
    with SavedModel.in_service(root).open() as model:
        yield GenerationClient(model)


PRIMES = [np.array([[0, 128, 0], [12, 60, 12]], np.int32), np.array([[0, 128, 0]], np.int32)]


def test_the_newest_version_is_in_service(root):
    assert SavedModel.in_service(root).version == 12
    assert SavedModel.in_service(root, 3).version == 3
    assert pickle.loads(pickle.dumps(SavedModel.in_service(root))) == SavedModel.in_service(root)


def test_what_is_not_there_is_told(root, tmp_path):
    with pytest.raises(SegueError, match="there is no version 4 under .*; it has 3, 12"):
        SavedModel.in_service(root, 4)
    with pytest.raises(SegueError, match="no model has been pushed under"):
        SavedModel.in_service(tmp_path)


def test_it_says_of_itself_what_its_signature_says(client):
    facts = client.describe()
    assert (facts.model, facts.version) == ("segue", 12)
    assert facts.training["parameters"] > 0
    keys = np.array(["codec", "vocabulary", "training", "limits", "signatures"])
    model = client.caller
    read = model.call("describe", {"keys": keys}).outputs["values"].tolist()
    loaded = model._load()
    signature = loaded.signatures["describe"]
    (told,) = loaded.run_here(
        {signature.inputs["keys"].name: keys.astype(object)}, [signature.outputs["values"].name]
    )
    assert list(map(json.loads, read)) == list(map(json.loads, told))


def test_a_song_is_the_same_alone_beside_others_and_in_threads(client):
    together = client.generate(PRIMES, [20, 9], [Sampling(seed=1), Sampling(seed=2)])
    assert [len(one) for one in together] == [20, 9]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        made = list(pool.map(
            lambda i: client.generate([PRIMES[i % 2]], [20, 9][i % 2], Sampling(seed=1 + i % 2))[0],
            range(8),
        ))  # fmt: skip
    for index, one in enumerate(made):
        assert np.array_equal(one.events, together[index % 2].events)


def test_chunks_are_the_song_too(client):
    (whole,) = client.generate(PRIMES[:1], 20, Sampling(seed=4))
    parts = [part.events for part in client.stream(PRIMES[0], 20, Sampling(seed=4), 7)]
    assert np.array_equal(np.concatenate(parts), whole.events)


def test_what_it_has_not_or_refuses_is_told(client):
    with pytest.raises(SegueError, match="has no 'dream'"):
        client.caller.call("dream", {})
    inputs = {"events": np.zeros((1, 1, 3), np.int32)}
    with pytest.raises((SegueError, KeyError)) as caught:
        client.caller.call("predict_next", inputs)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", [None, "", "[]", "{}", "\xff", "[" * 100_000])
def test_damaged_facts_are_told(root, tmp_path, text):
    shutil.copytree(root / "serving" / "segue" / "3", tmp_path / "serving" / "segue" / "1")
    path = tmp_path / "serving" / "segue" / "1" / "assets" / "segue.json"
    path.unlink()
    if text is not None:
        path.write_bytes(text.encode("latin-1"))
    with SavedModel.in_service(tmp_path).open() as model, pytest.raises(SegueError) as caught:
        GenerationClient(model).describe()
    assert "\n" not in str(caught.value)


def test_a_model_that_cannot_be_loaded_is_told(root, tmp_path):
    shutil.copytree(root / "serving" / "segue" / "3", tmp_path / "serving" / "segue" / "1")
    (tmp_path / "serving" / "segue" / "1" / "saved_model.pb").write_bytes(b"no model")
    with SavedModel.in_service(tmp_path).open() as model:
        client = GenerationClient(model)
        assert client.describe().version == 1
        with pytest.raises(SegueError, match="cannot be loaded: "):
            client.generate(PRIMES, 3)


def test_to_ask_it_what_it_is_costs_no_tensorflow(root):
    code = (
        "import sys; from pathlib import Path; from client.generation import GenerationClient\n"
        "from pipeline.local_model import SavedModel\n"
        "with SavedModel.in_service(Path(sys.argv[1])).open() as model:\n"
        "    GenerationClient(model).describe()\n"
        "assert not {'tensorflow', 'apache_beam', 'tfx', 'keras'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(root)], check=True)
