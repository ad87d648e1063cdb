"""Runs a study: songs to windows through the pipeline, then one training after another.

The data go the way of every run: MidiParser, VocabularyBuilder and WindowGenerator,
with TFX's cache. The arms are a plain loop over `Trials`: one thing is varied at a
time, which is neither a grid nor a random draw, and no later step takes up a best
arm, so a Tuner node would give nothing and take Ctrl-C away. What an arm was is kept
under a key of its settings and data; an arm that is kept is not trained again.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from components.progress import report
from components.trainer.trials import Trial, Trials, without_epochs
from music.errors import SegueError
from music.folder import midi_files
from music.midi import MAX_FILE_BYTES
from pipeline.configuration import Configuration, load_configuration
from pipeline.demo import CHORALE_PARTS, DemoSettings
from pipeline.study.arms import SIZES, Arm, Size, arms
from pipeline.study.record import record

_SECONDS_WORTH_A_PAGE = 20.0  # an arm that took longer is shown while the next one runs


@dataclasses.dataclass(frozen=True)
class StudySettings:
    """What a study runs on.

    Attributes:
      root: folder of everything that it makes.
      data: folder of MIDI files; None for the built-in corpus.
      size: a name of `SIZES`.
    """

    root: Path
    data: Path | None = None
    size: str = "small"


def prepare(settings: StudySettings, on_song: Callable[[int, int], None]) -> Configuration:
    """The songs in a folder, and the configuration of the paper's preset for them.

    Args:
      settings: what to run on.
      on_song: told (done, of) as songs of the corpus are written.

    Raises:
      SegueError: no songs, or a root that cannot be written.
    """
    size = SIZES[settings.size]
    if settings.data is None:
        from music.corpus import export

        count = size.songs or DemoSettings.chorales
        folder = settings.root / f"midi-{count}"
        export("bach", folder, count, parts=CHORALE_PARTS, on_song=on_song)
    else:
        folder = _sample(settings.data, settings.root, size.songs)
    return load_configuration(folder, settings.root, "paper", size.overrides)


def run_study(
    config: Configuration, size: Size, publish: Callable[[dict[str, Any]], None]
) -> dict[str, Any]:
    """Runs what of a study is not done yet; the caller holds the root.

    Args:
      config: of `prepare`.
      size: of the study.
      publish: shows a record of the study; called after long arms and at the end.

    Returns:
      The record (`record.record`), with `trained`, the arms that were trained now.

    Raises:
      SegueError: a step refuses its input, or every arm broke down.
    """
    from pipeline.history import last_run
    from pipeline.local_runner import run_windows_locked

    run_windows_locked(config)
    outputs = last_run(config.metadata_path).outputs
    examples = Path(outputs["WindowGenerator", "examples"])
    trials = open_trials(config, examples)
    planned = arms(config.trainer(), size.brief)
    songs = count_songs(Path(outputs["MidiParser", "songs"]))

    def shown(done: dict[str, Trial]) -> dict[str, Any]:
        return record(config, size, planned, done, songs, trials.vocabulary)

    done = run_arms(planned, trials, lambda so_far: publish(shown(so_far)))
    found = shown(done)
    publish(found)
    if all(trial.history is None for trial in done.values()):
        raise SegueError(f"every arm of the study broke down; {next(iter(done.values())).reason}")
    return {**found, "trained": [name for name, trial in done.items() if not trial.kept]}


def open_trials(config: Configuration, examples: Path) -> Trials:
    """The trainings on an Examples artifact's windows."""
    from components.trainer.module import read_vocabulary

    splits = [[str(examples / f"Split-{side}" / "*")] for side in ("train", "eval")]
    return Trials(config.trials_dir, read_vocabulary(splits[0]), *splits)


def run_arms(
    planned: tuple[Arm, ...],
    trials: Trials,
    on_arm: Callable[[dict[str, Trial]], None] = lambda done: None,
) -> dict[str, Trial]:
    """Every arm by its name, those that are kept read and the others trained.

    Args:
      planned: in the order in which they run.
      trials: makes and keeps trainings.
      on_arm: told what there is after an arm that took its time.
    """
    done: dict[str, Trial] = {}
    # Known before the first is trained, so that the time left counts only the rest.
    kept = {arm.name: trials.find(arm.settings) for arm in planned}
    waiting = sum(trial is None for trial in kept.values())
    spent: list[float] = []
    for number, arm in enumerate(planned, start=1):
        trial = kept[arm.name]
        if trial is None:
            with without_epochs():
                trial = trials.run(arm.settings)
            spent.append(trial.history.seconds if trial.history else 0.0)
        done[arm.name] = trial
        left = sum(spent) / len(spent) * (waiting - len(spent)) if spent else None
        _tell(number, len(planned), arm, trial, left)
        if spent and not trial.kept and spent[-1] > _SECONDS_WORTH_A_PAGE:
            on_arm(done)
    return done


def count_songs(songs: Path) -> dict[str, int]:
    """How many songs a Songs artifact has, a split."""
    import pyarrow.parquet as pq

    return {
        side: sum(
            pq.ParquetFile(path).metadata.num_rows
            for path in sorted((songs / f"Split-{side}").glob("*.parquet"))
        )
        for side in ("train", "eval")
    }


def _tell(number: int, of: int, arm: Arm, trial: Trial, left: float | None) -> None:
    line = f"arm {number} of {of}, {arm.title}: "
    if trial.history is None:
        line += trial.reason
    else:
        history = trial.history
        line += (
            f"held-out {history.nats:.3f} nats a token in epoch {history.best} of "
            f"{len(history.epochs)}"
        )
    if trial.kept:
        line += ", made before"
    elif left is not None and left > 0:
        line += f", about {int(left) // 60}:{int(left) % 60:02d} left"
    nats = None if trial.history is None else trial.history.nats
    report("Study", line, arm=arm.name, nats=nats, kept=trial.kept, seconds_left=left)


def _sample(data: Path, root: Path, count: int | None) -> Path:
    """The folder itself, or a copy of `count` of its files that their bytes decide."""
    files = midi_files(data)
    if count is None or len(files) <= count:
        return data
    by_bytes = {}
    left_out = 0
    for path in files:
        try:
            if path.stat().st_size > MAX_FILE_BYTES:
                raise OSError
            by_bytes[hashlib.sha256(path.read_bytes()).hexdigest()] = path
        except OSError:
            left_out += 1
    if left_out:
        report("Study", f"{left_out:,} of {len(files):,} files cannot be read or are too large")
    try:
        chosen = sorted(by_bytes)[:count]
        names = hashlib.sha256("".join(chosen).encode()).hexdigest()
        folder = root / f"midi-{len(chosen)}-{names[:12]}"
        folder.mkdir(parents=True, exist_ok=True)
        for digest in chosen:
            target = folder / f"{digest[:32]}.mid"
            if not target.exists():
                beside = folder / f".{target.name}.{os.getpid()}"
                beside.write_bytes(by_bytes[digest].read_bytes())
                beside.replace(target)
    except OSError as error:
        raise SegueError(
            f"cannot copy songs from {data} to {root}: {error.strerror or error}"
        ) from None
    return folder
