"""Fitting: that it learns, stops, tells, and gives back its best."""

import dataclasses
import json
import logging
import math
import types

import numpy as np
import pytest

from components.files import HISTORY_FILE
from components.trainer import telling, training
from components.trainer.data import WindowData
from components.trainer.history import History
from components.trainer.settings import ModelSettings, TrainerSettings, TrainingSettings
from components.trainer.training import fit
from music.codec import BOUNDARY, NotesCodec
from music.errors import SegueError
from music.vocabulary import build_vocabulary
from music.windows import WindowSpec

TINY = {"units": (12, 16, 12), "dense": 16, "embedding": 8, "dropout": 0.0}
STEPS, PITCHES, TICKS = (0, 6, 12, 24), (60, 64, 67, 72), (12, 24, 6, 48)


def tune(start, count):
    """A song that repeats four events for ever."""
    places = start + np.arange(count)
    columns = [np.array(values)[places % len(values)] for values in (STEPS, PITCHES, TICKS)]
    events = np.stack(columns, axis=1).astype(np.int32)
    events[0] = (0, BOUNDARY, 0)
    return events


TRAIN_SONGS = [tune(start, 50) for start in range(6)]
EVAL_SONGS = [tune(start, 30) for start in (7, 8)]


@pytest.fixture(scope="module")
def known():
    counts = [{}, {}, {}]
    for song in TRAIN_SONGS:
        for column in range(3):
            for code in song[:, column].tolist():
                counts[column][code] = counts[column].get(code, 0) + 1
    return build_vocabulary(NotesCodec(), counts, min_count=2)


@pytest.fixture(scope="module")
def splits(tmp_path_factory, known, write_windows):
    """Patterns of the train and the eval split, windows of 8."""
    folder = tmp_path_factory.mktemp("windows")
    write_windows(folder / "Split-train" / "w.gz", TRAIN_SONGS, known, WindowSpec(8))
    write_windows(folder / "Split-eval" / "w.gz", EVAL_SONGS, known, WindowSpec(8))
    (folder / "vocabulary.json").write_text(known.to_json())
    return [str(folder / "Split-train" / "*")], [str(folder / "Split-eval" / "*")]


def settings(model=TINY, **given):
    values = {"batch_size": 4, "epochs": 3, "learning_rate": 0.02, "schedule": "constant", **given}
    return TrainerSettings(ModelSettings(**model), TrainingSettings(**values), WindowSpec(8))


def unigram_entropy(known):
    """Nats of the best model that knows how often each code comes, and no more."""
    events = np.concatenate([song[1:] for song in EVAL_SONGS])
    nats = 0.0
    for column in range(3):
        _, counts = np.unique(events[:, column], return_counts=True)
        shares = counts / counts.sum()
        nats -= float((shares * np.log(shares)).sum())
    return nats


@pytest.fixture(scope="module")
def told():
    """What was reported while `fitted` came about."""
    return []


@pytest.fixture(scope="module")
def fitted(splits, known, told):
    class Ear(logging.Handler):
        def emit(self, record):
            told.append(record)

    ear, logger = Ear(), logging.getLogger("segue.progress")
    level = logger.level
    logger.addHandler(ear)
    logger.setLevel("INFO")
    try:
        return fit(settings(epochs=8), known, *splits)
    finally:
        logger.removeHandler(ear)
        logger.setLevel(level)


def test_it_learns_what_repeats(fitted, known):
    assert fitted.history.nats < 0.6 * unigram_entropy(known)
    assert fitted.history.epochs[0].nats > fitted.history.nats
    assert len(fitted.history.epochs) <= 8
    assert fitted.history.seconds > 0
    # A constant schedule leaves the rate where it was.
    assert float(fitted.network.optimizer.learning_rate) == pytest.approx(0.02)


