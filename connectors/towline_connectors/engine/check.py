"""Every text of a manifest that holds an expression or a reference, parsed before anything runs.

Each problem names its place (`streams[hosts].request.query.since`) and what to write instead. What becomes of
records (`emit`) is checked where it is compiled.
"""

from __future__ import annotations

import re
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from pydantic import BaseModel

from towline.api.auth import Auth
from towline.api.base import EXPRESSION
from towline.api.connector import ConnectorSpec
from towline.api.http import Http, Request
from towline.api.manifest import Stream
from towline_connectors.engine import expressions, interpolate
from towline_connectors.engine.expressions import ExpressionError

_PLAIN = {"description", "title", "permission", "name", "kind", "class"}
"""Fields that people read or that are names: nothing in them is filled in."""
_CONSTANTS = ("job_created_at", "files")  # of sync.cursor
_SOURCES = ("header:", "cookie:", "root:", "query:")
_OTHER_REFERENCES = re.compile(
    r"(?:\$\(|\{\{\s*|(?<![\w$])\$|(?<![$\w]){)((?:secret|config|window|stream|partition|job|session)\.\w+)[\s)}]*"
)
"""What other tools write for ${secret.token}."""
_SETTINGS = ("config", "secret")

_KNOWN: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("http.auth.assertion", (*_SETTINGS, "client", "key")),
    ("http.auth.signature", (*_SETTINGS, "request", "sign")),
    ("http.auth", (*_SETTINGS, "session")),
    ("http.baseURL", _SETTINGS),
    ("http.tls", _SETTINGS),
    ("health", (*_SETTINGS, "session")),
    ("actions", (*_SETTINGS, "session", "input")),
    ("webhooks.verify.signed", ("body", "timestamp", "id")),
    ("webhooks", _SETTINGS),
    ("files", _SETTINGS),
    ("", interpolate.NAMESPACES),
)
"""What may be referred to, by the beginning of the place."""

_MEMBERS: dict[str, tuple[str, ...]] = {
    "stream": ("name", "permission"),
    "window": ("start", "end", "full", "now", "token"),
    "request": ("method", "host", "path", "query", "target", "body", "bodyHash"),
    "sign": ("timestamp", "nonce", "signature"),
    "client": ("id",),
    "key": ("fingerprint",),
}


@dataclass(frozen=True, slots=True)
class _Text:
    place: str  # as people read it
    path: str  # without indices, for _KNOWN
    value: str
    is_expression: bool


def problems(spec: ConnectorSpec) -> list[str]:
    """Sentences, each with its place; none when all is right."""
    known = _Known(spec)
    found = []
    for text in _texts(spec):
        try:
            known.check(text)
        except ExpressionError as error:
            found.append(f"{text.place}: {error.sentence}")
    return found + list(_contradictions(spec))


class _Known:
    def __init__(self, spec: ConnectorSpec) -> None:
        self._keys = {credential.key for credential in spec.credentials or []}
        self._options = set((spec.config_schema or {}).get("properties", {}))
        self._session = _session_names(spec.http)

    def check(self, text: _Text) -> None:
        value = text.value
        if text.is_expression:
            if value in _CONSTANTS or value.startswith(_SOURCES):
                return
            if text.path.endswith(".take") and value == "body":
                return
            expressions.parse(value)
            if "${" in value:
                raise ExpressionError("an expression takes no ${…}; write the name alone, for example config.region")
            return
        if text.path.endswith(".wait"):
            if value.startswith("body:"):
                expressions.parse(value.removeprefix("body:"))
            return
        if value.startswith("="):
            expressions.parse(value)
            return
        if wrong := _OTHER_REFERENCES.search(value):
            raise ExpressionError(f"`{wrong[0]}` is sent as it stands; a reference is written ${{{wrong[1]}}}")
        namespaces = next(names for begin, names in _KNOWN if text.path.startswith(begin))
        for name in interpolate.references(value, namespaces):
            self._member(name)

    def _member(self, name: str) -> None:
        root, _, key = name.partition(".")
        key = key.partition(".")[0]
        if root == "secret" and key not in self._keys:
            raise ExpressionError(f"${{{name}}} is no key in credentials; add it there")
        if root == "config" and key not in self._options:
            raise ExpressionError(f"${{{name}}} is no property in configSchema; add it there")
        if root == "session" and self._session is not None and key not in self._session:
            raise ExpressionError(
                f"${{{name}}} is taken by no step of the log-in; there are {', '.join(sorted(self._session)) or 'none'}"
            )
        members = _MEMBERS.get(root)
        if members and key not in members:
            raise ExpressionError(f"${{{name}}} is not known; {root} has {', '.join(members)}")


def _auths(http: Http | None) -> Iterator[tuple[str, Auth]]:
    if http is None:
        return
    if http.auth is not None:
        yield "http.auth", http.auth
    for choice in http.auths or []:
        yield f"http.auths[{choice.name}].auth", choice.auth


