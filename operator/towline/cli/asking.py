"""SyncJobs that a person asks for at the terminal. They are the Integration's, so its history limits tidy them up."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

from towline.cli.cluster import MANAGER, Cluster
from towline.cli.errors import FORBIDDEN, CliError

MAX_STREAMS = 50  # as many as a SyncJob may name
KINDS = "/apis/towline.dev/v1alpha1"


def make_syncjob(connection: Cluster, integration: dict[str, Any], name: str, spec: dict[str, Any]) -> None:
    """Create a SyncJob of this name and spec. Raises CliError."""
    from towline.contract import REQUESTED_BY
    from towline.core.facts import INTEGRATION_LABEL, TRIGGER_LABEL

    meta = integration["metadata"]
    owner = {"apiVersion": "towline.dev/v1alpha1", "kind": "Integration", "name": meta["name"], "uid": meta["uid"]}
    user = connection.user()
    body = {
        "apiVersion": "towline.dev/v1alpha1",
        "kind": "SyncJob",
        "metadata": {
            "name": name,
            "labels": {INTEGRATION_LABEL: meta["name"], TRIGGER_LABEL: "manual"},
            "ownerReferences": [{**owner, "controller": True}],
            **({"annotations": {REQUESTED_BY: user}} if user else {}),
        },
        "spec": {"integrationRef": {"name": meta["name"]}, **spec},
    }
    connection.post(f"{KINDS}/namespaces/{connection.namespace}/syncjobs", body, {"fieldManager": MANAGER})


def streams_of(connection: Cluster, integration: dict[str, Any]) -> list[str] | None:
    """The streams that the Integration reads; None where the Connector may not be looked at."""
    named = [each["name"] for each in integration["spec"].get("streams") or []]
    if named:
        return named
    try:
        connector = connection.read(f"{KINDS}/connectors/{integration['spec']['connectorRef']['name']}")
    except CliError as error:
        if error.exit_code != FORBIDDEN:
            raise
        return None
    return [each["name"] for each in ((connector or {}).get("spec") or {}).get("streams") or [] if each.get("emit")]


def must_read(connection: Cluster, integration: dict[str, Any], wanted: tuple[str, ...]) -> None:
    """Raise CliError with near names where the Integration does not read one of these streams."""
    known = streams_of(connection, integration)
    for name in wanted:
        if known and name not in known:
            near = get_close_matches(name, known, n=3, cutoff=0.5)
            cure = f"Did you mean {', '.join(near)}?" if near else f"It reads {', '.join(known)}."
            raise CliError(f'{integration["metadata"]["name"]} does not read a stream "{name}".', cure)
