"""Where credentials may go: hosts that the Connector fixes, and hosts that the Secret itself allows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

_PORTS = {"https": 443, "http": 80, "ldaps": 636, "ldap": 389}
_REFERENCE = re.compile(r"\$\{config\.([A-Za-z0-9_.-]+)\}")
_HOST = re.compile(r"^(\*\.)?([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*\.?$")
_IPV6 = re.compile(r"^[0-9a-f:.]+$")


class HostError(ValueError):
    """A text that names no host."""


@dataclass(frozen=True)
class Host:
    """A host in lower case, perhaps with a port; `*.example.com` stands for all hosts below example.com."""

    name: str
    port: int | None = None

    def __str__(self) -> str:
        name = f"[{self.name}]" if ":" in self.name else self.name
        return f"{name}:{self.port}" if self.port else name

    def covers(self, other: Host) -> bool:
        """Whether an allowance for this host lets credentials go to the other one."""
        if self.port is not None and self.port != (other.port or 443):
            return False
        if self.name.startswith("*."):
            return other.name.endswith(self.name[1:]) and not other.name.startswith(".")
        return self.name == other.name


def parse(text: str) -> Host:
    """A host, `host:port` or a URL, of which only host and port count. Raises HostError."""
    candidate = text.strip().lower()
    address = candidate if "://" in candidate else f"//{candidate}"
    if "://" not in candidate and candidate.count(":") > 1 and not candidate.startswith("["):
        address = f"//[{candidate}]"
    try:
        parts = urlsplit(address)
        name, port = parts.hostname or "", parts.port
    except ValueError:
        raise HostError(text) from None
    plain = "://" not in candidate
    if "@" in parts.netloc or (plain and (parts.path or parts.query or parts.fragment)):
        raise HostError(text)
    if not (_HOST.match(name) or (":" in name and _IPV6.match(name))):
        raise HostError(text)
    return Host(name.rstrip("."), port or _PORTS.get(parts.scheme))


def allowances(annotation: str) -> list[Host]:
    """The entries of towline.dev/allowed-hosts; those that are no hosts are left out."""
    found = []
    for entry in annotation.replace(",", " ").split():
        try:
            found.append(parse(entry))
        except HostError:
            continue
    return found


@dataclass(frozen=True)
class Egress:
    """Where a connector with a given config talks to: hosts of the manifest, and those that the config chose."""

    fixed: tuple[Host, ...]
    chosen: tuple[Host, ...]


def resolve(entries: Iterable[str], config: Mapping[str, Any]) -> Egress:
    """Hosts of Connector.spec.egress. An entry whose config value is not set is left out. Raises HostError."""
    fixed, chosen = list[Host](), list[Host]()
    for entry in entries:
        if "${" not in entry:
            fixed.append(parse(entry))
            continue
        text = _fill(entry, config)
        if text:
            chosen.append(parse(text))
    return Egress(tuple(fixed), tuple(host for host in chosen if not any(known.covers(host) for known in fixed)))


def _fill(entry: str, config: Mapping[str, Any]) -> str:
    """The entry with values for ${config.…}; empty if one of them is not set."""
    missing = False

    def value(match: re.Match[str]) -> str:
        nonlocal missing
        node: Any = config
        for part in match.group(1).split("."):
            node = node.get(part) if isinstance(node, Mapping) else None
        if not isinstance(node, str | int) or node == "":
            missing = True
        return str(node)

    text = _REFERENCE.sub(value, entry)
    return "" if missing else text
