"""Weights that a version keeps: the same to the bit, and a training that begins from them."""

import dataclasses
import json
import shutil
import types
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.files import FACTS_FILE, HISTORY_FILE
from components.kept import (
    KEPT_VOCABULARY_FILE,
    WEIGHTS_FILE,
    find_start,
    read_shape,
    start_of,
)
from components.trainer import warm
from components.trainer.history import History
from components.trainer.inference import Weights
from components.trainer.network import build_network, extract_weights, put_weights, weights_digest
from components.trainer.settings import (
    ModelSettings,
    RetrainSettings,
    TrainerSettings,
    TrainingSettings,
)
from components.trainer.training import fit
from music.errors import SegueError
from music.windows import WindowSpec

KINDS = ("small", "small paper")
WINDOW = WindowSpec(6)


def same(one: Weights, other: Weights) -> bool:
    ours, theirs = warm.to_arrays(one), warm.to_arrays(other)
    return list(ours) == list(theirs) and all(
        np.array_equal(ours[name], theirs[name]) for name in ours
    )


# ---- to the bit ----


def array(*shape):
    return np.random.default_rng(shape).standard_normal(shape).astype(np.float32)


@given(fields=st.integers(1, 12), views=st.integers(0, 2), embedded=st.booleans())
def test_names_and_arrays_are_inverses(fields, views, embedded):
    weights = Weights(
        cells=tuple((array(3 + layer, 8), array(8, layer)[:, 0:1]) for layer in (1, 2, 3)),
        embeddings=tuple(array(f + 2, 3) for f in range(fields)) if embedded else (),
        dense=tuple((array(2, f + 1), array(f + 1)) for f in range(fields)),
        conditions=tuple(tuple(array(g + 2, f) for g in range(f)) for f in range(fields)),
        heads=tuple((array(f + 1, 5), array(5)) for f in range(fields)),
        profile=tuple(tuple(array(view + 1, n + 1) for n in range(4)) for view in range(views)),
    )
    back = warm.from_arrays(warm.to_arrays(weights))
    assert same(back, weights)
    assert [len(tables) for tables in back.conditions] == list(range(fields))
    assert len(back.embeddings) == (fields if embedded else 0)


def test_an_array_too_many_or_too_few_is_no_network(exported):
    arrays = warm.to_arrays(exported("small").weights)
    with pytest.raises(KeyError, match="surplus"):
        warm.from_arrays({**arrays, "surplus": array(1)})
    del arrays["condition_2_1"]
    with pytest.raises(KeyError, match="condition_2_1"):
        warm.from_arrays(arrays)


@pytest.mark.parametrize("kind", KINDS)
def test_a_network_is_given_back_the_weights_that_were_taken_from_it(exported, kind):
    made = exported(kind)
    fresh = build_network(made.settings, made.window, made.vocabulary)
    assert not same(extract_weights(fresh, made.settings), made.weights)
    put_weights(fresh, made.weights)
    for layer in (one for one in made.network.layers if one.weights):
        for theirs, ours in zip(
            layer.get_weights(), fresh.get_layer(layer.name).get_weights(), strict=True
        ):
            assert np.array_equal(theirs, ours), layer.name


def test_weights_of_another_network_are_refused_by_the_layer_and_change_nothing(exported):
    made = exported("small")
    wider = dataclasses.replace(made.settings, dense=made.settings.dense + 1)
    network = build_network(wider, made.window, made.vocabulary)
    before = extract_weights(network, wider)
    with pytest.raises(SegueError, match=r"of another network: dense_0 is \[\(24, 32\)"):
        put_weights(network, made.weights)
    assert same(extract_weights(network, wider), before)
    plain = build_network(
        dataclasses.replace(made.settings, profile=0), made.window, made.vocabulary
    )
    with pytest.raises(SegueError, match="another network: profile_classes is not in both"):
        put_weights(plain, made.weights)


@pytest.fixture
def version(exported, tmp_path):
    """The folder of a version, with what it keeps."""
    made, path = exported("small"), tmp_path / "serving" / "7"
    shutil.copytree(made.path, path)
    warm.keep(str(path), made.weights, made.settings, made.vocabulary)
    return path


def test_a_version_gives_back_its_weights_shape_and_vocabulary(exported, version):
    made = exported("small")
    assert same(warm.read_weights(str(version)), made.weights)
    assert weights_digest(warm.read_weights(str(version))) == weights_digest(made.weights)
    assert read_shape(str(version)) == made.settings
    assert (version / KEPT_VOCABULARY_FILE).read_text() == made.vocabulary.to_json()


