"""What a training tells while it runs, and where it sees that it broke down.

A line an epoch, and in epochs that take minutes a line a minute, as reports of
`components.progress`. In between `tick` carries the same facts twice a second, for
whoever draws a bar. TensorBoard gets the curves: three runs, `train`, `held-out`
and `n-gram`, whose values of one tag lie in one chart.

Looking at the running loss makes the processor wait for the device, so it is done
at a tick, not at every step; a loss that is no number is found there, too.
"""

from __future__ import annotations

import math
import os
import time
from typing import Any

import tensorflow as tf

from components.progress import report, tick
from components.trainer.checkpoints import Progress
from components.trainer.history import Epoch
from components.trainer.settings import TrainingSettings
from music.errors import SegueError
from music.statistics import clock

TICK_SECONDS = 0.5
LINE_SECONDS = 60.0


class BrokeDown(SegueError):
    """The loss is no number any more: what the settings come to, and no accident."""


class Teller:
    """The voice of one training.

    Args:
      training: how it is fitted.
      steps: of an epoch.
      ngram_nats: the n-gram's nats an event; NaN where there is none.
      log_dir: for TensorBoard's logs; None writes none.
    """

    def __init__(
        self, training: TrainingSettings, steps: int, ngram_nats: float, log_dir: str | None
    ):
        self.training = training
        self.steps = steps
        self.ngram_nats = ngram_nats
        self._looked = self._spoke = time.monotonic()
        self._writers: dict[str, tf.summary.SummaryWriter] = {}
        if log_dir:
            self._writers = {
                name: tf.summary.create_file_writer(os.path.join(log_dir, name))
                for name in ("train", "held-out", "n-gram")
            }

    def began(self, nats: float) -> None:
        """Tells what the weights that a training begins from are worth before its first step."""
        report(
            "Trainer",
            f"goes on from the weights in service: held-out {nats:.3f} nats an event before the "
            "first step",
            start_nats=nats,
        )

    def resumed(self, progress: Progress) -> None:
        """Tells where a training goes on, and draws the curves up to there again."""
        for number, epoch in enumerate(progress.epochs, start=1):
            self._draw(number, epoch)
        done = len(progress.epochs)
        where = f"after epoch {done}"
        if progress.step:
            where = f"in epoch {done + 1}, after step {progress.step} of {self.steps}"
        text = f"a training that was stopped goes on {where}"
        if progress.ended:
            text = f"the training had ended {where}; only its model is made again"
        report("Trainer", text, resumed=True, epoch=done, step=progress.step)

    def step(self, progress: Progress, running: Any, look: bool = False) -> None:
        """After every call of the training function; cheap unless a tick is due.

        Args:
          progress: where the training stands, this call included.
          running: float32 scalar, the epoch's nats an event so far.
          look: do so, tick or no tick.

        Raises:
          SegueError: that is no number.
        """
        now = time.monotonic()
        if now - self._looked < TICK_SECONDS and not look:
            return
        loss = float(running)
        self._require_numbers(progress, loss)
        self._looked = time.monotonic()
        facts = self._facts(progress) | {"step": progress.step, "steps": self.steps, "loss": loss}
        tick("Trainer", **facts)
        if now - self._spoke >= LINE_SECONDS:
            self._spoke = now
            report(
                "Trainer",
                f"epoch {facts['epoch']} of {self.training.epochs}, step {progress.step:,} of "
                f"{self.steps:,}: loss {loss:.3f}, at most {clock(facts['seconds_left'])} left",
                passing=True,
                **facts,
            )

    def epoch(self, progress: Progress) -> None:
        """After every epoch.

        Raises:
          SegueError: a loss is no number.
        """
        done = progress.epochs[-1]
        before = Progress(progress.epochs[:-1])
        self._require_numbers(before, done.loss)
        self._require_numbers(before, done.nats, "held-out ")
        number = len(progress.epochs)
        self._draw(number, done)
        facts = self._facts(progress) | {"epoch": number, "loss": done.loss, "nats": done.nats}
        best = facts["best"]
        ngram = ""
        if math.isfinite(self.ngram_nats):
            verdict = "beaten" if best < self.ngram_nats else "not beaten yet"
            ngram = f"; n-gram {self.ngram_nats:.3f}, {verdict}"
        report(
            "Trainer",
            f"epoch {number} of {self.training.epochs}: loss {done.loss:.3f}, "
            f"held-out {done.nats:.3f} nats an event (best {best:.3f}{ngram}), "
            f"at most {clock(facts['seconds_left'])} left",
            **facts,
        )
        self._spoke = time.monotonic()

    def close(self) -> None:
        """Finishes TensorBoard's files, and takes the bar away."""
        for writer in self._writers.values():
            writer.close()
        tick("Trainer", ended=True)

    def _facts(self, progress: Progress) -> dict[str, Any]:
        epochs = progress.epochs
        facts: dict[str, Any] = {
            "epoch": len(epochs) + 1,
            "epochs": self.training.epochs,
            "seconds_left": seconds_left(self.training, progress, self.steps),
            "ngram_nats": self.ngram_nats if math.isfinite(self.ngram_nats) else None,
        }
        if epochs:
            facts |= {"nats": epochs[-1].nats, "best": epochs[progress.best - 1].nats}
        return facts

    def _require_numbers(self, progress: Progress, loss: float, which: str = "") -> None:
        if math.isfinite(loss):
            return
        best = ""
        if progress.epochs:
            nats = progress.epochs[progress.best - 1].nats
            best = f" (best before: epoch {progress.best} with {nats:.3f} nats)"
        norm = self.training.clip_norm
        clip = f"clip_norm ({norm})" if norm else "set clip_norm, 1.0 say"
        raise BrokeDown(
            f"training broke down in epoch {len(progress.epochs) + 1}: the {which}loss is "
            f"{loss}{best}; lower learning_rate ({self.training.learning_rate}) or {clip}"
        )

    def _draw(self, number: int, epoch: Epoch) -> None:
        if not self._writers:
            return
        values = {"train": epoch.loss, "held-out": epoch.nats, "n-gram": self.ngram_nats}
        for name, writer in self._writers.items():
            with writer.as_default(step=number):
                tf.summary.scalar("nats_an_event", values[name])
                if name == "train":
                    tf.summary.scalar("learning_rate", epoch.learning_rate)
                    tf.summary.scalar("seconds_an_epoch", epoch.seconds)
            writer.flush()


def seconds_left(training: TrainingSettings, progress: Progress, steps: int) -> float:
    """At most: all epochs at the pace so far, unless the minutes end before.

    The epoch under way when they end is finished.
    """
    seconds = sum(epoch.seconds for epoch in progress.epochs) + progress.seconds
    done = len(progress.epochs) + progress.step / steps
    pace = seconds / done if done else 0.0
    left = pace * (training.epochs - done)
    if training.max_minutes:
        this_epoch = pace * (1 - progress.step / steps) if progress.step else 0.0
        left = min(left, max(60 * training.max_minutes - seconds, this_epoch))
    return max(0.0, left)
