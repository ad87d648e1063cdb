"""A request becomes a response: Predict, Classify, Regress, MultiInference.

Pure functions of a loaded model and a request proto, without any gRPC, so that
the services, the warm-up and an HTTP front all answer alike. Each follows the
function of the same name in TensorFlow Serving: what is checked, in which
order, and in which words it is refused. Signatures' method names are not
checked (the binary's default), so Classify works on any signature whose input is
called `inputs` and whose outputs are called `classes` and `scores`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    inference_pb2,
    input_pb2,
    model_pb2,
    predict_pb2,
    prediction_log_pb2,
    regression_pb2,
)

from serving import errors, tensors
from serving.loader import DEFAULT_SIGNATURE, LoadedModel

CLASSIFY_METHOD = "tensorflow/serving/classify"
REGRESS_METHOD = "tensorflow/serving/regress"


def predict(
    model: LoadedModel,
    request: predict_pb2.PredictRequest,
    version: int | None = None,
    timeout: float | None = None,
) -> predict_pb2.PredictResponse:
    """Runs a signature; the response holds its outputs in typed fields.

    Args:
      model: the model that the request's model_spec was resolved to.
      request: its model_spec gives the name to echo and the signature to run.
      version: the version to echo; None leaves it out.
      timeout: seconds that the run may take; None for any time.

    Raises:
      ServingError: as `LoadedModel.predict`.
    """
    spec = request.model_spec
    outputs = model.predict(spec.signature_name, request.inputs, request.output_filter, timeout)
    response = predict_pb2.PredictResponse(model_spec=_echo(spec, version))
    for alias, array in outputs.items():
        try:
            tensors.encode(array, response.outputs[alias])
        except ValueError as error:
            raise errors.unimplemented(f"output {alias}: {error}") from error
    return response


def classify(
    model: LoadedModel,
    request: classification_pb2.ClassificationRequest,
    version: int | None = None,
    timeout: float | None = None,
) -> classification_pb2.ClassificationResponse:
    """Runs a signature on tf.Examples; gives classes and scores for each.

    Raises:
      ServingError: INVALID_ARGUMENT when the signature or its outputs do not
        fit, or no example was sent; or whatever the graph raised.
    """
    signature = _signature(model, request.model_spec)
    feed, fetches = _classification_tensors(signature)
    examples = _examples(request.input)
    outputs = dict(zip(fetches, model.run({feed: examples}, fetches, timeout), strict=True))
    response = classification_pb2.ClassificationResponse(
        model_spec=_echo(request.model_spec, version)
    )
    _fill_classifications(signature, len(examples), outputs, response.result)
    return response


def regress(
    model: LoadedModel,
    request: regression_pb2.RegressionRequest,
    version: int | None = None,
    timeout: float | None = None,
) -> regression_pb2.RegressionResponse:
    """Runs a signature on tf.Examples; gives one value for each.

    Raises:
      ServingError: as `classify`.
    """
    signature = _signature(model, request.model_spec)
    feed, fetches = _regression_tensors(signature)
    examples = _examples(request.input)
    outputs = dict(zip(fetches, model.run({feed: examples}, fetches, timeout), strict=True))
    response = regression_pb2.RegressionResponse(model_spec=_echo(request.model_spec, version))
    _fill_regressions(signature, len(examples), outputs, response.result)
    return response


def multi_inference(
    model: LoadedModel,
    request: inference_pb2.MultiInferenceRequest,
    version: int | None = None,
    timeout: float | None = None,
) -> inference_pb2.MultiInferenceResponse:
    """Runs several Classify and Regress tasks on the same examples, in one run.

    Raises:
      ServingError: INVALID_ARGUMENT for tasks of several models, a signature
        named twice, a missing one, or inputs that differ; UNIMPLEMENTED for a
        method other than classify and regress; or whatever the graph raised.
    """
    model_name = feed = ""
    signatures: dict[str, meta_graph_pb2.SignatureDef] = {}
    fetches: list[str] = []
    for task in request.tasks:
        spec = task.model_spec
        if not spec.name:
            raise errors.invalid_argument("Found ModelSpec with an empty model name.")
        model_name = model_name or spec.name
        if spec.name != model_name:
            raise errors.invalid_argument(
                "All ModelSpecs in a MultiInferenceRequest must access the same model name."
            )
        name = spec.signature_name or DEFAULT_SIGNATURE
        if name in signatures:
            raise errors.invalid_argument(f"Duplicate evaluation of signature: {name}")
        if name not in model.signatures:
            raise errors.invalid_argument(f"Requested signature not found in model graph: {name}")
        signatures[name] = model.signatures[name]
        if task.method_name == CLASSIFY_METHOD:
            task_feed, task_fetches = _classification_tensors(signatures[name])
        elif task.method_name == REGRESS_METHOD:
            task_feed, task_fetches = _regression_tensors(signatures[name])
        else:
            raise errors.unimplemented(f"Unsupported signature method_name: {task.method_name}")
        feed = feed or task_feed
        if task_feed != feed:
            raise errors.invalid_argument("Input tensor must be the same for all Signatures.")
        fetches += [fetch for fetch in task_fetches if fetch not in fetches]

    examples = _examples(request.input)
    outputs = dict(zip(fetches, model.run({feed: examples}, fetches, timeout), strict=True))
    response = inference_pb2.MultiInferenceResponse()
    for task in request.tasks:
        signature = signatures[task.model_spec.signature_name or DEFAULT_SIGNATURE]
        result = response.results.add(model_spec=_echo(task.model_spec, version))
        if task.method_name == CLASSIFY_METHOD:
            result.classification_result.SetInParent()
            _fill_classifications(signature, len(examples), outputs, result.classification_result)
        else:
            result.regression_result.SetInParent()
            _fill_regressions(signature, len(examples), outputs, result.regression_result)
    return response


def replay(model: LoadedModel, log: prediction_log_pb2.PredictionLog) -> None:
    """Runs the request of a PredictionLog and drops the answer, for warm-up.

    Raises:
      ServingError: the request failed, or is of a kind that cannot be replayed.
    """
    kind = log.WhichOneof("log_type")
    if kind == "predict_log":
        predict(model, log.predict_log.request)
    elif kind == "classify_log":
        classify(model, log.classify_log.request)
    elif kind == "regress_log":
        regress(model, log.regress_log.request)
    elif kind == "multi_inference_log":
        multi_inference(model, log.multi_inference_log.request)
    elif kind is not None:
        number = log.DESCRIPTOR.fields_by_name[kind].number
        raise errors.unimplemented(f"Unsupported log_type for warmup: {number}")


def _echo(spec: model_pb2.ModelSpec, version: int | None) -> model_pb2.ModelSpec:
    """The response's model_spec: what was really used; a label is not echoed."""
    echo = model_pb2.ModelSpec(
        name=spec.name, signature_name=spec.signature_name or DEFAULT_SIGNATURE
    )
    if version is not None:
        echo.version.value = version
    return echo


