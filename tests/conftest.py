"""What several folders of tests share: the real command, and models that are not trained.

A model is exported once a session. What Keras would leave at zero (biases, the tables
of what an event's earlier fields say of the next) is moved off it, so that no test
passes because a term is missing.
"""

from __future__ import annotations

import collections
import functools
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

REPOSITORY = Path(__file__).parents[1]
SHARED_SONGS = REPOSITORY.parent / "shared" / "data" / "openscore-lieder"


# Tests and fixtures that take the one run of the pipeline, or what rests on it.
ONE_RUN = re.compile(r"def \w+\([^)]*\b(first_run|root_copy|target)\b")
OF_PIPELINES = ("tests/pipeline/", "tests/kubeflow/")
# What takes longest for the number of its tests.
LONG = ("tests/components/", "tests/benchmarks/", *OF_PIPELINES)


@functools.cache
def scope_of(path: str) -> str:
    """The tests that one process runs: a file's, or all of a folder that need the one run.

    Both folders could share it; a run for each is what lets two processes work.
    """
    folder = next((folder for folder in OF_PIPELINES if path.startswith(folder)), None)
    if folder and ONE_RUN.search((REPOSITORY / path).read_text("utf-8")):
        return f"{folder}: the one run"
    return path


def pytest_collection_modifyitems(config, items):
    """Where several processes share the tests, the longest come first: none ends alone."""
    if not config.getoption("numprocesses", None) and not hasattr(config, "workerinput"):
        return
    scopes = [scope_of(item.nodeid.split("::", 1)[0]) for item in items]
    number = collections.Counter(scopes)

    def rank(place: int) -> tuple:
        scope = scopes[place]
        return ("the one run" not in scope, not scope.startswith(LONG), -number[scope], scope)

    items[:] = [items[place] for place in sorted(range(len(items)), key=rank)]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Where several processes share the tests, what shares a fixture stays together."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return scope_of(nodeid.split("::", 1)[0])

    config.option.loadscopereorder = False  # the order of the collection is the one above
    return ByFile(config, log)


