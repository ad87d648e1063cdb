"""The SavedModel: six signatures that any TensorFlow Serving client can call.

    serving_default  examples                      -> nll, nll_minus_ngram, nll_steps
    predict_next     events + sampling             -> event, log_prob
    generate         prime, prime_length, steps + sampling -> events, log_prob, state
    resume           the same and state            -> the same
    step             event, state + sampling       -> event, log_prob, state
    describe         keys                          -> values (JSON)

Names, dtypes and shapes are the contract between trainer, server, Evaluator and
client. All inputs are required, since `ExportArchive` writes no defaults.
"""

from __future__ import annotations

import json
import os
from typing import Any

import keras
import tensorflow as tf

from components.files import FACTS_FILE
from components.trainer.inference import InferenceModel
from components.trainer.sampling import Sampling

MAX_STEPS = 100_000
MAX_PRIME = 100_000
MAX_BATCH = 1024
# Rows times their steps, and rows times the width of the prime: what memory
# grows with.
MAX_EVENTS = 2_000_000


def facts(model: InferenceModel, training: dict[str, Any]) -> dict[str, Any]:
    """What `describe` answers, by key, as JSON types."""
    sliding = "it slides a window over the events and carries no state; use generate"
    unavailable = sliding if model.sliding else None
    return {
        "codec": model.codec.config(),
        "vocabulary": {
            "closed": model.vocabulary.closed,
            "fields": [
                {"name": field.name, "kept": list(field.kept)} for field in model.vocabulary.fields
            ],
        },
        "training": training,
        "limits": {
            "window": model.window.length,
            "min_prime": model.window.length if model.sliding else 1,
            "max_prime": MAX_PRIME,
            "max_steps": MAX_STEPS,
            "max_batch": MAX_BATCH,
            "max_events": MAX_EVENTS,
            "state_size": model.state_size,
        },
        "signatures": {
            "serving_default": None,
            "predict_next": None,
            "generate": None,
            "resume": unavailable,
            "step": unavailable,
            "describe": None,
        },
    }


def export(model: InferenceModel, training: dict[str, Any], path: str) -> None:
    """Writes the SavedModel, and the facts of `describe` to its assets folder.

    Args:
      model: what to serve.
      training: facts about the training, JSON types, for `describe`.
      path: a folder that does not exist yet.
    """
    known = facts(model, training)
    archive = keras.export.ExportArchive()
    archive.track(model)
    for name, function in _signatures(model, known).items():
        archive.add_endpoint(name, function)
    archive.write_out(path, verbose=False)
    assets = os.path.join(path, "assets")
    tf.io.gfile.makedirs(assets)
    with tf.io.gfile.GFile(os.path.join(assets, FACTS_FILE), "w") as file:
        file.write(json.dumps(known, indent=1, sort_keys=True))


def _signatures(model: InferenceModel, known: dict[str, Any]) -> dict[str, Any]:
    fields, state_size = model.fields, model.state_size
    prime = [
        tf.TensorSpec([None, None, fields], tf.int32, "prime"),
        tf.TensorSpec([None], tf.int32, "prime_length"),
        tf.TensorSpec([None], tf.int32, "steps"),
    ]
    events = [tf.TensorSpec([None, None, fields], tf.int32, "events")]
    event = [tf.TensorSpec([None, fields], tf.int32, "event")]
    state = [tf.TensorSpec([None, state_size], tf.float32, "state")]
    sampling = Sampling.specs()

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "examples")])
    def serving_default(examples):
        return score_examples(model, examples)

    @tf.function(input_signature=[*events, *sampling])
    def predict_next(events, temperature, top_k, top_p, may_end, seed, position):
        settings = Sampling(temperature, top_k, top_p, may_end, seed, position)
        with tf.control_dependencies(_within_limits(known, events)):
            rows, length = tf.shape(events)[0], tf.shape(events)[1]
        made = model.generate(events, tf.fill([rows], length), tf.ones([rows], tf.int32), settings)
        return {"event": made["events"][:, 0], "log_prob": made["log_prob"][:, 0]}

    @tf.function(input_signature=[*prime, *sampling])
    def generate(prime, prime_length, steps, temperature, top_k, top_p, may_end, seed, position):
        settings = Sampling(temperature, top_k, top_p, may_end, seed, position)
        with tf.control_dependencies(_within_limits(known, prime, steps)):
            steps = tf.identity(steps)
        return model.generate(prime, prime_length, steps, settings)

    @tf.function(input_signature=[*prime, *state, *sampling])
    def resume(
        prime, prime_length, steps, state, temperature, top_k, top_p, may_end, seed, position
    ):
        settings = Sampling(temperature, top_k, top_p, may_end, seed, position)
        checks = _refuse(known, "resume") + _within_limits(known, prime, steps)
        with tf.control_dependencies(checks):
            state, steps = tf.identity(state), tf.identity(steps)
        return model.generate(prime, prime_length, steps, settings, state)

    @tf.function(input_signature=[*event, *state, *sampling])
    def step(event, state, temperature, top_k, top_p, may_end, seed, position):
        settings = Sampling(temperature, top_k, top_p, may_end, seed, position)
        checks = _refuse(known, "step") + _within_limits(known, event[:, None])
        with tf.control_dependencies(checks):
            state = tf.identity(state)
        ones = tf.ones([tf.shape(event)[0]], tf.int32)
        made = model.generate(event[:, None], ones, ones, settings, state)
        return {
            "event": made["events"][:, 0],
            "log_prob": made["log_prob"][:, 0],
            "state": made["state"],
        }

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "keys")])
    def describe(keys):
        names = tf.constant(list(known))
        # The last value answers every key that is not there.
        values = tf.constant([*(json.dumps(v, sort_keys=True) for v in known.values()), "null"])
        match = tf.cast(keys[:, None] == names[None, :], tf.int32)
        place = tf.where(
            tf.reduce_any(match > 0, axis=1),
            tf.argmax(match, axis=1, output_type=tf.int32),
            len(known),
        )
        return {"values": tf.gather(values, place)}

    return {
        "serving_default": serving_default,
        "predict_next": predict_next,
        "generate": generate,
        "resume": resume,
        "step": step,
        "describe": describe,
    }