def _session_names(http: Http | None) -> set[str] | None:
    """What sessions hold; None when a token's issuer decides what there is."""
    names: set[str] = set()
    for _place, auth in _auths(http):
        if auth.kind.startswith("OAuth2") or auth.kind == "JWT":
            return None
        for step in auth.session.login if auth.session else []:
            names |= set(step.take or {})
    return names


def _texts(spec: ConnectorSpec) -> Iterator[_Text]:
    for name in ("http", "ldap", "files", "health"):
        part = getattr(spec, name, None)
        if part is not None:
            yield from _walk(part, name, name)
    for stream in spec.streams or []:
        yield from _walk(stream, f"streams[{stream.name}]", "streams", skip=("emit",))
    for action in spec.actions or []:
        yield from _walk(action, f"actions[{action.name}]", "actions", skip=("input",))
    for webhook in spec.webhooks or []:
        yield from _walk(webhook, f"webhooks[{webhook.name}]", "webhooks")


def _walk(model: BaseModel, place: str, path: str, skip: tuple[str, ...] = ()) -> Iterator[_Text]:
    marked = _marked(type(model))
    for name, field in type(model).model_fields.items():
        alias = field.alias or name
        value = getattr(model, name)
        if value is None or name in skip or (alias in _PLAIN and not (isinstance(model, Auth) and alias == "name")):
            continue
        # http.auths[x].auth knows what http.auth does.
        below = "http.auth" if f"{path}.{alias}" in ("http.auths", "http.auth.auth") else f"{path}.{alias}"
        yield from _values(value, f"{place}.{alias}", below, is_expression=name in marked)


def _values(value: Any, place: str, path: str, *, is_expression: bool) -> Iterator[_Text]:
    if isinstance(value, BaseModel):
        yield from _walk(value, place, path)
    elif isinstance(value, str):
        yield _Text(place, path, value, is_expression)
    elif isinstance(value, Mapping):
        for key, member in value.items():
            yield from _values(member, f"{place}.{key}", path, is_expression=is_expression)
    elif isinstance(value, list):
        for number, member in enumerate(value):
            name = getattr(member, "name", None) or (member.get("name") if isinstance(member, dict) else None)
            yield from _values(member, f"{place}[{name or number}]", path, is_expression=is_expression)


@cache
def _marked(model: type[BaseModel]) -> frozenset[str]:
    """The fields whose texts are expressions."""
    hints = typing.get_type_hints(model, include_extras=True)
    return frozenset(name for name in model.model_fields if _is_marked(hints[name]))


def _is_marked(hint: Any) -> bool:
    if EXPRESSION in getattr(hint, "__metadata__", ()):
        return True
    return any(_is_marked(inner) for inner in typing.get_args(hint) if not isinstance(inner, str))


def _contradictions(spec: ConnectorSpec) -> Iterator[str]:
    """What the schema's rules cannot see."""
    requests: list[tuple[str, Request]] = [("health.request", spec.health.request)] if spec.health else []
    names = {choice.name for choice in (spec.http.auths or [])} if spec.http else set()
    for stream in spec.streams or []:
        requests += _requests(stream)
    for place, request in requests:
        if request.body is not None and any((request.form, request.text, request.graphql, request.json_rpc)):
            yield f"{place}: give one of json, form, text, graphql and jsonRPC."
        if request.auth is not None and request.auth not in names:
            yield f"{place}.auth: http.auths has no entry {request.auth}; add it, or leave auth out."
    budgets = {budget.name for budget in (spec.http.budgets or [])} if spec.http else set()
    for stream in spec.streams or []:
        if stream.budget is not None and stream.budget not in budgets:
            yield f"streams[{stream.name}].budget: http.budgets has no entry {stream.budget}; add it."
    for place, auth in _auths(spec.http):
        signature = auth.signature
        if signature and signature.key is None and not signature.algorithm.startswith("SHA"):
            yield f"{place}.signature.key: algorithm {signature.algorithm} needs a key; add it."
    streams = {stream.name for stream in spec.streams or []}
    for action in spec.actions or []:
        if action.await_ and action.await_.stream not in streams:
            yield f"actions[{action.name}].await.stream: there is no stream {action.await_.stream}."
    for webhook in spec.webhooks or []:
        target = webhook.refetch.stream if webhook.refetch else None
        if target and not target.startswith("=") and target not in streams:
            yield f"webhooks[{webhook.name}].refetch.stream: there is no stream {target}; an expression begins with =."


def _requests(stream: Stream) -> list[tuple[str, Request]]:
    place = f"streams[{stream.name}]"
    found = [(f"{place}.request", stream.request)] if stream.request else []
    if stream.export:
        found.append((f"{place}.export.create", stream.export.create))
    return found
