"""Against real servers with a real model: several at a time, with TLS, and without TensorFlow.

Two embedded servers are started as processes that speak plainly, and wait for the model
that is exported meanwhile. A third, in this process, lets in only whom an authority signed.
"""

import asyncio
import importlib.metadata
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from client.aio import AsyncConnection, AsyncGenerationClient
from client.connection import Connection
from client.generation import GenerationClient, Sampling
from client.security import Security
from music.errors import SegueError

ROOT = Path(__file__).resolve().parents[2]
KEYS = {"keys": np.array(["limits"])}
PRIME = np.array([[0, 128, 0], [0, 60, 12], [6, 64, 12], [6, 67, 24]], np.int32)
STEPS = 60


class Server:
    """`python -m serving` on a port that it keeps when it is started again."""

    def __init__(self, base, folder):
        self.base, self.port = base, 0
        self.log, self.ready = folder / "log", folder / "port"

    def start(self):
        self.ready.unlink(missing_ok=True)
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "serving",
                    "--model_name=segue",
                    f"--model_base_path={self.base}",
                    f"--port={self.port}",
                    f"--port_file={self.ready}",
                    "--wait_for_model_seconds=200",
                    "--file_system_poll_wait_seconds=0.2",
                    "--verbose",
                ],
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdout=out,
                stderr=out,
            )

    def wait(self):
        deadline = time.monotonic() + 200
        while not self.ready.exists():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)
        self.port = int(self.ready.read_text())
        return self

    @property
    def target(self):
        return f"127.0.0.1:{self.port}"

    def kill(self):
        """As a machine that loses its power."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


@pytest.fixture(scope="module")
def authority(identify):
    return identify("authority")


@pytest.fixture(scope="module")
def friend(identify, authority):
    return identify("friend", authority)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """The folder of versions that all of them serve."""
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def processes(base, exported, tmp_path_factory):
    """Two processes that speak plainly."""
    started = [Server(base, tmp_path_factory.mktemp("server")) for _ in range(2)]
    try:
        for server in started:
            server.start()
        (base / "7").symlink_to(exported("small").path)
        yield [server.wait() for server in started]
    finally:
        for server in started:
            server.kill()


@pytest.fixture(scope="module")
def locked(base, processes, identify, authority, tmp_path_factory):
    """The target of one with mutual TLS."""
    from serving.config import ServerConfig
    from serving.server import ModelServer

    owner = identify("owner", authority, hosts=("127.0.0.1", "segue.example"))

    def quoted(path):
        return '"' + path.read_text().replace("\n", "\\n") + '"'

    config = tmp_path_factory.mktemp("tls") / "ssl.config"
    config.write_text(
        f"server_key: {quoted(owner.key)}\nserver_cert: {quoted(owner.certificate)}\n"
        f"custom_ca: {quoted(authority.certificate)}\nclient_verify: true\n"
    )
    server = ModelServer(ServerConfig(model_base_path=base, port=0, ssl_config_file=config))
    server.start()
    yield f"127.0.0.1:{server.port}"
    server.stop(0)


@pytest.fixture
def pair(processes):
    """Both processes, alive."""
    for server in processes:
        if server.process.poll() is not None:
            server.start()
    return [server.wait() for server in processes]


@pytest.fixture(scope="module")
def songs(processes):
    """What seeds 0 to 15 sound like, a call each to one server."""
    with Connection(processes[0].target) as connection:
        client = GenerationClient(connection)
        return [client.generate([PRIME], STEPS, Sampling(seed=seed))[0] for seed in range(16)]


def both(pair):
    return ",".join(server.target for server in pair)


def test_calls_go_round_and_songs_are_the_same(pair, songs):
    logs = [server.log.stat().st_size for server in pair]
    with Connection(both(pair)) as connection:
        client = GenerationClient(connection)
        for seed, song in enumerate(songs):
            (made,) = client.generate([PRIME], STEPS, Sampling(seed=seed))
            assert np.array_equal(made.events, song.events)
        for seed, song in enumerate(songs[:2]):
            parts = list(client.stream(PRIME, STEPS, Sampling(seed=seed), chunk=7))
            assert np.array_equal(np.concatenate([part.events for part in parts]), song.events)
            parts = list(client.step_loop(PRIME, STEPS, Sampling(seed=seed)))
            assert np.array_equal(np.concatenate([part.events for part in parts]), song.events)
        assert connection.resolved_version == 7
    for server, before in zip(pair, logs, strict=True):
        said = server.log.read_bytes()[before:].decode()
        assert said.count("Predict") > 50, said[-2000:]


def test_many_songs_in_an_event_loop_are_those_of_one_at_a_time(pair, songs):
    async def make():
        async with AsyncConnection(both(pair)) as connection:
            client = AsyncGenerationClient(connection)
            seeds = [seed for seed in range(len(songs)) for _ in range(3)]
            calls = (client.generate([PRIME], STEPS, Sampling(seed=seed)) for seed in seeds)
            return zip(seeds, await asyncio.gather(*calls), strict=True)

    for seed, (made,) in asyncio.run(make()):
        assert np.array_equal(made.events, songs[seed].events)


def test_mutual_tls_lets_in_whom_the_authority_signed(locked, songs, authority, friend):
    security = Security(authority.certificate, friend.certificate, friend.key)
    with Connection(locked, security=security) as connection:
        (made,) = GenerationClient(connection).generate([PRIME], STEPS, Sampling(seed=1))
    assert np.array_equal(made.events, songs[1].events)

    async def make():
        async with AsyncConnection(locked, security=security) as connection:
            parts = AsyncGenerationClient(connection).stream(PRIME, STEPS, Sampling(seed=2))
            return [part.events async for part in parts]

    assert np.array_equal(np.concatenate(asyncio.run(make())), songs[2].events)


def test_a_name_that_the_certificate_carries_stands_for_several_hosts(
    pair, locked, authority, friend
):
    port = locked.rpartition(":")[2]
    for name, targets in [
        (None, [f"127.0.0.1:{port}"]),
        ("segue.example", [f"127.0.0.1:{port}"]),
        ("segue.example", [f"127.0.0.1:{port}", f"localhost:{port}"]),
        (None, [f"127.0.0.1:{port}", pair[0].target]),
    ]:
        security = Security(authority.certificate, friend.certificate, friend.key, name)
        with Connection(targets, security=security) as connection:
            assert connection.predict("describe", KEYS)


def line_of(target, security):
    connection = Connection(target, security=security)
    with connection, pytest.raises(SegueError) as caught:
        connection.predict("describe", KEYS)

    async def ask():
        async with AsyncConnection(target, security=security) as connection:
            await connection.predict("describe", KEYS)

    with pytest.raises(SegueError) as again:
        asyncio.run(ask())
    assert str(again.value) == str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_each_way_in_which_tls_fails_is_one_line_of_its_own(
    pair, locked, identify, authority, friend
):
    stranger = identify("stranger", identify("another-authority"))
    plain, mine = pair[0].target, (friend.certificate, friend.key)
    assert line_of(plain, Security(authority.certificate)) == (
        f"what answers at {plain} does not speak TLS; call it without, "
        "or name another with --target"
    )
    assert line_of(locked, None) == (
        f"what answers at {locked} hangs up on a caller without TLS; "
        "call it with TLS, or name a model server's gRPC port with --target"
    )
    other = identify("another-authority").certificate
    assert line_of(locked, Security(other, *mine)) == (
        f"the certificate of {locked} is not trusted (unable to get local issuer certificate) "
        f"by {other}; give its authority's certificate as root_certificates"
    )
    assert "by the public authorities; give" in line_of(locked, Security(None, *mine))
    assert line_of(locked, Security(authority.certificate, *mine, "bach.example")) == (
        f"the certificate of {locked} is not for bach.example; "
        "give a name that it carries as server_name"
    )
    assert line_of(locked, Security(authority.certificate)) == (
        f"what answers at {locked} hangs up after TLS began; if it asks for a client's "
        "certificate, give certificate and key"
    )
    line = line_of(locked, Security(authority.certificate, stranger.certificate, stranger.key))
    assert line == (
        f"what answers at {locked} hangs up after TLS began; it may not trust certificate "
        f"{stranger.certificate}: give one that its authority signed"
    )


ALONE = """
import sys
sys.path.append(sys.argv[1])
import numpy as np
from client import Connection, GenerationClient, Sampling
with Connection(sys.argv[2]) as connection:
    client = GenerationClient(connection)
    prime = np.array({prime}, np.int32)
    (song,) = client.generate([prime], {steps}, Sampling(seed=3))
    parts = list(client.stream(prime, {steps}, Sampling(seed=3), chunk=13))
