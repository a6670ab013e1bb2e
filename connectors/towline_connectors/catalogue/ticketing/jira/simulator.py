"""Jira's REST API as it behaves: searches by JQL, fields on request, hidden issues as 404.

Version 3 pages its searches by tokens; version 2, of Data Center, by offsets.
"""

from __future__ import annotations

import base64
import re
import time
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from towline_connectors.catalogue import simulating
from towline_connectors.catalogue.ticketing.jira.simulated_data import World

SMALL = {"issues": 230, "projects": 60, "users": 240}
MOST_ISSUES, MOST_PROJECTS, MOST_USERS = 100, 50, 1000  # a page; more is cut down without a word
_SINCE = re.compile(r'updated >= (?:-(\d+)m|"([0-9-]+)")')
_PROJECTS = re.compile(r"project in \(([A-Z0-9, ]+)\)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options(simulating.Faults):
    issues: int = 2000
    projects: int = 20
    users: int = 300
    email: str = "simulator"
    api_token: str = "simulator"  # noqa: S105 - of a simulator
    data_center: bool = False  # answers as Data Center: a token alone, version 2
    forbid_users: bool = False  # the account may not browse users
    short_pages: bool = False  # pages of issues hold less than was asked for
    vanish: int = 0  # the first n issues are gone when their comments are asked for


class Site:
    """State of the simulator. Tests change issues and look at the queries here."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.world = World(options.seed, options.issues, options.projects, options.users)
        self.queries: list[str] = []

    def search(self, given: dict[str, Any], root: str, *, tokens: bool) -> web.Response:
        query = str(given.get("jql") or "")
        found = _SINCE.search(query)
        if found is None:
            return _error(400, "Unbounded JQL queries are not allowed here. Please add a search restriction.")
        since = time.time() - int(found[1]) * 60 if found[1] else 0.0
        projects = _PROJECTS.search(query)
        named = {name.strip() for name in projects[1].split(",")} if projects else None
        world = self.world
        numbers = [
            number
            for number in world.ordered()
            if world.updated(number) >= since
            and (named is None or world.project_key(world.project_of(number)) in named)
        ]
        token = given.get("nextPageToken")
        if not token and not given.get("startAt"):
            self.queries.append(query)
        start = int(base64.b64decode(token).decode()) if token else int(given.get("startAt") or 0)
        size = min(int(given.get("maxResults") or 50), MOST_ISSUES)
        if self.options.short_pages:
            size = max(1, size // 3)
        page = numbers[start : start + size]
        fields = list(given.get("fields") or [])
        answer: dict[str, Any] = {"issues": [world.issue(number, root, fields) for number in page]}
        if not tokens:
            return web.json_response(answer | {"startAt": start, "maxResults": size, "total": len(numbers)})
        last = start + size >= len(numbers)
        if not last:
            answer["nextPageToken"] = base64.b64encode(str(start + size).encode()).decode()
        return web.json_response(answer | {"isLast": last})

    def known(self, text: str) -> int | None:
        """The number of an issue by its id or key; None where the account cannot see it."""
        number = int(text) - 20000 if text.isdigit() else int(text.rpartition("-")[2]) - 1
        return number if number in self.world.issues and number >= self.options.vanish else None


def application(options: Options) -> web.Application:
    """The simulator; it takes Basic with an e-mail address and an API token, or the token alone as Data Center does."""
    site = Site(options)

    def refuse(request: web.Request) -> web.Response | None:
        if options.data_center and request.headers.get("Authorization") == f"Bearer {options.api_token}":
            return None
        if not options.data_center and simulating.basic_matches(request, options.email, options.api_token):
            return None
        page = "Client must be authenticated to access this resource."
        return web.Response(status=401, text=page, content_type="text/plain")

    async def myself(request: web.Request) -> web.Response:
        return web.json_response(site.world.user(0, _root(request)))

    async def search(request: web.Request) -> web.Response:
        return site.search(dict(await request.json()), _root(request), tokens="/3/" in request.path)

    async def projects(request: web.Request) -> web.Response:
        numbers = sorted(site.world.projects)
        rows = [site.world.project(number, _root(request)) for number in numbers]
        if "/2/" in request.path:
            return web.json_response(rows)
        return web.json_response(_page(request, rows, "values", MOST_PROJECTS))

    async def users(request: web.Request) -> web.Response:
        if options.forbid_users:
            return _error(403, "You do not have permission to browse users.")
        rows = [site.world.user(number, _root(request)) for number in range(options.users)]
        if "/2/" in request.path:
            rows = [{**row, "key": f"JIRAUSER{n}", "name": f"user{n}"} for n, row in enumerate(rows)]
            rows = [{name: row[name] for name in row if not name.startswith("account")} for row in rows]
        return web.json_response(_page(request, rows, "values", MOST_USERS)["values"])

    async def comments(request: web.Request) -> web.Response:
        number = site.known(request.match_info["issue"])
        if number is None:
            return _error(404, "Issue does not exist or you do not have permission to see it.")
        return web.json_response(_page(request, site.world.comments(number, _root(request)), "comments", 100))

    async def changelog(request: web.Request) -> web.Response:
        number = site.known(request.match_info["issue"])
        if number is None:
            return _error(404, "Issue does not exist or you do not have permission to see it.")
        return web.json_response(_page(request, site.world.changes(number, _root(request)), "values", 100))

    app = simulating.make(site, options, refuse)
    for version in (2,) if options.data_center else (2, 3):
        app.router.add_get(f"/rest/api/{version}/myself", myself)
    if options.data_center:
        app.router.add_post("/rest/api/2/search", search)
        app.router.add_get("/rest/api/2/project", projects)
        app.router.add_get("/rest/api/2/user/search", users)
        return app
    app.router.add_post("/rest/api/3/search/jql", search)
    app.router.add_get("/rest/api/3/project/search", projects)
    app.router.add_get("/rest/api/3/users/search", users)
    app.router.add_get("/rest/api/3/issue/{issue}/comment", comments)
    app.router.add_get("/rest/api/3/issue/{issue}/changelog", changelog)
    return app


def _root(request: web.Request) -> str:
    return f"{request.scheme}://{request.host}"


def _page(request: web.Request, rows: list[Any], name: str, most: int) -> dict[str, Any]:
    start, size = int(request.query.get("startAt", 0)), min(int(request.query.get("maxResults", 50)), most)
    page = rows[start : start + size]
    last = start + size >= len(rows)
    return {"startAt": start, "maxResults": size, "total": len(rows), "isLast": last, name: page}


def _error(status: int, message: str) -> web.Response:
    return web.json_response({"errorMessages": [message], "errors": {}}, status=status)
