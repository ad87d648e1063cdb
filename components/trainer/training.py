"""Fitting the network: the loss, the schedule, when to stop, and what is told."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence

import keras
import tensorflow as tf

from components.progress import report
from components.trainer import devices
from components.trainer.checkpoints import Checkpoints, Progress, training_key
from components.trainer.data import TrainingWindows, WindowData
from components.trainer.history import Epoch, History
from components.trainer.inference import Weights
from components.trainer.network import build_network, put_weights
from components.trainer.settings import ModelSettings, TrainerSettings, TrainingSettings
from components.trainer.telling import Teller
from music.vocabulary import Vocabulary

# Between two checkpoints inside an epoch.
CHECKPOINT_SECONDS = 45.0


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
    over what the sample weights count, in all replicas together: the mean of their
    means, as Keras has it, would weigh an event by how few there are beside it.
    """

    def __init__(self, reduction="mean_with_sample_weight", name="nats", **kwargs):
        super().__init__(reduction=reduction, name=name, **kwargs)

    def __call__(self, y_true, y_pred, sample_weight=None):
        loss = super().__call__(y_true, y_pred, sample_weight)
        replica = tf.distribute.get_replica_context()
        if sample_weight is None or replica is None or replica.num_replicas_in_sync == 1:
            return loss
        counted = tf.reduce_sum(tf.cast(sample_weight, loss.dtype))
        everywhere = replica.all_reduce(tf.distribute.ReduceOp.MEAN, counted)
        return loss * tf.math.divide_no_nan(counted, everywhere)

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
    start: Weights | None = None,
) -> Fitted:
    """Trains until the epochs, the patience or the minutes are used up.

    With a `checkpoint_dir` a training that is killed at whatever instant, and begun
    again with the same arguments, goes on from its last epoch, or from a step inside
    it that lies less than a minute back; on a processor it ends with the same weights
    and the same history (but for the seconds) as one that was never killed, to the
    bit. One that broke down keeps the checkpoint of its last good epoch.

    Args:
      settings: the network's shape, and how it is fitted.
      vocabulary: what indices mean.
      train_files, eval_files: patterns of gzip TFRecords of windows.
      log_dir: for TensorBoard's logs.
      checkpoint_dir: the folder of this training alone. What ended is kept there, so
        that not even a kill while the model is written loses it: the caller removes
        it then (`checkpoints.discard`).
      start: the weights before the first step; None draws them by the seed.

    Raises:
      SegueError: a split without windows, or weights of another network.
      BrokeDown: a loss that is no number; a SegueError, too.
    """
    training = settings.training
    keras.utils.set_random_seed(training.seed)
    data = WindowData(settings, vocabulary)
    shown = data.train(train_files)
    held_out = data.count(eval_files, "eval")
    ngram_nats = data.ngram_nats(eval_files)
    with devices.building(training.precision) as strategy:
        network = build_network(settings.model, settings.window, vocabulary)
        running = _compile(network, settings.model, training, shown.steps)
        network.optimizer.build(network.trainable_variables)
        if start is not None:
            put_weights(network, start)
    key = ""
    if checkpoint_dir is not None:
        files = [*train_files, *eval_files]
        key = training_key(settings, vocabulary, files, devices.machine(training.precision))
    kept = Checkpoints(
        checkpoint_dir, key, network, [*network.optimizer.variables, *running.variables]
    )
    report(
        "Trainer",
        f"{shown.windows:,} windows to learn from, {held_out:,} held out; "
        f"{network.count_params():,} parameters; at most {training.epochs} epochs; "
        f"the n-gram stands at {ngram_nats:.3f} nats an event",
        windows=shown.windows,
        held_out=held_out,
        parameters=network.count_params(),
        ngram_nats=ngram_nats,
    )
    teller = Teller(training, shown.steps, ngram_nats, log_dir)
    loop = _Loop(training, network, strategy, shown, data.evaluation(eval_files), kept, teller)
    start_nats = None
    try:
        if start is not None:
            # Of what follows nothing depends on it: dropout and order have seeds of their own.
            start_nats = loop.held_out_nats(running)
            teller.began(start_nats)
        progress = loop.run(running)
    finally:
        teller.close()
    return Fitted(
        network=network,
        history=History(
            preset=settings.preset,
            settings=settings.to_dict(),
            parameters=network.count_params(),
            windows=shown.windows,
            held_out=held_out,
            ngram_nats=ngram_nats,
            epochs=progress.epochs,
            start_nats=start_nats,
            versions={"keras": keras.__version__, "tensorflow": tf.__version__},
        ),
    )


