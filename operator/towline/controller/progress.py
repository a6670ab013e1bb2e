"""Takes the reports of running pods: the channel of docs/decisions/0012.

Only the leader takes them; a stand-by sends the pod away, and its next connection may meet the leader. Who speaks is
proved by a token that the API server looks at once a minute. What is taken waits in memory for the reconciler, which
writes it with the next status: here nothing is written.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from pydantic import ValidationError

from towline.api.syncjob import Progress
from towline.contract import MAX_REPORT_BYTES, PROGRESS_AUDIENCE, PROGRESS_EVERY, ProgressReport
from towline.controller.context import Context
from towline.controller.queue import Key
from towline.core import progress as reports
from towline.core.progress import Speaker
from towline.kube.bucket import Bucket
from towline.kube.errors import ApiError
from towline.kube.resources import TOKEN_REVIEWS

log = logging.getLogger(__name__)
PATH = "/v1/progress"
_KNOWN_SECONDS = 60.0  # a token is proved again after this
_KNOWN = 5000
_REVIEWS = (20.0, 200)  # TokenReviews a second, and a burst
_WRITES = (10.0, 20)  # status writes for progress a second, all runs together: others must not wait for them
_MAX_TOKEN = 4096


@dataclass(frozen=True)
class _Proved:
    speaker: Speaker | None
    until: float


class Reports:
    """Checks reports and keeps the newest of each running attempt in the context."""

    def __init__(
        self, context: Context, leads: Callable[[], bool], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._context = context
        self._leads = leads
        self._clock = clock
        self._proved: OrderedDict[str, _Proved] = OrderedDict()
        self._reviews = Bucket(*_REVIEWS, clock=clock)
        self._writes = Bucket(*_WRITES, clock=clock)
        self._taken: OrderedDict[Key, float] = OrderedDict()

    def application(self) -> web.Application:
        app = web.Application(client_max_size=MAX_REPORT_BYTES)
        app.add_routes([web.post(PATH, self._post)])
        return app

    async def _post(self, request: web.Request) -> web.Response:
        if not self._leads():
            # Closed, so that the pod's next try is a connection of its own and may reach the leader.
            return web.Response(status=503, text="this operator does not lead\n", headers={"Connection": "close"})
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        if kind != "Bearer" or not 0 < len(token) <= _MAX_TOKEN:
            return web.Response(status=401, text="a token is missing\n")
        try:
            report = ProgressReport.model_validate_json(await request.read())
        except (ValidationError, ValueError, RecursionError):
            return web.Response(status=400, text="not a report as Towline writes it\n")
        status, said = await self._take(token, report)
        self._context.metrics.reports.labels(str(status)).inc()
        return web.Response(status=status, text=f"{said}\n")

    async def _take(self, token: str, report: ProgressReport) -> tuple[int, str]:
        """The status of the answer and its words."""
        try:
            speaks = await self._who(token)
        except ApiError as error:
            log.info("A token could not be looked at: %s", error)
            return 503, "try later"
        if speaks is None:
            return 401, "the token proves no pod of Towline's"
        cache = self._context.cache
        found = reports.run_of_pod(cache.get("Pod", speaks.namespace, speaks.pod), speaks)
        if found is None:
            return 403, "no pod of a sync"
        name, attempt = found
        key = Key("SyncJob", speaks.namespace, name)
        sync = cache.get(*key)
        job = cache.get("Job", speaks.namespace, f"{name}-{attempt}")
        if why := reports.refusal(sync, job, attempt, report):
            return 409, why
        if not self._in_time(key):
            return 429, "too many reports"
        told = reports.progress(report, self._streams(key, sync or {}), self._context.clock())
        if told is None:
            return 422, "no stream of this connector"
        self._keep(key, attempt, told)
        return 204, ""

    async def _who(self, token: str) -> Speaker | None:
        """Raises ApiError when the API server cannot be asked."""
        digest = hashlib.sha256(token.encode()).hexdigest()
        now = self._clock()
        known = self._proved.get(digest)
        if known is not None and now < known.until:
            return known.speaker
        if not self._reviews.try_take():  # somebody floods us: the API server must not feel it
            return None
        spec = {"token": token, "audiences": [PROGRESS_AUDIENCE]}
        body = {"apiVersion": TOKEN_REVIEWS.api_version, "kind": TOKEN_REVIEWS.kind, "spec": spec}
        found = reports.speaker(await self._context.client.create(TOKEN_REVIEWS, "", body), PROGRESS_AUDIENCE)
        self._proved[digest] = _Proved(found, now + _KNOWN_SECONDS)
        self._proved.move_to_end(digest)
        if len(self._proved) > _KNOWN:
            self._proved.popitem(last=False)
        return found

    def _in_time(self, key: Key) -> bool:
        """Whether this run's last report is old enough, and all runs together leave room for a write."""
        now = self._clock()
        if now - self._taken.get(key, float("-inf")) < PROGRESS_EVERY * 0.8 or not self._writes.try_take():
            return False
        self._taken[key] = now
        self._taken.move_to_end(key)
        if len(self._taken) > _KNOWN:
            self._taken.popitem(last=False)
        return True

    def _streams(self, key: Key, sync: dict[str, Any]) -> list[str]:
        """The streams of the run's Connector: a pod may not fill the status with names of its own."""
        cache = self._context.cache
        name = str(sync.get("spec", {}).get("integrationRef", {}).get("name", ""))
        integration = cache.get("Integration", key.namespace, name) or {}
        connector = cache.get("Connector", "", str(integration.get("spec", {}).get("connectorRef", {}).get("name", "")))
        return [str(stream.get("name")) for stream in (connector or {}).get("spec", {}).get("streams") or []]

    def _keep(self, key: Key, attempt: int, told: Progress) -> None:
        self._context.progress[key] = (attempt, told)
        self._context.enqueue(key)
