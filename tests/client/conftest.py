"""A real gRPC server with a toy model behind it.

The server is written with TensorFlow Serving's own stubs and messages, so the
client's are tested against another implementation of the wire. The toy keeps
the contract of the signatures and replaces the network by arithmetic: its state
is a rolling number over all events it has consumed, and its next event is a
function of that number, the row's sampling settings, the seed and the position.
A chunk in the wrong order, a position off by one or a state that is an event
ahead all change the song.
"""

import concurrent.futures
import dataclasses
import datetime
import ipaddress
import json
import zlib

import grpc
import numpy as np
import pytest

from music.codec import build_codec
from music.midi import write_midi
from music.song import Song

STATE_SIZE = 2048
SAMPLING = {
    "temperature": np.float32,
    "top_k": np.int32,
    "top_p": np.float32,
    "may_end": np.bool_,
    "seed": np.int64,
    "position": np.int32,
}
INPUTS = {
    "describe": {"keys": np.object_},
    "generate": {"prime": np.int32, "prime_length": np.int32, "steps": np.int32, **SAMPLING},
    "resume": {
        "state": np.float32,
        "prime": np.int32,
        "prime_length": np.int32,
        "steps": np.int32,
        **SAMPLING,
    },
    "step": {"event": np.int32, "state": np.float32, **SAMPLING},
    "predict_next": {"events": np.int32, **SAMPLING},
}


class Refusal(Exception):
    def __init__(self, code, details):
        super().__init__(details)
        self.code, self.details = code, details


@dataclasses.dataclass
class ToyModel:
    """The signatures' semantics over a made-up next-event function."""

    codec_config: dict
    paper: bool = False
    window: int = 75
    # One event in this many is a boundary, where the song may end.
    ends_one_in: int = 12

    def __post_init__(self):
        self.codec = build_codec(self.codec_config)
        self.limits = {
            "window": self.window,
            "min_prime": self.window if self.paper else 1,
            "max_prime": 4000,
            "max_steps": 2000,
            "max_batch": 16,
            "max_events": 200_000,
            "state_size": 2048,
        }
        self.training = {"preset": "paper" if self.paper else "default", "nats": 2.31}
        lacking = "the paper preset slides a window and carries no state" if self.paper else None
        self.signatures = {
            "generate": None,
            "resume": lacking,
            "step": lacking,
            "predict_next": None,
        }

    def consume(self, number, event):
        weighed = sum((index + 3) * int(code) for index, code in enumerate(event))
        return (number * 31 + weighed + 1) % 65521

    def draw(self, number, row):
        """One event and its log_prob from a state number and one row's settings."""
        settings = ",".join(f"{row[name]}" for name in ("temperature", "top_k", "top_p"))
        mixed = zlib.crc32(f"{number},{row['seed']},{row['position']},{settings}".encode())
        log_prob = -(mixed % 1000) / 256.0
        if self.codec.name == "chords":
            return np.array([mixed % 128], np.int32), log_prob
        event = np.zeros(len(self.codec.fields), np.int32)
        if row["may_end"] and mixed % self.ends_one_in == 0:
            event[self.codec.boundary[0]] = self.codec.boundary[1]
        else:
            event[0] = mixed % 7 * 6
            event[1] = 36 + mixed // 7 % 60
            event[2] = 6 + mixed // 420 % 40
        return event, log_prob

    def is_end(self, event):
        return self.codec.boundary is not None and event[self.codec.boundary[0]] == 128

    def song(self, prime, steps, row, number=0.0):
        """(events, log_probs, state number) of one row."""
        heard = [*prime]
        for event in prime[:-1]:
            number = self.consume(number, event)
        made, log_probs = [], []
        for index in range(steps):
            if self.paper:
                number = 0.0
                for event in heard[-self.window :]:
                    number = self.consume(number, event)
            else:
                number = self.consume(number, heard[-1])
            now = {**row, "position": row["position"] + index}
            event, log_prob = self.draw(number, now)
            heard.append(event)
            made.append(event)
            log_probs.append(log_prob)
            if row["may_end"] and self.is_end(event):
                break
        return made, log_probs, number

    def run(self, signature, inputs):
        if signature == "describe":
            facts = {
                "codec": self.codec_config,
                "vocabulary": {"fields": []},
                "training": self.training,
                "limits": self.limits,
                "signatures": self.signatures,
            }
            values = [json.dumps(facts[key.decode()]).encode() for key in inputs["keys"]]
            return {"values": np.array(values, object)}
        count = len(inputs["seed"])
        rows = [{name: inputs[name][i].item() for name in SAMPLING} for i in range(count)]
        if signature in ("generate", "resume"):
            return self.run_songs(signature, inputs, rows)
        if signature == "step":
            numbers = [
                self.consume(state[0], event)
                for state, event in zip(inputs["state"], inputs["event"], strict=True)
            ]
        else:
            numbers = []
            for events in inputs["events"]:
                numbers.append(0.0)
                for event in events:
                    numbers[-1] = self.consume(numbers[-1], event)
        drawn = [self.draw(number, row) for number, row in zip(numbers, rows, strict=True)]
        outputs = {
            "event": np.array([event for event, _ in drawn], np.int32),
            "log_prob": np.array([log_prob for _, log_prob in drawn], np.float32),
        }
        if signature == "step":
            outputs["state"] = self.states(numbers)
        return outputs

    def run_songs(self, signature, inputs, rows):
        count, longest = len(rows), int(inputs["steps"].max())
        events = np.full((count, longest, len(self.codec.fields)), -1, np.int32)
        log_prob = np.zeros((count, longest), np.float32)
        numbers = []
        for i, row in enumerate(rows):
            length = int(inputs["prime_length"][i])
            if inputs["prime"][i, length:].any():
                raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, "the padding is not zero")
            if signature == "generate" and row["position"] != 0:
                raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, "generate begins at 0")
            begun = inputs["state"][i, 0] if signature == "resume" else 0.0
            made, log_probs, number = self.song(
                inputs["prime"][i, :length], int(inputs["steps"][i]), row, float(begun)
            )
            if made:
                events[i, : len(made)] = made
                log_prob[i, : len(made)] = log_probs
            numbers.append(number)
        return {"events": events, "log_prob": log_prob, "state": self.states(numbers)}

    def states(self, numbers):
        states = np.zeros((len(numbers), STATE_SIZE), np.float32)
        states[:, 0] = numbers
        return states


