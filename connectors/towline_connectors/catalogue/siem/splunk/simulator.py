"""Splunk's management port as it behaves: searches answered as JSON lines, sessions and tokens, entries in pages."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from towline_connectors.catalogue import simulating
from towline_connectors.catalogue.people import digest
from towline_connectors.catalogue.simulating import EPOCH

SMALL = {"notables": 250, "events": 300, "saved_searches": 230}
DAY = 86400
URGENCIES = ("informational", "low", "medium", "high", "critical")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options(simulating.Faults):
    notables: int = 500
    events: int = 2000
    saved_searches: int = 150
    fired: int = 5
    token: str = "simulator"  # noqa: S105 - of a simulator
    username: str = "simulator"
    password: str = "simulator"  # noqa: S105 - of a simulator
    forbidden: str = ""  # of export, saved, fired: what the user may not do, with commas
    fatal: bool = False  # searches end in an error that comes with status 200
    expire_after: int = 0  # a session is forgotten after so many requests


class SearchHead:
    """State of the simulator. Tests look at the searches here, and add late events."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.searches: list[dict[str, str]] = []
        self.late: list[int] = []  # numbers of notables that were stored a minute ago, although they happened before
        self.jobs: dict[str, list[dict[str, Any]]] = {}
        self.polls = 0
        self.sessions: dict[str, int] = {}
        self.logins = 0

    def log_in(self) -> str:
        self.logins += 1
        key = digest(self.options.seed, "session", self.logins).hex()
        self.sessions[key] = 0
        return key

    def knows(self, given: str) -> bool:
        if given == f"Bearer {self.options.token}":
            return True
        key = given.removeprefix("Splunk ")
        if not given.startswith("Splunk ") or key not in self.sessions:
            return False
        self.sessions[key] += 1
        if 0 < self.options.expire_after < self.sessions[key]:
            del self.sessions[key]
            return False
        return True

    def notable(self, number: int) -> dict[str, Any]:
        happened = EPOCH - 10 * DAY + number * 60
        stored = time.time() - 60 if number in self.late else happened + 30
        unique = digest(self.options.seed, "notable", number)[:16].hex()
        return {
            "_time": _iso(happened),
            "_indextime": str(int(stored)),
            "_bkt": "notable~12~5A",
            "_cd": f"12:{number}",
            "splunk_server": "idx1",
            "index": "notable",
            "host": "sh1",
            "source": "Threat - Brute Force - Rule",
            "sourcetype": "stash",
            "event_id": f"{unique}@@notable@@{unique}",
            "rule_id": f"{unique}@@notable@@{unique}",
            "rule_name": "Brute Force Access Behavior Detected",
            "rule_title": f"Brute force against srv-{number % 50:03d}",
            "rule_description": "Many failed log-ins were followed by one that succeeded.",
            "urgency": URGENCIES[number % 5],
            "severity": URGENCIES[number % 5],
            "status": str(number % 6),
            "status_label": ("Unassigned", "New", "In Progress", "Pending", "Resolved", "Closed")[number % 6],
            "owner": "unassigned" if number % 2 else "analyst",
            "security_domain": "access",
            "src": f"198.51.100.{number % 250}",
            "dest": f"srv-{number % 50:03d}",
            "user": ["root", f"user{number % 30}"] if number % 3 else f"user{number % 30}",
            "annotations.mitre_attack": ["T1110", "T1110.001"] if number % 2 else "T1110",
        }

    def event(self, number: int) -> dict[str, Any]:
        happened = EPOCH - 5 * DAY + number
        return {
            "_time": _iso(happened),
            "_indextime": str(happened + 2),
            "_raw": f"{_iso(happened)} action=blocked src=198.51.100.{number % 250} url=http://example.net/{number}",
            "_bkt": "proxy~3~7B",
            "_cd": f"3:{number}",
            "splunk_server": "idx1",
            "index": "proxy",
            "host": f"proxy{number % 3}",
            "source": "/var/log/proxy.log",
            "sourcetype": "proxy",
            "action": "blocked",
            "src": f"198.51.100.{number % 250}",
            "user": f"user{number % 30}",
        }

    def start(self, form: dict[str, str]) -> str:
        """Make a search job; its id."""
        self.searches.append(form)
        sid = f"{EPOCH}.{len(self.searches)}"
        self.jobs[sid] = self.found(form)
        return sid

    def export(self, form: dict[str, str]) -> str:
        """An answer of the export endpoint: a line for each result, then the last row."""
        self.searches.append(form)
        if self.options.fatal:
            return json.dumps({"messages": [{"type": "FATAL", "text": "Error in 'where' command"}]}) + "\n"
        lines: list[dict[str, Any]] = [
            {"preview": False, "offset": n, "result": row} for n, row in enumerate(self.found(form))
        ]
        if lines:
            lines[-1]["lastrow"] = True
        else:
            lines = [{"preview": False, "lastrow": True}]
        return "".join(json.dumps(line) + "\n" for line in lines)

    def found(self, form: dict[str, str]) -> list[dict[str, Any]]:
        """The results of a search."""
        search = form["search"].removeprefix("search ")
        rows = [self.notable(n) for n in range(self.options.notables)] if search.startswith("`notable`") else []
        if "index=proxy" in search:
            rows = [self.event(n) for n in range(self.options.events)]
        if "| stats" in search:
            rows = [{"host": f"proxy{n}", "count": str(100 * n)} for n in range(3)]
        least, most = float(form.get("index_earliest", 0)), float(form.get("index_latest") or 1e12)
        return [row for row in rows if "_indextime" not in row or least <= float(row["_indextime"]) < most]


