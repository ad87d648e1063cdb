"""The REST surface: the same models, by HTTP and JSON.

    POST /v1/models/NAME[/versions/V|/labels/L]:(classify|regress|predict)
    GET  /v1/models/NAME[/versions/V|/labels/L][/metadata]

as https://www.tensorflow.org/tfx/serving/api_rest has it, and the metrics page where
it is switched on. A WSGI application and nothing of a server: which sockets and
threads there are is `http_server`'s matter. A request is read into the proto that
gRPC would have brought, and goes the same way from there.
"""

from __future__ import annotations

import dataclasses
import gzip
import http
import io
import logging
import re
import time
import urllib.parse
import zlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import grpc
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_pb2,
    predict_pb2,
    regression_pb2,
)

from serving import (
    calls,
    errors,
    inference,
    json_examples,
    json_tensors,
    json_text,
    protobufs,
    services,
    watching,
)
from serving.errors import ServingError
from serving.loader import DEFAULT_SIGNATURE
from serving.metrics import CONTENT_TYPE, Metrics
from serving.models import Models

_log = logging.getLogger(__name__)

_NAME = r"/(?P<name>[^/:]+)"
_WHICH = r"(?:/versions/(?P<version>[0-9]+)|/labels/(?P<label>[^/:]+))?"
_FLAGS = re.IGNORECASE | re.ASCII
_ROUTES = {
    "POST": re.compile(rf"/v1/models{_NAME}{_WHICH}:(?P<verb>classify|regress|predict)", _FLAGS),
    "GET": re.compile(rf"/v1/models(?:{_NAME})?{_WHICH}(?:/(?P<verb>metadata))?", _FLAGS),
}
_API = re.compile(r"/v1/.*", _FLAGS | re.DOTALL)
_VERBS = frozenset({"classify", "regress", "predict", "metadata"})
_STATUS = "status"

_HTTP_STATUS = {
    grpc.StatusCode.OK: 200,
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.ABORTED: 409,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.CANCELLED: 499,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
}
_REASONS = {499: "Client Closed Request"}
_JSON = ("Content-Type", "application/json")
_CORS = (
    ("Access-Control-Allow-Origin", "*"),
    ("Access-Control-Allow-Methods", "POST, GET"),
    ("Access-Control-Allow-Headers", "Content-Type"),
)

Environ = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class RestConfig:
    """What `RestApp` is told.

    Attributes:
      timeout: seconds that a request may take; None for any time.
      max_body_bytes: the largest body, sent or inflated.
      cors: let pages of other origins call.
      metrics_path: where the metrics page is; None for nowhere.
    """

    timeout: float | None = 30.0
    max_body_bytes: int = 16 * 2**20
    cors: bool = False
    metrics_path: str | None = None


@dataclasses.dataclass(frozen=True)
class _Answer:
    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = (_JSON,)


class RestApp:
    """A WSGI application that answers for some models; safe to use from any thread."""

    def __init__(self, models: Models, metrics: Metrics, config: RestConfig):
        self._models = models
        self._metrics = metrics
        self._config = config
        self._predictions: dict[str, Callable[[bytes, model_pb2.ModelSpec, _Run], bytes]] = {
            "predict": self._predict,
            "classify": self._classify,
            "regress": self._regress,
        }

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        answer = self._answer(environ)
        headers = [*answer.headers, ("Content-Length", str(len(answer.body)))]
        if self._config.cors:
            headers += _CORS
        reason = _REASONS.get(answer.status) or http.HTTPStatus(answer.status).phrase
        start_response(f"{answer.status} {reason}", headers)
        return [answer.body]

    def _answer(self, environ: Environ) -> _Answer:
        method, target = environ["REQUEST_METHOD"], _target(environ)
        if target == self._config.metrics_path:
            return _Answer(200, self._metrics.page(), (("Content-Type", CONTENT_TYPE),))
        if not _API.fullmatch(target):
            return _Answer(404, _error(f"Nothing is here: {method} {target}"))
        if method == "OPTIONS" and self._config.cors:
            return _Answer(200, b"")
        try:
            body = _body(environ, self._config.max_body_bytes)
        except _TooLarge as error:
            return _Answer(413, _error(str(error)))
        with watching.watched(self._metrics, watching.Call(watching.REST, "")) as call:
            try:
                with calls.following(_Client(environ)):
                    return _Answer(200, self._route(method, target, body, call))
            except ServingError as error:
                # Not the error itself, which holds this frame and all in it.
                call.code, call.message = error.code, error.message
            except Exception as error:
                _log.exception("%s %s failed", method, target)
                call.code = grpc.StatusCode.INTERNAL
                call.message = f"the request failed: {errors.one_line(error)}"
        return _Answer(http_status(call.code), _error(call.message))

    def _route(self, method: str, target: str, body: bytes, call: watching.Call) -> bytes:
        found = _ROUTES[method].fullmatch(target) if method in _ROUTES else None
        verb = (found["verb"] or _STATUS) if found else ""
        # Letters of any case find a method, but only small ones are one.
        if found is None or verb not in _VERBS | {_STATUS}:
            raise errors.invalid_argument(f"Malformed request: {method} {target}")
        if found["name"] is None:
            raise errors.invalid_argument("Missing model name in request.")
        spec = _model_spec(found["name"], found["version"], found["label"])
        call.api, call.model = verb, spec.name
        if verb == _STATUS:
            return self._status(spec)
        if verb == "metadata":
            return self._metadata(spec)
        return self._predictions[verb](body, spec, _Run(self._config.timeout, call))

    def _predict(self, body: bytes, spec: model_pb2.ModelSpec, run: _Run) -> bytes:
        document = json_text.parse(body)
        _read_signature_name(document, spec)
        request = predict_pb2.PredictRequest(model_spec=spec)
        with self._models.acquire(spec) as (_, model):
            infos = _inputs(model.signatures, spec.signature_name)
            layout = json_tensors.read_inputs(document, infos, request.inputs)
        response = services.infer(self._models, inference.predict, request, run.time_left())
        watching.note_predict(self._metrics, run.call, request, response)
        return json_tensors.write_outputs(response.outputs, layout)

    def _classify(self, body: bytes, spec: model_pb2.ModelSpec, run: _Run) -> bytes:
        request = classification_pb2.ClassificationRequest()
        response = self._on_examples(body, spec, run, request, inference.classify)
        return json_examples.write_classifications(response.result)

    def _regress(self, body: bytes, spec: model_pb2.ModelSpec, run: _Run) -> bytes:
        request = regression_pb2.RegressionRequest()
        response = self._on_examples(body, spec, run, request, inference.regress)
        return json_examples.write_regressions(response.result)

    def _on_examples(
        self,
        body: bytes,
        spec: model_pb2.ModelSpec,
        run: _Run,
        request: Any,
        infer: Callable[..., Any],
    ) -> Any:
        document = json_text.parse(body)
        _read_signature_name(document, spec)
        request.model_spec.CopyFrom(spec)
        json_examples.read_examples(document, request.input)
        response = services.infer(self._models, infer, request, run.time_left())
        run.call.version = response.model_spec.version.value
        return response

    def _status(self, spec: model_pb2.ModelSpec) -> bytes:
        request = get_model_status_pb2.GetModelStatusRequest(model_spec=spec)
        return protobufs.as_json(services.get_model_status(self._models, request)).encode()

    def _metadata(self, spec: model_pb2.ModelSpec) -> bytes:
        request = get_model_metadata_pb2.GetModelMetadataRequest(
            model_spec=spec, metadata_field=[services.SIGNATURE_DEF]
        )
        response = services.get_model_metadata(self._models, request)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        response.metadata[services.SIGNATURE_DEF].Unpack(signatures)
        # Not as one message: an Any would be printed with its type's address.
        return (
            f'{{\n"model_spec":{protobufs.as_json(response.model_spec)},\n'
            f'"metadata": {{"signature_def": {protobufs.as_json(signatures)}}}\n}}\n'
        ).encode()


