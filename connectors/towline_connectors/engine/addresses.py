"""Which addresses a run or a probe may connect to, whatever a name resolves to.

One table: what is never a vendor (a cloud's metadata, loopback, the link, multicast), private networks, and the
installation's own entries. The narrowest entry that holds an address decides; at the same width the installation's
goes before ours, one for a port before one for all, and deny before allow. So `10.0.0.0/8` opens private addresses,
and no wide entry opens a metadata service. Python's `ipaddress.is_global` does not do: it takes 168.63.129.16,
192.0.0.192 and NAT64 forms of a metadata address for public ones.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from towline.contract import Egress
from towline_connectors.engine.errors import AddressNotAllowed

Address = IPv4Address | IPv6Address
API_SERVER_ENV = "KUBERNETES_SERVICE_HOST"  # in every pod

_PRIVATE = "an address of a private network"
_METADATA = "the address of a cloud's metadata service"
_LOOPBACK = "an address of this machine itself"
_LINK = "an address that is valid on one link only"
_SPECIAL = "not an address that a system could have"
_BUILT_IN = {
    "0.0.0.0/8": _LOOPBACK,
    "10.0.0.0/8": _PRIVATE,
    "100.64.0.0/10": _PRIVATE,
    "100.100.100.200/32": _METADATA,  # Alibaba Cloud
    "127.0.0.0/8": _LOOPBACK,
    "168.63.129.16/32": _METADATA,  # Azure's WireServer
    "169.254.0.0/16": _LINK,
    "169.254.169.254/32": _METADATA,
    "169.254.170.2/32": _METADATA,  # credentials of ECS tasks
    "169.254.170.23/32": _METADATA,  # EKS Pod Identity
    "172.16.0.0/12": _PRIVATE,
    "192.0.0.0/24": _SPECIAL,
    "192.0.0.192/32": _METADATA,  # Oracle Cloud
    "192.0.2.0/24": _SPECIAL,
    "192.88.99.0/24": _SPECIAL,
    "192.168.0.0/16": _PRIVATE,
    "198.18.0.0/15": _PRIVATE,
    "198.51.100.0/24": _SPECIAL,
    "203.0.113.0/24": _SPECIAL,
    "224.0.0.0/4": _SPECIAL,
    "240.0.0.0/4": _SPECIAL,
    "::/0": _SPECIAL,  # all that is not 2000::/3 or named below
    "::1/128": _LOOPBACK,
    "::/128": _LOOPBACK,
    "2001::/32": _SPECIAL,  # Teredo
    "2001:db8::/32": _SPECIAL,
    "2002::/16": _SPECIAL,  # 6to4
    "fc00::/7": _PRIVATE,
    "fd00:ec2::254/128": _METADATA,
    "fd20:ce::254/128": _METADATA,  # Google Cloud
    "fe80::/10": _LINK,
    "fec0::/10": _PRIVATE,
}
_LOCAL = ("0.0.0.0/8", "127.0.0.0/8", "::/128", "::1/128", "10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12",
          "192.168.0.0/16", "198.18.0.0/15", "fc00::/7", "fec0::/10")  # fmt: skip
_INSIDE = [network for network, what in _BUILT_IN.items() if what == _PRIVATE]
_MAPPED, _NAT64 = IPv6Network("::ffff:0:0/96"), IPv6Network("64:ff9b::/96")


class EntryError(ValueError):
    """An entry of the installation's lists that cannot be read; the text says how to write it."""


@dataclass(frozen=True, slots=True)
class Entry:
    """`what` says what the addresses are, as the end of a sentence; empty where they are allowed."""

    network: IPv4Network | IPv6Network
    port: int | None = None
    what: str = ""
    ours: bool = False

    def holds(self, address: Address, port: int) -> bool:
        return address.version == self.network.version and address in self.network and self.port in (None, port)

    @property
    def weight(self) -> tuple[int, bool, bool, bool]:
        return self.network.prefixlen, not self.ours, self.port is not None, bool(self.what)


