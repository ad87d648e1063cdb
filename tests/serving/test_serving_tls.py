"""TLS and mutual TLS, with certificates that are made here."""

import datetime
import ipaddress
import socket

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from music.errors import SegueError
from serving import tls
from serving.config import ServerConfig
from serving.server import ModelServer


class Identity:
    """A key, its certificate, and what signs others with it."""

    def __init__(self, name, issuer=None):
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        signer = issuer or self
        now = datetime.datetime.now(datetime.timezone.utc)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(self._name)
            .issuer_name(signer._name)
            .public_key(self._key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), True)
            .add_extension(
                x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
                False,
            )
            .sign(signer._key, hashes.SHA256())
        )
        self.cert = certificate.public_bytes(serialization.Encoding.PEM)
        self.key = self.pem()

    def pem(self, encryption=None):
        return self._key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            encryption or serialization.NoEncryption(),
        )


@pytest.fixture(scope="module")
def authority():
    return Identity("authority")


@pytest.fixture(scope="module")
def owner(authority):
    return Identity("server", authority)


def _quoted(data):
    return '"' + data.decode().replace("\n", "\\n") + '"'


def _config(owner, ca=None, verify=None):
    lines = [f"server_key: {_quoted(owner.key)}", f"server_cert: {_quoted(owner.cert)}"]
    if ca is not None:
        lines.append(f"custom_ca: {_quoted(ca)}")
    if verify is not None:
        lines.append(f"client_verify: {str(verify).lower()}")
    return "\n".join(lines)


@pytest.fixture(scope="module")
def address(launch, toys, authority, owner, tmp_path_factory):
    """A server that lets in only whom the authority has signed."""
    root = tmp_path_factory.mktemp("tls")
    (root / "segue").mkdir()
    (root / "segue" / "1").symlink_to(toys[2])
    (root / "ssl.config").write_text(_config(owner, authority.cert, True))
    return launch(
        "--model_name=segue",
        f"--model_base_path={root / 'segue'}",
        f"--ssl_config_file={root / 'ssl.config'}",
    ).address


@pytest.fixture
def call():
    """call(address, credentials): what the toy makes of 1.0."""
    channels = []

    def call(address, credentials=None):
        if credentials is None:
            channel = grpc.insecure_channel(address)
        else:
            channel = grpc.secure_channel(address, credentials)
        channels.append(channel)
        request = predict_pb2.PredictRequest()
        request.model_spec.name = "segue"
        request.model_spec.signature_name = "one"
        request.inputs["x"].dtype = 1
        request.inputs["x"].tensor_shape.dim.add().size = 1
        request.inputs["x"].float_val.append(1.0)
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        return stub.Predict(request, timeout=20).outputs["y"].float_val[0]

    yield call
    for channel in channels:
        channel.close()


def test_row_39_a_caller_with_a_certificate_gets_in(address, authority, call):
    friend = Identity("client", authority)
    credentials = grpc.ssl_channel_credentials(authority.cert, friend.key, friend.cert)
    assert call(address, credentials) == 2.0


def test_row_39_a_caller_without_one_does_not(address, authority, call, fails):
    fails("UNAVAILABLE", call, address, grpc.ssl_channel_credentials(authority.cert))


def test_row_39_nor_does_one_whom_somebody_else_signed(address, authority, call, fails):
    stranger = Identity("client", Identity("another authority"))
    credentials = grpc.ssl_channel_credentials(authority.cert, stranger.key, stranger.cert)
    fails("UNAVAILABLE", call, address, credentials)


def test_row_39_nor_does_plain_text(address, call, fails):
    fails("UNAVAILABLE", call, address)


def test_row_39_without_client_verify_anybody_may_call(
    serve, base, push, tmp_path, authority, owner, call, fails
):
    push(base, 1)
    (tmp_path / "ssl.config").write_text(_config(owner))
    server = serve(ssl_config_file=tmp_path / "ssl.config")
    assert call(server.address, grpc.ssl_channel_credentials(authority.cert)) == 2.0
    fails("UNAVAILABLE", call, server.address)
    other = Identity("another authority")
    fails("UNAVAILABLE", call, server.address, grpc.ssl_channel_credentials(other.cert))


_BAD = {
    "nothing": (lambda owner, ca: "", "server_key is no private key in PEM form"),
    "no key": (
        lambda owner, ca: _config(owner).replace("PRIVATE", "PUBLIC"),
        "server_key is no private key in PEM form",
    ),
    "no certificate": (
        lambda owner, ca: _config(owner).replace("BEGIN CERT", "BEGIN CARD"),
        "server_cert is no certificate in PEM form",
    ),
    "another's certificate": (
        lambda owner, ca: _config(owner).replace(_quoted(owner.cert), _quoted(ca)),
        "server_cert does not belong to server_key",
    ),
    "an encrypted key": (
        lambda owner, ca: _config(owner).replace(
            _quoted(owner.key),
            _quoted(owner.pem(serialization.BestAvailableEncryption(b"secret"))),
        ),
        "server_key is encrypted; give one without a password",
    ),
    "no authority": (
        lambda owner, ca: _config(owner, b"nonsense"),
        "custom_ca is no certificate in PEM form",
    ),
    "nobody to verify by": (
        lambda owner, ca: _config(owner, verify=True),
        "client_verify needs a custom_ca, the certificate that signed the clients'",
    ),
    "a broken file": (
        lambda owner, ca: _config(owner).replace("server_cert:", "server_cart:"),
        "Error parsing text-format tensorflow.serving.SSLConfig: line 2, column 1",
    ),
}


@pytest.mark.parametrize("case", _BAD)
def test_a_bad_configuration_is_one_line_and_tells_no_secret(tmp_path, authority, owner, case):
    make, message = _BAD[case]
    path = tmp_path / "ssl.config"
    path.write_text(make(owner, authority.cert))
    with pytest.raises(SegueError) as caught:
        tls.server_credentials(path)
    assert str(caught.value) == f"--ssl_config_file={path}: {message}"


def test_no_port_is_open_when_the_file_cannot_be_read(base, push, tmp_path):
    push(base, 1)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = ServerConfig(model_base_path=base, port=port, ssl_config_file=tmp_path / "none")
    with pytest.raises(SegueError) as caught:
        ModelServer(config).start()
    assert str(caught.value) == (
        f"--ssl_config_file={tmp_path / 'none'} cannot be read: No such file or directory"
    )
    with socket.socket() as caller:
        assert caller.connect_ex(("127.0.0.1", port)) != 0
