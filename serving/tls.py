"""TLS: the server's key and certificate from `--ssl_config_file`.

The file is TensorFlow Serving's SSLConfig as text, with the PEM data itself in
it. With `client_verify` only callers whose certificate was signed by `custom_ca`
get in (mutual TLS). gRPC tells what is wrong with such data only once a port
opens, and then only to its own log; so all of it is checked here first.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from music.errors import SegueError
from serving import textproto

_FLAG = "ssl_config_file"
# tensorflow_serving/config/ssl_config.proto, which tensorflow-serving-api leaves out.
_FIELDS = (
    ("server_key", descriptor_pb2.FieldDescriptorProto.TYPE_STRING),
    ("server_cert", descriptor_pb2.FieldDescriptorProto.TYPE_STRING),
    ("custom_ca", descriptor_pb2.FieldDescriptorProto.TYPE_STRING),
    ("client_verify", descriptor_pb2.FieldDescriptorProto.TYPE_BOOL),
)


def server_credentials(path: Path) -> grpc.ServerCredentials:
    """The credentials that an SSLConfig file describes.

    Args:
      path: a text-format `tensorflow.serving.SSLConfig`.

    Raises:
      SegueError: the file cannot be read, is no SSLConfig, or holds a key or a
        certificate that cannot be used. The message quotes nothing of it.
    """
    config = textproto.read(path, _message_class()(), _FLAG, secret=True)
    where = f"--{_FLAG}={path}"
    key, cert, ca = (
        value.encode() for value in (config.server_key, config.server_cert, config.custom_ca)
    )
    _check_pair(key, cert, where)
    if ca:
        _certificates(ca, "custom_ca", where)
    elif config.client_verify:
        raise SegueError(
            f"{where}: client_verify needs a custom_ca, the certificate that signed the clients'"
        )
    return grpc.ssl_server_credentials(
        [(key, cert)],
        root_certificates=ca or None,
        require_client_auth=config.client_verify,
    )


def _check_pair(key: bytes, cert: bytes, where: str) -> None:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization

    try:
        private = serialization.load_pem_private_key(key, password=None)
    except TypeError as error:
        raise SegueError(
            f"{where}: server_key is encrypted; give one without a password"
        ) from error
    except (ValueError, UnsupportedAlgorithm):
        # The exception may quote the key.
        raise SegueError(f"{where}: server_key is no private key in PEM form") from None

    def encoded(public: Any) -> bytes:
        return public.public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    if encoded(private.public_key()) != encoded(_certificates(cert, "server_cert", where)):
        raise SegueError(f"{where}: server_cert does not belong to server_key")


def _certificates(data: bytes, field: str, where: str) -> Any:
    """The public key of the first certificate of some; all must be readable."""
    from cryptography import x509

    try:
        return x509.load_pem_x509_certificates(data)[0].public_key()
    except (ValueError, IndexError):
        raise SegueError(f"{where}: {field} is no certificate in PEM form") from None


@functools.cache
def _message_class() -> Any:
    file = descriptor_pb2.FileDescriptorProto(
        name="tensorflow_serving/config/ssl_config.proto",
        package="tensorflow.serving",
        syntax="proto3",
    )
    message = file.message_type.add(name="SSLConfig")
    for number, (name, kind) in enumerate(_FIELDS, 1):
        message.field.add(
            name=name,
            number=number,
            type=kind,
            label=descriptor_pb2.FieldDescriptorProto.LABEL_OPTIONAL,
        )
    # A pool of its own: some other package may bring the real module.
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    descriptor = pool.FindMessageTypeByName("tensorflow.serving.SSLConfig")
    if hasattr(message_factory, "GetMessageClass"):  # protobuf 4.22 and later
        return message_factory.GetMessageClass(descriptor)
    factory: Any = message_factory.MessageFactory(pool)
    return factory.GetPrototype(descriptor)