def test_a_start_is_what_a_version_holds_and_not_where_it_stands(exported, version):
    start = start_of(str(version))
    parked = version.rename(version.with_name("7.parked"))
    assert find_start(str(version.parent), start) == str(parked)
    made = exported("small")
    again = version.with_name("9")
    shutil.copytree(parked, again)
    warm.keep(str(again), made.weights, made.settings, made.vocabulary)
    assert start_of(str(again)) == start
    content = bytearray((again / WEIGHTS_FILE).read_bytes())
    content[-200] ^= 1
    (again / WEIGHTS_FILE).write_bytes(content)
    assert start_of(str(again)) != start
    shutil.rmtree(parked)
    with pytest.raises(SegueError, match=r"is no longer in .*; run the pipeline again"):
        find_start(str(version.parent), start)


def test_a_version_of_before_is_told_to_keep_nothing(exported):
    with pytest.raises(SegueError, match=r"keeps no weights to begin from .*--warm-start none"):
        start_of(exported("small").path)


@pytest.mark.parametrize("damage", [lambda data: data[:-300], lambda data: b"", lambda data: b"x"])
def test_damaged_weights_are_one_line_with_the_way_out(version, damage):
    path = version / WEIGHTS_FILE
    path.write_bytes(damage(path.read_bytes()))
    for reads in (warm.read_weights, read_shape):
        with pytest.raises(SegueError, match=r"weights.npz is damaged.*--warm-start none") as error:
            reads(str(version))
        assert "\n" not in str(error.value)


def test_another_vocabulary_than_the_version_s_is_refused(version, vocabulary):
    start, serving = start_of(str(version)), str(version.parent)
    assert same(warm.begin(serving, start, vocabulary("notes")), warm.read_weights(str(version)))
    other = dataclasses.replace(vocabulary("notes"), closed=True)
    with pytest.raises(SegueError, match="written with another vocabulary than that of"):
        warm.begin(serving, start, other)


# ---- a training that begins from them ----

TINY = ModelSettings(units=(6, 8, 6), dense=8, embedding=4, dropout=0.2)


def settings(**given) -> TrainerSettings:
    values = {"batch_size": 16, "epochs": 3, "learning_rate": 0.02, "schedule": "constant", **given}
    return TrainerSettings(TINY, TrainingSettings(**values), WINDOW)


@pytest.fixture(scope="module")
def splits(tmp_path_factory, vocabulary, events_of, write_windows):
    folder = tmp_path_factory.mktemp("windows")
    known = vocabulary("notes")
    for number, side in enumerate(("train", "eval")):
        songs = [events_of(known, 60, seed=number)]
        write_windows(folder / f"Split-{side}" / "w.gz", songs, known, WINDOW)
    (folder / "vocabulary.json").write_text(known.to_json())
    return [str(folder / "Split-train" / "*")], [str(folder / "Split-eval" / "*")]


def run(splits, folder, chosen, serving=None):
    """`run_fn` into a folder as a version of it; its history and facts."""
    from components.trainer.module import run_fn

    config = {"settings": json.dumps(chosen.to_dict())}
    run_fn(
        types.SimpleNamespace(
            custom_config=config if serving is None else {**config, "serving": str(serving)},
            train_files=splits[0],
            eval_files=splits[1],
            model_run_dir=str(folder.with_name(f"run-{folder.name}")),
            serving_model_dir=str(folder),
        )
    )
    history = History.from_json((folder.with_name(f"run-{folder.name}") / HISTORY_FILE).read_text())
    return history, json.loads((folder / "assets" / FACTS_FILE).read_text())["training"]


@pytest.fixture(scope="module")
def pushed(splits, tmp_path_factory):
    """A root's versions with one that was trained from scratch, its history and facts."""
    serving = tmp_path_factory.mktemp("serving")
    return serving, *run(splits, serving / "1", settings())


@pytest.fixture(scope="module")
def begun(pushed, splits, vocabulary):
    """A training that went on from that version."""
    serving = str(pushed[0])
    weights = warm.begin(serving, start_of(f"{serving}/1"), vocabulary("notes"))
    return fit(settings(), vocabulary("notes"), *splits, start=weights)


def curve(history):
    return [(epoch.loss, epoch.nats) for epoch in history.epochs]


