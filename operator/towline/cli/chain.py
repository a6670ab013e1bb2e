"""What hangs on an Integration: Connector, Secret, SyncJobs, their Jobs and pods, and the events about them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from towline.cli.cluster import Cluster
from towline.cli.errors import FORBIDDEN, CliError

Object = dict[str, Any]


@dataclass(slots=True)
class Chain:
    integration: Object
    connector: Object | None
    secret: Object | None  # metadata and names of keys only; None when it is absent or may not be read
    syncs: list[Object] = field(default_factory=list)  # newest first
    jobs: list[Object] = field(default_factory=list)
    pods: list[Object] = field(default_factory=list)
    unseen: list[str] = field(default_factory=list)  # what the user may not read

    @property
    def behind(self) -> bool:
        """Whether the status does not tell of the newest spec."""
        observed = (self.integration.get("status") or {}).get("observedGeneration")
        return bool(observed != self.integration["metadata"].get("generation"))

    def jobs_of(self, sync: Object) -> list[Object]:
        from towline.core.facts import SYNC_LABEL

        return [job for job in self.jobs if _label(job, SYNC_LABEL) == sync["metadata"]["name"]]

    def pods_of(self, job: Object) -> list[Object]:
        uid = job["metadata"]["uid"]
        return [pod for pod in self.pods if any(o["uid"] == uid for o in pod["metadata"].get("ownerReferences") or [])]

    @property
    def secret_name(self) -> str | None:
        reference = (self.integration["spec"].get("credentials") or {}).get("secretRef") or {}
        return reference.get("name")


def gather(connection: Cluster, name: str) -> Chain:
    """Everything about the Integration. Raises CliError when there is none."""
    from towline.core.facts import INTEGRATION_LABEL

    integration = connection.integration(name)
    chain = Chain(integration, None, None)
    connector = integration["spec"]["connectorRef"]["name"]
    chain.connector = _seen(chain, connection, f"/apis/towline.dev/v1alpha1/connectors/{connector}", "the Connector")
    if chain.secret_name:
        path = f"/api/v1/namespaces/{connection.namespace}/secrets/{chain.secret_name}"
        secret = _seen(chain, connection, path, "the Secret")
        if secret is not None:
            chain.secret = {"metadata": secret["metadata"], "keys": sorted(secret.get("data") or {})}
    chain.syncs = syncs_of(connection, name)
    selector = {"labelSelector": f"{INTEGRATION_LABEL}={name}"}
    jobs = _seen(chain, connection, f"/apis/batch/v1/namespaces/{connection.namespace}/jobs", "Jobs", selector)
    pods = _seen(chain, connection, f"/api/v1/namespaces/{connection.namespace}/pods", "pods", selector)
    chain.jobs = _by_age((jobs or {}).get("items") or [])
    chain.pods = _by_age((pods or {}).get("items") or [])
    return chain


def obstacle(chain: Chain, connection: Cluster) -> str:
    """Why the operator does not get on with the Integration, by the newest event; empty if none says so."""
    if not chain.behind:
        return ""
    about = f"involvedObject.uid={chain.integration['metadata']['uid']},reason=ReconcileFailed"
    path = f"/api/v1/namespaces/{connection.namespace}/events"
    found = (_seen(chain, connection, path, "events", {"fieldSelector": about}) or {}).get("items") or []
    newest: Object = max(found, key=lambda event: str(event.get("lastTimestamp") or ""), default={})
    return str(newest.get("message") or "")


def syncs_of(connection: Cluster, name: str) -> list[Object]:
    """The Integration's SyncJobs, newest first."""
    found = connection.list("syncjobs")
    return _by_age([sync for sync in found if sync["spec"]["integrationRef"]["name"] == name])[::-1]


def _seen(
    chain: Chain, connection: Cluster, path: str, what: str, query: dict[str, str] | None = None
) -> Object | None:
    try:
        found: Object | None = connection.read(path, query)
    except CliError as error:
        if error.exit_code != FORBIDDEN:
            raise
        chain.unseen.append(what)
        return None
    return found


def _label(item: Object, label: str) -> str | None:
    value: str | None = (item["metadata"].get("labels") or {}).get(label)
    return value


def _by_age(items: list[Object]) -> list[Object]:
    return sorted(items, key=lambda item: (item["metadata"]["creationTimestamp"], item["metadata"]["name"]))
