"""The demo's Integrations: those of examples/, pointed at the simulated systems of the cluster."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from hack.chart import CHECKOUT
from hack.demo.steps import DemoError
from hack.demo.target import Target

EXAMPLES = CHECKOUT / "examples"
ALLOWED_HOSTS = "towline.dev/allowed-hosts"
REQUESTED_AT = "towline.dev/requested-at"


@dataclass(frozen=True)
class Change:
    """What is different from an example: where the system is, and what it takes for credentials."""

    example: str
    config: dict[str, Any]
    credentials: dict[str, str]
    host: str
    spec: dict[str, Any] = field(default_factory=dict)


def documents(change: Change, namespace: str) -> list[dict[str, Any]]:
    """The example's objects in `namespace`, changed. DemoError when the example is not what it was."""
    folder = EXAMPLES / change.example
    found = [
        document
        for path in sorted(folder.glob("*.yaml"))
        for document in yaml.safe_load_all(path.read_text())
        if document
    ]
    kinds = sorted(str(each["kind"]) for each in found)
    if kinds != ["Integration", "Secret"]:
        raise DemoError(f"{_shown(folder)} holds {', '.join(kinds) or 'nothing'}, not one Integration and one Secret.")
    for each in found:
        each["metadata"]["namespace"] = namespace
        if each["kind"] == "Integration":
            each["spec"] |= change.spec
            each["spec"]["config"] = each["spec"].get("config", {}) | change.config
        else:
            each["stringData"] = each.get("stringData", {}) | change.credentials
            each["metadata"].setdefault("annotations", {})[ALLOWED_HOSTS] = change.host
    # The Secret first: otherwise the Integration's first status is that its Secret is missing.
    return sorted(found, key=lambda each: str(each["kind"]), reverse=True)


def apply(target: Target, namespace: str, changes: list[Change]) -> dict[str, str]:
    """Apply the Integrations; for each the token of the sync that was asked for, empty where it was not there yet."""
    before = {each["metadata"]["name"] for each in target.objects("-n", namespace, "integrations")}
    requests: dict[str, str] = {}
    token = f"demo-{int(time.time())}"
    for change in changes:
        objects = documents(change, namespace)
        target.apply(*objects)
        name = next(each["metadata"]["name"] for each in objects if each["kind"] == "Integration")
        # A second run of the demo shows what an incremental sync does.
        requests[name] = token if name in before else ""
        if name in before:
            annotation = f"{REQUESTED_AT}={token}"
            target.kubectl("-n", namespace, "annotate", "integration", name, "--overwrite", annotation)
    return requests


def _shown(folder: Path) -> Path:
    return folder.relative_to(CHECKOUT)