def _iso(when: float) -> str:
    return datetime.fromtimestamp(when, UTC).isoformat(timespec="milliseconds")


def application(options: Options) -> web.Application:
    """The simulator; it takes a token, or a session by user name and password."""
    head = SearchHead(options)
    forbidden = set(options.forbidden.split(","))

    def refuse(request: web.Request) -> web.Response | None:
        if request.path == "/services/auth/login" or head.knows(request.headers.get("Authorization", "")):
            return None
        return _messages(401, "WARN", "call not properly authenticated")

    async def log_in(request: web.Request) -> web.Response:
        form = await request.post()
        if (form.get("username"), form.get("password")) != (options.username, options.password):
            return _messages(401, "WARN", "Login failed")
        return web.json_response({"sessionKey": head.log_in(), "message": "", "code": ""})

    async def context(_request: web.Request) -> web.Response:
        content = {"username": options.username, "capabilities": ["search"]}
        return web.json_response({"entry": [{"name": "context", "content": content}]})

    async def export(request: web.Request) -> web.Response:
        if "export" in forbidden:
            return _messages(403, "WARN", "insufficient permission to access this resource")
        form = {name: str(value) for name, value in (await request.post()).items()}
        search = form.get("search", "")
        if not search.lstrip().startswith(("search ", "|")):
            return _messages(400, "FATAL", "Unknown search command")
        return web.Response(text=head.export(form), content_type="application/json")

    async def create(request: web.Request) -> web.Response:
        form = {name: str(value) for name, value in (await request.post()).items()}
        return web.json_response({"sid": head.start(form)}, status=201)

    async def job(request: web.Request) -> web.Response:
        rows = head.jobs.get(request.match_info["sid"])
        if rows is None:
            return _messages(404, "FATAL", "Unknown sid.")
        if request.method == "DELETE":
            del head.jobs[request.match_info["sid"]]
            return web.json_response({"messages": []})
        head.polls += 1
        state = {"dispatchState": "DONE" if head.polls % 2 == 0 else "RUNNING", "resultCount": len(rows)}
        return web.json_response({"entry": [{"name": "job", "content": state}]})

    async def results(request: web.Request) -> web.Response:
        rows = head.jobs.get(request.match_info["sid"])
        if rows is None:
            return _messages(404, "FATAL", "Unknown sid.")
        start, count = int(request.query.get("offset", 0)), int(request.query.get("count", 100))
        return web.json_response({"preview": False, "init_offset": start, "results": rows[start : start + count]})

    async def saved(request: web.Request) -> web.Response:
        if "saved" in forbidden:
            return _messages(403, "WARN", "insufficient permission to access this resource")
        entries = [_saved(number) for number in range(options.saved_searches)]
        return _entries(request, entries)

    async def fired(request: web.Request) -> web.Response:
        if "fired" in forbidden:
            return _messages(403, "WARN", "insufficient permission to access this resource")
        names = ["-", *(f"Alert {number}" for number in range(options.fired))] if options.fired else []
        entries = [
            {"name": name, "updated": _iso(EPOCH), "acl": {"app": "search"}, "content": {"triggered_alert_count": n}}
            for n, name in enumerate(names)
        ]
        return _entries(request, entries)

    app = simulating.make(head, options, refuse)
    app.router.add_post("/services/auth/login", log_in)
    app.router.add_get("/services/authentication/current-context", context)
    app.router.add_post("/services/search/v2/jobs/export", export)
    app.router.add_post("/services/search/v2/jobs", create)
    app.router.add_route("*", "/services/search/v2/jobs/{sid}", job)
    app.router.add_get("/services/search/v2/jobs/{sid}/results", results)
    app.router.add_get("/servicesNS/-/-/saved/searches", saved)
    app.router.add_get("/services/alerts/fired_alerts", fired)
    return app


def _saved(number: int) -> dict[str, Any]:
    content = {
        "search": f"index=main error {number} | stats count",
        "description": "" if number % 2 else f"Search number {number}",
        "cron_schedule": "*/15 * * * *" if number % 3 else "",
        "is_scheduled": bool(number % 3),
        "disabled": number % 10 == 9,
        "alert.severity": 3,
        "actions": "email",
    }
    acl = {"app": "search" if number % 2 else "SplunkEnterpriseSecuritySuite", "owner": "nobody", "sharing": "app"}
    return {"name": f"Saved search {number}", "updated": _iso(EPOCH), "acl": acl, "content": content}


def _entries(request: web.Request, entries: list[dict[str, Any]]) -> web.Response:
    start, count = int(request.query.get("offset", 0)), int(request.query.get("count", 30))
    paging = {"total": len(entries), "perPage": count, "offset": start}
    return web.json_response({"entry": entries[start : start + count] if count else entries, "paging": paging})


def _messages(status: int, kind: str, text: str) -> web.Response:
    return web.json_response({"messages": [{"type": kind, "text": text}]}, status=status)
