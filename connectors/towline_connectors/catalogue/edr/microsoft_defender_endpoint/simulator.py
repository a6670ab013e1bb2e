"""Defender for Endpoint's API as it behaves: a token endpoint of Entra ID, OData paging of two kinds, quotas."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web

from towline_connectors.catalogue import simulating
from towline_connectors.catalogue.edr.microsoft_defender_endpoint.simulated_data import Row, Tenant

KEPT = 14 * 86400  # seconds for which changes are told
SMALL = {"machines": 12, "findings": 3, "alerts": 9, "page": 20, "indicators": 4}  # the least with several pages
_UPDATED = re.compile(r"^lastUpdateTime (?:ge|gt) (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options(simulating.Faults):
    machines: int = 200
    findings: int = 10  # of each machine
    alerts: int = 100
    indicators: int = 20
    page: int = 1000  # rows of a page of the exports at most
    client_id: str = "simulator"
    client_secret: str = "simulator"  # noqa: S105 - of a simulator
    forbidden: str = ""  # paths below /api that answer 403, with commas
    vanished: int = 0  # so many of the machines are gone when they are asked for
    token_lifetime: int = 3599  # seconds


class Defender:
    """State of the simulator. Tests change the tenant and look at counts here."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.tenant = Tenant(options.seed, options.machines, options.findings, options.alerts)
        self.tokens = simulating.TokenEndpoint(
            options.client_id,
            options.client_secret,
            path="/oauth2/v2.0/token",
            parameters={"scope": "https://api.securitycenter.microsoft.com/.default"},
            lifetime=options.token_lifetime,
        )
        self.asked: list[str] = []  # path and query of each request below /api

    async def machines(self, request: web.Request) -> web.Response:
        if not self.tenant.machines:
            return _error(404, "ResourceNotFound", "No machines were found")
        return _skipping(request, self.tenant.machines, self.tenant.machine)

    async def vulnerabilities(self, request: web.Request) -> web.Response:
        wanted = request.match_info["machine"]
        for number in range(self.options.vanished, self.tenant.machines):
            if self.tenant.machine_id(number) == wanted:
                found = self.tenant.vulnerabilities(number)
                return web.json_response({"@odata.count": len(found), "value": found})
        return _error(404, "ResourceNotFound", "Machine was not found")

    async def alerts(self, request: web.Request) -> web.Response:
        rows = [self.tenant.alert(number) for number in range(self.tenant.alerts)]
        wanted = request.query.get("$filter")
        if wanted:
            match = _UPDATED.match(wanted)
            if match is None:
                return _error(400, "BadRequest", "Invalid filter")
            since = simulating.moment(match.group(1))
            rows = [row for row in rows if simulating.moment(row["lastUpdateTime"]) >= since]
        if request.query.get("$expand") != "evidence":
            rows = [{**row, "evidence": []} for row in rows]
        return _skipping(request, len(rows), rows.__getitem__)

    async def indicators(self, request: web.Request) -> web.Response:
        return _skipping(request, self.options.indicators, self.tenant.indicator)

    async def recommendations(self, request: web.Request) -> web.Response:
        rows = self.tenant.recommendations()
        return _skipping(request, len(rows), rows.__getitem__)

    async def listed(self, request: web.Request) -> web.Response:
        rows = self.tenant.listed()
        return _skipping(request, len(rows), rows.__getitem__)

    async def changes(self, request: web.Request) -> web.Response:
        """Those of the last 14 days at most."""
        try:
            since = simulating.moment(request.query["sinceTime"])
        except (KeyError, ValueError):
            return _error(400, "BadRequest", "sinceTime is missing or no time")
        if since < simulating.recently() - KEPT:
            return _error(400, "BadRequest", "sinceTime is too long ago")
        return await self.exported(lambda: self.tenant.changes(since))(request)

    def exported(self, rows: Callable[[], list[Row]]) -> Callable[[web.Request], Awaitable[web.Response]]:
        """An export of the assessment API: pages that name the next."""

        async def handle(request: web.Request) -> web.Response:
            query = request.query
            asked = int(query.get("pageSize", query.get("pagesize", 50000)))
            start = int(query.get("$skiptoken", 0))
            size = min(asked, self.options.page)
            found = rows()
            body: Row = {"value": found[start : start + size]}
            if start + size < len(found):
                kept = {"sinceTime": query["sinceTime"]} if "sinceTime" in query else {}
                following = request.url.with_query({"pagesize": str(asked), "$skiptoken": str(start + size), **kept})
                body["@odata.nextLink"] = str(following)
            return web.json_response(body)

        return handle

    async def score(self, request: web.Request) -> web.Response:
        value = 340.0 if request.path.endswith("configurationScore") else 33.491554051195706
        return web.json_response({"time": "2026-01-01T09:15:58.1665846Z", "score": value})

    async def group_scores(self, request: web.Request) -> web.Response:
        rows = [{"time": "2026-01-01T09:51:28.214338Z", "score": 41.5, "rbacGroupName": name} for name in ("A", "B")]
        return web.json_response({"value": rows})

    async def hunt(self, request: web.Request) -> web.Response:
        query = str((await request.json()).get("Query", ""))
        if not query.startswith("Device"):
            return _error(400, "BadRequest", "The query names no table")
        rows = [
            {
                "Timestamp": "2026-01-01T01:10:26.2648757Z",
                "DeviceId": self.tenant.machine_id(number),
                "DeviceName": f"vm-{number:05d}",
                "ActionType": "ProcessCreated",
                "FileName": "powershell.exe",
            }
            for number in range(min(3, self.tenant.machines))
        ]
        schema = [{"Name": name, "Type": "String"} for name in ("Timestamp", "DeviceId", "DeviceName", "ActionType")]
        return web.json_response({"Schema": schema, "Results": rows})


