"""Falcon's API as it behaves: ids first and then what is behind them, four kinds of paging, filters, quotas."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from towline_connectors.catalogue import simulating
from towline_connectors.catalogue.edr.crowdstrike_falcon.simulated_data import GROUPS, Customer, Row

SMALL = {"hosts": 12, "findings": 2, "alerts": 12, "incidents": 7, "indicators": 5, "page": 5}  # with several pages
_SINCE = re.compile(r"^(updated_timestamp|modified_timestamp|last_updated_timestamp):>=?'([^']+)'$")
LIMIT = 6000  # requests a minute that the headers tell


@dataclass(frozen=True, slots=True, kw_only=True)
class Options(simulating.Faults):
    hosts: int = 200
    findings: int = 10  # of each host
    alerts: int = 100
    incidents: int = 20
    indicators: int = 30
    policies: int = 4
    applications: int = 20
    page: int = 5000  # rows of a page at most, whatever limit asks for
    client_id: str = "simulator"
    client_secret: str = "simulator"  # noqa: S105 - of a simulator
    forbidden: str = ""  # beginnings of paths that answer 403, with commas
    region: str = ""  # the customer lives in this cloud instead: tokens are refused with a redirect there
    unassessed_every: int = 7  # each n-th host has no zero trust assessment


class Falcon:
    """State of the simulator. Tests change the customer's data and look at what was asked here."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.customer = Customer(options.seed, options.hosts, options.findings, options.alerts, options.incidents)
        self.tokens = simulating.TokenEndpoint(
            options.client_id, options.client_secret, path="/oauth2/token", lifetime=1799, created=201
        )
        self.asked: list[str] = []

    async def token(self, request: web.Request) -> web.Response:
        region = self.options.region
        if region:
            there = f"https://api.{region}.crowdstrike.com/oauth2/token"
            return web.Response(status=308, headers={"Location": there, "X-Cs-Region": region})
        return await self.tokens.handle(request)

    async def scroll(self, request: web.Request) -> web.Response:
        """Ids by a token that is good for two minutes; the last page's token is empty."""
        aids = self.customer.aids()
        start, size = self._place(request.query.get("offset"), request.query.get("limit", 100))
        stop = start + size
        paging = {"total": len(aids), "offset": f"scroll:{stop}" if stop < len(aids) else "", "expires_at": 0}
        return _answer(aids[start:stop], paging)

    async def query(self, _request: web.Request) -> web.Response:
        return _answer(self.customer.aids()[:1], {"total": self.customer.hosts, "offset": 1, "limit": 1})

    async def devices(self, request: web.Request) -> web.Response:
        ids = (await request.json()).get("ids", [])
        if len(ids) > 5000:
            return _error(400, "too many ids")
        found = [row for row in map(self.customer.host, ids) if row is not None]
        return _answer(found, None)

    async def vulnerabilities(self, request: web.Request) -> web.Response:
        query = request.query
        since = _since(query.get("filter", ""))
        if since is None:
            return _error(400, "filter is required and may not be empty")
        numbers = [n for n in range(self.customer.finding_total()) if self.customer.updated(n) >= since]
        numbers.sort(key=self.customer.updated)
        facets = query.getall("facet", [])
        hidden = {"cve", "host_info", "remediation"} - set(facets)

        def row(number: int) -> Row:
            return {name: value for name, value in self.customer.finding(number).items() if name not in hidden}

        return self._after(query.get("after"), query.get("limit", 100), numbers, row)

    async def alerts(self, request: web.Request) -> web.Response:
        body = await request.json()
        since = _since(body.get("filter", ""))
        if since is None:
            return _error(400, "invalid filter")
        numbers = [n for n in range(self.customer.alerts) if self.customer.alert_time(n) >= since]
        numbers.sort(key=self.customer.alert_time)
        return self._after(body.get("after"), body.get("limit", 100), numbers, self.customer.alert)

    async def indicators(self, request: web.Request) -> web.Response:
        numbers = range(self.options.indicators)
        return self._after(
            request.query.get("after"), request.query.get("limit", 100), numbers, self.customer.indicator
        )

    async def applications(self, request: web.Request) -> web.Response:
        query = request.query
        if _since(query.get("filter", "")) is None:
            return _error(400, "filter is required")
        shown = set(query.getall("facet", []))

        def row(number: int) -> Row:
            hidden = {"installation_paths", "installation_timestamp"} if "install_usage" not in shown else set()
            return {name: value for name, value in self.customer.application(number).items() if name not in hidden}

        return self._after(query.get("after"), query.get("limit", 100), range(self.options.applications), row)

    async def incident_ids(self, request: web.Request) -> web.Response:
        ids = [self.customer.incident_id(number) for number in range(self.customer.incidents)]
        return self._offset(request, ids)

    async def incidents(self, request: web.Request) -> web.Response:
        ids = set((await request.json()).get("ids", []))
        rows = [self.customer.incident(number) for number in range(self.customer.incidents)]
        return _answer([row for row in rows if row["incident_id"] in ids], None)

    async def groups(self, request: web.Request) -> web.Response:
        return self._offset(request, [self.customer.group(number) for number in range(GROUPS)])

    async def policies(self, request: web.Request) -> web.Response:
        return self._offset(request, [self.customer.policy(number) for number in range(self.options.policies)])

    async def assessed(self, request: web.Request) -> web.Response:
        if "score:" not in request.query.get("filter", ""):
            return _error(400, "filter is required")
        aids = self._assessed()

        def row(number: int) -> Row:
            return {"aid": aids[number], "score": self.customer.assessment(aids[number])["assessment"]["overall"]}

        query = request.query
        return self._after(query.get("after"), query.get("limit", 100), range(len(aids)), row)

    def _assessed(self) -> list[str]:
        every = self.options.unassessed_every
        return [aid for n, aid in enumerate(self.customer.aids()) if not every or n % every != every - 1]

    async def assessments(self, request: web.Request) -> web.Response:
        known = set(self._assessed())
        found = [self.customer.assessment(aid) for aid in request.query.getall("ids", []) if aid in known]
        return _answer(found, None) if found else _error(404, "no assessment was found")

    def _place(self, token: Any, limit: Any) -> tuple[int, int]:
        start = int(str(token).rpartition(":")[2]) if token else 0
        return start, min(int(limit), self.options.page)

    def _after(self, token: Any, limit: Any, numbers: Sequence[int], row: Callable[[int], Row]) -> web.Response:
        start, size = self._place(token, limit)
        stop = start + size
        paging: Row = {"limit": size, "total": len(numbers)}
        if stop < len(numbers):
            paging["after"] = f"after:{stop}"
        return _answer([row(number) for number in numbers[start:stop]], paging)

    def _offset(self, request: web.Request, rows: list[Any]) -> web.Response:
        start, size = self._place(request.query.get("offset"), request.query.get("limit", 100))
        return _answer(rows[start : start + size], {"limit": size, "offset": start, "total": len(rows)})