def test_every_epoch_is_told(fitted, told):
    first, *epochs = told
    assert first.facts["windows"] == sum(
        sum(1 for _ in WindowSpec(8).cut(song)) for song in TRAIN_SONGS
    )
    assert first.text.startswith(f"{first.facts['windows']} windows to learn from, ")
    assert [record.facts["epoch"] for record in epochs] == list(
        range(1, len(fitted.history.epochs) + 1)
    )
    for record, epoch in zip(epochs, fitted.history.epochs, strict=True):
        assert (record.facts["loss"], record.facts["nats"]) == (epoch.loss, epoch.nats)
        assert record.facts["nats"] >= record.facts["best"]
        assert f"held-out {epoch.nats:.3f} nats an event" in record.text
    assert epochs[-1].facts["best"] == fitted.history.nats
    if len(fitted.history.epochs) == 8:
        assert epochs[-1].facts["seconds_left"] == 0


def test_the_network_has_the_weights_of_its_best_epoch(splits, known, tmp_path, write_windows):
    # Held-out songs that contradict the others: what is learned makes them worse.
    contrary = [song[:, [0, 1, 2]] for song in EVAL_SONGS]
    for song in contrary:
        song[1:, 1] = np.roll(song[1:, 1], 1)
        song[1:, 2] = np.roll(song[1:, 2], 2)
    write_windows(tmp_path / "w.gz", contrary, known, WindowSpec(8))
    held_out = [str(tmp_path / "*")]
    chosen = settings(epochs=6, patience=6)
    found = fit(chosen, known, splits[0], held_out)
    nats = [epoch.nats for epoch in found.history.epochs]
    assert len(nats) == 6
    assert found.history.nats == min(nats)
    assert found.history.best == 1 + nats.index(min(nats))
    assert nats[-1] > found.history.nats + 0.1
    data = WindowData(chosen, known).evaluation(held_out)
    again = found.network.evaluate(data, verbose=0, return_dict=True)["nats"]
    assert again == pytest.approx(found.history.nats, abs=1e-5)


def test_the_held_out_nats_are_the_mean_over_scored_events(fitted, splits, known):
    indices = [known.indices(song) for song in EVAL_SONGS]
    total = 0.0
    for (_, _, weight), share, nats in _by_batch(fitted, splits, known):
        total += float(((share + nats) * weight).sum())
    assert total / sum(len(index) - 1 for index in indices) == pytest.approx(
        fitted.history.nats, abs=1e-4
    )


def _by_batch(fitted, splits, known):
    data = WindowData(settings(), known).evaluation(splits[1])
    for (heard, coming), share, weight in data.as_numpy_iterator():
        yield (heard, coming, weight), share, fitted.network([heard, coming]).numpy()


def test_the_same_seed_gives_the_same_curve(splits, known):
    dropped = {**TINY, "dropout": 0.3}
    chosen = settings(dropped, epochs=2, transpose=2, schedule="cosine")
    first, second = (fit(chosen, known, *splits) for _ in range(2))
    curves = [[(e.loss, e.nats) for e in found.history.epochs] for found in (first, second)]
    assert curves[0] == curves[1]
    # A cosine ends at a hundredth of its peak: nearly there with the last step.
    assert float(first.network.optimizer.learning_rate) < 0.02 / 20


@pytest.fixture
def poison(monkeypatch):
    """poison(after): weights become NaN after so many calls of the training function."""

    def poison(after):
        real = training.build_network

        def broken(*args):
            network = real(*args)
            make = network.make_train_function

            def made(*args):
                make(*args)
                step, calls = network.train_function, []

                def train(iterator):
                    calls.append(1)
                    if len(calls) == after:
                        layer = network.get_layer("head_1")
                        layer.set_weights([w * np.nan for w in layer.get_weights()])
                    return step(iterator)

                network.train_function = train

            network.make_train_function = made
            return network

        monkeypatch.setattr(training, "build_network", broken)

    return poison


def test_a_loss_that_is_no_number_stops_with_one_line(splits, known, poison):
    poison(1)
    with pytest.raises(SegueError) as caught:
        fit(settings(learning_rate=0.5, clip_norm=2.0), known, *splits)
    assert str(caught.value) == (
        "training broke down in epoch 1: the loss is nan; lower learning_rate (0.5) "
        "or clip_norm (2.0)"
    )


