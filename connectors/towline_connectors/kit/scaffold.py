"""The folder of a new connector: a manifest that passes lint, its page, and a simulator that passes the suite.

What stands in it is right for an API of the chosen kind; the author replaces paths, members and fields by the
vendor's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import yaml

from towline_connectors import entities

AUTHS: Final = ("bearer", "header", "query", "basic", "oauth2", "none")
PAGINGS: Final = ("none", "page", "offset", "cursor", "next-url", "link-header")
SIZE = 20

_CREDENTIALS: Mapping[str, dict[str, str]] = {
    "bearer": {"token": "Token"},
    "header": {"api_key": "API key"},
    "query": {"api_key": "API key"},
    "basic": {"username": "User", "password": "Password"},
    "oauth2": {"client_id": "Client id", "client_secret": "Client secret"},
    "none": {},
}
_AUTH: Mapping[str, dict[str, Any]] = {
    "bearer": {"kind": "Bearer", "value": "${secret.token}"},
    "header": {"kind": "Header", "name": "X-API-Key", "value": "${secret.api_key}"},
    "query": {"kind": "Query", "name": "api_key", "value": "${secret.api_key}"},
    "basic": {"kind": "Basic", "username": "${secret.username}", "password": "${secret.password}"},
    "oauth2": {"kind": "OAuth2ClientCredentials", "tokenURL": "${config.base_url}/oauth/token"},
}
_PAGING: Mapping[str, dict[str, Any]] = {
    "page": {"kind": "Page", "param": "page", "limit": "per_page", "size": SIZE, "total": "=total"},
    "offset": {"kind": "Offset", "offset": "offset", "limit": "limit", "size": SIZE, "total": "=total"},
    "cursor": {"kind": "Cursor", "from": "=next_cursor", "param": "cursor", "limit": "limit", "size": SIZE},
    "next-url": {"kind": "NextURL", "from": "=next"},
    "link-header": {"kind": "LinkHeader"},
}
_REFUSALS: Mapping[str, str] = {
    "bearer": 'request.headers.get("Authorization") == f"Bearer {options.token}"',
    "header": 'request.headers.get("X-API-Key") == options.api_key',
    "query": 'request.query.get("api_key") == options.api_key',
    "basic": "simulating.basic_matches(request, options.username, options.password)",
    "oauth2": 'request.path == "/oauth/token" or request.headers.get("Authorization") == f"Bearer {TOKEN}"',
}
_PAGES: Mapping[str, str] = {
    "none": """\
    return web.json_response({"items": everything})
""",
    "page": """\
    size, page = int(request.query.get("per_page", 20)), int(request.query.get("page", 1))
    return web.json_response({"items": everything[(page - 1) * size : page * size], "total": len(everything)})
""",
    "offset": """\
    at, size = int(request.query.get("offset", 0)), int(request.query.get("limit", 20))
    return web.json_response({"items": everything[at : at + size], "total": len(everything)})
""",
    "cursor": """\
    at, size = int(request.query.get("cursor", 0)), int(request.query.get("limit", 20))
    following = str(at + size) if at + size < len(everything) else None
    return web.json_response({"items": everything[at : at + size], "next_cursor": following})
""",
    "next-url": """\
    at, size = int(request.query.get("at", 0)), 20
    following = str(request.url.with_query(at=at + size)) if at + size < len(everything) else None
    return web.json_response({"items": everything[at : at + size], "next": following})
""",
    "link-header": """\
    at, size = int(request.query.get("at", 0)), 20
    headers = {}
    if at + size < len(everything):
        headers["Link"] = f'<{request.url.with_query(at=at + size)}>; rel="next"'
    return web.json_response({"items": everything[at : at + size]}, headers=headers)
