"""The long runs: one contestant, one split, one seed, to the end, kept as JSON.

`python -m benchmarks.training --long` trains as a pipeline does, through `fit`, until
the preset's patience or epochs are used up (`FIXED` has the paper's), and writes what came of it to
`benchmarks/results/`: the command, the settings, the versions, the machine, every
epoch. The nats of every epoch are taken on the common events (`_contest`), so that
the files of several contestants can be held against each other line by line.

How long an epoch took stands there as it was measured, by the wall and in this
process's own processor seconds, for what it is worth: other work on the machine
disturbs both. How many epochs it took does not depend on that.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import logging
import os
import platform
import re
import shlex
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks._contest import OUT, REICHARDT, Contest, prepare
from music.errors import SegueError
from pipeline.lock import exclusive

RESULTS = Path(__file__).parent / "results"
PRESETS = {
    "paper": "paper",
    "default": str(Path(__file__).parent / "presets" / "reichardt-default.yaml"),
}
CONTESTANTS = (*PRESETS, "ngram")
# Of the splits that are claimed for; `a` is the one that settings were chosen by.
SALTS = ("a", "b", "c")
# The paper's recipe is trained on where its preset would stop: it stands on a plateau
# for longer than any patience, and a peer that gives up there is no peer. Its curve
# says where the preset stops (`_curves.Curve.until`).
FIXED = {"paper": ("training.epochs=40", "training.patience=40")}


@dataclasses.dataclass(frozen=True)
class Run:
    """What a long run is asked for.

    Attributes:
      contestant: `paper`, `default` or `ngram`.
      salt: of the split.
      data: folder of MIDI files.
      seed: of the training; None takes the preset's.
      minutes: the epoch under way then is the last; 0 is no limit.
      overrides: `key.key=value` each, on top of the preset.
    """

    contestant: str
    salt: str
    data: Path = REICHARDT
    seed: int | None = None
    minutes: float = 0.0
    overrides: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.contestant not in CONTESTANTS:
            raise SegueError(
                f"contestant {self.contestant!r} does not exist; choose {', '.join(CONTESTANTS)}"
            )
        if not re.fullmatch("[a-z0-9]{1,16}", self.salt):
            raise SegueError(f"salt {self.salt!r} is not allowed; it must be letters and digits")
        if self.contestant == "ngram" and (self.seed is not None or self.is_setting):
            raise SegueError("the n-gram has neither a seed nor settings; leave them out")

    @property
    def is_trial(self) -> bool:
        """Whether its songs, split or settings are not those that are claimed for."""
        other = self.data.resolve() != REICHARDT.resolve() or self.salt not in SALTS
        return self.is_setting or other

    @property
    def is_setting(self) -> bool:
        """Whether its settings are not the preset's."""
        return bool(self.overrides or self.minutes)

    @property
    def command(self) -> str:
        """That makes it again."""
        words = ["--long", "--contestant", self.contestant, "--salt", self.salt]
        if self.data.resolve() != REICHARDT.resolve():
            words += ["--data", str(self.data)]
        if self.seed is not None:
            words += ["--seed", str(self.seed)]
        if self.minutes:
            words += ["--minutes", f"{self.minutes:g}"]
        for override in self.overrides:
            words += ["--set", override]
        return shlex.join(["python", "-m", "benchmarks.training", *words])


def settings_of(run: Run) -> Any:
    """`TrainerSettings` of a run's preset, seed and minutes.

    Raises:
      SegueError: the preset is not one that the contest is fair for.
    """
    from pipeline.configuration import load_configuration

    overrides = [*FIXED.get(run.contestant, ()), *run.overrides]
    if run.seed is not None:
        overrides.append(f"training.seed={run.seed}")
    if run.minutes:
        overrides.append(f"training.max_minutes={run.minutes}")
    config = load_configuration(run.data, OUT, PRESETS[run.contestant], overrides)
    vocabulary = config.vocabulary
    same = (config.codec["name"], vocabulary.min_count, vocabulary.closed, config.window.length)
    if same != ("chords", 10, True, 75):
        raise SegueError(
            f"the contest is over chords, min_count 10, closed, windows of 75; the preset "
            f"{run.contestant} has {same}"
        )
    return config.trainer()


def carry_out(run: Run, results: Path = RESULTS, out: Path = OUT, quiet: bool = False) -> Path:
    """Runs it to its end, goes on with what was interrupted, or finds that it was made.

    Args:
      run: what is asked for.
      results: where the result goes.
      out: where the contest and what can be resumed are kept.
      quiet: whether what the training tells is not printed.

    Returns:
      The file of the result.

    Raises:
      SegueError: it is under way elsewhere, or the songs make no contest.
    """
    settings = None if run.contestant == "ngram" else settings_of(run)
    contest = prepare(run.data, run.salt, out=out)
    value: dict[str, Any] = {
        "benchmark": "training",
        "contestant": run.contestant,
        "salt": run.salt,
        "command": run.command,
        "contest": contest.facts,
        "machine": machine(),
    }
    key = _fingerprint(settings, contest)
    trial = key if run.is_trial else ""
    value["key"] = key
    if settings is None:
        order, nats = contest.ngram
        value |= {"seed": 0, "order": order, "nats": nats}
        value["order_transposed"], value["nats_transposed"] = contest.ngram_transposed
        return write(value, results, trial)
    value["seed"] = settings.training.seed
    path = result_path(value, results, trial)
    if path.exists() and json.loads(path.read_text()).get("key") == key:
        return path
    going = out / f"going-{run.contestant}-{run.salt}-{key}"
    with exclusive(going):
        value |= _train(settings, contest, going, quiet)
        write(value, results, trial)
        shutil.rmtree(going)
    return path


