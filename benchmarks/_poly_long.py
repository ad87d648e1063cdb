"""The long runs of the yardstick: one data set, one seed, to the end, kept as JSON.

A run trains through `fit`, as a pipeline does, on the published training split. Its
epoch is chosen by the nats of the validation windows; settings are chosen by hand, by
the validation split's nats a frame. So a trial (settings that are not those of the
preset) is told its validation figure alone: the test split is looked at by the preset
that was chosen, once a seed.

An interrupted run goes on where it was, and one whose result is there is not made
again. A result holds the command, the settings, the seed, every epoch, the figures on
both splits, the versions and the machine.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks._frames import NetworkRolls, frames_of
from benchmarks._long import Clock, machine
from benchmarks._poly import FOLDER, Rolls, prepare, read_rolls
from music.errors import SegueError
from pipeline.lock import exclusive

OUT = Path("out") / "benchmarks" / "likelihood"
RESULTS = Path(__file__).parent / "results"
PRESETS = {
    name: Path(__file__).parent / "presets" / f"{name.lower()}.yaml"
    for name in ("JSB", "Nottingham")
}


@dataclasses.dataclass(frozen=True)
class Run:
    """What a run is asked for.

    Attributes:
      data: `JSB` or `Nottingham`.
      seed: of the training.
      overrides: `key.key=value` each, on top of the data set's preset; with any of
        them the run is a trial.
    """

    data: str
    seed: int = 1
    overrides: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.data not in PRESETS:
            raise SegueError(f"data set {self.data!r} has no preset; choose {' or '.join(PRESETS)}")

    @property
    def command(self) -> str:
        """That makes it again."""
        words = ["--long", "--data", self.data, "--seeds", str(self.seed)]
        for override in self.overrides:
            words += ["--set", override]
        return shlex.join(["python", "-m", "benchmarks.likelihood", *words])


def carry_out(
    run: Run, folder: Path = FOLDER, results: Path | None = None, out: Path = OUT
) -> dict[str, Any]:
    """Runs it to its end, goes on with what was interrupted, or reads what is there.

    Args:
      run: what is asked for.
      folder: of the data sets.
      results: where results are kept; None is benchmarks/results, and for trials a
        folder under `out`.
      out: where windows and what can be resumed lie.

    Returns:
      The result, as its file holds it.
    """
    config = _configuration(run, folder, out)
    settings = config.trainer()
    key = _fingerprint(settings.to_dict(), config.vocabulary.min_count)
    name = f"likelihood-{run.data.lower()}-{run.seed}"
    if run.overrides:
        name += f"-{key}"
    path = (results or (out / "trials" if run.overrides else RESULTS)) / f"{name}.json"
    if path.exists():
        kept = json.loads(path.read_text())
        if kept["key"] == key:
            return kept
    going = out / f"going-{run.data.lower()}-{key}"
    value: dict[str, Any] = {
        "benchmark": "likelihood",
        "data": run.data,
        "seed": run.seed,
        "command": run.command,
        "key": key,
        "min_count": config.vocabulary.min_count,
        "machine": machine(),
    }
    with exclusive(going):
        rolls = read_rolls(run.data, folder)
        value |= train(
            run.data, settings, rolls, going, config.vocabulary.min_count, test=not run.overrides
        )
        _write(value, path)
        shutil.rmtree(going)
    return value


def _configuration(run: Run, folder: Path, out: Path) -> Any:
    """The preset of a run's data set, with its seed and overrides."""
    from pipeline.configuration import load_configuration

    overrides = [*run.overrides, f"training.seed={run.seed}"]
    config = load_configuration(folder, out, str(PRESETS[run.data]), overrides)
    if config.codec != {"name": "notes", "velocity": False, "part": False}:
        raise SegueError(f"rolls are spelled by the codec notes alone, got {dict(config.codec)}")
    return config


def train(
    name: str,
    settings: Any,
    rolls: dict[str, Rolls],
    going: Path,
    min_count: int = 1,
    test: bool = True,
) -> dict[str, Any]:
    """Trains on a data set's rolls; the history, and nats a frame as far as asked for.

    Args:
      name: of the data set.
      settings: `TrainerSettings` of a chain.
      rolls: its pieces, by split.
      going: folder of the windows and of what can be resumed.
      min_count: of the vocabulary.
      test: whether to look at the test split.
    """
    from components.trainer.inference import InferenceModel
    from components.trainer.network import extract_weights
    from components.trainer.training import fit

    prepared = prepare(name, going, settings.window, min_count, rolls)
    with Clock(going / "clock.jsonl") as clock:
        fitted = fit(
            settings,
            prepared.vocabulary,
            prepared.train_files,
            prepared.eval_files,
            checkpoint_dir=str(going / "checkpoint"),
        )
    model = InferenceModel(
        extract_weights(fitted.network, settings.model),
        settings.model,
        settings.window,
        prepared.vocabulary,
    )
    scorer = NetworkRolls(model)
    figures = {}
    for split in ("valid", "test") if test else ("valid",):
        paid, frames = scorer.paid(rolls[split]), frames_of(rolls[split])
        figures[split] = {
            "nats": sum(one.model for one in paid) / frames,
            "renormalised": sum(one.renormalised for one in paid) / frames,
            "frames": frames,
        }
    return {
        "history": json.loads(fitted.history.to_json()),
        "clock": clock.epochs(),
        "starts": clock.starts(),
        **figures,
    }


def kept(data: str, results: Path = RESULTS) -> list[dict[str, Any]]:
    """The results of a data set's preset as it is, by seed; those of an older one do not count."""
    found = [json.loads(p.read_text()) for p in results.glob(f"likelihood-{data.lower()}-*.json")]
    present = [value for value in found if _is_of_the_preset(value)]
    return sorted(present, key=lambda value: value["seed"])


def _is_of_the_preset(value: dict[str, Any]) -> bool:
    """Whether a result's settings, those that there were then, are the preset's of today."""
    config = _configuration(Run(value["data"], value["seed"]), FOLDER, OUT)
    today, then = config.trainer().to_dict(), value["history"]["settings"]
    # As JSON has them, where a tuple is a list.
    today = json.loads(json.dumps(today))
    return value["min_count"] == config.vocabulary.min_count and all(
        today[group].get(name) == setting
        for group in ("model", "training", "window")
        for name, setting in then[group].items()
    )


def _fingerprint(settings: dict[str, Any], min_count: int) -> str:
    """Of what makes a run the same run; mended code does not."""
    facts = settings | {"code": "", "min_count": min_count}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]


def _write(value: dict[str, Any], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n")
    os.replace(partial, path)


def averages(values: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Over the seeds of one preset: the mean of every figure, and how far they lie apart.

    Returns:
      `seeds`, and for `valid` and `test` of `nats` and `renormalised` the mean, the
      least and the most.
    """
    means: dict[str, Any] = {"seeds": [value["seed"] for value in values]}
    for split in ("valid", "test"):
        for figure in ("nats", "renormalised"):
            found = [value[split][figure] for value in values if split in value]
            if found:
                means[f"{split}_{figure}"] = (sum(found) / len(found), min(found), max(found))
    return means
