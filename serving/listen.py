"""Where a server listens: its ports, a Unix socket, and gRPC's own settings.

`--grpc_socket_path` adds a Unix socket. gRPC takes over whatever file has that
name, even the socket of a server that runs; so it is looked at first: a socket
that nobody answers on is a leftover of a process that was killed, and goes away;
anything else stays, and the server does not start.
"""

from __future__ import annotations

import errno
import os
import socket
import stat

import grpc

from music.errors import SegueError

_INT32 = range(-(2**31), 2**31)
# sockaddr_un of Linux holds 108 bytes, the last of them zero.
_MAX_SOCKET_PATH = 107


_HOST_HINT = "give one with --host (127.0.0.1: this machine only, 0.0.0.0: all networks)"


def bind(host: str, port: int, flag: str) -> socket.socket:
    """A socket that is bound to a port, which a flag named.

    Raises:
      SegueError: it cannot be had.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror as error:
        raise SegueError(
            f"{host} is no address of this machine ({error.strerror}); {_HOST_HINT}"
        ) from error
    bound = socket.socket(family, kind, protocol)
    try:
        # As gRPC does: a port whose last connections are still closing is free,
        # one that somebody listens on is not.
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError as error:
        bound.close()
        raise port_error(host, port, flag, error) from error
    return bound


def port_error(host: str, port: int, flag: str, error: OSError | None = None) -> SegueError:
    """The line for a port that cannot be had; without a cause it is taken."""
    where = f"port {port} on {host}"
    if error is None or error.errno == errno.EADDRINUSE:
        return SegueError(
            f"{where} is already in use; stop its owner, or choose another with --{flag}"
            f" ({'0 takes any free one' if flag == 'port' else '0 for none'})"
        )
    if error.errno == errno.EACCES:
        return SegueError(f"{where} needs privileges; choose one above 1023 with --{flag}")
    if error.errno == errno.EADDRNOTAVAIL:
        return SegueError(f"{host} is no address of this machine; {_HOST_HINT}")
    return SegueError(f"{where} cannot be opened: {error.strerror}; choose another with --{flag}")


def channel_options(arguments: str) -> list[tuple[str, int | str]]:
    """gRPC's options from `--grpc_channel_arguments=key=value,...`.

    A value that is a 32-bit integer is passed as one, any other as text. gRPC
    ignores keys that it does not know.

    Raises:
      SegueError: a part is not of the form key=value.
    """
    options: list[tuple[str, int | str]] = []
    for argument in filter(None, arguments.split(",")):
        key, equals, value = argument.partition("=")
        if not key or not equals:
            raise SegueError(
                f"--grpc_channel_arguments: {argument!r} is not of the form key=value,"
                " as in grpc.max_connection_age_ms=2000"
            )
        number = _int32(value)
        options.append((key, value if number is None else number))
    return options


def free_socket_path(path: str) -> None:
    """Makes sure that a Unix socket can be opened at `path`.

    Removes the socket of a server that is no more.

    Raises:
      SegueError: the path is too long, its folder is missing, or there is another
        file, or a server that answers.
    """
    flag = f"--grpc_socket_path={path}"
    if len(os.fsencode(path)) > _MAX_SOCKET_PATH or "\0" in path:
        raise SegueError(
            f"{flag} is longer than the {_MAX_SOCKET_PATH} bytes that a socket's name may have"
        )
    folder = os.path.dirname(path) or "."
    if not os.path.isdir(folder):
        raise SegueError(f"{flag}: there is no folder {folder}")
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise SegueError(f"{flag} cannot be opened: {error.strerror}") from error
    if not stat.S_ISSOCK(mode):
        raise SegueError(f"{flag}: that is a file, and no socket; choose another path")
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(5)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except OSError as error:
            raise SegueError(f"{flag} cannot be opened: {error.strerror or error}") from error
    raise SegueError(f"{flag}: a server listens there; stop it, or choose another path")


def add_socket(server: grpc.Server, path: str, credentials: grpc.ServerCredentials | None) -> None:
    """Makes a gRPC server listen on a Unix socket; it goes away with the server.

    Raises:
      SegueError: as `free_socket_path`, or the socket cannot be made.
    """
    free_socket_path(path)
    try:
        opened = add_port(server, f"unix:{path}", credentials)
    except RuntimeError:
        opened = 0
    if not opened:
        raise SegueError(f"--grpc_socket_path={path} cannot be opened; may you write there?")


def add_port(server: grpc.Server, address: str, credentials: grpc.ServerCredentials | None) -> int:
    """Makes a gRPC server listen on an address, with TLS if there are credentials."""
    if credentials is None:
        return server.add_insecure_port(address)
    return server.add_secure_port(address, credentials)


def _int32(text: str) -> int | None:
    try:
        number = int(text)
    except ValueError:
        return None
    return number if number in _INT32 and "_" not in text else None
