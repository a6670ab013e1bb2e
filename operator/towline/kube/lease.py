"""One Lease of coordination.k8s.io: who leads. Pure steps on the object, so that each can be tested.

The clock of another machine is never trusted: a Lease has run out when it has not changed for its duration, counted
by the own monotonic clock since it was first seen so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from towline.kube.client import Client
from towline.kube.errors import AlreadyExistsError, ConflictError, NotFoundError
from towline.kube.resources import LEASES


@dataclass(frozen=True)
class Timing:
    """Seconds. Takeover after a crash takes at most `duration` + `retry` and the requests themselves."""

    duration: float = 15.0
    renew_deadline: float = 10.0
    retry: float = 2.0


@dataclass(frozen=True)
class Seen:
    """A Lease as it was last seen, and since when it has not changed."""

    version: str = ""
    holder: str = ""
    duration: float = 0.0
    epoch: int = 0
    """leaseTransitions: grows with each new leader."""
    since: float = 0.0

    def free(self, now: float) -> bool:
        """Whether it may be taken."""
        return not self.holder or now - self.since > self.duration


def look(before: Seen, lease: Mapping[str, Any], now: float) -> Seen:
    """What is known after reading the Lease at `now`, seconds of a monotonic clock."""
    spec = lease.get("spec") or {}
    found = Seen(
        version=str(lease["metadata"]["resourceVersion"]),
        holder=str(spec.get("holderIdentity") or ""),
        duration=float(spec.get("leaseDurationSeconds") or 0),
        epoch=int(spec.get("leaseTransitions") or 0),
        since=now,
    )
    return replace(found, since=before.since) if found.version == before.version else found


def record(identity: str, seen: Seen, timing: Timing) -> dict[str, Any]:
    """The spec that takes or renews the Lease."""
    moment = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    spec: dict[str, Any] = {
        "holderIdentity": identity,
        "leaseDurationSeconds": max(1, round(timing.duration)),
        "renewTime": moment,
        "leaseTransitions": seen.epoch if seen.holder == identity else seen.epoch + 1,
    }
    if seen.holder != identity:
        spec["acquireTime"] = moment
    return spec


class LeaseLock:
    """Reads and writes the Lease; every write names the version that it replaces, so that of two only one succeeds."""

    def __init__(self, client: Client, namespace: str, name: str, identity: str, timing: Timing) -> None:
        self._client = client
        self._namespace = namespace
        self._name = name
        self._identity = identity
        self._timing = timing
        self.seen = Seen()
        self._acquired = ""

    async def try_to_hold(self, now: float) -> bool:
        """Take the Lease if it is free, renew it if it is ours; whether it is ours now. Raises ApiError."""
        try:
            lease = await self._client.get(LEASES, self._namespace, self._name)
        except NotFoundError:
            return await self._create(now)
        self.seen = look(self.seen, lease, now)
        if self.seen.holder != self._identity and not self.seen.free(now):
            return False
        return await self._write(lease, record(self._identity, self.seen, self._timing), now)

    async def release(self, now: float) -> None:
        """Give the Lease back, so that the next leader need not wait until it has run out. Raises ApiError."""
        lease = await self._client.get(LEASES, self._namespace, self._name)
        self.seen = look(self.seen, lease, now)
        if self.seen.holder == self._identity:
            spec = {**record(self._identity, self.seen, self._timing), "holderIdentity": "", "leaseDurationSeconds": 1}
            await self._write(lease, spec, now)

    async def _create(self, now: float) -> bool:
        meta = {"name": self._name, "namespace": self._namespace}
        body = {"apiVersion": LEASES.api_version, "kind": LEASES.kind, "metadata": meta}
        try:
            made = await self._client.create(
                LEASES, self._namespace, {**body, "spec": record(self._identity, Seen(), self._timing)}
            )
        except AlreadyExistsError:
            return False
        self.seen = look(self.seen, made, now)
        return self.seen.holder == self._identity

    async def _write(self, lease: Mapping[str, Any], spec: dict[str, Any], now: float) -> bool:
        body = {
            "apiVersion": LEASES.api_version,
            "kind": LEASES.kind,
            "metadata": lease["metadata"],
            "spec": {**(lease.get("spec") or {}), **spec},
        }
        try:
            written = await self._client.replace(LEASES, self._namespace, self._name, body)
        except ConflictError:
            return False
        self.seen = look(self.seen, written, now)
        return self.seen.holder == self._identity
