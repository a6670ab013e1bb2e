"""Addresses and ports of a cluster, chosen so that several clusters live side by side on one machine."""

import ipaddress
import secrets
import socket
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.report import ClusterError

Network = ipaddress.IPv4Network

_SLOTS = 250
_PORTS = range(15_000, 30_000)
# A wider route (a VPN's 10.0.0.0/8, say) is no conflict: ours are more specific and win.
_NARROWEST_WIDE_ROUTE = 15


@dataclass(frozen=True)
class Addresses:
    """What the cluster in slot `slot` uses; every slot has its own."""

    slot: int

    @property
    def link(self) -> Network:
        """The two ends of the link between this machine and the node."""
        return Network(f"10.97.{self.slot}.0/30")

    @property
    def host(self) -> str:
        return str(self.link[1])

    @property
    def node(self) -> str:
        return str(self.link[2])

    @property
    def services(self) -> Network:
        return Network(f"10.98.{self.slot}.0/24")

    @property
    def pods(self) -> Network:
        return Network(f"10.99.{self.slot}.0/24")

    @property
    def api_service(self) -> str:
        return str(self.services[1])

    @property
    def dns(self) -> str:
        return str(self.services[10])

    @property
    def interface(self) -> str:
        """The link's end on this machine; an interface's name may have 15 characters."""
        return f"towline{self.slot}"


def choose_slot(taken: Collection[int], routes: Iterable[Network]) -> int:
    """The first slot that no cluster has and whose networks this machine does not route elsewhere."""
    narrow = [route for route in routes if route.prefixlen > _NARROWEST_WIDE_ROUTE]
    for slot in range(1, _SLOTS + 1):
        addresses = Addresses(slot)
        ours = (addresses.link, addresses.services, addresses.pods)
        if slot not in taken and not any(own.overlaps(route) for own in ours for route in narrow):
            return slot
    raise ClusterError(
        "No address range is free for another cluster: 10.97.0.0/16 to 10.99.0.0/16 are routed or taken. "
        "Take clusters down that are no longer needed (python -m tests.cluster status --all lists them)."
    )


def host_routes(table: Path = Path("/proc/net/route")) -> list[Network]:
    """The IPv4 networks that this machine has routes to."""
    try:
        lines = table.read_text().splitlines()[1:]
    except OSError:
        return []
    routes = []
    for line in lines:
        fields = line.split()
        destination, mask = (int.from_bytes(bytes.fromhex(fields[at])[::-1], "big") for at in (1, 7))
        routes.append(Network((destination, mask.bit_count())))
    return routes


def free_ports(count: int, address: str = "127.0.0.1") -> list[int]:
    """`count` different TCP ports that nothing listens on right now. None of those that a kernel gives to connections:
    such a one may be taken before the program, which needs seconds to start, listens there."""
    found: set[int] = set()
    while len(found) < count:
        port = secrets.choice(_PORTS)
        if port_is_free(port, address):
            found.add(port)
    return list(found)


def free_port() -> int:
    """A port of 127.0.0.1; see `free_ports`."""
    return free_ports(1)[0]


def port_is_free(port: int, address: str = "127.0.0.1") -> bool:
    """Whether a program could listen on `port` now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
    return True
