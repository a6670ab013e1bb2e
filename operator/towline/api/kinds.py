"""What Kubernetes has to know of each kind beside its schema: names, columns, selectable fields, first status."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from towline.api.base import Model
from towline.api.connector import Connector
from towline.api.integration import Integration
from towline.api.syncjob import SyncJob

CATEGORY = "towline"


@dataclass(frozen=True)
class Column:
    """One column of `kubectl get`. Priority 1 shows with `-o wide` only."""

    name: str
    type: Literal["string", "integer", "boolean", "date"]
    path: str
    priority: int = 0
    description: str | None = None


@dataclass(frozen=True)
class Kind:
    model: type[Model]
    plural: str
    short_name: str
    scope: Literal["Cluster", "Namespaced"]
    summary: str
    """Type of the condition that sums the object up; the first status holds it as Unknown."""
    columns: tuple[Column, ...]
    selectable: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.model.__name__

    def first_status(self) -> dict[str, Any]:
        """The status of an object that no operator has seen yet: never taken for up to date by a waiting tool."""
        waiting = {
            "type": self.summary,
            "status": "Unknown",
            "reason": "Pending",
            "message": "waiting for the Towline operator",
            "lastTransitionTime": "1970-01-01T00:00:00Z",
        }
        return {"observedGeneration": -1, "conditions": [waiting]}


def _condition(type_: str, field: str) -> str:
    return f'.status.conditions[?(@.type=="{type_}")].{field}'


_AGE = Column("Age", "date", ".metadata.creationTimestamp")

KINDS: tuple[Kind, ...] = (
    Kind(
        model=Connector,
        plural="connectors",
        short_name="conn",
        scope="Cluster",
        summary="Ready",
        columns=(
            Column("Title", "string", ".spec.title"),
            Column("Category", "string", ".spec.category"),
            Column("Stage", "string", ".spec.stage"),
            Column("Version", "string", ".spec.version"),
            Column("Ready", "string", _condition("Ready", "status")),
            Column("Users", "integer", ".status.users", description="Integrations that use this connector"),
            Column("Message", "string", _condition("Ready", "message"), priority=1),
            _AGE,
        ),
        selectable=(".spec.category", ".spec.stage"),
    ),
    Kind(
        model=Integration,
        plural="integrations",
        short_name="intg",
        scope="Namespaced",
        summary="Ready",
        columns=(
            Column("Connector", "string", ".spec.connectorRef.name"),
            Column("Ready", "string", _condition("Ready", "status")),
            Column("Status", "string", _condition("Ready", "reason")),
            Column(
                "Last Sync", "date", ".status.lastSuccessfulTime", description="Time since the last successful sync"
            ),
            Column("Suspended", "boolean", ".spec.suspend"),
            Column("Next", "string", ".status.nextScheduleTime", priority=1),
            Column("Message", "string", _condition("Ready", "message"), priority=1),
            _AGE,
        ),
        selectable=(".spec.connectorRef.name", ".spec.suspend"),
    ),
    Kind(
        model=SyncJob,
        plural="syncjobs",
        short_name="sync",
        scope="Namespaced",
        summary="Succeeded",
        columns=(
            Column("Integration", "string", ".spec.integrationRef.name"),
            Column("Trigger", "string", ".spec.trigger"),
            Column("Mode", "string", ".spec.mode", priority=1),
            Column("Status", "string", _condition("Succeeded", "reason")),
            Column("Upserted", "integer", ".status.totals.upserted", description="Rows that were new or changed"),
            Column("Started", "date", ".status.startTime"),
            Column("Reading", "string", ".status.progress.stream", priority=1),
            Column("Read", "integer", ".status.progress.read", priority=1, description="Records of that stream so far"),
            Column("Attempts", "integer", ".status.attempts", priority=1),
            Column("Message", "string", _condition("Succeeded", "message"), priority=1),
            _AGE,
        ),
        selectable=(".spec.integrationRef.name", ".spec.trigger"),
    ),
)
