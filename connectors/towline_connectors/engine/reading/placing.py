"""Where the parameters of paging and of tokens stand in a request: query, header, or a dotted path in the body."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from typing import Any

from towline_connectors.engine.body import Body
from towline_connectors.engine.caller import Call, with_query
from towline_connectors.engine.errors import InvalidManifest


def place(call: Call, values: Mapping[str, Any], where: str | None) -> Call:
    """The call with the parameters set; those that it has already are replaced.

    Raises InvalidManifest when the body is neither JSON nor a form, or is no object where a name leads through it."""
    if not values:
        return call
    if where == "Header":
        return replace(call, headers={**_without(call.headers, values), **{k: str(v) for k, v in values.items()}})
    if where != "Body":
        return replace(call, url=with_query(call.url, dict(values)))
    body = call.body or Body("JSON", {})
    if body.kind == "Form":
        return replace(call, body=Body("Form", {**body.value, **values}))
    method = "POST" if call.method == "GET" and call.body is None else call.method
    return replace(call, body=Body("JSON", _in_json(call, body, values)), method=method)


def _without(headers: Mapping[str, str], values: Mapping[str, Any]) -> dict[str, str]:
    names = {name.lower() for name in values}
    return {name: value for name, value in headers.items() if name.lower() not in names}


def _in_json(call: Call, body: Body, values: Mapping[str, Any]) -> Any:
    root = deepcopy(body.value) if body.kind == "JSON" else None
    for path, value in values.items():
        *above, name = path.split(".")
        holder = root
        for part in above:
            holder = holder.setdefault(part, {}) if isinstance(holder, dict) else None
        if not isinstance(holder, dict):
            raise InvalidManifest(
                f"paginate: the body of {call.method} {call.shown} has no place for {path}; JSON objects and forms do."
            )
        holder[name] = value
    return root
