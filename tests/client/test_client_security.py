"""Files that TLS goes by are looked at before anything is sent, and told by their names."""

import os

import grpc
import pytest

from client import security
from client.connection import Connection
from client.security import Security
from music.errors import SegueError


@pytest.fixture(scope="module")
def authority(identify):
    return identify("an-authority")


@pytest.fixture(scope="module")
def me(identify, authority):
    return identify("me", authority)


def told(**files):
    with pytest.raises(SegueError) as caught:
        Connection(security=Security(**files))
    line = str(caught.value)
    assert "\n" not in line
    return line


def test_files_that_fit_are_taken(authority, me):
    full = Security(authority.certificate, me.certificate, me.key, "segue.example")
    assert isinstance(full.credentials(), grpc.ChannelCredentials)
    assert isinstance(Security().credentials(), grpc.ChannelCredentials)


def test_a_bundle_of_authorities_is_taken(authority, me, tmp_path):
    bundle = tmp_path / "bundle.pem"
    both = authority.certificate.read_bytes() + "# Ägypten\n".encode() + me.certificate.read_bytes()
    bundle.write_bytes(both)
    Security(bundle).credentials()


@pytest.mark.parametrize("what", ["root_certificates", "certificate", "key"])
def test_a_file_that_cannot_be_read_is_named(authority, me, tmp_path, what):
    files = {"certificate": me.certificate, "key": me.key, what: tmp_path / "none.pem"}
    assert told(**files) == (
        f"{what} {tmp_path}/none.pem cannot be read: No such file or directory; "
        "name a file in PEM form"
    )
    files[what] = tmp_path
    assert f"{what} {tmp_path} is no regular file" in told(**files)


@pytest.mark.parametrize("what", ["root_certificates", "certificate", "key"])
@pytest.mark.parametrize("content", [b"", b"nonsense", b"\xff\xfe", None])
def test_a_file_of_something_else_is_named_and_not_quoted(me, tmp_path, what, content):
    other = tmp_path / "other.pem"
    # A key where a certificate belongs, and the other way round.
    swapped = (me.certificate if what == "key" else me.key).read_bytes()
    other.write_bytes(swapped if content is None else content)
    line = told(**{"certificate": me.certificate, "key": me.key, what: other})
    kind = "private key" if what == "key" else "certificate"
    assert line.startswith(f"{what} {other} holds no {kind} in PEM form")
    assert "MII" not in line


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert "is no regular file" in told(root_certificates=tmp_path / "pipe")


def test_a_file_without_end_is_not_read_to_its_end(tmp_path, monkeypatch):
    monkeypatch.setattr(security, "MAX_FILE_BYTES", 10)
    (tmp_path / "long.pem").write_bytes(b"x" * 11)
    assert "is larger than 10 bytes" in told(root_certificates=tmp_path / "long.pem")


def test_a_key_of_another_certificate_is_told(identify, me):
    other = identify("somebody-else")
    assert told(certificate=me.certificate, key=other.key) == (
        f"key {other.key} does not belong to certificate {me.certificate}; "
        "give the two that were made together"
    )


def test_an_encrypted_key_is_told_and_nobody_is_asked_for_a_password(me, tmp_path):
    key = tmp_path / "locked.pem"
    key.write_bytes(me.pem(b"secret"))
    assert told(certificate=me.certificate, key=key) == (
        f"key {key} is encrypted; give one without a password"
    )


def test_half_of_a_pair_is_told(me):
    assert "certificate was given without its key" in told(certificate=me.certificate)
    assert "key was given without its certificate" in told(key=me.key)


@pytest.mark.parametrize("name", ["", "a b", "a\nb", "ä", "a" * 300])
def test_a_name_that_is_none_is_told(name):
    assert "is no host's name" in told(server_name=name)
