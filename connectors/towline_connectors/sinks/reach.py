"""To which addresses a destination's connections are made. A name is resolved once, and all its addresses are judged:
a second look-up, as of the library that connects, could have another answer."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from towline_connectors.sinks.base import SinkError

Judge = Callable[[str, Sequence[str], int], None]
"""Takes a host, its addresses and a port; raises AddressClosed."""

POSTGRESQL_PORT: Final = 5432
# Parameters of libpq that lead to hosts which stand elsewhere.
_HIDDEN: Final = ("service", "servicefile", "oauth_issuer")


def addresses(host: str, port: int, judge: Judge | None) -> list[str]:
    """Those of a host. Raises socket.gaierror, and what the judge raises."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    known = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    if judge is not None:
        judge(host, known, port)
    return known


def connect(host: str, port: int, seconds: float, judge: Judge | None) -> socket.socket:
    """A connection to the first address that takes one. Raises OSError, and what the judge raises."""
    known = addresses(host, port, judge)
    for address in known[:-1]:
        try:
            return socket.create_connection((address, port), seconds)
        except OSError:
            continue
    return socket.create_connection((known[-1], port), seconds)


def postgresql(given: Mapping[str, Any], judge: Judge) -> dict[str, str]:
    """libpq's parameters that name the judged address of each host beside its name. Hosts without a name and folders
    of sockets are no addresses. Raises SinkError, socket.gaierror."""
    for name in _HIDDEN:
        if given.get(name):
            raise SinkError(
                f"The destination's URL has the parameter {name}, which leads to a host that it does not name; write"
                " postgresql://USER:PASSWORD@HOST:5432/DATABASE.",
                transient=False,
            )
    hosts, literal = _listed(given, "host"), _listed(given, "hostaddr")
    count = max(len(hosts), len(literal))
    ports = _listed(given, "port")
    found: list[tuple[str, str, str]] = []
    for number in range(count):
        host, address = _at(hosts, number), _at(literal, number)
        port = (_at(ports, number) if len(ports) > 1 else _at(ports, 0)) or str(POSTGRESQL_PORT)
        if not port.isdecimal() or not 0 < int(port) < 65536:
            raise SinkError("The destination's URL names a port that is none.", transient=False)
        if address or (host and not host.startswith(("/", "@"))):
            found += [(host or address, one, port) for one in addresses(address or host, int(port), judge)]
        else:
            found.append((host, "", port))
    if not found:
        return {}
    names, literals, numbers = (",".join(column) for column in zip(*found, strict=True))
    return {"host": names, "port": numbers, **({"hostaddr": literals} if literals.strip(",") else {})}


def _listed(given: Mapping[str, Any], name: str) -> list[str]:
    value = str(given.get(name) or "")
    return value.split(",") if value else []


def _at(values: Sequence[str], number: int) -> str:
    return values[number].strip() if number < len(values) else ""
