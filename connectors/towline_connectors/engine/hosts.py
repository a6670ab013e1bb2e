"""Hosts: which of them credentials may go to, and which are reached through a proxy."""

from __future__ import annotations

import ipaddress
import os
from urllib.parse import urlsplit


def host_allowed(host: str, allowed: tuple[str, ...]) -> bool:
    """Whether a host is in the list; `*.example.com` stands for all below example.com."""
    host = host.lower().rstrip(".")
    for entry in allowed:
        pattern = entry_host(entry)
        if host == pattern or (pattern.startswith("*.") and host.endswith(pattern[1:]) and len(host) >= len(pattern)):
            return True
    return False


def entry_host(entry: str) -> str:
    """The host of an allowed-hosts entry, which may be written as a URL or with a port."""
    entry = entry.strip().lower().rstrip(".")
    if "://" in entry:
        return urlsplit(entry).hostname or ""
    if entry.startswith("["):
        return entry[1:].partition("]")[0]
    return entry.partition(":")[0] if entry.count(":") == 1 else entry


def origin(url: str) -> tuple[str, str, int | None]:
    parts = urlsplit(url)
    return parts.scheme, (parts.hostname or "").lower(), parts.port or {"https": 443, "http": 80}.get(parts.scheme)


def environment_proxy(host: str) -> str | None:
    """The proxy for https to `host` by HTTPS_PROXY and NO_PROXY (or in small letters), as curl reads them."""
    proxy = os.environ.get("HTTPS_PROXY") or os.environ.get("https_proxy")
    if not proxy:
        return None
    direct = os.environ.get("NO_PROXY") or os.environ.get("no_proxy") or ""
    if any(_excepted(host.lower(), entry.strip().lower()) for entry in direct.split(",") if entry.strip()):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def _excepted(host: str, entry: str) -> bool:
    if entry == "*":
        return True
    try:
        network = ipaddress.ip_network(entry, strict=False)
        return ipaddress.ip_address(host) in network
    except ValueError:
        name = entry_host(entry).removeprefix("*").removeprefix(".")
        return host == name or host.endswith(f".{name}")