assert np.array_equal(np.concatenate([part.events for part in parts]), song.events)
assert client.describe().codec.name == "notes"
print(song.events.tolist())
for name in ("tensorflow", "music21", "tfx", "serving"):
    try:
        __import__(name)
    except ModuleNotFoundError:
        continue
    raise AssertionError(name + " can be imported here")
"""


def link_distribution(name, folder):
    """Links what a distribution installed into another folder."""
    for file in importlib.metadata.files(name):
        parts = file.parts
        if parts[0] in ("..", "__pycache__") or parts[-1].endswith(".pth"):
            continue
        # `google` belongs to many distributions.
        depth = 2 if parts[0] == "google" and len(parts) > 2 else 1
        link = folder.joinpath(*parts[:depth])
        if not link.exists():
            link.parent.mkdir(exist_ok=True)
            link.symlink_to(Path(file.locate()).parents[len(parts) - 1].joinpath(*parts[:depth]))


def test_the_client_works_where_nothing_is_but_numpy_grpc_and_protobuf(pair, songs, tmp_path):
    for name in ("numpy", "grpcio", "protobuf", "typing_extensions"):
        link_distribution(name, tmp_path)
    for name in ("client", "music"):
        (tmp_path / name).symlink_to(ROOT / name)
    code = ALONE.format(prime=PRIME.tolist(), steps=STEPS)
    done = subprocess.run(
        # Without site-packages, the environment's variables and the current folder.
        [sys.executable, "-I", "-S", "-c", code, str(tmp_path), pair[0].target],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(songs[3].events.tolist())


def test_a_server_that_dies_takes_no_song_with_it(pair, songs):
    """Threads call without a break; what ran on the one that dies runs again on the other."""
    victim, stop, made, failed = pair[1], threading.Event(), [], []

    def play(client, seed):
        try:
            while not stop.is_set():
                made.append((seed, client.generate([PRIME], STEPS, Sampling(seed=seed))[0]))
        except Exception as error:
            failed.append(error)

    with Connection(both(pair)) as connection:
        client = GenerationClient(connection)
        client.describe()
        threads = [threading.Thread(target=play, args=(client, seed)) for seed in range(8)]
        for thread in threads:
            thread.start()
        wait_for(lambda: len(made) > 40 or failed)
        victim.kill()
        before = len(made)
        wait_for(lambda: len(made) > before + 40 or failed)
        stop.set()
        for thread in threads:
            thread.join()
    assert not failed
    for seed, song in made:
        assert np.array_equal(song.events, songs[seed].events)


@pytest.mark.slow
def test_a_server_that_is_back_is_called_again(pair):
    with Connection(both(pair)) as connection:
        connection.predict("describe", KEYS)
        pair[1].kill()
        for _ in range(5):
            connection.predict("describe", KEYS)
        pair[1].start()
        pair[1].wait()
        before = pair[1].log.stat().st_size
        wait_for(
            lambda: (
                connection.predict("describe", KEYS)
                and b"Predict" in pair[1].log.read_bytes()[before:]
            )
        )


def wait_for(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