def _fingerprint(settings: Any, contest: Contest) -> str:
    """Of what makes a run the same run; `fit` goes on with no other."""
    facts = {"digest": contest.facts["digest"], "salt": contest.facts["salt"]}
    facts |= settings.to_dict() if settings else {}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]


def _train(settings: Any, contest: Contest, going: Path, quiet: bool) -> dict[str, Any]:
    from components.trainer.inference import InferenceModel
    from components.trainer.network import extract_weights
    from components.trainer.training import fit

    form, vocabulary = settings.window.form, contest.vocabulary
    with Clock(going / "clock.jsonl", quiet) as clock:
        fitted = fit(
            settings,
            vocabulary,
            contest.train(form),
            contest.common(form),
            checkpoint_dir=str(going / "checkpoint"),
        )
    model = InferenceModel(
        extract_weights(fitted.network, settings.model), settings.model, settings.window, vocabulary
    )
    return {
        "history": json.loads(fitted.history.to_json()),
        "clock": clock.epochs(),
        "starts": clock.starts(),
        "nats": fitted.history.nats,
        "served_nats": served_nats(model, contest.common(form)),
        "all_nats": served_nats(model, contest.held_out(form)),
    }


def served_nats(model: Any, patterns: Sequence[str]) -> float:
    """Nats an event of held-out windows by the model as it is served.

    Args:
      model: an `InferenceModel` of one field.
      patterns: of files of windows.
    """
    import numpy as np
    import tensorflow as tf

    from benchmarks._contest import windows

    integers = [tf.TensorSpec(shape, tf.int32) for shape in ([None, None, 1], [None], [None])]
    score = tf.function(model.score).get_concrete_function(*integers)
    longest, total, events = model.window.max_events, 0.0, 0
    rows = list(windows(patterns))
    for first in range(0, len(rows), 64):
        batch = rows[first : first + 64]
        codes = np.zeros((len(batch), longest, 1), np.int32)
        for place, row in enumerate(batch):
            codes[place, : len(row["events"])] = row["events"]
        lengths = np.array([len(row["events"]) for row in batch], np.int32)
        scored = np.array([row["scored"] for row in batch], np.int32)
        nats = score(*map(tf.constant, (codes, lengths, scored)))
        total += float(tf.reduce_sum(nats))
        events += int(scored.sum())
    return total / events


class Clock(logging.Handler):
    """Notes when each epoch ends, in a file that an interrupted run goes on writing.

    It listens to what the training tells. The processor seconds are those of this
    process, all threads; an epoch that was interrupted has only those after.
    """

    def __init__(self, path: Path, quiet: bool = False):
        super().__init__(logging.INFO)
        self.path = path
        self.quiet = quiet
        self._logger = logging.getLogger("segue.progress")

    def __enter__(self) -> Clock:
        self._level = self._logger.level
        self._logger.addHandler(self)
        self._logger.setLevel(logging.INFO)
        return self

    def __exit__(self, *_: object) -> None:
        self._logger.removeHandler(self)
        self._logger.setLevel(self._level)

    def emit(self, record: logging.LogRecord) -> None:
        """Takes one line of the training's."""
        facts = getattr(record, "facts", {})
        if "windows" in facts:  # the training begins
            self._mark()
            self._write({"start": 1})
        elif "nats" in facts and "step" not in facts:  # the end of an epoch
            wall, cpu = self._wall, self._cpu
            self._mark()
            self._write(
                {
                    "epoch": facts["epoch"],
                    "nats": facts["nats"],
                    "wall": round(self._wall - wall, 3),
                    "cpu": round(self._cpu - cpu, 3),
                }
            )
        if not self.quiet:
            print(f"  {record.getMessage()}", flush=True)

    def epochs(self) -> list[dict[str, Any]]:
        """One entry an epoch, the last one written where one was done twice."""
        last = {line["epoch"]: line for line in self._lines() if "epoch" in line}
        return [last[epoch] for epoch in sorted(last)]

    def starts(self) -> int:
        """How often the training was started or gone on with."""
        return sum("start" in line for line in self._lines())

    def _mark(self) -> None:
        self._wall, self._cpu = time.monotonic(), time.process_time()

    def _write(self, line: dict[str, Any]) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps(line) + "\n")

    def _lines(self) -> list[dict[str, Any]]:
        found = []
        for line in self.path.read_text().splitlines():
            with contextlib.suppress(json.JSONDecodeError):  # a kill left half of it
                found.append(json.loads(line))
        return found


def machine() -> dict[str, Any]:
    """Where it was measured: processor, cores, and what it ran on."""
    model = platform.processor() or platform.machine()
    described = Path("/proc/cpuinfo")
    if described.exists():
        for line in described.read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
    }


def write(value: dict[str, Any], results: Path = RESULTS, trial: str = "") -> Path:
    """Keeps a result; one of the same contestant, salt and seed is replaced.

    Args:
      value: the result.
      results: its folder.
      trial: what tells a trial from others of the same contestant, salt and seed.

    Returns:
      Its file.
    """
    results.mkdir(parents=True, exist_ok=True)
    path = result_path(value, results, trial)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n")
    os.replace(partial, path)
    return path


def result_path(value: dict[str, Any], results: Path, trial: str = "") -> Path:
    """Where a result goes, by its contestant, salt and seed, and what tells a trial."""
    words = ["training", value["contestant"], value["salt"], str(value["seed"]), trial]
    return results / ("-".join(word for word in words if word) + ".json")


def read(results: Path = RESULTS) -> list[dict[str, Any]]:
    """All results that are kept, in the order of their names."""
    return [json.loads(path.read_text()) for path in sorted(results.glob("training-*.json"))]
