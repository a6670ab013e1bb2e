"""None, Basic, Bearer, Header and Query: the same for every request."""

from __future__ import annotations

import base64
from urllib.parse import urlencode, urlsplit, urlunsplit

from towline.api.auth import Auth
from towline_connectors.engine.auth.base import Context, Plain, header_value, put
from towline_connectors.engine.http import HttpRequest


class Fixed(Plain):
    """Raises KeyMissing when the Secret lacks what the kind needs."""

    def __init__(self, auth: Auth, context: Context) -> None:
        self._headers: dict[str, str] = {}
        self._query: dict[str, str] = {}
        if auth.kind == "Basic":
            self._headers["authorization"] = basic(context.text(auth.username or ""), context.text(auth.password or ""))
        elif auth.kind == "Bearer":
            self._headers["authorization"] = f"Bearer {context.text(auth.value or '')}"
        elif auth.kind == "Header":
            self._headers[auth.name or ""] = context.text(auth.value or "")
        elif auth.kind == "Query":
            self._query[auth.name or ""] = context.text(auth.value or "")
        for name, value in self._headers.items():
            header_value(name, value)

    async def apply(self, request: HttpRequest) -> None:
        put(request, self._headers)
        add_query(request, self._query)


def basic(username: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()


def add_query(request: HttpRequest, query: dict[str, str]) -> None:
    """Add parameters to a request's URL; those of the same name are replaced, as a next-page URL repeats them."""
    if not query:
        return
    parts = urlsplit(request.url)
    names = {urlencode({name: ""})[:-1] for name in query}
    kept = [pair for pair in parts.query.split("&") if pair and pair.partition("=")[0] not in names]
    request.url = urlunsplit(parts._replace(query="&".join([*kept, urlencode(query)])))