def _compile(
    network: keras.Model, model: ModelSettings, training: TrainingSettings, steps: int
) -> keras.metrics.Metric:
    """Compiles; the metric holds the nats of the epoch so far."""
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
    optimizer: keras.optimizers.Optimizer
    nats: keras.metrics.Metric
    if model.kind == "paper":
        optimizer = devices.Adam(rate, global_clipnorm=clip)
        loss: keras.losses.Loss = keras.losses.CategoricalCrossentropy()
        nats = keras.metrics.CategoricalCrossentropy(name="nats", dtype="float32")
    else:
        optimizer = devices.AdamW(rate, weight_decay=training.weight_decay, global_clipnorm=clip)
        loss = ShareAndNats()
        nats = keras.metrics.MeanMetricWrapper(share_and_nats, name="nats", dtype="float32")
    network.compile(
        optimizer=optimizer,
        loss=loss,
        weighted_metrics=[nats],
        jit_compile=training.jit,
        steps_per_execution=training.steps_per_execution,
    )
    return nats


class _Loop:
    """Epoch after epoch.

    The steps are Keras's own training function (several at a call, distributed,
    compiled, as the settings have it). The loop around it is not `Model.fit`, which
    cannot begin inside an epoch and keeps what its callbacks know to itself.
    """

    def __init__(
        self,
        training: TrainingSettings,
        network: keras.Model,
        strategy: tf.distribute.Strategy,
        shown: TrainingWindows,
        held_out: tf.data.Dataset,
        kept: Checkpoints,
        teller: Teller,
    ):
        self.training = training
        self.network = network
        self.shown = shown
        self.batches = strategy.experimental_distribute_dataset(shown.epoch(0))
        self.held_out_steps = int(held_out.cardinality())
        self.held_out = strategy.experimental_distribute_dataset(held_out)
        self.kept = kept
        self.teller = teller

    def run(self, running: keras.metrics.Metric) -> Progress:
        """Trains to the end, and leaves the best epoch's weights in the network."""
        self.network.make_train_function()
        progress = self.kept.restore()
        if progress.epochs or progress.step:
            self.teller.resumed(progress)
        while not progress.ended:
            if not progress.step:
                self.network.reset_metrics()
                # Keras does not know it yet when the training has just been restored.
                running.reset_state()
            progress, loss = self._train(progress, running)
            progress = self._judge(progress, loss, running)
            self.teller.epoch(progress)
            if progress.best == len(progress.epochs):
                self.kept.best = self.network.get_weights()
            progress = dataclasses.replace(progress, ended=self._is_enough(progress))
            self.kept.save(progress)
        self.network.set_weights(self.kept.best)
        return progress

    def _train(self, progress: Progress, running: keras.metrics.Metric) -> tuple[Progress, float]:
        """The rest of an epoch; the running nats at its end."""
        self.shown.epoch(len(progress.epochs), progress.step)
        iterator = iter(self.batches)
        before, began = progress.seconds, time.monotonic()
        saved = began
        while progress.step < self.shown.steps:
            logs = self.network.train_function(iterator)
            now = time.monotonic()
            step = min(progress.step + self.training.steps_per_execution, self.shown.steps)
            progress = dataclasses.replace(progress, step=step, seconds=before + now - began)
            due = now - saved >= CHECKPOINT_SECONDS and step < self.shown.steps
            self.teller.step(progress, logs["nats"], look=due)
            if due:
                self.kept.save(progress)
                saved = time.monotonic()
        return progress, float(running.result())

    def _judge(self, progress: Progress, loss: float, running: keras.metrics.Metric) -> Progress:
        """Closes an epoch with its held-out nats."""
        began = time.monotonic()
        nats = self.held_out_nats(running)
        epoch = Epoch(
            loss=loss,
            nats=nats,
            seconds=progress.seconds + time.monotonic() - began,
            learning_rate=float(keras.ops.convert_to_numpy(self.network.optimizer.learning_rate)),
        )
        return Progress((*progress.epochs, epoch))

    def held_out_nats(self, running: keras.metrics.Metric) -> float:
        """Held-out nats an event of the weights as they stand.

        Not by `Model.evaluate`, which fails where a replica has no row of a batch.
        """
        self.network.make_test_function()
        running.reset_state()
        iterator = iter(self.held_out)
        for _ in range(0, self.held_out_steps, self.training.steps_per_execution):
            self.network.test_function(iterator)
        return float(running.result())

    def _is_enough(self, progress: Progress) -> bool:
        done, seconds = len(progress.epochs), sum(epoch.seconds for epoch in progress.epochs)
        return (
            done >= self.training.epochs
            or done - progress.best >= self.training.patience
            or 0 < 60 * self.training.max_minutes <= seconds
        )
