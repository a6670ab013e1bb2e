"""Jobs and pods are watched apart: what one watch has not told yet is asked for before a result is taken for lost."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from tests.unit.controller.test_cache import obj, sync
from tests.unit.core.build import NOW

from towline.api.syncjob import SyncJob
from towline.controller.cache import Cache, slim
from towline.controller.queue import Key
from towline.controller.settings import Settings
from towline.controller.snapshots import snapshot_of
from towline.core.facts import MANAGED_BY, MANAGER, SYNC_LABEL
from towline.core.pods import JOB_LABEL
from towline.core.slots import Slots
from towline.core.times import text
from towline.kube.resources import PODS, Resource

LABELS = {MANAGED_BY: MANAGER, SYNC_LABEL: "s", JOB_LABEL: "s-1"}
STARTED = {"startTime": text(NOW - timedelta(seconds=60))}
COMPLETE = {"conditions": [{"type": "Complete", "status": "True", "lastTransitionTime": text(NOW)}]}
FAILED = {"conditions": [{"type": "Failed", "status": "True", "lastTransitionTime": text(NOW)}]}


def job(status: dict[str, Any], deadline: int = 3600) -> dict[str, Any]:
    return obj("s-1", 3, metadata={"labels": LABELS}, spec={"activeDeadlineSeconds": deadline}, status=status)


def pod(version: int, exit_code: int | None = None) -> dict[str, Any]:
    state = {"running": {}} if exit_code is None else {"terminated": {"exitCode": exit_code}}
    spec = {"containers": [{"name": "connector", "image": "x"}]}
    status = {"phase": "Running", "containerStatuses": [{"name": "connector", "state": state}]}
    return obj("s-1-x", version, metadata={"labels": LABELS}, spec=spec, status=status)


class Server:
    """Has the pod as it is now, and notes what it is asked for."""

    def __init__(self, *pods: dict[str, Any]) -> None:
        self.pods = list(pods)
        self.asked: list[tuple[Resource, str, str]] = []

    async def list(self, resource: Resource, namespace: str, selector: str) -> tuple[list[dict[str, Any]], str]:
        self.asked.append((resource, namespace, selector))
        return self.pods, "9"


async def exit_codes(server: Server, job_: dict[str, Any], *known: dict[str, Any]) -> dict[int, int | None]:
    """By attempt, what is known of its pod after the snapshot was taken."""
    cache, key = Cache(), Key("SyncJob", "ns", "s")
    raw = sync("s", 1, status={"attempts": 1, "startTime": text(NOW)})
    cache.put("SyncJob", raw)
    cache.put("Job", slim("Job", job_))
    for one in known:
        cache.put("Pod", slim("Pod", one))
    parts = {"cache": cache, "slots": Slots(9), "settings": Settings(), "progress": {}, "queue_told": {}}
    context: Any = SimpleNamespace(**parts, client=server, clock=lambda: NOW)
    snapshot = await snapshot_of(context, key, raw, SyncJob.model_validate(raw))
    return {attempt: facts.exit_code for attempt, facts in snapshot.pods.items()}


@pytest.mark.parametrize("known", [[], [pod(2)]])
@pytest.mark.parametrize("over", [job(COMPLETE), job(FAILED), job(STARTED, deadline=30)])
async def test_the_pod_of_a_job_that_is_over_is_asked_for_if_it_has_not_told_its_end(
    over: dict[str, Any], known: list[dict[str, Any]]
) -> None:
    server = Server(pod(5, exit_code=0))
    assert await exit_codes(server, over, *known) == {1: 0}
    assert server.asked == [(PODS, "ns", "batch.kubernetes.io/job-name=s-1")]


async def test_a_pod_that_is_gone_for_good_stays_unknown() -> None:
    assert await exit_codes(Server(), job(COMPLETE)) == {}


async def test_nobody_is_asked_while_the_job_goes_on_or_when_its_pod_has_told() -> None:
    server = Server()
    assert await exit_codes(server, job(STARTED), pod(2)) == {1: None}
    assert await exit_codes(server, job(COMPLETE), pod(5, exit_code=2)) == {1: 2}
    assert server.asked == []