def _signature(model: LoadedModel, spec: model_pb2.ModelSpec) -> meta_graph_pb2.SignatureDef:
    name = spec.signature_name or DEFAULT_SIGNATURE
    if name not in model.signatures:
        raise errors.invalid_argument(f"No signature was found with the name: {name}")
    return model.signatures[name]


def _classification_tensors(signature: meta_graph_pb2.SignatureDef) -> tuple[str, list[str]]:
    """Names of the tensor that takes the examples, and of those to fetch."""
    if len(signature.inputs) != 1:
        raise errors.invalid_argument("Expected one input Tensor.")
    if len(signature.outputs) not in (1, 2):
        raise errors.invalid_argument(
            f"Expected one or two output Tensors, found {len(signature.outputs)}"
        )
    if "inputs" not in signature.inputs:
        raise errors.invalid_argument(
            f"No classification inputs found in SignatureDef: {signature}"
        )
    fetches = [
        signature.outputs[alias].name
        for alias in ("classes", "scores")
        if alias in signature.outputs
    ]
    if not fetches:
        raise errors.invalid_argument(
            "Expected classification signature outputs to contain at least one of "
            f'"classes" or "scores". Signature was: {signature}'
        )
    return signature.inputs["inputs"].name, fetches


def _regression_tensors(signature: meta_graph_pb2.SignatureDef) -> tuple[str, list[str]]:
    if len(signature.inputs) != 1:
        raise errors.invalid_argument("Expected one input Tensor.")
    if len(signature.outputs) != 1:
        raise errors.invalid_argument("Expected one output Tensor.")
    if "inputs" not in signature.inputs:
        raise errors.invalid_argument(f"No regression inputs found in SignatureDef: {signature}")
    if "outputs" not in signature.outputs:
        raise errors.invalid_argument(f"No regression outputs found in SignatureDef: {signature}")
    return signature.inputs["inputs"].name, [signature.outputs["outputs"].name]


