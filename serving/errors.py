"""Errors that a caller of the server gets to see.

A `ServingError` is the answer to one request: a gRPC status code and a message,
both as TensorFlow Serving gives them. It is no `SegueError`: that one speaks to
the person who starts a server, this one to a program that calls it.
"""

from __future__ import annotations

import grpc

# TensorFlow's and gRPC's codes are the same numbers (both are absl's).
_BY_NUMBER = {code.value[0]: code for code in grpc.StatusCode}

# What `ToGRPCStatus` of TensorFlow Serving allows: gRPC carries messages in
# trailing metadata, which most peers limit to 8 KiB.
MESSAGE_LIMIT = 1024
TRUNCATED = "...TRUNCATED"


class ServingError(Exception):
    """A request that is answered with an error.

    Attributes:
      code: the gRPC status code.
      message: the whole message; `wire_message` is what goes over the wire.
    """

    def __init__(self, code: grpc.StatusCode, message: str):
        super().__init__(message)
        self.code = code
        self.message = message

    @property
    def number(self) -> int:
        """The code as the integer that protos carry (`google.rpc.Code`)."""
        return self.code.value[0]

    @property
    def wire_message(self) -> str:
        """The message, cut after 1,024 bytes with `...TRUNCATED` behind."""
        raw = self.message.encode("utf-8", "replace")
        if len(raw) <= MESSAGE_LIMIT:
            return self.message
        # A cut inside a character leaves bytes that are no text: drop them.
        return raw[:MESSAGE_LIMIT].decode("utf-8", "ignore") + TRUNCATED


def from_number(number: int, message: str) -> ServingError:
    """The error for an integer status code; unknown numbers become UNKNOWN."""
    return ServingError(_BY_NUMBER.get(number, grpc.StatusCode.UNKNOWN), message)


def invalid_argument(message: str) -> ServingError:
    return ServingError(grpc.StatusCode.INVALID_ARGUMENT, message)


def failed_precondition(message: str) -> ServingError:
    return ServingError(grpc.StatusCode.FAILED_PRECONDITION, message)


def not_found(message: str) -> ServingError:
    return ServingError(grpc.StatusCode.NOT_FOUND, message)


def servable_not_found(name: str, version: int | None) -> ServingError:
    """No such model, or no such version of it, is available."""
    asked = f"Latest({name})" if version is None else f"Specific({name}, {version})"
    return not_found(f"Servable not found for request: {asked}")


def unimplemented(message: str) -> ServingError:
    return ServingError(grpc.StatusCode.UNIMPLEMENTED, message)


def cancelled(message: str) -> ServingError:
    return ServingError(grpc.StatusCode.CANCELLED, message)


def unknown(message: str) -> ServingError:
    return ServingError(grpc.StatusCode.UNKNOWN, message)


def deadline_exceeded(message: str) -> ServingError:
    return ServingError(grpc.StatusCode.DEADLINE_EXCEEDED, message)


def data_loss(message: str) -> ServingError:
    return ServingError(grpc.StatusCode.DATA_LOSS, message)


def resource_exhausted(message: str) -> ServingError:
    return ServingError(grpc.StatusCode.RESOURCE_EXHAUSTED, message)


def unavailable(message: str) -> ServingError:
    return ServingError(grpc.StatusCode.UNAVAILABLE, message)


def internal(message: str) -> ServingError:
    return ServingError(grpc.StatusCode.INTERNAL, message)


def one_line(error: BaseException) -> str:
    """An exception as one line, for logs and messages: `KeyError: 'x'`."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
