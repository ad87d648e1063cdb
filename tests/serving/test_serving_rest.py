"""REST as TensorFlow Serving's public page has it, asked of a process over HTTP."""

import gzip
import json
import shutil
import socket
import subprocess
import threading
import time
import tracemalloc
from concurrent import futures

import grpc
import pytest
import requests

TIMEOUT_MS = 2000
FOREVER = {"signature_name": "slow", "inputs": 2**31 - 1}


@pytest.fixture(scope="module")
def url(launch, toys, tmp_path_factory):
    """Version 7 of the toy with factor 2, by REST."""
    folder = tmp_path_factory.mktemp("rest") / "segue"
    shutil.copytree(toys[2], folder / "7")
    server = launch(
        "--model_name=segue",
        f"--model_base_path={folder}",
        f"--rest_api_timeout_in_ms={TIMEOUT_MS}",
        rest=True,
    )
    yield server.rest
    server.stop()


@pytest.fixture(scope="module")
def post(url):
    """post(path, body): status and parsed answer of a POST under /v1/models/."""

    def post(path, body, **options):
        data = body if isinstance(body, (str, bytes)) else json.dumps(body)
        answer = requests.post(f"{url}/v1/models/{path}", data=data, timeout=30, **options)
        assert answer.headers["Content-Type"] == "application/json"
        return answer.status_code, answer.json()

    return post


@pytest.fixture(scope="module")
def refused(post):
    """refused(path, body, status=400): the error text of a POST that must fail."""

    def refused(path, body, status=400):
        found, answer = post(path, body)
        assert found == status, answer
        assert list(answer) == ["error"]
        return answer["error"]

    return refused


# ---- row 24: addresses ----


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/foo"),
        ("POST", "/v1/models"),
        ("GET", "/v1/models/segue:predict"),
        ("POST", "/v1/models/segue"),
        ("POST", "/v1/models/segue:explain"),
        ("POST", "/v1/models/segue:PREDICT"),
        ("POST", "/v1/models/segue/metadata"),
        ("POST", "/v1/models/segue/version/7:predict"),
        ("POST", "/v1/models/segue/versions/seven:predict"),
        ("POST", "/v1/models/segue/versions/7/labels/best:predict"),
        ("PUT", "/v1/models/segue:predict"),
        ("DELETE", "/v1/models/segue"),
        ("POST", "/v1/models/segue:predict?verbose=1"),
    ],
)
def test_row_24_any_other_address_is_malformed(url, method, path):
    answer = requests.request(method, url + path, data="{}", timeout=30)
    assert answer.status_code == 400
    assert answer.json() == {"error": f"Malformed request: {method} {path}"}


def test_row_24_a_version_can_be_named(post):
    body = {"signature_name": "one", "instances": [3.0]}
    assert post("segue/versions/7:predict", body) == (200, {"predictions": [6.0]})
    assert post("segue/versions/8:predict", body) == (
        404,
        {"error": "Servable not found for request: Specific(segue, 8)"},
    )


def test_row_24_a_version_beyond_int64_is_refused(url):
    address = f"{url}/v1/models/segue/versions/18446744073709551615:predict"
    assert requests.post(address, data="{}", timeout=30).status_code == 400


def test_row_24_a_label_reaches_the_model(refused):
    said = refused("segue/labels/be%20st:predict", {"signature_name": "one", "instances": [1]})
    assert said == "Unrecognized servable version label: be st"


