"""Warm-up: a version answers recorded requests before it answers anybody.

TensorFlow builds its executors and picks its kernels at the first run of each
signature, which would make the first caller after every push wait. A SavedModel
may therefore carry requests in `assets.extra/tf_serving_warmup_requests`, a
TFRecord file of PredictionLog protos. They run before the version becomes
available; one that fails, fails the load, so that a push whose own examples do
not work never replaces a version that does.
"""

from __future__ import annotations

import logging
from pathlib import Path

import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow_serving.apis import prediction_log_pb2

from serving import errors, inference
from serving.loader import LoadedModel

REQUESTS_FILE = Path("assets.extra", "tf_serving_warmup_requests")
MAX_RECORDS = 1000
_log = logging.getLogger(__name__)


def warm_up(model: LoadedModel, iterations: int = 1) -> int:
    """Replays the model's own recorded requests.

    Args:
      model: the model, loaded and not yet available.
      iterations: how often each request is run.

    Returns:
      How many there were; 0 without a file.

    Raises:
      ServingError: a record cannot be read or its request fails, or there are
        more than 1,000 records.
    """
    path = model.path / REQUESTS_FILE
    if not path.exists():
        return 0
    count = 0
    try:
        for record in tf.compat.v1.io.tf_record_iterator(str(path)):
            try:
                log = prediction_log_pb2.PredictionLog.FromString(record)
            except DecodeError as error:
                raise errors.invalid_argument(
                    f"Failed to parse warmup record: {record[:80]!r} from {path}"
                ) from error
            for _ in range(iterations):
                inference.replay(model, log)
            count += 1
            if count > MAX_RECORDS:
                raise errors.invalid_argument(
                    f"Number of warmup records exceeds the maximum ({MAX_RECORDS}) at {path}"
                )
    except tf.errors.DataLossError as error:
        raise errors.data_loss(
            f"{error.message}. Please verify your warmup data is in TFRecord format."
        ) from error
    _log.info("%s: warmed up with %d requests", model.path, count)
    return count
