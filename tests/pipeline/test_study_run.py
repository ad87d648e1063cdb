"""A study's trainings: made once, made again when lost, and told a line each."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from components.progress import LOGGER
from components.trainer.settings import ModelSettings, TrainerSettings, TrainingSettings
from components.window_generator.stages import to_example
from music.corpus import export
from music.errors import SegueError
from music.windows import WindowSpec
from pipeline.study.arms import arms
from pipeline.study.run import StudySettings, open_trials, prepare, run_arms

WINDOW = WindowSpec(4, "last")
BASE = TrainerSettings(
    ModelSettings("paper", units=(4, 4, 4), dense=4),
    TrainingSettings(batch_size=32, epochs=1, patience=1, schedule="constant"),
    WINDOW,
)
PLANNED = arms(BASE, brief=True)[:2]


@pytest.fixture(scope="module")
def trials(tmp_path_factory, vocabulary):
    """Of an Examples artifact as the WindowGenerator leaves it."""
    import tensorflow as tf

    from pipeline.configuration import load_configuration

    folder, known = tmp_path_factory.mktemp("examples"), vocabulary("paper")
    song = np.array(known.fields[0].kept, np.int32)[np.arange(60) % 7][:, None]
    for side in ("train", "eval"):
        (folder / f"Split-{side}").mkdir()
        with tf.io.TFRecordWriter(str(folder / f"Split-{side}" / "w.gz"), "GZIP") as writer:
            for cut in WINDOW.cut(song):
                example = to_example(cut, "song", ["token"], 1.5)
                writer.write(example.SerializeToString())
    (folder / "vocabulary.json").write_text(known.to_json())
    root = tmp_path_factory.mktemp("root")
    return open_trials(load_configuration(Path("midi"), root, "paper"), folder)


@pytest.fixture(scope="module")
def first(trials):
    return run_arms(PLANNED, trials)


def test_every_arm_is_trained_and_judged_with_the_n_gram(first):
    assert list(first) == [arm.name for arm in PLANNED]
    for arm in PLANNED:
        trial = first[arm.name]
        assert not trial.kept
        assert trial.history.settings["model"]["dropout"] == arm.settings.model.dropout
        assert trial.history.ngram_nats == pytest.approx(1.5)


def test_a_study_that_is_done_trains_nothing_and_one_that_lost_an_arm_that_arm(
    trials, first, caplog
):
    again = run_arms(PLANNED, trials)
    assert [trial.kept for trial in again.values()] == [True, True]
    paper, other = (first[arm.name] for arm in PLANNED)
    assert again["paper"].history.to_json() == paper.history.to_json()
    shutil.rmtree(trials.store / other.key)
    caplog.clear()
    LOGGER.addHandler(caplog.handler)
    try:
        with caplog.at_level("INFO", LOGGER.name):
            third = run_arms(PLANNED, trials)
    finally:
        LOGGER.removeHandler(caplog.handler)
    assert [trial.kept for trial in third.values()] == [True, False]
    made = third[PLANNED[1].name]
    assert made.history.nats == pytest.approx(other.history.nats, rel=1e-6)
    told = [record for record in caplog.records if record.name == LOGGER.name]
    lines = list(dict.fromkeys(record.text for record in told))
    assert len(lines) == 2
    assert lines[0].startswith("arm 1 of 2, the paper's preset: held-out ")
    assert lines[0].endswith(" in epoch 1 of 1, made before")
    assert lines[1].startswith(f"arm 2 of 2, {PLANNED[1].title}: held-out ")


def test_a_sample_of_a_folder_is_decided_by_the_songs_alone(tmp_path):
    songs = export("bach", tmp_path / "all", limit=12, parts=4)
    root = tmp_path / "root"

    def sample():
        config = prepare(StudySettings(root, tmp_path / "all", "quick"), lambda *_: None)
        return config.data, {path.read_bytes() for path in config.data.glob("*.mid")}

    folder, chosen = sample()
    assert len(chosen) == 8
    assert chosen < {song.read_bytes() for song in songs}
    (tmp_path / "all" / "sub").mkdir()
    for number, song in enumerate(songs):
        song.rename(song.parent / "sub" / f"{number}.mid")
    assert sample() == (folder, chosen)
    assert [path.name for path in root.iterdir()] == [folder.name]


def test_a_folder_that_is_small_enough_is_read_where_it_lies(tmp_path):
    export("bach", tmp_path / "few", limit=2, parts=4)
    config = prepare(StudySettings(tmp_path / "root", tmp_path / "few", "quick"), lambda *_: None)
    assert config.data == tmp_path / "few"
    assert not (tmp_path / "root").exists()
    with pytest.raises(SegueError, match="there is no folder"):
        prepare(StudySettings(tmp_path / "root", tmp_path / "none", "quick"), lambda *_: None)


def test_files_that_cannot_be_read_are_counted_and_stop_nothing(tmp_path, caplog):
    export("bach", tmp_path / "midi", limit=10, parts=4)
    (tmp_path / "midi" / "gone.mid").symlink_to(tmp_path / "nowhere.mid")
    with (tmp_path / "midi" / "huge.mid").open("wb") as file:
        file.truncate(2**31)
    with caplog.at_level("INFO", LOGGER.name):
        settings = StudySettings(tmp_path / "root", tmp_path / "midi", "quick")
        config = prepare(settings, lambda *_: None)
    assert len(list(config.data.glob("*.mid"))) == 8
    assert any("cannot be read or are too large" in line for line in caplog.messages)
