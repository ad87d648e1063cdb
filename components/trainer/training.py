"""Fitting the network: the loss, the schedule, when to stop, and what is told."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Sequence

import keras
import tensorflow as tf

from components.progress import report
from components.trainer.data import WindowData
from components.trainer.history import Epoch, History
from components.trainer.network import build_network
from components.trainer.settings import ModelSettings, TrainerSettings, TrainingSettings
from music.errors import SegueError
from music.vocabulary import Vocabulary


class BrokeDown(SegueError):
    """The loss is no number any more: what these settings come to, and no accident."""


@dataclasses.dataclass(frozen=True)
class Fitted:
    """A trained network and how it came about.

    Attributes:
      network: with the weights of its best epoch.
      history: its epochs.
    """

    network: keras.Model
    history: History


@keras.saving.register_keras_serializable("segue")
class ShareAndNats(keras.losses.Loss):
    """The network's own nats plus those for a code's share in its class.

    The network returns nats already; `y_true` carries the share, which no weight
    can change, so that the loss on the screen is that of the raw events. Averaged
    over what the sample weights count.
    """

    def __init__(self, reduction="mean_with_sample_weight", name="nats", **kwargs):
        super().__init__(reduction=reduction, name=name, **kwargs)

    def call(self, y_true, y_pred):
        return y_true + y_pred


def share_and_nats(y_true, y_pred):
    """float32[N, T] nats of the raw events, as the metric takes them."""
    return y_true + y_pred


def fit(
    settings: TrainerSettings,
    vocabulary: Vocabulary,
    train_files: Sequence[str],
    eval_files: Sequence[str],
    log_dir: str | None = None,
    checkpoint_dir: str | None = None,
) -> Fitted:
    """Trains until the epochs, the patience or the minutes are used up.

    Args:
      settings: the network's shape, and how it is fitted.
      vocabulary: what indices mean.
      train_files, eval_files: patterns of gzip TFRecords of windows.
      log_dir: for TensorBoard's logs.
      checkpoint_dir: where a training that was killed goes on from; the folder of
        one training alone, empty when it ends.

    Raises:
      SegueError: a split without windows.
      BrokeDown: a loss that is no number; a SegueError, too.
    """
    keras.utils.set_random_seed(settings.training.seed)
    data = WindowData(settings, vocabulary)
    windows = data.count(train_files, "train")
    held_out = data.count(eval_files, "eval")
    ngram_nats = data.ngram_nats(eval_files)
    steps = math.ceil(windows / settings.training.batch_size)
    strategy = _strategy()
    with strategy.scope():
        network = build_network(settings.model, settings.window, vocabulary)
        _compile(network, settings.model, settings.training, steps)
    report(
        "Trainer",
        f"{windows:,} windows to learn from, {held_out:,} held out; "
        f"{network.count_params():,} parameters; at most {settings.training.epochs} epochs; "
        f"the n-gram stands at {ngram_nats:.3f} nats an event",
        windows=windows,
        held_out=held_out,
        parameters=network.count_params(),
        ngram_nats=ngram_nats,
    )
    teller = _Teller(settings.training)
    # It restores the best weights at the end, stopped early or not.
    stopper = keras.callbacks.EarlyStopping(
        monitor="val_nats",
        mode="min",
        patience=settings.training.patience,
        restore_best_weights=True,
        start_from_epoch=0,
    )
    callbacks: list[keras.callbacks.Callback] = [teller, stopper]
    if log_dir:
        callbacks.append(keras.callbacks.TensorBoard(log_dir, write_graph=False))
    network.fit(
        data.train(train_files),
        validation_data=data.evaluation(eval_files),
        epochs=settings.training.epochs,
        callbacks=callbacks,
        verbose=0,
    )
    return Fitted(
        network=network,
        history=History(
            preset=settings.preset,
            settings=settings.to_dict(),
            parameters=network.count_params(),
            windows=windows,
            held_out=held_out,
            ngram_nats=ngram_nats,
            epochs=tuple(teller.epochs),
            versions={"keras": keras.__version__, "tensorflow": tf.__version__},
        ),
    )


def _strategy() -> tf.distribute.Strategy:
    """All GPUs when there are several; otherwise whatever TensorFlow picks."""
    if len(tf.config.list_physical_devices("GPU")) > 1:
        return tf.distribute.MirroredStrategy()
    return tf.distribute.get_strategy()


def _compile(
    network: keras.Model, model: ModelSettings, training: TrainingSettings, steps: int
) -> None:
    rate: float | keras.optimizers.schedules.LearningRateSchedule = training.learning_rate
    if training.schedule == "cosine":
        total = steps * training.epochs
        rate = keras.optimizers.schedules.CosineDecay(
            initial_learning_rate=training.learning_rate / 20,
            decay_steps=max(1, total - total // 20),
            alpha=0.01,
            warmup_target=training.learning_rate,
            warmup_steps=max(1, total // 20),
        )
    clip = training.clip_norm or None
    if model.kind == "paper":
        network.compile(
            optimizer=keras.optimizers.Adam(rate, global_clipnorm=clip),
            loss=keras.losses.CategoricalCrossentropy(),
            weighted_metrics=[keras.metrics.CategoricalCrossentropy(name="nats")],
            jit_compile=False,
        )
        return
    network.compile(
        optimizer=keras.optimizers.AdamW(
            rate, weight_decay=training.weight_decay, global_clipnorm=clip
        ),
        loss=ShareAndNats(),
        weighted_metrics=[keras.metrics.MeanMetricWrapper(share_and_nats, name="nats")],
        jit_compile=False,
    )


class _Teller(keras.callbacks.Callback):
    """Tells each epoch, watches the clock, and stops at a loss that is no number."""

    def __init__(self, training: TrainingSettings):
        super().__init__()
        self.training = training
        self.epochs: list[Epoch] = []
        self._began = 0.0

    def on_epoch_begin(self, epoch, logs=None):
        self._began = time.monotonic()

    def on_epoch_end(self, epoch, logs=None):
        logs = logs or {}
        loss, nats = float(logs["nats"]), float(logs["val_nats"])
        if not (math.isfinite(loss) and math.isfinite(nats)):
            raise BrokeDown(
                f"training broke down in epoch {epoch + 1}: the loss is {loss}; "
                f"lower learning_rate ({self.training.learning_rate}) or clip_norm "
                f"({self.training.clip_norm})"
            )
        took = time.monotonic() - self._began
        rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        self.epochs.append(Epoch(loss, nats, took, rate))
        seconds = sum(epoch.seconds for epoch in self.epochs)
        best = min(epoch.nats for epoch in self.epochs)
        left = seconds / len(self.epochs) * (self.training.epochs - len(self.epochs))
        if self.training.max_minutes:
            left = min(left, max(0.0, 60 * self.training.max_minutes - seconds))
            if seconds >= 60 * self.training.max_minutes:
                self.model.stop_training = True
        report(
            "Trainer",
            f"epoch {epoch + 1} of {self.training.epochs}: loss {loss:.3f}, "
            f"held-out {nats:.3f} nats an event (best {best:.3f}), "
            f"at most {_clock(left)} left",
            epoch=epoch + 1,
            epochs=self.training.epochs,
            loss=loss,
            nats=nats,
            best=best,
            seconds_left=left,
        )


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