def test_row_24_a_label_names_a_version(launch, toys, tmp_path):
    for version, factor in ((1, 2), (2, 3)):
        shutil.copytree(toys[factor], tmp_path / "segue" / str(version))
    config = tmp_path / "models.config"
    config.write_text(
        "model_config_list { config {"
        f' name: "segue" base_path: "{tmp_path / "segue"}" model_platform: "tensorflow"'
        " model_version_policy { all {} }"
        ' version_labels { key: "stable" value: 1 } version_labels { key: "canary" value: 2 }'
        " } }"
    )
    server = launch(
        f"--model_config_file={config}",
        "--allow_version_labels_for_unavailable_models",
        rest=True,
    )
    try:
        body = {"signature_name": "one", "instances": [1.0]}
        for path, answer in (
            ("segue/labels/stable", [2.0]),
            ("segue/labels/canary", [3.0]),
            ("segue/versions/1", [2.0]),
            ("segue", [3.0]),
        ):
            found = requests.post(f"{server.rest}/v1/models/{path}:predict", json=body, timeout=30)
            assert found.json() == {"predictions": answer}
        metadata = requests.get(f"{server.rest}/v1/models/segue/labels/stable/metadata", timeout=30)
        assert metadata.json()["model_spec"]["version"] == "1"
    finally:
        server.stop()


def test_row_24_letters_of_the_path_may_be_large(url):
    answer = requests.get(f"{url}/V1/Models/segue", timeout=30)
    assert answer.status_code == 200


def test_row_24_classify(post):
    body = {
        "signature_name": "classify",
        "context": {"unused": "shared"},
        "examples": [{"x": 0.25}, {"x": [1.0]}],
    }
    assert post("segue:classify", body) == (
        200,
        {"results": [[["low", 0.75], ["high", 0.25]], [["low", 0.0], ["high", 1.0]]]},
    )


def test_row_24_regress(post):
    body = {"signature_name": "regress", "examples": [{"x": 0.25}, {}]}
    assert post("segue:regress", body) == (200, {"results": [0.5, 0.0]})


def test_row_24_metadata(url):
    answer = requests.get(f"{url}/v1/models/segue/metadata", timeout=30)
    assert answer.status_code == 200
    found = answer.json()
    assert found["model_spec"] == {"name": "segue", "signature_name": "", "version": "7"}
    signature = found["metadata"]["signature_def"]["signature_def"]["column"]
    assert signature["inputs"]["x"]["dtype"] == "DT_FLOAT"
    assert signature["inputs"]["x"]["tensor_shape"] == {
        "dim": [{"size": "-1", "name": ""}, {"size": "1", "name": ""}],
        "unknown_rank": False,
    }
    assert signature["method_name"] == "tensorflow/serving/predict"
    missing = requests.get(f"{url}/v1/models/segue/versions/8/metadata", timeout=30)
    assert missing.status_code == 404


# ---- row 25: bodies and errors ----


def test_row_25_instances_give_predictions(post):
    body = {"instances": [{"x": 1, "bias": 0.5}, {"x": 2.5, "bias": 1}]}
    assert post("segue:predict", body) == (
        200,
        {"predictions": [{"unused": -1.0, "y": 2.5}, {"unused": -2.5, "y": 6.0}]},
    )


def test_row_25_inputs_give_outputs(post):
    body = {"signature_name": "serving_default", "inputs": {"x": [1, 2.5], "bias": [0.5, 1]}}
    assert post("segue:predict", body) == (
        200,
        {"outputs": {"unused": [-1.0, -2.5], "y": [2.5, 6.0]}},
    )


def test_row_25_a_sole_input_takes_plain_values(post):
    assert post("segue:predict", {"signature_name": "column", "instances": [[1], [2]]}) == (
        200,
        {"predictions": [[2.0], [4.0]]},
    )
    assert post("segue:predict", {"signature_name": "one", "inputs": [1, 2]}) == (
        200,
        {"outputs": [2.0, 4.0]},
    )
    assert post("segue:predict", {"signature_name": "one", "inputs": {"x": [1, 2]}}) == (
        200,
        {"outputs": [2.0, 4.0]},
    )


def test_row_25_numbers_that_json_does_not_have(url):
    body = '{"signature_name": "one", "instances": [NaN, Infinity, -Infinity, Inf, 0.1]}'
    answer = requests.post(f"{url}/v1/models/segue:predict", data=body, timeout=30)
    numbers = answer.text.split("[")[1].split("]")[0].split(",")
    assert [n.strip() for n in numbers] == ["NaN", "Infinity", "-Infinity", "Infinity", "0.2"]


