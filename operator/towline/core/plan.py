"""The plan that a connector run gets: everything but the secrets."""

from __future__ import annotations

from towline.api.connector import Connector
from towline.api.integration import Integration, IntegrationStream
from towline.api.syncjob import SyncJob
from towline.contract import DATA_PATH, Destination, Origin, Plan, StreamPlan, SyncIdentity
from towline.core.facts import RunSettings
from towline.core.validate import View

MAX_PLAN_BYTES = 200_000  # all annotations of an object together may have 262,144
DATABASE = "towline.db"


class PlanTooLargeError(ValueError):
    """The manifest and the config do not fit into a pod's annotation."""


def build_plan(
    sync: SyncJob,
    attempt: int,
    integration: Integration,
    view: View,
    settings: RunSettings,
    origin: Origin | None = None,
) -> Plan:
    """The plan of one attempt. Raises PlanTooLargeError."""
    namespace = str(sync.metadata["namespace"])
    wanted = set(sync.spec.streams or [])
    streams = [stream for stream in view.streams if not wanted or stream.name in wanted]
    if sync.spec.mode == "Check" and not wanted:
        streams = []  # the credentials alone: one call, and no stream is asked
    plan = Plan(
        sync=SyncIdentity(
            uid=str(sync.metadata["uid"]),
            name=str(sync.metadata["name"]),
            namespace=namespace,
            attempt=attempt,
            created=str(sync.metadata["creationTimestamp"]),
            origin=origin or Origin(trigger=sync.spec.trigger, keep_days=settings.activity_days),
        ),
        integration=f"{namespace}/{integration.metadata['name']}",
        mode=sync.spec.mode,
        streams=[_stream(stream, full=sync.spec.mode == "Full") for stream in streams],
        config=view.config,
        connector=str(view.connector.metadata["name"]),
        manifest=view.connector.spec.wire(),
        allowed_hosts=list(view.allowed_hosts),
        egress=settings.egress,
        destination=Destination(kind="Secret")
        if view.destination_secret
        else Destination(kind="SQLite", path=f"{DATA_PATH}/{DATABASE}"),
        deadline_seconds=deadline_seconds(integration, view.connector, settings),
        progress_url=settings.progress_url,
    )
    size = len(plan.model_dump_json())
    if size > MAX_PLAN_BYTES and origin is not None and origin.seen:
        # What happened before is in the operator's log as well; the run itself goes first.
        silent = origin.model_copy(update={"seen": [], "ends_until": ""})
        return build_plan(sync, attempt, integration, view, settings, silent)
    if size > MAX_PLAN_BYTES:
        raise PlanTooLargeError(
            f"the Connector's manifest and spec.config have {size:,} bytes together, more than the"
            f" {MAX_PLAN_BYTES:,} that fit into a pod's annotation: name fewer streams in spec.streams"
        )
    return plan


def deadline_seconds(integration: Integration, connector: Connector, settings: RunSettings) -> int:
    """How long one attempt may take before it stops by itself."""
    job, defaults = integration.spec.job, connector.spec.defaults
    if job and job.active_deadline_seconds:
        return job.active_deadline_seconds
    if defaults and defaults.active_deadline_seconds:
        return defaults.active_deadline_seconds
    return settings.deadline_seconds


def _stream(stream: IntegrationStream, full: bool) -> StreamPlan:
    return StreamPlan(
        name=stream.name,
        full=full or stream.mode == "Full",
        lookback=stream.lookback,
        full_every=stream.full_every,
        filter=stream.filter,
        mapping={entry.field: entry.expression for entry in stream.mapping or []},
        max_delete_percent=stream.guard.max_delete_percent if stream.guard else None,
    )
