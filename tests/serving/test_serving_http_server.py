"""The HTTP server alone: clients with bad manners, and how it is closed."""

import json
import socket
import threading
import time
from concurrent import futures

import pytest
import requests

from serving.http_server import HttpServer


class App:
    """Answers with the length of the body; waits for `release` where the path says so."""

    def __init__(self):
        self.release = threading.Event()
        self.waiting = threading.Event()

    def __call__(self, environ, start_response):
        body = environ["wsgi.input"].read()
        if environ["PATH_INFO"] == "/wait":
            self.waiting.set()
            self.release.wait(30)
        text = str(len(body)).encode()
        start_response("200 OK", [("Content-Length", str(len(text)))])
        return [text]


@pytest.fixture
def app():
    app = App()
    yield app
    app.release.set()


@pytest.fixture
def opened(app):
    """opened(**settings): a running server and its (host, port)."""
    servers = []

    def opened(threads=2, max_body_bytes=1000, **settings):
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        address = listener.getsockname()
        server = HttpServer(app, listener, threads, max_body_bytes, **settings)
        server.start()
        servers.append(server)
        return server, address

    yield opened
    for server in servers:
        server.stop(0)


def url(address, path="/"):
    return f"http://{address[0]}:{address[1]}{path}"


def closed(connection, within):
    """Whether the other side closes the connection in that time."""
    connection.settimeout(within)
    try:
        while connection.recv(1000):
            pass
    except TimeoutError:
        return False
    except ConnectionError:
        pass
    return True


def test_a_request_that_dawdles_is_given_up(opened):
    _, address = opened(request_seconds=0.5)
    with socket.create_connection(address) as slow:
        slow.sendall(b"POST / HTTP/1.1\r\nContent-Length: 100\r\n\r\n")
        began = time.monotonic()
        while not closed(slow, 0.2):
            # It never pauses for long, and so is never idle.
            assert time.monotonic() - began < 10
            slow.sendall(b"x")
    assert time.monotonic() - began > 0.5


def test_a_connection_between_requests_is_not_given_up(opened):
    _, address = opened(request_seconds=0.1)
    with requests.Session() as session:
        assert session.get(url(address), timeout=10).text == "0"
        with socket.create_connection(address) as idle:
            assert not closed(idle, 2)
        assert session.get(url(address), timeout=10).text == "0"


def test_a_large_body_is_refused_before_it_is_sent(opened):
    _, address = opened()
    with socket.create_connection(address) as client:
        client.sendall(b"POST / HTTP/1.1\r\nContent-Length: 1000000000\r\n\r\n")
        client.settimeout(10)
        answer = client.makefile("rb").read().decode()
    head, body = answer.split("\r\n\r\n")
    assert head.startswith("HTTP/1.1 413 Request Entity Too Large")
    assert "Content-Type: application/json" in head
    assert list(json.loads(body)) == ["error"]


def test_a_large_body_in_chunks_is_refused(opened):
    _, address = opened()
    chunks = (b"x" * 600 for _ in range(2))
    assert requests.post(url(address), data=chunks, timeout=10).status_code == 413


def test_what_is_no_http_is_refused_in_json(opened):
    _, address = opened()
    with socket.create_connection(address) as client:
        client.sendall(b"\x16\x03\x01 this is not HTTP\r\n\r\n")
        client.settimeout(10)
        answer = client.makefile("rb").read().decode()
    assert answer.split()[1] == "400"
    assert list(json.loads(answer.split("\r\n\r\n")[1])) == ["error"]
    assert requests.get(url(address), timeout=10).text == "0"


def test_stopping_waits_for_what_runs_and_not_for_who_is_idle(opened, app):
    server, address = opened()
    with futures.ThreadPoolExecutor(2) as pool, socket.create_connection(address):
        running = pool.submit(requests.post, url(address, "/wait"), data=b"abc", timeout=30)
        assert app.waiting.wait(10)
        stopping = pool.submit(server.stop, 20)
        with pytest.raises(futures.TimeoutError):
            stopping.result(0.5)
        with pytest.raises(requests.ConnectionError):
            requests.get(url(address), timeout=5)
        began = time.monotonic()
        app.release.set()
        assert running.result().text == "3"
        stopping.result()
        assert time.monotonic() - began < 5


def test_stopping_does_not_outlast_the_grace(opened, app):
    server, address = opened()
    with futures.ThreadPoolExecutor(1) as pool:
        running = pool.submit(requests.get, url(address, "/wait"), timeout=30)
        assert app.waiting.wait(10)
        began = time.monotonic()
        server.stop(0.2)
        assert time.monotonic() - began < 5
        with pytest.raises(requests.ConnectionError):
            running.result()


def test_closing_never_writes_to_a_pipe_that_is_closed(opened):
    """Threads that end their answers wake the loop while it is told to close."""
    strays = []
    for _ in range(100):
        server, _ = opened()
        stopped = threading.Event()

        def wake(server=server, stopped=stopped):
            while not stopped.is_set():
                try:
                    server._server.pull_trigger()
                except OSError as error:
                    strays.append(error)
                    return

        thread = threading.Thread(target=wake)
        thread.start()
        try:
            server.stop(0)
        finally:
            stopped.set()
            thread.join()
    assert not strays


def test_an_application_is_told_when_its_client_hangs_up():
    told, began = threading.Event(), threading.Event()

    def app(environ, start_response):
        assert environ["segue.when_gone"](told.set)
        began.set()
        told.wait(20)
        start_response("200 OK", [("Content-Length", "0")])
        return []

    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    address = listener.getsockname()
    server = HttpServer(app, listener, 1, 1000)
    server.start()
    try:
        with socket.create_connection(address) as client:
            client.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert began.wait(10)
            assert not told.is_set()
        assert told.wait(10)
    finally:
        server.stop(0)