""",
}


@dataclass(frozen=True, slots=True)
class Choices:
    """What the author says. `base_url` may have a path."""

    name: str
    title: str
    base_url: str
    auth: str = "bearer"
    paging: str = "none"
    category: str = "Other"
    stream: str = "devices"
    entity: str = "asset"


def files(choices: Choices) -> dict[str, str]:
    """Content by file name. ValueError: a choice that there is not."""
    if choices.auth not in AUTHS:
        raise ValueError(f"auth is one of {', '.join(AUTHS)}")
    if choices.paging not in PAGINGS:
        raise ValueError(f"paging is one of {', '.join(PAGINGS)}")
    if choices.entity not in entities.REGISTRY:
        raise ValueError(f"entity is one of {', '.join(sorted(entities.REGISTRY))}")
    parts = urlsplit(choices.base_url)
    if parts.scheme != "https" or not parts.hostname or parts.query:
        raise ValueError("the base URL has the form https://HOST or https://HOST/PATH")
    return {
        "connector.yaml": _manifest(choices),
        "README.md": _readme(choices),
        "simulator.py": _simulator(choices),
        "__init__.py": "",
    }


def _column(choices: Choices) -> str:
    """The field that a person knows an object by."""
    fields = {field.name for field in entities.get(choices.entity).fields if field.type == "text"}
    return next((name for name in ("hostname", "name", "title", "value") if name in fields), sorted(fields)[0])


def _manifest(choices: Choices) -> str:
    parts = urlsplit(choices.base_url)
    origin, path = f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/")
    takes = choices.auth != "none"
    path_of = f"/{choices.stream}"
    request: dict[str, Any] = {"path": path_of}
    errors: list[dict[str, Any]] = [{"when": {"status": [429]}, "class": "RateLimited", "wait": ["header:retry-after"]}]
    if takes:
        auth = "make new credentials and put them into the Secret"
        errors[:0] = [
            {"when": {"status": [401]}, "class": "Auth", "hint": auth},
            {"when": {"status": [403]}, "class": "Permission", "hint": f"let the account read {choices.stream}"},
        ]
    stream: dict[str, Any] = {"name": choices.stream, "description": f"All {choices.stream}."}
    if takes:
        stream["permission"] = f"Read {choices.stream}"
    stream |= {"request": request, "records": "=items"}
    if choices.paging != "none":
        stream["paginate"] = dict(_PAGING[choices.paging])
    stream["sync"] = {"mode": "Full", "maxDeletePercent": 50, "deletes": {"completeScan": "Always"}}
    stream["emit"] = [{"entity": choices.entity, "key": "=str(id)", "fields": {_column(choices): "=name"}}]
    http: dict[str, Any] = {"baseURL": "${config.base_url}" + path}
    if takes:
        http["auth"] = dict(_AUTH[choices.auth])
    http |= {"budgets": [{"name": "default", "concurrency": 4}], "errors": errors, "timeout": "60s"}
    spec: dict[str, Any] = {
        "title": choices.title,
        "vendor": choices.title,
        "version": "0.1.0",
        "description": f"Reads {choices.stream} of {choices.title}.",
        "category": choices.category,
        "stage": "Alpha",
        "documentationURL": origin,
        "capabilities": ["Pull"],
    }
    if takes:
        spec["credentials"] = [
            {"key": key, "title": title, "description": "Of an account of its own that may only read."}
            for key, title in _CREDENTIALS[choices.auth].items()
        ]
    spec["configSchema"] = {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "base_url": {
                "type": "string",
                "pattern": "^https?://[^/]+$",
                "default": origin,
                "description": f"Address of {choices.title}, without a path.",
            }
        },
    }
    spec |= {"egress": [parts.hostname, "${config.base_url}"], "http": http}
    spec["health"] = {"request": {"path": path_of}, "expect": {"status": [200]}, "every": "5m"}
    spec["streams"] = [stream]
    document = {
        "apiVersion": "towline.dev/v1alpha1",
        "kind": "Connector",
        "metadata": {"name": choices.name},
        "spec": spec,
    }
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=120)


def _readme(choices: Choices) -> str:
    keys = " and ".join(f"`{key}`" for key in _CREDENTIALS[choices.auth])
    create = (
        f"1. An account for Towline at {choices.title} that may only read {choices.stream}.\n2. A Secret with {keys}.\n"
        if keys
        else "Nothing. The Integration says `credentials: {source: None}`.\n"
    )
    table = entities.get(choices.entity).table
    return f"""\
# {choices.title} ({choices.name})

Reads {choices.stream} of {choices.title}.

## What to create
{create}
| setting | |
|---|---|
| `base_url` | address of {choices.title}; `{choices.base_url}` unless you say so |

## Data
| stream | table | key |
|---|---|---|
| `{choices.stream}` | `{table}` | id |

A run reads everything; what is no longer there is marked as deleted.
"""


def _simulator(choices: Choices) -> str:
    path = urlsplit(choices.base_url).path.rstrip("/")
    keys = "".join(f'    {key}: str = "simulator"\n' for key in _CREDENTIALS[choices.auth])
    allowed = _REFUSALS.get(choices.auth)
    refuse = (
        f"""\
        if {allowed}:
            return None
        return web.json_response({{"error": "unauthorized"}}, status=401)
"""
        if allowed
        else "        return None\n"
    )
    oauth = choices.auth == "oauth2"
    token = (
        """\
    async def token(request: web.Request) -> web.Response:
        form = await request.post()
        if (form.get("client_id"), form.get("client_secret")) != (options.client_id, options.client_secret):
            return web.json_response({"error": "invalid_client"}, status=401)
        return web.json_response({"access_token": TOKEN, "token_type": "Bearer", "expires_in": 3600})

"""
        if oauth
        else ""
    )
    constant = 'TOKEN = "simulated-token"\n' if oauth else ""
    route = '    app.router.add_post("/oauth/token", token)\n' if oauth else ""
    pages = "".join(f"    {line}\n" if line else "\n" for line in _PAGES[choices.paging].splitlines())
    return f'''\
"""{choices.title} as its API behaves, with made-up data."""

from __future__ import annotations

from dataclasses import dataclass

from aiohttp import web

from towline_connectors.catalogue import simulating

SMALL = {{"records": 50}}  # for the conformance suite: the least that has several pages
{constant}

@dataclass(frozen=True, slots=True, kw_only=True)
class Options(simulating.Faults):
    records: int = 500
{keys}

def application(options: Options) -> web.Application:
    """The simulator."""
    everything = [{{"id": number, "name": f"{choices.stream}-{{number}}"}} for number in range(options.records)]

    def refuse(request: web.Request) -> web.Response | None:
{refuse}
{token}    async def read(request: web.Request) -> web.Response:
{pages}
    app = simulating.make(everything, options, refuse)
    app.router.add_get("{path}/{choices.stream}", read)
{route}    return app
'''