class Gate:
    """Decides over addresses. `strict`: an installation's; otherwise a person's own machine, which may reach its own
    and private addresses."""

    def __init__(self, entries: Iterable[Entry], *, strict: bool) -> None:
        self._entries = sorted([*_built_in(), *entries], key=lambda entry: entry.weight, reverse=True)
        self._strict = strict

    def check(self, host: str, addresses: Sequence[str], port: int) -> None:
        """Raises AddressNotAllowed if one of the addresses that `host` resolved to may not be connected to: a name that
        answers with a good and a bad address is refused as a whole."""
        for text in addresses:
            what = self.refuses(text, port)
            if what:
                name = host if host == text else f"{host} resolves to {text}, which"
                cure = (
                    "An administrator can let syncs reach it: egress.allow in the chart's values, for example"
                    f" {_example(text, port)}; then ask for a sync again."
                    if self._strict
                    else "Check the address of the system."
                )
                raise AddressNotAllowed(f"{name} is {what}; nothing was sent there. {cure}")

    def refuses(self, text: str, port: int) -> str:
        """What an address is that may not be connected to; empty when it may."""
        try:
            address = ip_address(text.partition("%")[0])
        except ValueError:
            return _SPECIAL
        inner = _inner(address)
        return self.refuses(str(inner), port) if inner is not None else self._judge(address, port)

    def _judge(self, address: Address, port: int) -> str:
        return next((entry.what for entry in self._entries if entry.holds(address, port)), "")


def _inner(address: Address) -> IPv4Address | None:
    """The IPv4 address that an IPv6 one stands for: mapped, or behind a NAT64."""
    if isinstance(address, IPv6Address) and (address in _MAPPED or address in _NAT64):
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return None


def _example(text: str, port: int) -> str:
    return f"[{text}/128]:{port}" if ":" in text else f"{text}/32:{port}"


@cache
def _built_in() -> tuple[Entry, ...]:
    public = Entry(IPv6Network("2000::/3"), ours=True)
    return (*(Entry(ip_network(network), None, what, ours=True) for network, what in _BUILT_IN.items()), public)


def gate(egress: Egress | None) -> Gate:
    """The gate of a plan; None is a person's own machine. Raises EntryError."""
    if egress is None:
        return Gate([Entry(ip_network(network)) for network in _LOCAL], strict=False)
    entries = [read(text) for text in egress.allow]
    entries += [read(text, "an address that this installation closes to syncs") for text in egress.deny]
    if server := os.environ.get(API_SERVER_ENV):
        with suppress(ValueError):  # a name, in some development set-ups
            entries.append(Entry(ip_network(server), None, "the address of the Kubernetes API", ours=True))
    return Gate(entries, strict=True)


def destinations_gate(egress: Egress | None) -> Gate:
    """The gate of a run's destination. Databases stand inside the cluster as often as not, so private networks are
    open, and `deny`, which closes the cluster's own networks to syncs, does not count. Raises EntryError."""
    if egress is None:
        return gate(None)
    return gate(Egress(allow=[*_INSIDE, *egress.allow]))


def read(text: str, what: str = "") -> Entry:
    """`10.0.0.0/8`, `10.1.2.3:636`, `fd00::/8`, `[fd00::/8]:443`. Raises EntryError."""
    text = text.strip()
    found = re.fullmatch(r"\[([^\]]+)\](?::(\d{1,5}))?|([0-9./]+)(?::(\d{1,5}))?|([0-9a-fA-F:.]+(?:/\d+)?)", text)
    if found:
        network, port = found[1] or found[3] or found[5], found[2] or found[4]
        with suppress(ValueError):
            entry = Entry(ip_network(network, strict=False), int(port) if port else None, what)
            if entry.port is None or 0 < entry.port < 65536:
                return entry
    raise EntryError(
        f'"{text[:60]}" is no network: write a CIDR such as 10.0.0.0/8 or fd00::/8, with a port as 10.1.2.3/32:636 or'
        " [fd00::/8]:443"
    )


def is_address(host: str) -> bool:
    """Whether a host is written as an IP address."""
    try:
        return "%" not in ip_address(host).compressed
    except ValueError:
        return False


_NUMBER = re.compile(r"0[xX][0-9a-fA-F]*|[0-9]+")


def plain_host(host: str) -> bool:
    """Whether a host is a name, or an address in its one usual form. `0x7f.1`, `2130706433` and `127.1` are addresses
    to a resolver and names to a reader: whoever writes them hides something."""
    labels = host.rstrip(".").split(".")
    if ":" in host or _NUMBER.fullmatch(labels[-1]):
        return is_address(host)
    return all(re.fullmatch(r"[\w-]{1,63}", label) for label in labels) and len(host) <= 253