def test_every_training_keeps_what_it_exports(pushed):
    serving, history, facts = pushed
    assert weights_digest(warm.read_weights(str(serving / "1"))) == facts["weights"]
    assert history.start_nats is None
    assert "start" not in history.settings
    assert "start_nats" not in json.loads(history.to_json())


def test_before_the_first_step_the_weights_are_those_in_service(pushed, splits, tmp_path):
    serving, first, _ = pushed
    start = start_of(str(serving / "1"))
    # A rate that moves nothing but a zero: what is exported is what it began from.
    still = settings(epochs=1, learning_rate=1e-30, weight_decay=0.0)
    history, _ = run(splits, tmp_path / "2", dataclasses.replace(still, start=start), serving)
    before, after = (
        warm.to_arrays(warm.read_weights(str(path))) for path in (serving / "1", tmp_path / "2")
    )
    assert {name: float(abs(before[name] - after[name]).max()) for name in before} == (
        pytest.approx(dict.fromkeys(before, 0.0), abs=1e-25)
    )
    # The very figure of the epoch whose weights these are.
    assert history.start_nats == first.nats
    assert history.epochs[0].nats == pytest.approx(first.nats, abs=1e-6)
    assert TrainerSettings.from_dict(history.settings).start == start


def test_it_begins_lower_than_a_training_from_scratch(pushed, begun):
    _, first, _ = pushed
    assert begun.history.epochs[0].loss < first.epochs[0].loss - 0.1
    assert begun.history.start_nats < first.epochs[0].nats


def test_looking_at_the_weights_first_leaves_the_training_as_it_would_be(
    pushed, splits, vocabulary
):
    """From scratch or from the same numbers handed in, dropout and order are the same."""
    import keras

    keras.utils.set_random_seed(settings().training.seed)
    drawn = extract_weights(build_network(TINY, WINDOW, vocabulary("notes")), TINY)
    handed = fit(settings(), vocabulary("notes"), *splits, start=drawn)
    assert curve(handed.history) == curve(pushed[1])
    assert handed.history.start_nats is not None


def test_a_stopped_training_goes_on_where_it_stood_and_ends_the_same(
    pushed, begun, splits, vocabulary, tmp_path, monkeypatch
):
    from components.trainer import training

    class Killed(BaseException):
        pass

    judged = training._Loop._judge

    def judge(self, progress, *args):
        if len(progress.epochs) == 1:
            raise Killed
        return judged(self, progress, *args)

    weights = warm.read_weights(str(pushed[0] / "1"))
    given = {"checkpoint_dir": str(tmp_path / "kept"), "start": weights}
    with monkeypatch.context() as patched:
        patched.setattr(training._Loop, "_judge", judge)
        with pytest.raises(Killed):
            fit(settings(), vocabulary("notes"), *splits, **given)
    again = fit(settings(), vocabulary("notes"), *splits, **given)
    assert curve(again.history) == curve(begun.history)
    assert again.history.start_nats == begun.history.start_nats
    assert same(extract_weights(again.network, TINY), extract_weights(begun.network, TINY))


def test_a_start_that_is_gone_is_one_line(pushed, splits, tmp_path):
    chosen = dataclasses.replace(settings(), start="0" * 64)
    with pytest.raises(SegueError, match=f"is no longer in {Path(pushed[0])}"):
        run(splits, tmp_path / "2", chosen, pushed[0])


# ---- settings ----


def test_what_was_not_said_of_going_on_is_the_training_s_own():
    training = TrainingSettings(epochs=40, learning_rate=4e-3, schedule="cosine")
    assert RetrainSettings().going_on(training) == training
    given = RetrainSettings("served", epochs=5, schedule="constant").going_on(training)
    assert given == dataclasses.replace(training, epochs=5, schedule="constant")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"warm_start": "warm"}, "warm_start 'warm' is not allowed; it must be none, served"),
        ({"epochs": -1}, "epochs -1"),
        ({"learning_rate": 2.0}, "learning_rate 2.0"),
        ({"schedule": "linear"}, "schedule 'linear' is not allowed; it must be cosine or"),
    ],
)
def test_retraining_that_cannot_be_is_refused(values, words):
    with pytest.raises(SegueError, match=words):
        RetrainSettings(**values)


def test_the_key_of_a_training_from_scratch_is_what_it_was():
    assert "start" not in settings().to_dict()
    begun = dataclasses.replace(settings(), start="a")
    assert begun.to_dict()["start"] == "a"
    assert TrainerSettings.from_dict(begun.to_dict()) == begun