def test_row_25_whole_floats_keep_their_point(url):
    body = '{"signature_name": "one", "instances": [1]}'
    answer = requests.post(f"{url}/v1/models/segue:predict", data=body, timeout=30)
    assert "2.0" in answer.text


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("", "JSON Parse error: The document is empty"),
        ("instances = [1, 2]", "JSON Parse error: Invalid value."),
        ('{"instances": [1 2]}', "JSON Parse error: Missing a comma or ] after an array element."),
        ('{"instances": [1]} x', "JSON Parse error: The document root must not be followed by"),
        ("{'instances': [1]}", "JSON Parse error: Missing a name for object member."),
        ("[1]", "Is not object"),
        ({"signature_name": 100}, "'signature_name' key must be a string value."),
        ({}, "Missing 'inputs' or 'instances' key"),
        (
            {"instances": [1], "inputs": [1]},
            "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist",
        ),
        ({"instances": 1}, "Excepting 'instances' to be an list/array"),
        ({"instances": []}, "No values in 'instances' array"),
        (
            {"signature_name": "nope", "instances": [1]},
            'Serving signature name: "nope" not found in signature def',
        ),
        (
            {"instances": [1, 2]},
            "instances is a plain list, but expecting list of objects as multiple input tensors"
            " required as per tensorinfo_map",
        ),
        (
            {"inputs": [1, 2]},
            "inputs is a plain value/list, but expecting an object as multiple input tensors"
            " required as per tensorinfo_map",
        ),
        ({"inputs": {"x": [1]}}, "Missing named input: bias in 'inputs' object."),
        (
            {"instances": [{"x": 1, "bias": 1, "z": 1}]},
            "Failed to process element: 0 key: z of 'instances' list. Error: INVALID_ARGUMENT:"
            " JSON object: does not have named input: z",
        ),
        ({"instances": [{"x": 1}]}, " must only have keys: bias,x"),
        (
            {"instances": [{"x": 1, "bias": 1}, [1]]},
            "Expecting object but got list at item 1 of input list",
        ),
        (
            {"signature_name": "one", "instances": [1, {"x": 1}]},
            "Expecting value/list but got object at item 1 of input list",
        ),
        (
            {"signature_name": "one", "instances": ["x"]},
            'JSON Value: "x" Type: String is not of expected type: float',
        ),
        (
            {"signature_name": "one", "instances": [True]},
            "JSON Value: true Type: True is not of expected type: float",
        ),
        (
            {"signature_name": "one", "instances": [None]},
            "JSON Value: null Type: Null is not of expected type: float",
        ),
        (
            {"signature_name": "slow", "inputs": 1.0},
            "JSON Value: 1.0 Type: Number is not of expected type: int32",
        ),
        (
            {"signature_name": "slow", "inputs": 2**31},
            "JSON Value: 2147483648 Type: Number is not of expected type: int32",
        ),
        (
            {"signature_name": "one", "instances": [16777217]},
            "Cannot convert JSON value: 16777217 to float without loss of precision.",
        ),
        (
            {"signature_name": "one", "instances": [1e39]},
            "to float without loss of precision.",
        ),
        ({"signature_name": "one", "instances": [[1, 2], [3]]}, "Expecting tensor size: 2 but got"),
        (
            {"signature_name": "one", "instances": [[[1, 2]], [[1], [2]]]},
            "Expecting shape [1,2] but got: [2,1]",
        ),
        (
            {"signature_name": "one", "inputs": [[1, 2], [3]]},
            "Encountered list at unexpected size: 1 at level: 1 expected size: 2",
        ),
        (
            {"signature_name": "one", "inputs": [1, [2]]},
            "Encountered list at unexpected level: 1 expected < 1",
        ),
        (
            {"signature_name": "one", "inputs": [[1], 2]},
            "found at incorrect level: 2 in the JSON DOM. Expected at level: 2",
        ),
    ],
)
def test_row_25_a_wrong_body_is_400_and_says_why(refused, body, said):
    assert said in refused("segue:predict", body)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "key 'examples' is expected and was not found"),
        ({"examples": {}}, "Expecting 'examples' value to be an list/array"),
        ({"examples": []}, "'examples' value is an empty array"),
        ({"examples": [1]}, "Example must be JSON object but got JSON Number"),
        (
            {"examples": [{"x": [1.0, "a"]}]},
            "Unexpected element type in feature: x expecting type: float",
        ),
        ({"examples": [{"x": None}]}, "Feature: x has element with unexpected JSON type: Null"),
        (
            {"examples": [{"x": 2**63}]},
            "Feature: x has uint64 element. Only int64 is supported.",
        ),
    ],
)
def test_row_25_wrong_examples_are_400_and_say_why(refused, body, said):
    assert said in refused("segue:classify", {"signature_name": "classify"} | body)


