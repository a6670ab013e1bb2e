"""Whom the operator probes: what is kept of each Integration, and the plan of its health call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from towline.api.connector import Connector
from towline.api.integration import Integration
from towline.contract import Egress, Plan, SyncIdentity
from towline.core.validate import View
from towline.kube.resources import CONFIGMAPS, SECRETS, Resource


@dataclass(frozen=True, slots=True)
class Subject:
    """What a health call needs to know of an Integration: no more, since it is kept for each of ten thousand."""

    namespace: str
    name: str
    created: str
    secret: str
    proxy: str
    ca: tuple[Resource, str, str] | None
    """Where the bundle of certificates stands: kind, name, key."""
    connector: Connector
    config: dict[str, Any]
    items: tuple[tuple[str, str], ...]
    hosts: tuple[str, ...]
    version: str
    """Of the credentials."""

    @property
    def host(self) -> str:
        return next(iter(self.hosts), str(self.connector.metadata["name"]))


def subject_of(integration: Integration, view: View) -> Subject:
    """The part of an Integration that its health calls need."""
    meta, spec = integration.metadata, integration.spec
    credentials, bundle = spec.credentials, spec.ca_bundle_ref
    return Subject(
        namespace=str(meta["namespace"]),
        name=str(meta["name"]),
        created=str(meta["creationTimestamp"]),
        secret=credentials.secret_ref.name if credentials and credentials.secret_ref else "",
        proxy=spec.proxy_secret_ref.name if spec.proxy_secret_ref else "",
        ca=(SECRETS if bundle.kind == "Secret" else CONFIGMAPS, bundle.name, bundle.key) if bundle else None,
        connector=view.connector,
        config=view.config,
        items=view.credential_items,
        hosts=view.allowed_hosts,
        version=view.credentials_version,
    )


def plan_of(subject: Subject, uid: str, egress: Egress | None) -> Plan:
    """The plan of a health call, without the manifest."""
    identity = SyncIdentity(
        uid=uid,
        name=subject.name,
        namespace=subject.namespace,
        attempt=1,
        created=subject.created,
    )
    return Plan(
        sync=identity,
        integration=f"{subject.namespace}/{subject.name}",
        mode="Check",
        streams=[],
        config=subject.config,
        connector=str(subject.connector.metadata["name"]),
        manifest={},
        allowed_hosts=list(subject.hosts),
        egress=egress,
    )