def http_status(code: grpc.StatusCode) -> int:
    """The HTTP status that a code is answered with, as the binary maps them."""
    return _HTTP_STATUS.get(code, 500)


class _Run:
    """A request's time, while it is answered."""

    def __init__(self, timeout: float | None, call: watching.Call):
        self.call = call
        self._deadline = None if timeout is None else time.monotonic() + timeout

    def time_left(self) -> float | None:
        """Seconds that the run may take, if there is anybody left to wait for it.

        Raises:
          ServingError: CANCELLED when the client has hung up.
        """
        following = calls.current()
        if following is not None and following.gone:
            raise ServingError(grpc.StatusCode.CANCELLED, "The client has gone")
        return None if self._deadline is None else self._deadline - time.monotonic()


class _Client:
    """Who waits for a request's answer, as `calls.following` wants to know it."""

    def __init__(self, environ: Environ):
        # Not of WSGI: `http_server` has it, others need not.
        self.add_callback: Callable[[Callable[[], None]], bool] = environ.get(
            "segue.when_gone", lambda callback: True
        )


class _TooLarge(Exception):
    """A body over the limit, once it is inflated."""


def _target(environ: Environ) -> str:
    """Path and query as they were sent: what is quoted in them stays quoted."""
    target = environ["REQUEST_URI"]
    if target.startswith("/"):
        return target
    parts = urllib.parse.urlsplit(target)
    return urllib.parse.urlunsplit(("", "", parts.path or "/", parts.query, ""))


def _body(environ: Environ, limit: int) -> bytes:
    raw = environ["wsgi.input"].read()
    if "gzip" not in environ.get("HTTP_CONTENT_ENCODING", "").lower():
        return raw
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(raw)) as inflated:
            body = inflated.read(limit + 1)
    except (OSError, EOFError, zlib.error):
        # As the binary has it: what cannot be inflated is no body.
        return b""
    if len(body) > limit:
        raise _TooLarge(
            f"The body inflates to more than {limit} bytes; send less, or raise"
            " --rest_api_max_body_bytes"
        )
    return body


def _model_spec(name: str, version: str | None, label: str | None) -> model_pb2.ModelSpec:
    spec = model_pb2.ModelSpec(name=urllib.parse.unquote(name))
    if version is not None:
        if len(version) > 19 or int(version) >= 2**63:
            raise errors.invalid_argument(f"Failed to convert version: {version} to numeric.")
        spec.version.value = int(version)
    if label is not None:
        spec.version_label = urllib.parse.unquote(label)
    return spec


def _read_signature_name(document: Mapping[str, Any], spec: model_pb2.ModelSpec) -> None:
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise json_text.refused(
            document, "not formatted correctly. 'signature_name' key must be a string value."
        )
    spec.signature_name = name


def _inputs(signatures: Mapping[str, Any], name: str) -> json_tensors.Infos:
    key = name or DEFAULT_SIGNATURE
    if key not in signatures:
        raise errors.invalid_argument(f'Serving signature name: "{key}" not found in signature def')
    inputs = signatures[key].inputs
    if not inputs:
        raise errors.invalid_argument(f"Failed to get input map for signature: {name or 'DEFAULT'}")
    return inputs


def _error(message: str) -> bytes:
    return json_text.dump({"error": message})
