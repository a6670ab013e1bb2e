"""Microsoft Graph as it behaves for a directory: OData pages, delta queries whose tokens age, reports with filters."""

from __future__ import annotations

import re
from dataclasses import dataclass

from aiohttp import web

from towline_connectors.catalogue import simulating
from towline_connectors.catalogue.iam.microsoft_entra_id.simulated_data import Directory, Row

SMALL = {"users": 12, "groups": 3, "devices": 7, "sign_ins": 8, "audits": 6, "risky_users": 3, "page": 5}
_FILTER = re.compile(r"^(createdDateTime|activityDateTime) ge (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options(simulating.Faults):
    users: int = 200
    groups: int = 12
    devices: int = 60
    sign_ins: int = 200
    audits: int = 100
    risky_users: int = 5
    page: int = 100  # rows of a page of a delta, and at most of any other
    client_id: str = "simulator"
    client_secret: str = "simulator"  # noqa: S105 - of a simulator
    public_key: str = ""  # PEM of the application's certificate; then tokens are given for signed requests
    forbidden: str = ""  # beginnings of paths below /v1.0 that answer 403, with commas
    premium: bool = True  # without it reports and risky users are refused
    vanished: int = 0  # so many groups are gone when their members are asked for
    token_lifetime: int = 3599  # seconds


class Graph:
    """State of the simulator. Tests change the directory, let tokens age and look at what was asked here."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.directory = Directory(
            options.seed, options.users, options.groups, options.devices, options.sign_ins, options.audits
        )
        self.tokens = simulating.TokenEndpoint(
            options.client_id,
            options.client_secret,
            path="/oauth2/v2.0/token",
            parameters={"scope": "https://graph.microsoft.com/.default"},
            lifetime=options.token_lifetime,
            public_key=options.public_key,
        )
        self.oldest = 0  # delta tokens before this number are forgotten
        self.asked: list[str] = []

    def delta(self, kind: str) -> simulating.Handler:
        """Everything in pages, and then what changed since the token; the last page has the next token."""

        async def handle(request: web.Request) -> web.Response:
            query = request.query
            if "$top" in query or "$expand" in query:
                return _error(400, "Request_UnsupportedQuery", "The query parameter is not supported in a delta")
            here = request.url.with_query(None)
            token = query.get("$deltatoken")
            if token is not None:
                return self._changes(kind, int(token), str(here))
            state, _, place = query.get("$skiptoken", f"{len(self.directory.changes)}-0").partition("-")
            start = int(place)
            live = self.directory.live(kind)
            stop = start + self.options.page
            body: Row = {"value": [self.directory.row(kind, number) for number in live[start:stop]]}
            if stop < len(live):
                body["@odata.nextLink"] = f"{here}?$skiptoken={state}-{stop}"
            else:
                body["@odata.deltaLink"] = f"{here}?$deltatoken={state}"
            return web.json_response(body)

        return handle

    def _changes(self, kind: str, since: int, here: str) -> web.Response:
        if since < self.oldest:
            answer = _error(410, "syncStateNotFound", "The sync state generation is not found")
            answer.headers["Location"] = here
            return answer
        rows = [
            {"id": self.directory.id(kind, number), "@removed": {"reason": "changed"}}
            if deleted
            else self.directory.row(kind, number)
            for changed, number, deleted in self.directory.changes[since:]
            if changed == kind
        ]
        return web.json_response(
            {"value": rows, "@odata.deltaLink": f"{here}?$deltatoken={len(self.directory.changes)}"}
        )

    async def users(self, request: web.Request) -> web.Response:
        return self._page(request, [self.directory.user(number) for number in self.directory.live("users")])

    async def groups(self, request: web.Request) -> web.Response:
        return self._page(request, [{"id": self.directory.id("groups", n)} for n in self.directory.live("groups")])

    async def members(self, request: web.Request) -> web.Response:
        for number in self.directory.live("groups")[self.options.vanished :]:
            if self.directory.id("groups", number) == request.match_info["group"]:
                return self._page(request, self.directory.members(number))
        return _error(404, "Request_ResourceNotFound", "Resource does not exist")

    async def risky_users(self, request: web.Request) -> web.Response:
        rows = [self.directory.risky_user(number) for number in range(self.options.risky_users)]
        return self._page(request, rows)

    async def sign_ins(self, request: web.Request) -> web.Response:
        rows = [self.directory.sign_in(number) for number in range(self.directory.sign_ins)]
        return self._report(request, "createdDateTime", rows)

    async def audits(self, request: web.Request) -> web.Response:
        rows = [self.directory.audit(number) for number in range(self.directory.audits)]
        return self._report(request, "activityDateTime", rows)

    def _report(self, request: web.Request, time: str, rows: list[Row]) -> web.Response:
        match = _FILTER.match(request.query.get("$filter", f"{time} ge 1970-01-01T00:00:00Z"))
        if match is None or match.group(1) != time:
            return _error(400, "BadRequest", "Invalid filter clause")
        since = simulating.moment(match.group(2))
        return self._page(request, [row for row in rows if simulating.moment(row[time]) >= since])

    def _page(self, request: web.Request, rows: list[Row]) -> web.Response:
        start = int(request.query.get("$skiptoken", 0))
        stop = start + min(int(request.query.get("$top", 100)), self.options.page)
        body: Row = {"value": rows[start:stop]}
        if stop < len(rows):
            body["@odata.nextLink"] = str(request.url.update_query({"$skiptoken": str(stop)}))
        return web.json_response(body)


def application(options: Options) -> web.Application:
    """The simulator; the token endpoint stands at the same address."""
    state = Graph(options)
    forbidden = tuple(f"/v1.0/{path.strip('/')}" for path in options.forbidden.split(",") if path)
    premium = ("/v1.0/auditLogs", "/v1.0/identityProtection")

    def refuse(request: web.Request) -> web.Response | None:
        if not state.tokens.authorized(request):
            return _error(401, "InvalidAuthenticationToken", "Access token is empty, wrong or expired")
        if forbidden and request.path.startswith(forbidden):
            return _error(403, "Authorization_RequestDenied", "Insufficient privileges to complete the operation")
        if not options.premium and request.path.startswith(premium):
            return _error(403, "Authentication_RequestFromNonPremiumTenantOrB2CTenant", "Neither tenant is premium")
        if request.path.startswith("/v1.0/"):
            state.asked.append(request.path_qs)
        return None

    app = simulating.make(state, options, refuse, limited=_too_many)
    app.router.add_post("/{tenant}/oauth2/v2.0/token", state.tokens.handle)
    for kind in ("users", "groups", "devices"):
        app.router.add_get(f"/v1.0/{kind}/delta", state.delta(kind))
    app.router.add_get("/v1.0/users", state.users)
    app.router.add_get("/v1.0/groups", state.groups)
    app.router.add_get("/v1.0/groups/{group}/members", state.members)
    app.router.add_get("/v1.0/identityProtection/riskyUsers", state.risky_users)
    app.router.add_get("/v1.0/auditLogs/signIns", state.sign_ins)
    app.router.add_get("/v1.0/auditLogs/directoryAudits", state.audits)
    return app


def _too_many(seconds: int) -> web.Response:
    answer = _error(429, "TooManyRequests", "Too many requests")
    answer.headers["Retry-After"] = str(seconds)
    return answer


def _error(status: int, code: str, message: str) -> web.Response:
    return web.json_response({"error": {"code": code, "message": message, "innerError": {}}}, status=status)