class Ran(NamedTuple):
    """A command that ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture(scope="session")
def segue():
    """Runs `segue` in a process of its own: segue("generate", "--seed", 7)."""

    def run(*arguments: object, cwd: Path | None = None, timeout: float = 800) -> Ran:
        done = subprocess.run(
            [sys.executable, "-m", "pipeline.cli", *map(str, arguments)],
            cwd=cwd or REPOSITORY,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture(scope="session")
def processor_seconds():
    """Runs a command; its processor seconds, which other work on the machine leaves alone."""

    def run(*command: object) -> float:
        before = os.times()
        subprocess.run([*map(str, command)], check=True, stdout=subprocess.DEVNULL)
        after = os.times()
        return (
            after.children_user
            + after.children_system
            - (before.children_user + before.children_system)
        )

    return run


# ---- one real run of the pipeline ----

CHORALES = 16


class Run(NamedTuple):
    """A finished run of the pipeline.

    `left` holds its metadata and its page as they were then, whatever else has been run
    in the root since.
    """

    data: Path
    root: Path
    outcome: dict
    log: str
    left: Path


@pytest.fixture(scope="session")
def chorales(tmp_path_factory) -> Path:
    """Good MIDI files, and in a subfolder one that is none and one that is cut off."""
    from music.corpus import export

    folder = tmp_path_factory.mktemp("midi")
    written = export("bach", folder, limit=CHORALES, parts=4)
    odd = folder / "odd"
    odd.mkdir()
    (odd / "letter.mid").write_text("Dear Sebastian,")
    (odd / "cut.MID").write_bytes(written[0].read_bytes()[:20])
    # A name that is no UTF-8, as old archives have them.
    moved = written[-1].rename(os.fsdecode(os.fsencode(folder) + b"/Pr\xe9lude.mid"))
    assert moved.exists()
    return folder


@pytest.fixture(scope="session")
def first_run(segue, chorales, tmp_path_factory) -> Run:
    """The smoke preset, from MIDI files to a pushed version."""
    root = tmp_path_factory.mktemp("root") / "run"
    ran = segue(
        "pipeline", "run", "--engine", "local", "--preset", "smoke",
        "--data", chorales, "--root", root, "--json",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    left = tmp_path_factory.mktemp("left")
    for name in ("metadata.sqlite", "report.html"):
        shutil.copy(root / name, left / name)
    return Run(chorales, root, ran.json, ran.err, left)


@pytest.fixture(scope="session")
def one_line():
    """Checks that a command failed with one line for a person, and returns it."""

    def check(ran: Ran, code: int = 1) -> str:
        assert ran.code == code, ran
        lines = ran.err.splitlines()
        assert len(lines) == 1, ran.err
        assert lines[0].startswith("segue: ")
        assert "Traceback" not in ran.out
        return lines[0].removeprefix("segue: ")

    return check


@pytest.fixture(scope="session")
def textproto():
    """textproto("BatchingParameters", text): TensorFlow Serving's message, parsed strictly.

    Its Python package brings the messages of the APIs but leaves those of these
    configuration files out, so their published fields are described here.
    """
    from google.protobuf import descriptor_pb2, descriptor_pool, text_format, wrappers_pb2
    from tensorflow_serving.config import model_server_config_pb2

    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    file = descriptor_pb2.FileDescriptorProto(
        name="deployment.proto",
        package="tensorflow.serving",
        syntax="proto3",
        dependency=[wrappers_pb2.DESCRIPTOR.name],
    )

    def message(name, **fields):
        described = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            repeated = kind.startswith("repeated ")
            added = described.field.add(name=field, number=number, label=3 if repeated else 1)
            kind = kind.removeprefix("repeated ")
            plain = {"bool": 8, "string": 9, "int64": 3}
            added.type = plain.get(kind, 11)
            if kind not in plain:
                added.type_name = f".{kind}"

    wrapped = "google.protobuf.{}Value".format
    message(
        "BatchingParameters",
        max_batch_size=(1, wrapped("Int64")),
        batch_timeout_micros=(2, wrapped("Int64")),
        max_enqueued_batches=(3, wrapped("Int64")),
        num_batch_threads=(4, wrapped("Int64")),
        thread_pool_name=(5, wrapped("String")),
        allowed_batch_sizes=(6, "repeated int64"),
        pad_variable_length_inputs=(7, "bool"),
        max_execution_batch_size=(8, wrapped("Int64")),
        enable_large_batch_splitting=(9, wrapped("Bool")),
    )
    message("PrometheusConfig", enable=(1, "bool"), path=(2, "string"))
    message("MonitoringConfig", prometheus_config=(1, "tensorflow.serving.PrometheusConfig"))
    pool.AddSerializedFile(file.SerializeToString())

    def parse(name: str, text: str) -> Any:
        if name == "ModelServerConfig":
            empty = model_server_config_pb2.ModelServerConfig()
        else:
            empty = _message_class(pool, f"tensorflow.serving.{name}")()
        return text_format.Parse(text, empty)

    return parse


class Seen(NamedTuple):
    """A page as a browser showed it.

    Attributes:
      dom: its HTML after its scripts have run.
      console: what was written to the console, errors among it.
      urls: that were asked of any network.
    """

    dom: str
    console: list[str]
    urls: set[str]


class Browser:
    """Headless Chromium.

    Args:
      program: its path.
      scratch: a folder for its logs.
    """

    def __init__(self, program: str, scratch: Path):
        self.program = program
        self.scratch = scratch

    def look(self, path: Path) -> Seen:
        """Opens a file, and gives its scripts five seconds of its own time."""
        log = self.scratch / "net.json"
        done = subprocess.run(
            [
                self.program, "--headless", "--no-sandbox", "--disable-gpu",
                "--allow-file-access-from-files", "--enable-logging=stderr",
                f"--log-net-log={log}", "--window-size=1400,1000", "--virtual-time-budget=5000",
                "--autoplay-policy=no-user-gesture-required", "--dump-dom", path.as_uri(),
            ],
            capture_output=True, text=True, timeout=120, check=True,
        )  # fmt: skip
        console = [line for line in done.stderr.splitlines() if ":CONSOLE" in line]
        urls = set(re.findall(r'"url":"((?:https?|wss?|ftp):[^"]*)"', log.read_text()))
        return Seen(done.stdout, console, urls)

    def layout(self, text: str, width: int) -> dict[str, float]:
        """How wide a page wants to be on a screen of a width: `inner`, `scroll`, `right`."""
        probe = (
            "<script>addEventListener('load', () => { const wide = [...document.querySelectorAll("
            "'main > *, section > *')].map(e => e.getBoundingClientRect().right);"
            "document.title = JSON.stringify({inner: innerWidth,"
            " scroll: document.documentElement.scrollWidth, right: Math.max(...wide)}) })</script>"
        )
        # What forbids scripts on the page would forbid this one, too.
        text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text)
        # Headless windows are 500 wide at least; a frame is as narrow as it is told to be.
        (self.scratch / "page.html").write_text(text.replace("</body>", f"{probe}</body>"))
        frame = self.scratch / "frame.html"
        frame.write_text(
            f'<iframe src="page.html" style="width:{width}px;height:900px;border:0"></iframe>'
            "<script>addEventListener('load', () => setTimeout(() => { document.title = "
            "document.querySelector('iframe').contentDocument.title }, 200))</script>"
        )
        found = re.search(r"<title>(.*?)</title>", self.look(frame).dom)
        return json.loads(found.group(1))


@pytest.fixture
def browser(tmp_path_factory) -> Browser:
    """A `Browser`; tests without one skip."""
    names = ("chromium-headless-shell", "chromium", "google-chrome")
    program = next(filter(None, map(shutil.which, names)), None)
    if program is None:
        pytest.skip(f"no browser on the PATH ({', '.join(names)})")
    return Browser(program, tmp_path_factory.mktemp("browser"))


class Reflected:
    """A client that knows an address and gRPC, and asks the server for all else.

    As grpcurl does it: the services by reflection, then the file of each, and the
    files that those import; from them a descriptor pool, and from that the messages.
    No module of TensorFlow Serving's is used, nor any of ours.
    """

    def __init__(self, address: str):
        import grpc
        from google.protobuf import descriptor_pool
        from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

        self._messages = reflection_pb2
        self.channel = grpc.insecure_channel(address)
        self._stub = reflection_pb2_grpc.ServerReflectionStub(self.channel)
        self.pool = descriptor_pool.DescriptorPool()
        self._fetched: set[str] = set()

    def services(self) -> set[str]:
        answer = self._ask(list_services="")
        return {service.name for service in answer.list_services_response.service}

    def methods(self, service: str) -> set[str]:
        return {method.name for method in self._service(service).methods}

    def message(self, name: str, **fields: Any) -> Any:
        """A message of a type that a fetched file holds."""
        return _message_class(self.pool, name)(**fields)

    def call(self, service: str, method: str, timeout: float = 60, **fields: Any) -> Any:
        """Calls a method with a request of these fields; the answer as a message."""
        described = self._service(service).methods_by_name[method]
        answer_class = _message_class(self.pool, described.output_type.full_name)
        send = self.channel.unary_unary(
            f"/{service}/{method}",
            request_serializer=lambda request: request.SerializeToString(),
            response_deserializer=answer_class.FromString,
        )
        request_class = _message_class(self.pool, described.input_type.full_name)
        return send(request_class(**fields), timeout=timeout)

    def _service(self, name: str) -> Any:
        self._add(self._ask(file_containing_symbol=name))
        return self.pool.FindServiceByName(name)

    def _ask(self, **question: str) -> Any:
        request = self._messages.ServerReflectionRequest(**question)
        answer = next(self._stub.ServerReflectionInfo(iter([request]), timeout=60))
        assert not answer.HasField("error_response"), (question, answer)
        return answer

    def _add(self, answer: Any) -> None:
        """Adds an answer's files to the pool, behind the files that they import."""
        from google.protobuf import descriptor_pb2

        # A server may send what a file imports along with it, or wait to be asked.
        sent = [
            descriptor_pb2.FileDescriptorProto.FromString(file)
            for file in answer.file_descriptor_response.file_descriptor_proto
        ]
        along = {file.name: file for file in sent}

        def add(file: Any) -> None:
            if file.name in self._fetched:
                return
            self._fetched.add(file.name)
            for imported in file.dependency:
                if imported in along:
                    add(along[imported])
                else:
                    self._add_named(imported)
            self.pool.AddSerializedFile(file.SerializeToString())

        for file in sent:
            add(file)

    def _add_named(self, name: str) -> None:
        if name not in self._fetched:
            self._add(self._ask(file_by_filename=name))


