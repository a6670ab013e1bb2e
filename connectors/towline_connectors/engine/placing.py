"""Where the parameters of paging and of tokens stand in a request: query, header, or a dotted path in the body."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl, urlencode

import orjson

from towline_connectors.engine.caller import Call, with_query
from towline_connectors.engine.errors import InvalidManifest

_FORM = "application/x-www-form-urlencoded"


def place(call: Call, values: Mapping[str, Any], where: str | None) -> Call:
    """The call with the parameters set; those that it has already are replaced.

    Raises InvalidManifest when the body is neither JSON nor a form, or is no object where a name leads through it."""
    if not values:
        return call
    if where == "Header":
        return replace(call, headers={**_without(call.headers, values), **{k: str(v) for k, v in values.items()}})
    if where != "Body":
        return replace(call, url=with_query(call.url, dict(values)))
    if _content_type(call.headers).startswith(_FORM):
        pairs = [(k, v) for k, v in parse_qsl((call.body or b"").decode(), True) if k not in values]
        body = urlencode([*pairs, *((k, str(v)) for k, v in values.items())]).encode()
        return replace(call, body=body)
    return replace(
        call,
        body=_in_json(call, values),
        method="POST" if call.method == "GET" and call.body is None else call.method,
        headers=call.headers if _content_type(call.headers) else {**call.headers, "content-type": "application/json"},
    )


def _without(headers: Mapping[str, str], values: Mapping[str, Any]) -> dict[str, str]:
    names = {name.lower() for name in values}
    return {name: value for name, value in headers.items() if name.lower() not in names}


def _content_type(headers: Mapping[str, str]) -> str:
    return next((value.lower() for name, value in headers.items() if name.lower() == "content-type"), "")


def _in_json(call: Call, values: Mapping[str, Any]) -> bytes:
    try:
        root = orjson.loads(call.body) if call.body else {}
    except orjson.JSONDecodeError:
        root = None
    for path, value in values.items():
        *above, name = path.split(".")
        holder = root
        for part in above:
            holder = holder.setdefault(part, {}) if isinstance(holder, dict) else None
        if not isinstance(holder, dict):
            raise InvalidManifest(
                f"paginate: the body of {call.method} {call.shown} has no place for {path}; JSON objects and forms have."
            )
        holder[name] = value
    return orjson.dumps(root)
