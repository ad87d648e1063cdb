"""What a refusal of gRPC's means, as one line with the way out.

gRPC says "UNAVAILABLE: connections to all backends failing; last error: ...", and
the same for a port at which nobody listens, a certificate that has expired and a
REST port. What a person can do about it differs, so the words are looked at.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence

import grpc

from client.security import Security
from client.targets import split_target
from music.errors import SegueError

_LONGEST_WORDS = 300
# What a socket says that a server has closed because of TLS, or the lack of it.
_CLOSED = re.compile(r"Socket closed|Connection reset|Broken pipe|_ALERT_|EOF|Stream removed")


@dataclasses.dataclass(frozen=True)
class Failure:
    """How a call ended that gave no answer.

    Attributes:
      code: gRPC's.
      words: gRPC's or the server's.
      error: what was raised, where something was.
    """

    code: grpc.StatusCode
    words: str
    error: BaseException | None = None


@dataclasses.dataclass(frozen=True)
class Call:
    """What was asked for when a call failed.

    Attributes:
      signature: its name; empty where the call was for none.
      version: the version that was named, or None.
      seconds: that it had.
      established: whether the server had answered before.
      closed: whether the connection was closed meanwhile.
    """

    signature: str
    version: int | None
    seconds: float
    established: bool
    closed: bool


@dataclasses.dataclass(frozen=True)
class Peer:
    """Whom a connection speaks to, in the words of its errors.

    Attributes:
      targets: HOST:PORT each.
      model: the model's name.
      security: what TLS goes by; None speaks plainly.
    """

    targets: tuple[str, ...]
    model: str
    security: Security | None

    @property
    def where(self) -> str:
        """All targets."""
        return ",".join(self.targets)

    @property
    def server(self) -> str:
        """What to call it at the beginning of a sentence about one."""
        several = len(self.targets) > 1
        return f"{'one of the model servers' if several else 'the model server'} at {self.where}"

    def nobody(self, detail: str = "") -> SegueError:
        """The error for targets at which nothing answers."""
        return SegueError(
            f"no model server answers at {self.where}{detail}; start one with "
            "`segue serve --root DIR`, or name another with --target"
        )

    def explain(self, failure: Failure, call: Call) -> SegueError:
        """The error for a call that failed; for a version that is not there, `not_found`."""
        code, words = failure.code, one_line(failure.words)
        said = f" ({words})" if words else ""
        codes = grpc.StatusCode
        if call.closed and code in (codes.CANCELLED, codes.UNAVAILABLE):
            return SegueError(f"the connection to {self.where} was closed during a call")
        if code is codes.UNAVAILABLE:
            return self._unavailable(words, said, call.established)
        if code is codes.NOT_FOUND:
            return self.not_found(failure, call.version, ())
        if code is codes.DEADLINE_EXCEEDED:
            return SegueError(
                f"{self.server} gave no answer within {call.seconds:g} s; "
                "allow it more with --timeout SECONDS, or ask for less at once"
            )
        if code is codes.INVALID_ARGUMENT:
            return SegueError(
                f"model {self.model!r} at {self.where} refuses the request: "
                f"{words or 'it does not say why'}"
            )
        if code is codes.FAILED_PRECONDITION:
            return SegueError(
                f"model {self.model!r} at {self.where} cannot answer {call.signature!r}{said}; "
                "serve a model that Segue trained, or name another with --model"
            )
        if code is codes.RESOURCE_EXHAUSTED:
            return SegueError(
                f"{self.server} has no room for the request{said}; "
                "send fewer songs at once, or try again later"
            )
        if code is codes.UNIMPLEMENTED:
            return SegueError(
                f"what answers at {self.where} is no model server{said}; "
                "name one's gRPC port with --target"
            )
        return SegueError(f"{self.server} failed with {code.name}{said}; look at its log")

    def not_found(self, failure: Failure, version: int | None, served: Sequence[int]) -> SegueError:
        """The error for a model or a version that is not served; `served` are those that are."""
        words = one_line(failure.words)
        said = f" ({words})" if words else ""
        if version is None:
            return SegueError(
                f"no model {self.model!r} is served at {self.where}{said}; "
                "name one that is with --model"
            )
        listed = f"; it has {', '.join(map(str, served))}" if served else ""
        # Servers that share a folder notice a new version each in its own time.
        each = ", and wait until every target has it" if len(self.targets) > 1 else ""
        return SegueError(
            f"version {version} of model {self.model!r} is not served at {self.where}{said}"
            f"{listed}; name one that is with --model-version, or none for the newest{each}"
        )

    def _unavailable(self, words: str, said: str, established: bool) -> SegueError:
        # TLS first: a certificate can also become wrong while a connection lasts.
        if self.security is not None:
            error = self._tls(words, said, self.security, established)
            if error is not None:
                return error
        if established:
            stopped = self.server.replace("one of the", "all")
            return SegueError(
                f"{stopped} stopped answering{said}; look at the log, start it again "
                "with `segue serve --root DIR`, or name another with --target"
            )
        if "DNS" in words or "resol" in words:
            return SegueError(
                f"the host of {self.where} is not known to this machine; "
                "name another with --target HOST:PORT"
            )
        if "HTTP/2" in words or "SETTINGS" in words:
            return SegueError(
                f"what answers at {self.where} does not speak gRPC; "
                "name a model server's gRPC port (8500, not REST's 8501) with --target"
            )
        if self.security is None and _CLOSED.search(words):
            return SegueError(
                f"what answers at {self.where} hangs up on a caller without TLS; "
                "call it with TLS, or name a model server's gRPC port with --target"
            )
        if "refused" in words or "No such file" in words or not words:
            return self.nobody()
        return self.nobody(said)

    def _tls(
        self, words: str, said: str, security: Security, established: bool
    ) -> SegueError | None:
        """What the words say of TLS, or None where they say nothing of it."""
        if "WRONG_VERSION_NUMBER" in words or "HTTP_REQUEST" in words:
            return SegueError(
                f"what answers at {self.where} does not speak TLS; call it without, "
                "or name another with --target"
            )
        if "Hostname Verification" in words or "not in peer certificate" in words:
            name = security.server_name or _host(self.targets[0])
            return SegueError(
                f"the certificate of {self.where} is not for {name}; "
                "give a name that it carries as server_name"
            )
        refused = re.search(r"CERTIFICATE_VERIFY_FAILED(?:: ([^:]+))?", words)
        if refused:
            trusted = security.root_certificates or "the public authorities"
            return SegueError(
                f"the certificate of {self.where} is not trusted "
                f"({refused[1] or 'it does not verify'}) by {trusted}; "
                "give its authority's certificate as root_certificates"
            )
        if "handshake failed" in words.lower():
            # gRPC 1.48 says no more than that.
            return SegueError(
                f"TLS with what answers at {self.where} fails{said}; it may not speak TLS, or "
                "its certificate not be signed by an authority of root_certificates"
            )
        if established or not _CLOSED.search(words):
            return None
        if security.certificate is None:
            return SegueError(
                f"what answers at {self.where} hangs up after TLS began; if it asks for a "
                "client's certificate, give certificate and key"
            )
        return SegueError(
            f"what answers at {self.where} hangs up after TLS began; it may not trust "
            f"certificate {security.certificate}: give one that its authority signed"
        )


def one_line(words: object) -> str:
    """Words of somebody else, on one line of bounded length."""
    line = " ".join(str(words).split())
    return line if len(line) <= _LONGEST_WORDS else line[: _LONGEST_WORDS - 3] + "..."


def _host(target: str) -> str:
    try:
        return split_target(target.rpartition("/")[2])[0] or target
    except ValueError:
        return target