def application(options: Options) -> web.Application:
    """The simulator; the token endpoint stands at the same address."""
    state = Defender(options)
    forbidden = {f"/api/{path.strip('/')}" for path in options.forbidden.split(",") if path}

    def refuse(request: web.Request) -> web.Response | None:
        if not state.tokens.authorized(request):
            return _error(401, "Unauthorized", "The access token is missing, wrong or expired")
        if request.path in forbidden:
            return _error(403, "Forbidden", "Missing application roles. API required roles: see the documentation")
        if request.path.startswith("/api/"):
            state.asked.append(request.path_qs)
        return None

    app = simulating.make(state, options, refuse, limited=_too_many)
    app.router.add_post("/{tenant}/oauth2/v2.0/token", state.tokens.handle)
    app.router.add_get("/api/machines", state.machines)
    app.router.add_get("/api/machines/SoftwareVulnerabilitiesByMachine", state.exported(state.tenant.assessments))
    app.router.add_get("/api/machines/SoftwareVulnerabilityChangesByMachine", state.changes)
    app.router.add_get("/api/machines/SoftwareInventoryByMachine", state.exported(state.tenant.software))
    app.router.add_get("/api/machines/{machine}/vulnerabilities", state.vulnerabilities)
    app.router.add_get("/api/vulnerabilities/machinesVulnerabilities", state.listed)
    app.router.add_get("/api/alerts", state.alerts)
    app.router.add_get("/api/indicators", state.indicators)
    app.router.add_get("/api/recommendations", state.recommendations)
    app.router.add_get("/api/configurationScore", state.score)
    app.router.add_get("/api/exposureScore", state.score)
    app.router.add_get("/api/exposureScore/ByMachineGroups", state.group_scores)
    app.router.add_post("/api/advancedqueries/run", state.hunt)
    return app


def _skipping(request: web.Request, total: int, row: Callable[[int], Row]) -> web.Response:
    """A page of $top rows behind $skip, without a link to the next."""
    skip, top = int(request.query.get("$skip", 0)), min(int(request.query.get("$top", 10000)), 10000)
    return web.json_response({"value": [row(number) for number in range(skip, min(skip + top, total))]})


def _too_many(seconds: int) -> web.Response:
    answer = _error(429, "TooManyRequests", f"API calls quota exceeded. Retry after {seconds} seconds")
    answer.headers["Retry-After"] = str(seconds)
    return answer


def _error(status: int, code: str, message: str) -> web.Response:
    return web.json_response({"error": {"code": code, "message": message, "target": "simulator"}}, status=status)
