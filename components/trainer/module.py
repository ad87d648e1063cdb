"""TFX's door to the Trainer: `run_fn`, and nothing else.

The vocabulary travels inside the Examples artifact, beside its splits, since
TFX's Trainer and Tuner have no other input for it.
"""

from __future__ import annotations

import json
import math
import os
from typing import TYPE_CHECKING, Any

from components.files import HISTORY_FILE, VOCABULARY_FILE

if TYPE_CHECKING:
    from components.trainer.settings import TrainerSettings
    from music.vocabulary import Vocabulary


def vocabulary_path(train_files: list[str]) -> str:
    """Where an Examples artifact keeps its vocabulary, from its train split's files."""
    split_folder = os.path.dirname(train_files[0])
    return os.path.join(os.path.dirname(split_folder), VOCABULARY_FILE)


def read_vocabulary(train_files: list[str]) -> Vocabulary:
    """The vocabulary of an Examples artifact, from its train split's files."""
    import tensorflow as tf

    from music.vocabulary import Vocabulary

    with tf.io.gfile.GFile(vocabulary_path(train_files)) as file:
        return Vocabulary.from_json(file.read())


def chosen_settings(fn_args: Any) -> TrainerSettings:
    """The settings that a run asks for, with what a search before it found best."""
    from components.trainer.settings import TrainerSettings
    from components.trainer.space import with_choices

    settings = TrainerSettings.from_dict(json.loads(fn_args.custom_config["settings"]))
    found = getattr(fn_args, "hyperparameters", None)
    return with_choices(settings, found["values"]) if found else settings


def run_fn(fn_args: Any) -> None:
    """Trains on the windows of `fn_args` and exports the SavedModel.

    Args:
      fn_args: TFX's FnArgs; `custom_config["settings"]` is the JSON of
        `TrainerSettings.to_dict()`; `custom_config["checkpoints"]`, which may be
        missing, the folder below which trainings keep where they stand;
        `custom_config["serving"]` that of the versions, one of which the settings name
        where the training begins from its weights. Where a Tuner ran before,
        `hyperparameters` is the configuration of the best ones.
    """
    import tensorflow as tf

    from components.trainer import checkpoints, devices, warm
    from components.trainer.export import export
    from components.trainer.inference import InferenceModel
    from components.trainer.network import extract_weights, weights_digest
    from components.trainer.positions import tell_positions
    from components.trainer.training import fit

    settings = chosen_settings(fn_args)
    vocabulary = read_vocabulary(fn_args.train_files)
    train_files, eval_files = fn_args.train_files, fn_args.eval_files
    base, folder = fn_args.custom_config.get("checkpoints"), None
    if base:
        # TFX gives every attempt a new folder; this one is found again by its key.
        machine = devices.machine(settings.training.precision)
        files = [*train_files, *eval_files]
        key = checkpoints.training_key(settings, vocabulary, files, machine)
        folder = checkpoints.open_folder(base, key)
    begun = None
    if settings.start:
        begun = warm.begin(fn_args.custom_config["serving"], settings.start, vocabulary)
    log_dir = fn_args.model_run_dir
    fitted = fit(settings, vocabulary, train_files, eval_files, log_dir, folder, begun)
    weights = extract_weights(fitted.network, settings.model)
    model = InferenceModel(weights, settings.model, settings.window, vocabulary)
    history = fitted.history
    tf.io.gfile.makedirs(fn_args.model_run_dir)
    with tf.io.gfile.GFile(os.path.join(fn_args.model_run_dir, HISTORY_FILE), "w") as file:
        file.write(history.to_json())
    tell_positions(weights, settings, vocabulary, eval_files, fn_args.model_run_dir)
    training = {
        "preset": history.preset,
        "nats": history.nats,
        # NaN is no JSON, and windows without an n-gram have no figure.
        "ngram_nats": history.ngram_nats if math.isfinite(history.ngram_nats) else None,
        "windows": history.windows,
        "held_out": history.held_out,
        "epoch": history.best,
        "epochs": len(history.epochs),
        "parameters": history.parameters,
        "weights": weights_digest(weights),
        "versions": history.versions,
    }
    if settings.start:
        training["start"] = settings.start
    export(model, training, fn_args.serving_model_dir)
    warm.keep(fn_args.serving_model_dir, weights, settings.model, vocabulary)
    checkpoints.discard(folder)
