"""What bare `towline` says: what it is, whether a cluster is configured, and what to try."""

from __future__ import annotations

import os
import socket
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from towline.cli.output import program

_ANSWER_SECONDS = 0.5


def welcome() -> str:
    """Few lines; imports nothing heavy and waits for nobody longer than half a second."""
    name = program()
    lines = [
        f"Towline {version('towline')} · {_connectors()} connectors · {_cluster()}",
        "",
        "Try:",
        f"  {name} run cisa-kev           a public feed into ./towline.db, no account",
        f"  {name} simulate tenable-io    a vendor on this machine",
        f"  {name} catalog                what can be connected",
        f"  {name} check --pre            is my cluster ready?",
        f"  {name} --help                 everything else",
    ]
    return "\n".join(lines)


def _connectors() -> int:
    found = find_spec("towline_connectors")
    places = list(found.submodule_search_locations or ()) if found else []
    return sum(1 for place in places for _ in Path(place).glob("catalogue/*/*/connector.yaml"))


def _cluster() -> str:
    server = _server()
    if server is None:
        return "no cluster configured (that is fine)"
    address = urlsplit(server)
    try:
        with socket.create_connection((address.hostname or "", address.port or 443), timeout=_ANSWER_SECONDS):
            return f"cluster {address.netloc} answers"
    except (OSError, ValueError):
        return f"cluster {address.netloc} does not answer (that is fine)"


def _server() -> str | None:
    """The current context's server, as far as plain reading of the kubeconfig tells."""
    files = os.environ.get("KUBECONFIG", "").split(os.pathsep) if os.environ.get("KUBECONFIG") else []
    for file in files or [str(Path.home() / ".kube" / "config")]:
        try:
            text = Path(file).read_bytes()
        except OSError:
            continue
        return _current(text)
    return None


def _current(text: bytes) -> str | None:
    import yaml

    try:
        found = yaml.safe_load(text)
        contexts = {entry["name"]: entry["context"] for entry in found.get("contexts") or []}
        clusters = {entry["name"]: entry["cluster"] for entry in found.get("clusters") or []}
        server: str = clusters[contexts[found["current-context"]]["cluster"]]["server"]
    except (yaml.YAMLError, KeyError, TypeError, AttributeError, UnicodeDecodeError):
        return None
    return server