def test_row_25_not_found_is_404(refused):
    body = {"instances": [1]}
    said = refused("nobody:predict", body, 404)
    assert said == "Servable not found for request: Latest(nobody)"


def test_row_25_what_json_cannot_carry_is_501(refused):
    names = {"f", "d", "i", "l", "b", "s", "u"}
    values = dict.fromkeys(names, 1) | {"s": "", "b": True, "h": 1, "c": 1}
    said = refused("segue:predict", {"signature_name": "echo", "inputs": values}, 501)
    assert "Conversion of JSON Value: 1" in said


def test_row_25_a_run_that_takes_too_long_is_504(refused):
    began = time.monotonic()
    refused("segue:predict", FOREVER, 504)
    assert TIMEOUT_MS / 1000 <= time.monotonic() - began < TIMEOUT_MS / 1000 + 10


def test_row_25_gzipped_bodies_are_read(post):
    raw = gzip.compress(json.dumps({"signature_name": "one", "instances": [1]}).encode())
    found = post("segue:predict", raw, headers={"Content-Encoding": "gzip"})
    assert found == (200, {"predictions": [2.0]})
    status, _ = post("segue:predict", b"no gzip at all", headers={"Content-Encoding": "gzip"})
    assert status == 400


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("INVALID_ARGUMENT", 400),
        ("FAILED_PRECONDITION", 400),
        ("OUT_OF_RANGE", 400),
        ("NOT_FOUND", 404),
        ("ABORTED", 409),
        ("ALREADY_EXISTS", 409),
        ("RESOURCE_EXHAUSTED", 429),
        ("CANCELLED", 499),
        ("UNIMPLEMENTED", 501),
        ("UNAVAILABLE", 503),
        ("DEADLINE_EXCEEDED", 504),
        ("INTERNAL", 500),
        ("UNKNOWN", 500),
        ("DATA_LOSS", 500),
    ],
)
def test_row_25_each_code_has_its_status(code, status):
    from serving.rest import http_status

    assert http_status(grpc.StatusCode[code]) == status


# ---- row 26: status ----


def test_row_26_status(url):
    available = {
        "version": "7",
        "state": "AVAILABLE",
        "status": {"error_code": "OK", "error_message": ""},
    }
    for path in ("segue", "segue/versions/7"):
        answer = requests.get(f"{url}/v1/models/{path}", timeout=30)
        assert answer.status_code == 200
        assert answer.headers["Content-Type"] == "application/json"
        assert answer.json() == {"model_version_status": [available]}


