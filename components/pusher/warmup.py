"""The requests that warm a pushed version up.

TensorFlow optimizes the graph and builds an executor at the first run of each
signature, which takes about half a second: without a warm-up the first caller
after every push pays for it. So each version carries requests of its own, which
the server runs before it takes the version into service: TensorFlow Serving and
the embedded server both read `assets.extra/tf_serving_warmup_requests`, a
TFRecord file of PredictionLog protos.

There is a request for each signature that the model has, and for those that make
songs one for a single song and one for several: TensorFlow's kernels know no other
sizes of batch. (Not for many: a server that batches refuses a request of more rows
than its batches have, and with it the version.) Each asks for as little as it can,
since what is warmed up is the graph and not the music: the shortest prime that the
model takes, two events. The same model gives the same bytes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from components.files import FACTS_FILE
from components.trainer.sampling import Sampling
from music.codec import build_codec
from music.windows import Window

REQUESTS_FILE = os.path.join("assets.extra", "tf_serving_warmup_requests")
# Servers take the model by the version that is loading; the name is not read.
_MODEL = "segue"
_WINDOWS = 2
_STEPS = 2
# One song as everybody asks for it, and a batch. A model that slides its window
# reads all of it anew for each event of each song, so its batch is a small one.
_BATCHES = (1, 8)
_SLIDING_BATCHES = (1, 2)

Request = tuple[str, dict[str, np.ndarray]]  # signature, inputs


def write_requests(model: str) -> int:
    """Puts warm-up requests into a SavedModel, unless it brings its own.

    Args:
      model: the SavedModel's folder; `assets/segue.json` in it says what the model
        takes (`components.trainer.export.facts`).

    Returns:
      How many requests were written; 0 for a model that is none of Segue's.
    """
    target = os.path.join(model, REQUESTS_FILE)
    facts_path = os.path.join(model, "assets", FACTS_FILE)
    if tf.io.gfile.exists(target) or not tf.io.gfile.exists(facts_path):
        return 0
    with tf.io.gfile.GFile(facts_path) as file:
        facts = _parse(file.read())
    if not {"codec", "limits", "signatures", "vocabulary"} <= set(facts):
        return 0
    records = [serialize(*request) for request in requests(facts)]
    tf.io.gfile.makedirs(os.path.dirname(target))
    with tf.io.TFRecordWriter(target) as writer:
        for record in records:
            writer.write(record)
    return len(records)


def _parse(text: str) -> dict[str, Any]:
    try:
        facts = json.loads(text)
    except ValueError:
        return {}
    return facts if isinstance(facts, dict) else {}


def requests(facts: dict[str, Any]) -> list[Request]:
    """A request for each signature that a model has, the smallest first.

    Args:
      facts: what `describe` answers.

    Returns:
      Pairs of a signature and its inputs, as the contract has them.
    """
    available = [name for name, refusal in facts["signatures"].items() if refusal is None]
    made = [(name, inputs) for name in sorted(available) for inputs in _inputs(name, facts)]
    return sorted(made, key=lambda request: max(len(value) for value in request[1].values()))


def _inputs(signature: str, facts: dict[str, Any]) -> Iterator[dict[str, np.ndarray]]:
    limits = facts["limits"]
    least = limits["min_prime"]
    batches = _SLIDING_BATCHES if least > 1 else _BATCHES
    if signature == "describe":
        yield {"keys": np.array(sorted(facts["signatures"]), np.object_)}
    elif signature == "serving_default":
        yield {"examples": _examples(facts)}
    elif signature == "predict_next":
        yield {"events": _events(facts, 1, least), **_sampling(1, truncate=False)}
    elif signature == "step":
        event, state = _events(facts, 1, 1)[:, 0], _state(limits, 1)
        yield {"event": event, "state": state, **_sampling(1, truncate=False)}
    elif signature in ("generate", "resume"):
        for rows in batches:
            # Truncating the distribution runs nodes that other calls pass by.
            for truncate in (False, True) if rows == 1 else (False,):
                inputs = {
                    "prime": _events(facts, rows, least),
                    "prime_length": np.full(rows, least, np.int32),
                    "steps": np.full(rows, _STEPS, np.int32),
                    **_sampling(rows, truncate),
                }
                if signature == "resume":
                    inputs["state"] = _state(limits, rows)
                yield inputs


def serialize(signature: str, inputs: dict[str, np.ndarray]) -> bytes:
    """A Predict request as a serialized PredictionLog, always the same bytes."""
    from tensorflow_serving.apis import prediction_log_pb2

    log = prediction_log_pb2.PredictionLog()
    request = log.predict_log.request
    request.model_spec.name = _MODEL
    request.model_spec.signature_name = signature
    for name, value in inputs.items():
        first = value.flat[0]
        if (value == first).all():
            # One value stands for all: 64 empty states are half a megabyte otherwise.
            proto = tf.make_tensor_proto(first, tf.as_dtype(value.dtype), value.shape)
        else:
            proto = tf.make_tensor_proto(value)
        request.inputs[name].CopyFrom(proto)
    # Protobuf maps have no order of their own.
    return log.SerializeToString(deterministic=True)


def _events(facts: dict[str, Any], rows: int, count: int) -> np.ndarray:
    """int32[rows, count, F]: the first code of each field that the model knows."""
    event = [field["kept"][0] for field in facts["vocabulary"]["fields"]]
    return np.tile(np.array(event, np.int32), (rows, count, 1))


def _state(limits: dict[str, Any], rows: int) -> np.ndarray:
    return np.zeros((rows, limits["state_size"]), np.float32)


def _sampling(rows: int, truncate: bool) -> dict[str, np.ndarray]:
    values = Sampling(
        temperature=1.0,
        top_k=8 if truncate else 0,
        top_p=0.9 if truncate else 1.0,
        may_end=False,
        seed=0,
        position=0,
    )
    return {
        spec.name: np.full(rows, value, spec.dtype.as_numpy_dtype)
        for spec, value in zip(Sampling.specs(), values, strict=True)
    }


def _examples(facts: dict[str, Any]) -> np.ndarray:
    """string[N]: windows as the WindowGenerator writes them, the last event scored."""
    from components.window_generator.stages import to_example

    names = [field.name for field in build_codec(facts["codec"]).fields]
    length = facts["limits"]["min_prime"] + 1
    window = Window(_events(facts, 1, length)[0], offset=0, scored=1)
    example = to_example(window, "warm-up", names, ngram_nll=1.0)
    return np.array([example.SerializeToString(deterministic=True)] * _WINDOWS, np.object_)