def test_a_breakdown_inside_an_epoch_is_seen_there_and_keeps_the_last_good_epoch(
    splits, known, fitted, poison, monkeypatch, tmp_path
):
    chosen, whole = settings(epochs=8), fitted
    steps = WindowData(chosen, known).train(splits[0]).steps
    assert steps > 8
    poison(2 * steps + 3)
    monkeypatch.setattr(telling, "TICK_SECONDS", 0.0)
    ticked = []
    monkeypatch.setattr(telling, "tick", lambda stage, **facts: ticked.append(facts))
    with pytest.raises(SegueError) as caught:
        fit(chosen, known, *splits, checkpoint_dir=str(tmp_path / "kept"))
    nats = [epoch.nats for epoch in whole.history.epochs[:2]]
    assert str(caught.value) == (
        "training broke down in epoch 3: the loss is nan (best before: epoch "
        f"{1 + nats.index(min(nats))} with {min(nats):.3f} nats); lower learning_rate (0.02) "
        "or clip_norm (1.0)"
    )
    # Seen at the very step; the last tick takes the bar away.
    assert (ticked[-2]["epoch"], ticked[-2]["step"], ticked[-1]) == (3, 2, {"ended": True})
    monkeypatch.undo()
    again = fit(chosen, known, *splits, checkpoint_dir=str(tmp_path / "kept"))
    assert figures(again) == figures(whole)
    assert again.history.epochs[:2] != whole.history.epochs[:2]  # other seconds: not trained anew


def figures(found):
    return [(epoch.loss, epoch.nats, epoch.learning_rate) for epoch in found.history.epochs]


def test_tensorboard_shows_the_curves_with_the_n_gram_as_a_line(
    known, tmp_path, write_windows, monkeypatch
):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for side, songs in (("train", TRAIN_SONGS), ("eval", EVAL_SONGS)):
        write_windows(
            tmp_path / side / "w.gz", songs, known, WindowSpec(8), ngram=lambda song, cut: 2.5
        )
    splits = [str(tmp_path / "train" / "*")], [str(tmp_path / "eval" / "*")]

    def curve(run, tag):
        events = EventAccumulator(str(tmp_path / "logs" / run), size_guidance={"tensors": 0})
        events.Reload()
        values = [(event.step, make_ndarray(event.tensor_proto)) for event in events.Tensors(tag)]
        return [step for step, _ in values], [pytest.approx(float(value)) for _, value in values]

    from tensorflow import make_ndarray

    found = fit(settings(schedule="cosine"), known, *splits, log_dir=str(tmp_path / "logs"))
    epochs = found.history.epochs
    steps = [1, 2, 3]
    assert found.history.ngram_nats == pytest.approx(2.5)
    assert curve("train", "nats_an_event") == (steps, [epoch.loss for epoch in epochs])
    assert curve("held-out", "nats_an_event") == (steps, [epoch.nats for epoch in epochs])
    assert curve("n-gram", "nats_an_event") == (steps, [2.5] * 3)
    assert curve("train", "learning_rate") == (steps, [epoch.learning_rate for epoch in epochs])


def test_it_stops_when_nothing_gets_better(splits, known):
    still = settings(epochs=9, learning_rate=1e-12, weight_decay=0.0, patience=2)
    found = fit(still, known, *splits)
    assert len(found.history.epochs) < 9


def test_a_paper_network_is_fitted_on_last_events(tmp_path, vocabulary, write_windows):
    known, window = vocabulary("paper"), WindowSpec(3, "last")
    song = np.tile([[5], [170]], (50, 1)).astype(np.int32)
    song[:, 0] = np.array(known.fields[0].kept)[song[:, 0]]
    for split in ("train", "eval"):
        write_windows(tmp_path / split / "w.gz", [song], known, window)
    paper = TrainerSettings(
        ModelSettings("paper", units=(32, 32, 32), dense=32, dropout=0.0, activation="tanh"),
        TrainingSettings(batch_size=16, epochs=20, learning_rate=0.02, schedule="constant"),
        window,
    )
    found = fit(paper, known, [str(tmp_path / "train" / "*")], [str(tmp_path / "eval" / "*")])
    assert math.log(2) / 2 < found.history.epochs[0].nats < 1.5 * math.log(175)
    assert found.history.nats < 1.05 * math.log(2)  # at least the two tokens' frequencies
    indices = known.indices(song)[:, 0]
    heard = np.stack([indices[place : place + 3] for place in range(97)])[:, :, None] / 175
    probabilities = found.network(heard.astype(np.float32)).numpy()
    nats = -np.log(probabilities[np.arange(97), indices[3:]])
    assert nats.mean() == pytest.approx(found.history.nats, abs=1e-4)


