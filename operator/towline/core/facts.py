"""What the operator knows when it decides: settings of the installation, and the objects around an Integration."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from typing import Any

from towline.api.connector import Connector
from towline.api.integration import Integration
from towline.contract import Egress

MANAGED_BY = "app.kubernetes.io/managed-by"
MANAGER = "towline"
INTEGRATION_LABEL = "towline.dev/integration"
CONNECTOR_LABEL = "towline.dev/connector"
SYNC_LABEL = "towline.dev/sync"
TRIGGER_LABEL = "towline.dev/trigger"
BUNDLED_LABEL = "towline.dev/bundled"


@dataclass(frozen=True)
class PodSettings:
    """What an installation adds to the pods of runs: where they may run, and what a cluster asks of every pod."""

    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[Mapping[str, Any], ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    security_context: Mapping[str, Any] | None = None
    """User, groups and the like; None: those of the image. Empty where the cluster gives them, as OpenShift does."""


@dataclass(frozen=True)
class RunSettings:
    """What the installation decides about runs. Authors of Integrations cannot choose any of it."""

    image: str = "towline:latest"
    pull_policy: str = "IfNotPresent"
    pull_secrets: tuple[str, ...] = ()
    destination_secret: str = ""
    """A Secret with the key `url` in each namespace; empty: SQLite on a volume."""
    volume_name: str = "towline-data"
    volume_size: str = "10Gi"
    storage_class: str = ""
    resources: Mapping[str, Any] = field(
        default_factory=lambda: {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "512Mi"}}
    )
    deadline_seconds: int = 3600
    ttl_seconds: int = 86400
    start_timeout_seconds: int = 300
    """How long a pod may wait for its image or its volume."""
    priority_class: str = ""
    pod: PodSettings = field(default_factory=PodSettings)
    activity_days: int = 90
    """How long records of activity stay in the destination."""
    egress: Egress | None = None
    """Which addresses syncs and probes may connect to; None where no administrator decides: a person's machine."""
    progress_url: str = ""
    """Where pods tell how far they are: the operator's Service. Empty: nowhere."""


@dataclass(frozen=True)
class SecretFacts:
    """What is kept of a Secret or ConfigMap that was read: never a value."""

    version: str
    """`uid/resourceVersion`"""
    keys: Set[str]
    allowed_hosts: str = ""
    """The annotation towline.dev/allowed-hosts."""
    expires_at: str = ""
    """The annotation towline.dev/expires-at, RFC 3339; whoever rotates the credentials writes it."""
    changed_by: str = ""
    """The field manager that wrote its data last."""
    changed_time: str = ""


@dataclass(frozen=True)
class Surroundings:
    """The objects that an Integration names. A name that maps to None does not exist."""

    connector: Connector | None = None
    connector_uid: str = ""
    connector_generation: int = 0
    connector_problem: str = ""
    """Why the Connector cannot be used; empty when it can."""
    known_connectors: tuple[str, ...] = ()
    namespace_labels: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, SecretFacts | None] = field(default_factory=dict)
    config_maps: Mapping[str, SecretFacts | None] = field(default_factory=dict)


@dataclass(frozen=True)
class References:
    """What has to be read before an Integration can be checked."""

    secrets: frozenset[str]
    config_maps: frozenset[str]
    namespace: bool


def references(integration: Integration, connector: Connector | None, settings: RunSettings) -> References:
    """The Secrets and ConfigMaps that an Integration names, and whether its namespace's labels matter."""
    spec = integration.spec
    secrets, config_maps = set[str](), set[str]()
    if spec.credentials and spec.credentials.secret_ref:
        secrets.add(spec.credentials.secret_ref.name)
    if spec.proxy_secret_ref:
        secrets.add(spec.proxy_secret_ref.name)
    if spec.ca_bundle_ref:
        (secrets if spec.ca_bundle_ref.kind == "Secret" else config_maps).add(spec.ca_bundle_ref.name)
    if destination := destination_secret(integration, settings):
        secrets.add(destination)
    allowed = connector.spec.allowed_namespaces if connector else None
    return References(frozenset(secrets), frozenset(config_maps), bool(allowed and allowed.from_ == "Selector"))


def destination_secret(integration: Integration, settings: RunSettings) -> str:
    """The name of the Secret that says where rows go; empty for SQLite on the volume."""
    ref = integration.spec.destination_secret_ref
    return ref.name if ref else settings.destination_secret