class ToyServer:
    """Serves toy models by version; records calls; refuses when told to."""

    def __init__(self, versions, name="segue", port=0, answer_version=True, threads=4):
        from tensorflow_serving.apis import model_service_pb2_grpc, prediction_service_pb2_grpc

        self.name, self.versions, self.answer_version = name, versions, answer_version
        self.calls = []
        self.failures = []  # (code, details), one for each call to come
        self.tamper = None  # changes the outputs before they are sent
        self.before = None  # called before every prediction
        self.ended = None  # called when a prediction has ended, answered or not
        self.server = grpc.server(
            concurrent.futures.ThreadPoolExecutor(threads),
            options=[
                ("grpc.max_receive_message_length", -1),
                ("grpc.max_send_message_length", -1),
                ("grpc.so_reuseport", 0),
            ],
        )
        predictions = prediction_service_pb2_grpc.PredictionServiceServicer()
        predictions.Predict = self.predict
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
            predictions, self.server
        )
        models = model_service_pb2_grpc.ModelServiceServicer()
        models.GetModelStatus = self.get_model_status
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(models, self.server)
        self.port = self.server.add_insecure_port(f"127.0.0.1:{port}")
        self.target = f"127.0.0.1:{self.port}"
        self.server.start()

    def stop(self):
        self.server.stop(0).wait()

    def predict(self, request, context):
        import tensorflow as tf

        try:
            if self.ended is not None:
                context.add_callback(self.ended)
            if self.before is not None:
                self.before()
            if self.failures:
                raise Refusal(*self.failures.pop(0))
            version, model = self._find(request.model_spec)
            signature = request.model_spec.signature_name
            if signature not in INPUTS:
                raise Refusal(
                    grpc.StatusCode.FAILED_PRECONDITION,
                    f'Serving signature key "{signature}" not found.',
                )
            inputs = {name: tf.make_ndarray(proto) for name, proto in request.inputs.items()}
            self.calls.append((signature, version, inputs))
            self._check(signature, inputs)
            outputs = model.run(signature, inputs)
            if self.tamper is not None:
                outputs = self.tamper(signature, outputs)
            return self._response(request, version, outputs)
        except Refusal as refusal:
            context.abort(refusal.code, refusal.details)

    def get_model_status(self, request, context):
        from tensorflow_serving.apis import get_model_status_pb2

        response = get_model_status_pb2.GetModelStatusResponse()
        if request.model_spec.name != self.name:
            context.abort(
                grpc.StatusCode.NOT_FOUND,
                f"Could not find any versions of model {request.model_spec.name}",
            )
        for version in sorted(self.versions, reverse=True):
            response.model_version_status.add(version=version, state="AVAILABLE")
        return response

    def _find(self, spec):
        asked = spec.version.value if spec.HasField("version") else None
        version = max(self.versions) if asked is None else asked
        if spec.name != self.name or version not in self.versions:
            wish = f"Latest({spec.name})" if asked is None else f"Specific({spec.name}, {asked})"
            raise Refusal(grpc.StatusCode.NOT_FOUND, f"Servable not found for request: {wish}")
        return version, self.versions[version]

    def _check(self, signature, inputs):
        expected = INPUTS[signature]
        if set(inputs) != set(expected):
            raise Refusal(
                grpc.StatusCode.INVALID_ARGUMENT,
                f"input size does not match signature: {len(inputs)}!={len(expected)}",
            )
        for name, dtype in expected.items():
            if inputs[name].dtype != dtype:
                raise Refusal(
                    grpc.StatusCode.INVALID_ARGUMENT,
                    f"Expects arg[0] to be {np.dtype(dtype)} but {inputs[name].dtype} is provided",
                )

    def _response(self, request, version, outputs):
        """As TensorFlow Serving answers: in typed fields, with the resolved version."""
        import tensorflow as tf
        from tensorflow_serving.apis import predict_pb2

        response = predict_pb2.PredictResponse()
        response.model_spec.name = self.name
        response.model_spec.signature_name = request.model_spec.signature_name
        if self.answer_version:
            response.model_spec.version.value = version
        for name, array in outputs.items():
            if request.output_filter and name not in request.output_filter:
                continue
            proto = response.outputs[name]
            proto.CopyFrom(tf.make_tensor_proto(array, shape=array.shape))
            if proto.tensor_content:
                field = {"int32": "int_val", "float32": "float_val", "bool": "bool_val"}.get(
                    array.dtype.name, "double_val"
                )
                proto.tensor_content = b""
                getattr(proto, field).extend(array.ravel().tolist())
        return response


