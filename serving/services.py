"""The gRPC surface: PredictionService and ModelService of TensorFlow Serving.

Each method checks the request in the order of the binary, borrows the model and
hands over to `inference`. What goes wrong there is an error status to the caller
and nothing else: a request can neither end the server nor show it a trace.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Sequence
from typing import Any

import grpc
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from serving import calls, errors, inference, model_config, protobufs
from serving.errors import ServingError
from serving.models import Models

SERVICE_NAMES = (
    protobufs.declare_service(
        "tensorflow_serving/apis/prediction_service.proto",
        "PredictionService",
        {
            "Classify": (
                classification_pb2.ClassificationRequest,
                classification_pb2.ClassificationResponse,
            ),
            "Regress": (regression_pb2.RegressionRequest, regression_pb2.RegressionResponse),
            "Predict": (predict_pb2.PredictRequest, predict_pb2.PredictResponse),
            "MultiInference": (
                inference_pb2.MultiInferenceRequest,
                inference_pb2.MultiInferenceResponse,
            ),
            "GetModelMetadata": (
                get_model_metadata_pb2.GetModelMetadataRequest,
                get_model_metadata_pb2.GetModelMetadataResponse,
            ),
        },
    ),
    protobufs.declare_service(
        "tensorflow_serving/apis/model_service.proto",
        "ModelService",
        {
            "GetModelStatus": (
                get_model_status_pb2.GetModelStatusRequest,
                get_model_status_pb2.GetModelStatusResponse,
            ),
            "HandleReloadConfigRequest": (
                model_management_pb2.ReloadConfigRequest,
                model_management_pb2.ReloadConfigResponse,
            ),
        },
    ),
)
# The names that TensorFlow Serving's health service knows them by.
HEALTH_NAMES = ("PredictionService", "ModelService")
# The one field that GetModelMetadata knows.
SIGNATURE_DEF = "signature_def"
_log = logging.getLogger(__name__)


def _answered(method: Callable[[Any, Any, grpc.ServicerContext], Any]) -> Callable[..., Any]:
    """Turns exceptions of a service method into gRPC statuses."""

    @functools.wraps(method)
    def call(self: Any, request: Any, context: grpc.ServicerContext) -> Any:
        try:
            with calls.following(context):
                return method(self, request, context)
        except ServingError as error:
            # Not the error itself: it holds this frame, which would hold it, and
            # with it the request and its arrays until somebody collects garbage.
            code, message = error.code, error.wire_message
        except Exception as error:
            _log.exception("%s failed", method.__name__)
            failure = f"{method.__name__} failed: {errors.one_line(error)}"
            code, message = grpc.StatusCode.INTERNAL, errors.internal(failure).wire_message
        return context.abort(code, message)

    return call


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Runs models and describes them."""

    def __init__(self, models: Models):
        self._models = models

    @_answered
    def Predict(
        self, request: predict_pb2.PredictRequest, context: grpc.ServicerContext
    ) -> predict_pb2.PredictResponse:
        return self._run(inference.predict, request, context)

    @_answered
    def Classify(
        self, request: classification_pb2.ClassificationRequest, context: grpc.ServicerContext
    ) -> classification_pb2.ClassificationResponse:
        return self._run(inference.classify, request, context)

    @_answered
    def Regress(
        self, request: regression_pb2.RegressionRequest, context: grpc.ServicerContext
    ) -> regression_pb2.RegressionResponse:
        return self._run(inference.regress, request, context)

    @_answered
    def MultiInference(
        self, request: inference_pb2.MultiInferenceRequest, context: grpc.ServicerContext
    ) -> inference_pb2.MultiInferenceResponse:
        # All tasks are of one model, which the first one names.
        spec = request.tasks[0].model_spec if request.tasks else _NO_MODEL_SPEC
        with self._models.acquire(spec) as (version, model):
            return inference.multi_inference(model, request, version, context.time_remaining())

    @_answered
    def GetModelMetadata(
        self, request: get_model_metadata_pb2.GetModelMetadataRequest, context: grpc.ServicerContext
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        return get_model_metadata(self._models, request)

    def _run(self, run: Callable[..., Any], request: Any, context: grpc.ServicerContext) -> Any:
        _demand_model_spec(request)
        return infer(self._models, run, request, context.time_remaining())


class ModelService(model_service_pb2_grpc.ModelServiceServicer):
    """Tells and changes what is being served."""

    def __init__(self, models: Models):
        self._models = models

    @_answered
    def GetModelStatus(
        self, request: get_model_status_pb2.GetModelStatusRequest, context: grpc.ServicerContext
    ) -> get_model_status_pb2.GetModelStatusResponse:
        return get_model_status(self._models, request)

    @_answered
    def HandleReloadConfigRequest(
        self, request: model_management_pb2.ReloadConfigRequest, context: grpc.ServicerContext
    ) -> model_management_pb2.ReloadConfigResponse:
        if request.config.WhichOneof("config") != "model_config_list":
            raise errors.invalid_argument(
                "ServerModelConfig type not supported by HandleReloadConfigRequest."
                " Only ModelConfigList is currently supported"
            )
        configs = model_config.parse(request.config.model_config_list, self._models.names)
        _log.info("reloading: %s", ", ".join(f"{c.name} from {c.base_path}" for c in configs))
        if not self._models.reload(configs, give_up=lambda: not context.is_active()):
            raise errors.cancelled("The new models were not available while the caller waited")
        response = model_management_pb2.ReloadConfigResponse()
        # Set even though there is no error: code 0, OK.
        response.status.SetInParent()
        return response


def infer(models: Models, run: Callable[..., Any], request: Any, timeout: float | None) -> Any:
    """Answers a request that runs one model, whichever door it came through.

    Args:
      models: the server's.
      run: `inference.predict`, `classify` or `regress`.
      request: its proto, with a model_spec.
      timeout: seconds that it may take; None for any time.

    Raises:
      ServingError: NOT_FOUND for no such model, or as `run`.
    """
    with models.acquire(request.model_spec) as (version, model):
        return run(model, request, version, timeout)


def get_model_metadata(
    models: Models, request: get_model_metadata_pb2.GetModelMetadataRequest
) -> get_model_metadata_pb2.GetModelMetadataResponse:
    """The signatures of a model; what GetModelMetadata answers, and REST's `/metadata`.

    Raises:
      ServingError: INVALID_ARGUMENT for another field, NOT_FOUND for no such model.
    """
    _demand_model_spec(request)
    _check_metadata_fields(request.metadata_field)
    with models.acquire(request.model_spec) as (version, model):
        signatures = get_model_metadata_pb2.SignatureDefMap()
        for name, signature in model.signatures.items():
            signatures.signature_def[name].CopyFrom(signature)
    response = get_model_metadata_pb2.GetModelMetadataResponse()
    response.model_spec.name = request.model_spec.name
    response.model_spec.version.value = version
    response.metadata[SIGNATURE_DEF].Pack(signatures)
    return response


def get_model_status(
    models: Models, request: get_model_status_pb2.GetModelStatusRequest
) -> get_model_status_pb2.GetModelStatusResponse:
    """The versions of a model; what GetModelStatus answers, and REST's status.

    Raises:
      ServingError: NOT_FOUND for no such model or version.
    """
    _demand_model_spec(request)
    response = get_model_status_pb2.GetModelStatusResponse()
    for status in models.statuses(request.model_spec):
        entry = response.model_version_status.add(version=status.version, state=int(status.state))
        # Set even when there is no error: code 0, OK.
        entry.status.SetInParent()
        if status.error:
            entry.status.error_code = status.error.number
            entry.status.error_message = status.error.message
    return response


_NO_MODEL_SPEC = predict_pb2.PredictRequest().model_spec


def _demand_model_spec(request: Any) -> None:
    if not request.HasField("model_spec"):
        raise errors.invalid_argument("Missing ModelSpec")


def _check_metadata_fields(fields: Sequence[str]) -> None:
    if not fields:
        raise errors.invalid_argument(
            "GetModelMetadataRequest must specify at least one metadata_field"
        )
    for field in fields:
        if field != SIGNATURE_DEF:
            raise errors.invalid_argument(f"Metadata field {field} is not supported")