@pytest.fixture
def reflect():
    """reflect(address): a `Reflected`, closed at the end."""
    clients = []

    def reflect(address: str) -> Reflected:
        clients.append(Reflected(address))
        return clients[-1]

    yield reflect
    for client in clients:
        client.channel.close()


def _message_class(pool: Any, name: str) -> Any:
    """The class of a pool's message, in whichever way this protobuf makes it."""
    from google.protobuf import message_factory

    described = pool.FindMessageTypeByName(name)
    if hasattr(message_factory, "GetMessageClass"):
        return message_factory.GetMessageClass(described)
    return message_factory.MessageFactory(pool).GetPrototype(described)


@pytest.fixture(scope="session")
def reichardt() -> Path:
    """43 real songs that lie beside the project where it is developed."""
    folder = SHARED_SONGS / "Reichardt_Louise"
    if not folder.is_dir():
        pytest.skip(f"no {folder}: real songs that are not part of the project")
    return folder


# ---- untrained models ----

# How often made-up music holds a number of ticks; the rarest are not kept.
TICKS = {0: 400, 3: 20, 6: 100, 8: 11, 12: 300, 18: 9, 24: 200, 48: 90, 96: 15, 5: 2, 700: 1}


def _vocabulary(name):
    from music.codec import ChordsCodec, NotesCodec
    from music.vocabulary import build_vocabulary

    if name == "notes":
        counts = [TICKS, {48: 5, 60: 90, 64: 40, 128: 20}, TICKS]
        return build_vocabulary(NotesCodec(), counts, min_count=5)
    # 128 notes and 47 chords make the paper's 175 classes; 20 tokens are too rare.
    tokens = [*range(128), *(128 + 7 * chord for chord in range(1, 68))]
    counts = {token: 12 if index < 175 else 3 for index, token in enumerate(tokens)}
    return build_vocabulary(ChordsCodec(), [counts], min_count=10, closed=name == "paper")


