"""Where model servers are: one target, or several that share the calls.

A single target goes to gRPC as it was written: gRPC looks its name up, and again
whenever connections fail, so that a name that stands for all servers (a headless
service of Kubernetes) is followed as they come and go.

Several targets become one gRPC address that lists them all. gRPC takes such a list
as IP addresses only, so names are looked up before, once for a connection.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence

from music.errors import SegueError

DEFAULT_TARGET = "127.0.0.1:8500"
MAX_TARGETS = 256

_SCHEMES = re.compile(r"(unix|unix-abstract|ipv4|ipv6|xds):\S")
_DNS = r"(?:dns:(?://[^/]*/)?)?"
_HOST = r"(\[[0-9a-fA-F:.%]+\]|[^\s:/,\[\]]+)"
_PORT = r"(\d{1,5})"


def parse_targets(target: str | Sequence[str]) -> tuple[str, ...]:
    """The targets that were named, each once, in their order.

    Args:
      target: HOST:PORT, several of them separated by commas or in a sequence, or a
        single one in a form of gRPC's own (`unix:PATH`, `dns:///HOST:PORT`,
        `ipv4:ADDRESS:PORT,...`).

    Raises:
      SegueError: one cannot be, or they are none or more than `MAX_TARGETS`.
    """
    if isinstance(target, str):
        # What gRPC names with a scheme may have commas of its own.
        named = [target] if _SCHEMES.match(target) else target.split(",")
    else:
        named = [*target]
    named = list(dict.fromkeys(part.strip() if len(named) > 1 else part for part in named))
    if not named:
        raise SegueError(f"no target was given; name one as HOST:PORT, as in {DEFAULT_TARGET}")
    if len(named) > MAX_TARGETS:
        raise SegueError(f"{len(named)} targets are too many; at most {MAX_TARGETS} share calls")
    for part in named:
        if len(named) == 1 and _SCHEMES.match(part):
            continue
        pattern = f"{_DNS if len(named) == 1 else ''}{_HOST}:{_PORT}"
        match = re.fullmatch(pattern, part)
        if not match or not 1 <= int(match[2]) <= 65535:
            raise SegueError(
                f"target {part!r} is not HOST:PORT, as in {DEFAULT_TARGET}; "
                "it is the gRPC port, without http://"
            )
    return tuple(named)


def split_target(target: str) -> tuple[str, int]:
    """(host, port) of a HOST:PORT; an IPv6 address without its brackets."""
    host, _, port = target.rpartition(":")
    return host.strip("[]"), int(port)


def is_local(targets: Iterable[str]) -> bool:
    """Whether all of them are this machine."""
    return all(re.match(r"(localhost|127\.[\d.]+|\[::1\]):\d+$", target) for target in targets)


def common_host(targets: Sequence[str]) -> str | None:
    """The host that all of several targets have, or None."""
    hosts = {split_target(target)[0] for target in targets}
    return hosts.pop() if len(hosts) == 1 else None


def unknown_host(host: str) -> SegueError:
    """The error for the name of one of several targets that nobody knows."""
    return SegueError(
        f"host {host!r} is not known to this machine; mend its name, or leave it out of the targets"
    )


def listed_address(targets: Sequence[str], found: Mapping[str, Sequence[str]]) -> str:
    """gRPC's address for several targets.

    A host that has addresses of both kinds is asked by its IPv4 ones. Where one has
    no IPv4 address at all, the list is one of IPv6 addresses, in which those of the
    others are written as mapped ones (`::ffff:10.0.0.1`).

    Args:
      targets: HOST:PORT each.
      found: the IP addresses of each host, at least one.
    """
    places: list[tuple[str, int]] = []
    for target in targets:
        host, port = split_target(target)
        old = [address for address in found[host] if _is_ipv4(address)]
        places += [(address, port) for address in old or found[host]]
    places = list(dict.fromkeys(places))
    if all(_is_ipv4(address) for address, _ in places):
        return "ipv4:" + ",".join(f"{address}:{port}" for address, port in places)
    mapped = [
        (f"::ffff:{address}" if _is_ipv4(address) else address.replace("%", "%25"), port)
        for address, port in places
    ]
    return "ipv6:" + ",".join(f"[{address}]:{port}" for address, port in mapped)


def _is_ipv4(address: str) -> bool:
    try:
        return ipaddress.ip_address(address.partition("%")[0]).version == 4
    except ValueError:
        return False