def _refuse(known: dict[str, Any], signature: str) -> list[tf.Operation]:
    reason = known["signatures"][signature]
    if reason is None:
        return []
    return [tf.debugging.Assert(False, [f"this model has no {signature}: {reason}"])]


def _within_limits(
    known: dict[str, Any], prime: tf.Tensor, steps: tf.Tensor | None = None
) -> list[tf.Operation]:
    """Assertions that one call asks for no more than `describe` says.

    Memory grows with the product of rows and steps: without a bound a single
    number in a request could take down a server.
    """
    limits = known["limits"]
    rows, width = (tf.cast(size, tf.int64) for size in tf.unstack(tf.shape(prime)[:2]))
    extents = [("rows", "max_batch", rows), ("prime", "max_prime", width)]
    if steps is not None:
        # With 0, an empty batch has a largest as well, and is refused elsewhere.
        longest = tf.cast(tf.reduce_max(tf.concat([steps, [0]], axis=0)), tf.int64)
        extents.append(("steps", "max_steps", longest))
    # What is too large by itself is told as such, and counts as its limit here.
    held = [tf.minimum(size, limits[limit]) for _, limit, size in extents]
    sizes = [
        *extents,
        *(
            (f"rows times {name}", "max_events", held[0] * size)
            for (name, _, _), size in zip(extents[1:], held[1:], strict=True)
        ),
    ]
    return [
        tf.debugging.Assert(
            size <= limits[limit],
            [f"{name} must be at most {limits[limit]}, got", size],
        )
        for name, limit, size in sizes
    ]


def score_examples(model: InferenceModel, examples: tf.Tensor) -> dict[str, tf.Tensor]:
    """The Evaluator's signature: serialized windows in, nats out.

    Args:
      model: what scores them.
      examples: string[N], tf.train.Examples as the WindowGenerator writes them.

    Returns:
      `nll` float32[N], the mean over a window's scored events; `nll_minus_ngram`
      float32[N], the same less the n-gram's (NaN where the window does not carry
      it); `nll_steps` float32[N, max_scored], 0 past the last scored event.
    """
    names = [field.name for field in model.codec.fields]
    spec: dict[str, Any] = {name: tf.io.VarLenFeature(tf.int64) for name in names}
    spec["scored"] = tf.io.FixedLenFeature([], tf.int64)
    spec["ngram_nll"] = tf.io.FixedLenFeature([], tf.float32, default_value=float("nan"))
    parsed = tf.io.parse_example(examples, spec)
    columns = [tf.cast(tf.sparse.to_dense(parsed[name]), tf.int32) for name in names]
    lengths = tf.math.bincount(
        tf.cast(parsed[names[0]].indices[:, 0], tf.int32), minlength=tf.size(examples)
    )
    scored = tf.cast(parsed["scored"], tf.int32)
    check = tf.debugging.Assert(
        tf.reduce_all(scored < lengths),
        [
            "scored must be less than the events of a window (its first is never), got",
            scored,
            "of",
            lengths,
        ],
    )
    with tf.control_dependencies([check]):
        codes = tf.stack(columns, axis=-1)
    # No example at all has no event either; two places are the least that are scored.
    codes = tf.pad(codes, [[0, 0], [0, tf.maximum(2 - tf.shape(codes)[1], 0)], [0, 0]])
    steps = model.score(codes, lengths, scored)
    nll = tf.reduce_sum(steps, axis=1) / tf.cast(tf.maximum(scored, 1), tf.float32)
    return {"nll": nll, "nll_minus_ngram": nll - parsed["ngram_nll"], "nll_steps": steps}