def test_run_fn_trains_and_exports_what_can_be_served(splits, known, tmp_path, load):
    from components.trainer.module import run_fn

    # The minutes are used up in the first epoch, which is still finished.
    chosen = dataclasses.replace(settings(epochs=50, max_minutes=1e-6), preset="tiny")
    train, held_out = splits
    arguments = types.SimpleNamespace(
        custom_config={
            "settings": json.dumps(chosen.to_dict()),
            "checkpoints": str(tmp_path / "kept"),
        },
        train_files=train,
        eval_files=held_out,
        model_run_dir=str(tmp_path / "run"),
        serving_model_dir=str(tmp_path / "Format-Serving"),
    )
    run_fn(arguments)
    values = load(arguments.serving_model_dir)("describe", keys=["training", "vocabulary"])[
        "values"
    ]
    told, words = (json.loads(value) for value in values)
    assert (told["preset"], told["epoch"], told["epochs"]) == ("tiny", 1, 1)
    assert math.isfinite(told["nats"])
    assert told["parameters"] > 0
    assert [field["kept"] for field in words["fields"]] == [list(f.kept) for f in known.fields]
    assert list((tmp_path / "run").rglob("events.out.*"))
    history = History.from_json((tmp_path / "run" / HISTORY_FILE).read_text())
    assert (history.nats, history.best) == (told["nats"], 1)
    assert TrainerSettings.from_dict(history.settings) == chosen
    assert list((tmp_path / "kept").iterdir()) == []


def test_a_model_whose_export_was_cut_short_is_not_trained_again(
    splits, known, tmp_path, monkeypatch, load
):
    from components.trainer import export, module

    def arguments(attempt):
        return types.SimpleNamespace(
            custom_config={
                "settings": json.dumps(settings(epochs=2).to_dict()),
                "checkpoints": str(tmp_path / "kept"),
            },
            train_files=splits[0],
            eval_files=splits[1],
            # TFX gives every attempt folders of its own.
            model_run_dir=str(tmp_path / attempt / "run"),
            serving_model_dir=str(tmp_path / attempt / "Format-Serving"),
        )

    def pulled(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(export, "export", pulled)
        with pytest.raises(KeyboardInterrupt):
            module.run_fn(arguments("first"))
    assert len(list((tmp_path / "kept").iterdir())) == 1
    monkeypatch.setattr(training._Loop, "_train", None)
    module.run_fn(arguments("second"))
    histories = [
        (tmp_path / attempt / "run" / HISTORY_FILE).read_text() for attempt in ("first", "second")
    ]
    assert histories[0] == histories[1]
    (value,) = load(arguments("second").serving_model_dir)("describe", keys=["training"])["values"]
    assert json.loads(value)["epochs"] == 2
    assert list((tmp_path / "kept").iterdir()) == []


@pytest.mark.parametrize(
    ("seconds", "step", "left"),
    [
        (0.0, 0, 0.0),  # nothing is known yet
        (120.0, 5, 20 * 240 - 120.0 - 0.0),
        (590.0, 5, 590.0),  # ten minutes end in ten seconds; the epoch does not
        (660.0, 9, 660.0 / 9),
    ],
)
def test_the_time_left_is_never_less_than_the_epoch_under_way(seconds, step, left):
    from components.trainer.checkpoints import Progress

    minutes = 0.0 if seconds == 120.0 else 10.0
    chosen = TrainingSettings(epochs=20, max_minutes=minutes)
    progress = Progress(step=step, seconds=seconds)
    assert telling.seconds_left(chosen, progress, steps=10) == pytest.approx(left)


def test_what_has_no_bound_is_given_one_when_a_training_breaks_down(splits, known, poison):
    poison(1)
    with pytest.raises(SegueError, match=r"lower learning_rate \(0.5\) or set clip_norm, 1.0 say"):
        fit(settings(learning_rate=0.5, clip_norm=0.0), known, *splits)