def application(options: Options) -> web.Application:
    """The simulator; the token endpoint stands at the same address."""
    state = Falcon(options)
    forbidden = tuple(path for path in options.forbidden.split(",") if path)

    def refuse(request: web.Request) -> web.Response | None:
        if not state.tokens.authorized(request):
            return _error(401, "access denied, invalid bearer token")
        if forbidden and request.path.startswith(forbidden):
            return _error(403, "access denied, authorization failed")
        state.asked.append(request.path_qs)
        return None

    app = simulating.make(state, options, refuse, limited=_too_many)
    app.on_response_prepare.append(_tell_the_limit)
    app.router.add_post("/oauth2/token", state.token)
    app.router.add_get("/devices/queries/devices/v1", state.query)
    app.router.add_get("/devices/queries/devices-scroll/v1", state.scroll)
    app.router.add_post("/devices/entities/devices/v2", state.devices)
    app.router.add_get("/devices/combined/host-groups/v1", state.groups)
    app.router.add_get("/spotlight/combined/vulnerabilities/v1", state.vulnerabilities)
    app.router.add_post("/alerts/combined/alerts/v1", state.alerts)
    app.router.add_get("/incidents/queries/incidents/v1", state.incident_ids)
    app.router.add_post("/incidents/entities/incidents/GET/v1", state.incidents)
    app.router.add_get("/iocs/combined/indicator/v1", state.indicators)
    app.router.add_get("/zero-trust-assessment/queries/assessments/v1", state.assessed)
    app.router.add_get("/zero-trust-assessment/entities/assessments/v1", state.assessments)
    app.router.add_get("/discover/combined/applications/v1", state.applications)
    app.router.add_get("/policy/combined/prevention/v1", state.policies)
    return app


def _since(text: str) -> float | None:
    match = _SINCE.match(text)
    return simulating.moment(match.group(2)) if match else None


async def _tell_the_limit(_request: web.Request, answer: web.StreamResponse) -> None:
    answer.headers.setdefault("X-Ratelimit-Limit", str(LIMIT))
    answer.headers.setdefault("X-Ratelimit-Remaining", str(LIMIT - 1))


def _too_many(seconds: int) -> web.Response:
    answer = _error(429, "API rate limit exceeded.")
    answer.headers["X-Ratelimit-Retryafter"] = str(int(time.time()) + seconds)
    return answer


def _answer(resources: list[Any], paging: Row | None) -> web.Response:
    meta: Row = {"query_time": 0.01, "powered_by": "simulator", "trace_id": "0"}
    if paging is not None:
        meta["pagination"] = paging
    return web.json_response({"meta": meta, "resources": resources, "errors": []})


def _error(status: int, message: str) -> web.Response:
    body = {"meta": {"trace_id": "0"}, "errors": [{"code": status, "message": message}], "resources": None}
    return web.json_response(body, status=status)
