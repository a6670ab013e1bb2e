"""ServiceNow's Table API as it behaves: encoded queries, offsets, Link and X-Total-Count, rows that move, sleep."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson
from aiohttp import web

from towline_connectors.catalogue import simulating
from towline_connectors.catalogue.cmdb.servicenow.simulated_data import REFERENCES, Row, Table, Tables

SMALL = {"users": 510, "groups": 2, "servers": 2, "computers": 2, "incidents": 3, "others": 2}
MAX_PAYLOAD = 5 * 1024 * 1024  # glide.pf.rest.response_payload_max_size by default
ORDERED = "ORDERBYsys_updated_on^ORDERBYsys_id"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options(simulating.Faults):
    users: int = 1000
    groups: int = 50
    servers: int = 400
    computers: int = 1200
    incidents: int = 5000
    others: int = 60  # rows of each other table
    bulk: int = 0  # so many rows of a table were written in one second
    username: str = "simulator"
    password: str = "simulator"  # noqa: S105 - of a simulator
    client_id: str = "simulator-client"
    client_secret: str = "simulator"  # noqa: S105
    api_key: str = "simulator-key"
    sleeping: int = 0  # the first n requests find the instance hibernating: status 200 with an HTML page
    moving: int = 0  # on each page so many rows of the table change, which moves them to the end
    hidden_every: int = 0  # each n-th row is hidden by an access rule: pages come back short
    forbidden: str = ""  # tables that answer 403, with commas
    missing: str = ""  # tables that do not exist, with commas


class Instance:
    """State of the simulator. Tests change tables here."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.tables = Tables(
            options.seed,
            options.users,
            options.groups,
            options.servers,
            options.computers,
            options.incidents,
            options.bulk,
            options.others,
        )
        self.asleep = options.sleeping
        self.pages: list[tuple[str, int]] = []  # (table, rows) of each answer
        self._moved = 0

    def table(self, name: str) -> Table:
        return self.tables.all[name]

    def move(self, table: Table) -> None:
        """Rows change while somebody pages through them: one here, one there."""
        for _ in range(self.options.moving):
            if table.order:
                self._moved += 1
                table.touch(table.order[self._moved * 7919 % len(table.order)][2])

    def answer(self, request: web.Request, name: str, table: Table) -> web.Response:
        query = request.query
        limit, offset = int(query.get("sysparm_limit", 10000)), int(query.get("sysparm_offset", 0))
        keys = self._matching(name, table, query.get("sysparm_query", ""))
        total = len(keys)
        hidden = self.options.hidden_every
        shown = [key for key in keys[offset : offset + limit] if not hidden or key[2] % hidden != hidden - 1]
        fields = [field for field in query.get("sysparm_fields", "").split(",") if field]
        plain = query.get("sysparm_exclude_reference_link") == "true"
        root = f"{request.scheme}://{request.host}/api/now/table"
        rows = [_shaped(table.row(number), fields, plain, root) for _, _, number in shown]
        body = orjson.dumps({"result": rows})
        self.pages.append((name, len(rows)))
        if len(body) > MAX_PAYLOAD:
            return _error(500, "Response payload size exceeds the limit", "lower sysparm_limit or set sysparm_fields")
        headers = {"Link": _links(request, offset, limit, total)}
        if query.get("sysparm_no_count") != "true":
            headers["X-Total-Count"] = str(total)
        self.move(table)
        return web.Response(body=body, headers=headers, content_type="application/json", charset="UTF-8")

    def _matching(self, name: str, table: Table, query: str) -> list[tuple[float, str, int]]:
        """Rows of an encoded query. What it does not understand it leaves out in silence, as the vendor does."""
        keys, ordered, chosen = table.order, False, set[str]()
        for part in query.split("^"):
            if part.startswith(("sys_updated_on>=", "sys_created_on>=")):
                try:
                    start = datetime.strptime(part.partition(">=")[2], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
                except ValueError:
                    continue
                keys = table.since(start.timestamp())
            elif part.startswith("sys_class_nameNOT LIKE"):
                word = part.removeprefix("sys_class_nameNOT LIKE")
                keys = [key for key in keys if word not in self.tables.class_of(name, key[2])]
            elif part.removeprefix("OR").startswith("tablename"):
                keys, chosen = _of_tables(table, keys, part.removeprefix("OR"), chosen)
            elif part.startswith("sys_id="):
                keys = [key for key in keys if key[1] == part.removeprefix("sys_id=")]
            ordered = ordered or part.startswith("ORDERBY")
        # Without ORDERBY the order is whatever the database gives.
        return keys if ordered else sorted(keys, key=lambda key: key[1])


def application(options: Options) -> web.Application:
    """The simulator; it takes Basic authentication."""
    instance = Instance(options)
    missing, forbidden = set(options.missing.split(",")), set(options.forbidden.split(","))

    def refuse(request: web.Request) -> web.Response | None:
        if instance.asleep > 0:
            instance.asleep -= 1
            page = "<html><head><title>Instance Hibernating page</title></head><body></body></html>"
            return web.Response(text=page, content_type="text/html")
        header = request.headers.get
        if request.path == "/oauth_token.do" or header("Authorization") == f"Bearer {_token(options)}":
            return None
        if header("x-sn-apikey") == options.api_key:
            return None
        if simulating.basic_matches(request, options.username, options.password):
            return None
        return _error(401, "User Not Authenticated", "Required to provide Auth information")

    async def table(request: web.Request) -> web.Response:
        name = request.match_info["table"]
        found = instance.tables.all.get(name)
        if found is None or name in missing:
            return _error(400, f"Invalid table {name}", None)
        if name in forbidden:
            return _error(
                403, "Insufficient rights to query records", "Field(s) present in the query do not have permission"
            )
        return instance.answer(request, name, found)

    async def token(request: web.Request) -> web.Response:
        form = await request.post()
        expected = ("client_credentials", options.client_id, options.client_secret)
        if (form.get("grant_type"), form.get("client_id"), form.get("client_secret")) != expected:
            return web.json_response({"error": "access_denied", "error_description": "access_denied"}, status=401)
        return web.json_response({"access_token": _token(options), "token_type": "Bearer", "expires_in": 1799})

    app = simulating.make(instance, options, refuse)
    app.router.add_post("/oauth_token.do", token)
    app.router.add_get("/api/now/table/{table}", table)
    return app


def _token(options: Options) -> str:
    return f"token-of-{options.client_id}"


def _of_tables(
    table: Table, keys: list[tuple[float, str, int]], part: str, chosen: set[str]
) -> tuple[list[tuple[float, str, int]], set[str]]:
    """tablename=X, tablenameSTARTSWITHX and tablenameINa,b; OR adds to the condition before."""
    everything = {str(table.row(key[2])["tablename"]) for key in table.order}
    condition = part.removeprefix("tablename")
    if condition.startswith("IN"):
        wanted = set(condition.removeprefix("IN").split(","))
    elif condition.startswith("STARTSWITH"):
        wanted = {name for name in everything if name.startswith(condition.removeprefix("STARTSWITH"))}
    else:
        wanted = {condition.removeprefix("=")}
    wanted |= chosen
    all_keys = keys if not chosen else table.order
    return [key for key in all_keys if str(table.row(key[2])["tablename"]) in wanted], wanted


def _shaped(row: Row, fields: list[str], plain: bool, root: str) -> dict[str, Any]:
    shaped: dict[str, Any] = {field: row[field] for field in fields if field in row} if fields else row
    if plain:
        return shaped
    return {
        field: {"link": f"{root}/{REFERENCES[field]}/{value}", "value": value}
        if field in REFERENCES and value
        else value
        for field, value in shaped.items()
    }


def _links(request: web.Request, offset: int, limit: int, total: int) -> str:
    last = max(0, (total - 1) // limit * limit) if limit else 0
    pages = {"first": 0, "last": last}
    if offset > 0:
        pages["prev"] = max(0, offset - limit)
    if offset + limit < total:
        pages["next"] = offset + limit
    base = request.url.update_query({"sysparm_limit": limit})
    return ",".join(f'<{base.update_query({"sysparm_offset": at})}>;rel="{name}"' for name, at in pages.items())


def _error(status: int, message: str, detail: str | None) -> web.Response:
    body = {"error": {"message": message, "detail": detail}, "status": "failure"}
    return web.json_response(body, status=status)