@pytest.fixture(scope="session")
def vocabulary():
    """vocabulary("notes" | "chords" | "paper"): as a VocabularyBuilder might make it."""
    return _vocabulary


class Exported:
    """A network, the InferenceModel made of it, and the folder it was saved to."""

    def __init__(self, kind, settings, window, vocabulary, path, bias=None):
        import keras

        from components.trainer.export import export
        from components.trainer.inference import InferenceModel
        from components.trainer.network import build_network, extract_weights

        keras.utils.set_random_seed(11)
        self.kind, self.settings, self.window = kind, settings, window
        self.vocabulary, self.path = vocabulary, str(path)
        self.network = build_network(settings, window, vocabulary)
        rng = np.random.default_rng(5)
        for layer in self.network.layers:
            if layer.name.startswith(("dense", "head", "condition", "embedding", "profile")):
                layer.set_weights(
                    [w + 0.3 * rng.standard_normal(w.shape) for w in layer.get_weights()]
                )
        if bias is not None:
            bias(self.network)
        self.weights = extract_weights(self.network, settings)
        self.model = InferenceModel(self.weights, settings, window, vocabulary)
        self.training = {
            "preset": kind,
            "nats": 3.25,
            "parameters": self.network.count_params(),
            "windows": 40,
            "held_out": 8,
            "epoch": 2,
            "epochs": 3,
            "versions": {"keras": "3.0"},
        }
        export(self.model, self.training, self.path)


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """exported(kind): an `Exported`, the same one each time.

    `chain` and `paper` have the default size; `small` and `small paper` are for
    what takes many calls, and `ending` all but always draws the boundary.
    """
    from components.trainer.settings import ModelSettings
    from music.windows import WindowSpec

    made = {}
    tiny = {"units": (24, 40, 24), "dense": 32, "embedding": 12}

    def end_soon(network):
        kernel, bias = network.get_layer("head_1").get_weights()
        bias[128] += 12.0
        network.get_layer("head_1").set_weights([kernel, bias])

    def kinds(kind):
        return {
            "chain": (ModelSettings(profile=32), WindowSpec(), "notes", None),
            "small": (
                ModelSettings(**tiny, profile=8, activation="gelu"), WindowSpec(6), "notes", None
            ),
            "ending": (ModelSettings(**tiny), WindowSpec(6), "notes", end_soon),
            "paper": (ModelSettings("paper"), WindowSpec(75, "last"), "paper", None),
            "small paper": (
                ModelSettings("paper", **tiny), WindowSpec(75, "last"), "paper", None
            ),
        }[kind]  # fmt: skip

    def exported(kind):
        if kind not in made:
            settings, window, name, bias = kinds(kind)
            path = tmp_path_factory.mktemp("exported") / "model"
            made[kind] = Exported(kind, settings, window, _vocabulary(name), path, bias)
        return made[kind]

    return exported