def _examples(given: input_pb2.Input) -> np.ndarray:
    """Serialized tf.Examples, string[N]; a shared context goes before each."""
    context = b""
    examples: Sequence = ()
    kind = given.WhichOneof("kind")
    if kind == "example_list":
        examples = given.example_list.examples
    elif kind == "example_list_with_context":
        examples = given.example_list_with_context.examples
        context = given.example_list_with_context.context.SerializeToString()
    if not examples:
        raise errors.invalid_argument("Input is empty.")
    if len(context) * len(examples) > tensors.MAX_EXPANDED_BYTES:
        raise errors.invalid_argument(
            f"a context of {len(context)} bytes before each of {len(examples)} examples is too "
            f"much: at most {tensors.MAX_EXPANDED_BYTES} bytes in all"
        )
    array = np.empty(len(examples), np.object_)
    # Two serialized messages of one type in a row are the two, merged.
    array[:] = [context + example.SerializeToString() for example in examples]
    return array


def _fill_classifications(
    signature: meta_graph_pb2.SignatureDef,
    count: int,
    outputs: Mapping[str, np.ndarray],
    result: classification_pb2.ClassificationResult,
) -> None:
    found = {
        alias: outputs[signature.outputs[alias].name]
        for alias in ("classes", "scores")
        if alias in signature.outputs
    }
    for alias, array in found.items():
        wanted = "DT_STRING" if alias == "classes" else "DT_FLOAT"
        if array.ndim != 2:
            raise errors.invalid_argument(
                f"Expected Tensor shape: [batch_size num_classes] but got {_shape(array)}"
            )
        if _dtype(array) != wanted:
            raise errors.invalid_argument(
                f"Expected {alias} Tensor of {wanted}. Got: {_dtype(array)}"
            )
        if len(array) != count:
            raise errors.invalid_argument(
                f"Expected {alias} output batch size of {count}. Got: {len(array)}"
            )
    widths = [array.shape[1] for array in found.values()]
    if len(set(widths)) > 1:
        raise errors.invalid_argument(
            f"Tensors class and score should match in dim_size(1). Got {widths[0]} vs. {widths[1]}"
        )
    for row in range(count):
        classes = result.classifications.add().classes
        for column in range(widths[0]):
            one = classes.add()
            if "classes" in found:
                one.label = found["classes"][row, column].decode("utf-8", "replace")
            if "scores" in found:
                one.score = found["scores"][row, column]


def _fill_regressions(
    signature: meta_graph_pb2.SignatureDef,
    count: int,
    outputs: Mapping[str, np.ndarray],
    result: regression_pb2.RegressionResult,
) -> None:
    array = outputs[signature.outputs["outputs"].name]
    if array.ndim != 1 and not (array.ndim == 2 and array.shape[1] == 1):
        raise errors.invalid_argument(
            "Expected output Tensor shape to be either [batch_size] or [batch_size, 1]"
            f" but got {_shape(array)}"
        )
    if len(array) != count:
        raise errors.invalid_argument(
            f"Input batch size did not match output batch size: {count} vs. {len(array)}"
        )
    if _dtype(array) != "DT_FLOAT":
        raise errors.invalid_argument(f"Expected output Tensor of DT_FLOAT.  Got: {_dtype(array)}")
    for value in array.ravel().tolist():
        result.regressions.add(value=value)


def _dtype(array: np.ndarray) -> str:
    return types_pb2.DataType.Name(tf.as_dtype(array.dtype).as_datatype_enum)


def _shape(array: np.ndarray) -> str:
    return "[" + ",".join(map(str, array.shape)) + "]"