def test_row_26_no_such_model_or_version(url):
    for path, said in (
        ("nobody", "Could not find any versions of model nobody"),
        ("no%3Abody", "Could not find any versions of model no:body"),
        ("segue/versions/8", "Could not find version 8 of model segue"),
    ):
        answer = requests.get(f"{url}/v1/models/{path}", timeout=30)
        assert (answer.status_code, answer.json()) == (404, {"error": said})
    answer = requests.get(f"{url}/v1/models", timeout=30)
    assert (answer.status_code, answer.json()) == (
        400,
        {"error": "Missing model name in request."},
    )


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not on PATH")
def test_row_24_curl_as_the_public_page_shows_it(url):
    def curl(*arguments):
        done = subprocess.run(
            ["curl", "-sS", *arguments], capture_output=True, text=True, timeout=30, check=True
        )
        return json.loads(done.stdout)

    body = '{"signature_name": "one", "instances": [1.0, 2.0, 5.0]}'
    found = curl("-d", body, "-X", "POST", f"{url}/v1/models/segue:predict")
    assert found == {"predictions": [2.0, 4.0, 10.0]}
    # Twice the length that makes curl ask "100-continue?" first.
    body = json.dumps({"signature_name": "one", "instances": [0.5] * 2**19})
    done = subprocess.run(
        ["curl", "-sS", "-d", "@-", f"{url}/v1/models/segue:predict"],
        input=body,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert json.loads(done.stdout) == {"predictions": [1.0] * 2**19}
    assert curl(f"{url}/v1/models/segue")["model_version_status"][0]["state"] == "AVAILABLE"


# ---- ours alone: limits, other people's bad manners, the end ----


@pytest.fixture
def rest(serve, base, push, spare_port):
    """rest(**config): a server with REST on a free port, and its URL of the model."""

    def rest(**config):
        push(base, 1)
        server = serve(rest_api_port=spare_port, **config)
        return server, f"http://{server.rest_address}/v1/models/segue"

    return rest


def one(model_url, **options):
    body = {"signature_name": "one", "instances": [1.0]}
    answer = requests.post(f"{model_url}:predict", json=body, timeout=30, **options)
    return answer.status_code, answer.json()


ONE = (200, {"predictions": [2.0]})


def test_a_body_over_the_limit_is_413_in_json(rest):
    _, model = rest(rest_api_max_body_bytes=10_000)
    answer = requests.post(f"{model}:predict", data=b" " * 10_001, timeout=30)
    assert answer.status_code == 413
    assert list(answer.json()) == ["error"]
    assert one(model) == ONE


def test_a_bomb_is_not_inflated(rest):
    _, model = rest(rest_api_max_body_bytes=100_000)
    bomb = gzip.compress(b" " * 2**26)
    assert len(bomb) < 100_000
    tracemalloc.start()
    try:
        answer = requests.post(
            f"{model}:predict", data=bomb, headers={"Content-Encoding": "gzip"}, timeout=30
        )
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert answer.status_code == 413
    assert "inflates to more than 100000 bytes" in answer.json()["error"]
    assert peak < 2**24


def test_a_nested_bomb_is_an_error_and_no_more(rest):
    _, model = rest()
    for depth in (900, 100_000):
        body = '{"signature_name": "one", "instances": ' + "[" * depth + "]" * depth + "}"
        answer = requests.post(f"{model}:predict", data=body, timeout=30)
        assert answer.status_code == 400, answer.text
    assert one(model) == ONE


def test_half_a_request_does_not_hold_up_others(rest):
    server, model = rest(rest_api_num_threads=1)
    host, port = server.rest_address.split(":")
    slow = [socket.create_connection((host, int(port))) for _ in range(20)]
    try:
        for connection in slow:
            connection.sendall(
                b"POST /v1/models/segue:predict HTTP/1.1\r\nContent-Length: 9\r\n\r\n{"
            )
        assert one(model) == ONE
    finally:
        for connection in slow:
            connection.close()
    assert one(model) == ONE


def test_a_client_that_does_not_read_does_not_hold_up_others(rest):
    server, model = rest(rest_api_num_threads=1)
    host, port = server.rest_address.split(":")
    body = json.dumps({"signature_name": "one", "instances": [0.5] * 2**20}).encode()
    request = b"POST /v1/models/segue:predict HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body)
    with socket.create_connection((host, int(port))) as deaf:
        # The second one is taken up while the first one's answer waits to be read.
        deaf.sendall(2 * (request + body))
        assert deaf.recv(12) == b"HTTP/1.1 200"
        assert one(model) == ONE


def test_a_request_whose_client_has_gone_is_not_run(rest, eventually):
    server, model = rest(rest_api_num_threads=1, rest_api_timeout_in_ms=1500)
    host, port = server.rest_address.split(":")
    with futures.ThreadPoolExecutor(1) as pool:
        blocking = pool.submit(requests.post, f"{model}:predict", json=FOREVER, timeout=30)
        eventually(lambda: server.manager.calls)
        body = json.dumps(FOREVER).encode()
        with socket.create_connection((host, int(port))) as gone:
            gone.sendall(
                b"POST /v1/models/segue:predict HTTP/1.1\r\nContent-Length: %d\r\n\r\n%b"
                % (len(body), body)
            )
        assert blocking.result().status_code == 504
        # The second one would have taken as long again.
        began = time.monotonic()
        assert one(model) == ONE
        assert time.monotonic() - began < 1.2


def test_the_timeout_can_be_switched_off(rest):
    _, model = rest(rest_api_timeout_in_ms=0)
    assert one(model) == ONE


def test_pages_of_other_origins_may_call_when_told_so(rest):
    _, model = rest(rest_api_enable_cors_support=True)
    asked = requests.options(f"{model}:predict", timeout=30)
    assert asked.status_code == 200
    for answer in (asked, requests.get(model, timeout=30)):
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert answer.headers["Access-Control-Allow-Methods"] == "POST, GET"
        assert answer.headers["Access-Control-Allow-Headers"] == "Content-Type"


def test_without_cors_nothing_is_said_of_origins(rest):
    _, model = rest()
    answer = requests.options(f"{model}:predict", timeout=30)
    assert answer.status_code == 400
    assert not [name for name in answer.headers if name.startswith("Access-Control")]


def test_outside_of_the_api_there_is_nothing(rest):
    server, _ = rest()
    for path in ("/", "/index.html", "/monitoring/prometheus/metrics"):
        answer = requests.get(f"http://{server.rest_address}{path}", timeout=30)
        assert answer.status_code == 404
        assert list(answer.json()) == ["error"]


def test_rest_and_grpc_answer_alike(rest, connect):
    server, model = rest()
    assert connect(server).one(1.0) == (2.0, 1)
    assert one(model) == ONE


def test_stopping_drains_rest(rest, eventually, tmp_path):
    server, model = rest(rest_api_timeout_in_ms=1000)
    with futures.ThreadPoolExecutor(2) as pool:
        running = pool.submit(requests.post, f"{model}:predict", json=FOREVER, timeout=30)
        eventually(lambda: server.manager.calls)
        stopping = pool.submit(server.stop, 20)
        # It was let run to its own end, and told so.
        assert running.result().status_code == 504
        stopping.result()
    with pytest.raises(requests.ConnectionError):
        requests.get(model, timeout=5)


def test_stopping_cuts_off_what_outlasts_the_grace(rest, eventually):
    server, model = rest(rest_api_timeout_in_ms=0)
    with futures.ThreadPoolExecutor(1) as pool:
        running = pool.submit(requests.post, f"{model}:predict", json=FOREVER, timeout=60)
        eventually(lambda: server.manager.calls)
        began = time.monotonic()
        server.stop(0.2)
        assert time.monotonic() - began < 10
        with pytest.raises(requests.ConnectionError):
            running.result()


def test_a_taken_rest_port_is_one_line(serve, base, push):
    from music.errors import SegueError

    push(base, 1)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        with pytest.raises(SegueError, match=f"port {port} on 127.0.0.1 is already in use; stop"):
            serve(rest_api_port=port)


def test_many_clients_at_once(rest):
    _, model = rest(rest_api_num_threads=4)
    session = threading.local()

    def call(number):
        if not hasattr(session, "kept"):
            session.kept = requests.Session()
        body = {"signature_name": "one", "instances": [float(number)]}
        return session.kept.post(f"{model}:predict", json=body, timeout=60).json()

    with futures.ThreadPoolExecutor(16) as pool:
        found = list(pool.map(call, range(400)))
    assert found == [{"predictions": [2.0 * number]} for number in range(400)]