NOTES = {"name": "notes", "velocity": False, "part": False}


@pytest.fixture
def serve():
    """Starts toy servers, and stops them when the test is over."""
    servers = []

    def start(versions=None, **options):
        servers.append(ToyServer(versions or {3: ToyModel(NOTES)}, **options))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def toy(serve):
    """A server with version 3 of a default model."""
    return serve()


@pytest.fixture
def paper(serve):
    """A server with a model of the paper's preset, its window shortened to 8."""
    return serve({1: ToyModel({"name": "chords"}, paper=True, window=8)})


@pytest.fixture
def make_model():
    """The class of toy models, for tests that serve their own."""
    return ToyModel


class Identity:
    """A key, its certificate, and what signs others with it; its files are PEM."""

    def __init__(self, folder, name, issuer=None, hosts=("127.0.0.1",)):
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec

        self.private = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        signer = issuer or self
        now = datetime.datetime.now(datetime.timezone.utc)
        day = datetime.timedelta(days=1)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(self.name)
            .issuer_name(signer.name)
            .public_key(self.private.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - day)
            .not_valid_after(now + day)
            .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), True)
            .add_extension(
                x509.SubjectAlternativeName([_alternative(host) for host in hosts]), False
            )
            .sign(signer.private, hashes.SHA256())
        )
        self.certificate, self.key = folder / f"{name}.pem", folder / f"{name}-key.pem"
        self.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        self.key.write_bytes(self.pem())

    def pem(self, password=None):
        from cryptography.hazmat.primitives import serialization

        encryption = serialization.NoEncryption()
        if password is not None:
            encryption = serialization.BestAvailableEncryption(password)
        return self.private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
        )


def _alternative(host):
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


@pytest.fixture(scope="session")
def identify(tmp_path_factory):
    """identify(name, issuer=None, hosts=...): an `Identity`; without issuer an authority."""
    folder = tmp_path_factory.mktemp("identities")
    return lambda *arguments, **options: Identity(folder, *arguments, **options)


@pytest.fixture
def write_song(tmp_path):
    """Writes a MIDI file of `count` notes and returns its path."""

    def write(name="song.mid", count=20, start=60, tempo=96.0, folder=tmp_path):
        notes = [(index * 12, 12, start + index % 12, 80, 0) for index in range(count)]
        song = Song(np.array(notes, np.int32), tempo=tempo, time_signature="3/4")
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(write_midi(song))
        return path

    return write
