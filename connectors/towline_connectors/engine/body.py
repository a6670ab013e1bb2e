"""A request's body: JSON, form, text, GraphQL or JSON-RPC from the manifest, and the bytes of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote_plus
from xml.sax.saxutils import escape as escape_xml

import orjson

from towline.api.http import GraphQL, Request
from towline.api.outward import ActionRequest
from towline_connectors.engine import interpolate
from towline_connectors.engine.interpolate import Scope

Kind = Literal["JSON", "Form", "Text"]
CONTENT_TYPES: dict[Kind, str] = {
    "JSON": "application/json",
    "Form": "application/x-www-form-urlencoded",
    "Text": "text/plain; charset=utf-8",
}


@dataclass(frozen=True, slots=True)
class Body:
    """`value` is the document of JSON, the fields of a form, the text of Text."""

    kind: Kind
    value: Any

    @property
    def content_type(self) -> str:
        if self.kind == "Text" and str(self.value).lstrip().startswith("<"):
            return "application/xml; charset=utf-8"
        return CONTENT_TYPES[self.kind]

    def encode(self, session: dict[str, str]) -> bytes:
        """The bytes, with what the session holds in place of its markers."""
        if self.kind == "JSON":
            text = orjson.dumps(self.value).decode()
            return interpolate.unmark(text, session, lambda value: orjson.dumps(value).decode()[1:-1]).encode()
        if self.kind == "Form":
            return interpolate.unmark(form(self.value), session).encode()
        text = str(self.value)
        return interpolate.unmark(text, session, escape_xml if text.lstrip().startswith("<") else None).encode()


def build(request: Request | ActionRequest, scope: Scope) -> Body | None:
    """The body that a manifest's request describes, with its references filled in."""
    if request.body is not None:
        return Body("JSON", interpolate.evaluate(request.body, scope))
    if request.form is not None:
        return Body("Form", interpolate.evaluate(dict(request.form), scope))
    if request.text is not None:
        is_xml = request.text.lstrip().startswith("<")
        return Body("Text", interpolate.fill(request.text, scope, escape_xml if is_xml else None))
    if request.graphql is not None:
        return Body("JSON", graphql(request.graphql, scope))
    call = getattr(request, "json_rpc", None)
    if call is not None:
        params = {"params": interpolate.evaluate(call.params, scope)} if call.params is not None else {}
        return Body("JSON", {"jsonrpc": "2.0", "id": 1, "method": call.method, **params})
    return None


def graphql(document: GraphQL, scope: Scope) -> dict[str, Any]:
    """The document itself takes no references: what varies goes into variables, where it cannot break out."""
    found: dict[str, Any] = {"query": document.query}
    found["variables"] = interpolate.evaluate(dict(document.variables or {}), scope)
    if document.operation:
        found["operationName"] = document.operation
    return found


def form(fields: dict[str, Any]) -> str:
    """`a=1&b=2`; a list is repeated, null is left out."""
    pairs = [
        (name, item)
        for name, value in fields.items()
        for item in (value if isinstance(value, list) else [value])
        if item is not None
    ]
    return "&".join(f"{quote_plus(str(name))}={quote_plus(plain(item))}" for name, item in pairs)


def plain(value: Any) -> str:
    """A value in a query or a form."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list):
        return orjson.dumps(value).decode()
    return str(value)
