"""Okta's API as it behaves: Link headers with opaque cursors, rate-limit headers on every answer, a log to poll."""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

from towline_connectors.catalogue import simulating
from towline_connectors.catalogue.iam.okta.simulated_data import Org, Row

SMALL = {"users": 12, "groups": 3, "apps": 5, "devices": 5, "events": 12, "page": 5}  # the least with several pages
_SEARCH = re.compile(r'^lastUpdated (gt|ge) "([^"]+)"$')
LIMIT = 600  # requests a minute that the headers tell


@dataclass(frozen=True, slots=True, kw_only=True)
class Options(simulating.Faults):
    users: int = 200
    groups: int = 12
    apps: int = 20
    devices: int = 60
    events: int = 500
    page: int = 1000  # rows of a page at most, whatever limit asks for
    api_token: str = "simulator"  # noqa: S105 - of a simulator
    client_id: str = "simulator"
    public_key: str = ""  # PEM of the application's key; then tokens are given for signed requests
    forbidden: str = ""  # paths below /api/v1 that answer 403, with commas
    vanished: int = 0  # so many groups are gone when their members are asked for


class Okta:
    """State of the simulator. Tests change the org and look at what was asked here."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.org = Org(options.seed, options.users, options.groups, options.events)
        self.tokens = simulating.TokenEndpoint(
            options.client_id, "", path="/oauth2/v1/token", public_key=options.public_key
        )
        self.asked: list[str] = []

    async def users(self, request: web.Request) -> web.Response:
        numbers = self.org.users
        search = request.query.get("search")
        if search is None:  # a list without search leaves deactivated accounts out
            numbers = [n for n in numbers if self.org.user(n)["status"] != "DEPROVISIONED"]
        else:
            match = _SEARCH.match(search)
            if match is None:
                return error(400, "E0000031", "Invalid search criteria.")
            since = simulating.moment(match.group(2))
            numbers = [n for n in numbers if self.org.updated(n) >= since]
        return self._page(request, len(numbers), lambda place: self.org.user(numbers[place]))

    async def groups(self, request: web.Request) -> web.Response:
        numbers = self.org.groups
        return self._page(request, len(numbers), lambda place: self.org.group(numbers[place]))

    async def members(self, request: web.Request) -> web.Response:
        for number in self.org.groups[self.options.vanished :]:
            if self.org.group_id(number) == request.match_info["group"]:
                people = [self.org.user(member) for member in self.org.members(number)]
                return self._page(request, len(people), people.__getitem__)
        return error(404, "E0000007", "Not found: Resource not found (UserGroup)")

    async def apps(self, request: web.Request) -> web.Response:
        return self._page(request, self.options.apps, self.org.app)

    async def devices(self, request: web.Request) -> web.Response:
        return self._page(request, self.options.devices, self.org.device)

    async def factors(self, request: web.Request) -> web.Response:
        for number in self.org.users:
            if self.org.user_id(number) == request.match_info["user"]:
                return web.json_response(self.org.factors(number))
        return error(404, "E0000007", "Not found: Resource not found (User)")

    async def logs(self, request: web.Request) -> web.Response:
        since = simulating.moment(request.query.get("since", "1970-01-01T00:00:00Z"))
        until = request.query.get("until")
        end = simulating.moment(until) if until else time.time()
        rows = [self.org.event(number) for number in range(self.org.events)]
        rows = [row for row in rows if since <= simulating.moment(row["published"]) <= end]
        return self._page(request, len(rows), rows.__getitem__, always=until is None)

    def _page(self, request: web.Request, total: int, row: Callable[[int], Row], always: bool = False) -> web.Response:
        """`always`: there is a next page for ever, as of a log without end."""
        start = int(base64.urlsafe_b64decode(request.query.get("after", "MA==")))
        size = min(int(request.query.get("limit", 200)), self.options.page)
        stop = min(start + size, total)
        answer = web.json_response([row(place) for place in range(start, stop)])
        answer.headers.add("Link", f'<{request.url}>; rel="self"')
        if stop < total or always:
            after = base64.urlsafe_b64encode(str(stop).encode()).decode()
            answer.headers.add("Link", f'<{request.url.update_query(after=after)}>; rel="next"')
        return answer


def application(options: Options) -> web.Application:
    """The simulator; the token endpoint stands at the same address."""
    state = Okta(options)
    forbidden = [f"/api/v1/{path.strip('/')}" for path in options.forbidden.split(",") if path]

    def refuse(request: web.Request) -> web.Response | None:
        if request.headers.get("Authorization") != f"SSWS {options.api_token}" and not state.tokens.authorized(request):
            return error(401, "E0000011", "Invalid token provided")
        if any(request.path.startswith(path) for path in forbidden):
            return error(403, "E0000006", "You do not have permission to perform the requested action")
        if request.path.startswith("/api/"):
            state.asked.append(request.path_qs)
        return None

    app = simulating.make(state, options, refuse, limited=_too_many)
    app.on_response_prepare.append(_tell_the_limit)
    app.router.add_post("/oauth2/v1/token", state.tokens.handle)
    for path, handler in (
        ("users", state.users),
        ("groups", state.groups),
        ("groups/{group}/users", state.members),
        ("apps", state.apps),
        ("devices", state.devices),
        ("users/{user}/factors", state.factors),
        ("logs", state.logs),
    ):
        app.router.add_get(f"/api/v1/{path}", handler)
    return app


async def _tell_the_limit(_request: web.Request, answer: web.StreamResponse) -> None:
    answer.headers.setdefault("X-Rate-Limit-Limit", str(LIMIT))
    answer.headers.setdefault("X-Rate-Limit-Remaining", str(LIMIT - 1))
    answer.headers.setdefault("X-Rate-Limit-Reset", str(int(time.time()) + 60))


def _too_many(seconds: int) -> web.Response:
    answer = error(429, "E0000047", "API call exceeded rate limit due to too many requests.")
    answer.headers.update({"X-Rate-Limit-Remaining": "0", "X-Rate-Limit-Reset": str(int(time.time()) + seconds)})
    return answer


def error(status: int, code: str, summary: str) -> web.Response:
    """An error as Okta writes it."""
    body = {"errorCode": code, "errorSummary": summary, "errorLink": code, "errorId": "oae1", "errorCauses": []}
    return web.json_response(body, status=status)
