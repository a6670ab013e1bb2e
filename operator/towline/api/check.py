"""Checks a manifest without a cluster, with the sentences that the API server would answer.

First the models, strictly as the API server types values; then, when the shape is right, unique list keys and the
CEL rules. Rules that compare with the stored object (what cannot be changed) need a cluster.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from pydantic import ValidationError

from towline.api import cel
from towline.api.base import API_VERSION, Model
from towline.api.explain import explain, path_text, shown
from towline.api.kinds import KINDS, Kind
from towline.api.schema import RULES, Schema, structural

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_BY_NAME = {kind.name: kind for kind in KINDS}


def check(document: Mapping[str, Any], source: str = "") -> list[str]:
    """What is wrong with `document`, a Connector, Integration or SyncJob: one sentence each, none when it is right."""
    prefix = f"{source}: " if source else ""
    kind = _BY_NAME.get(str(document.get("kind")))
    if not kind:
        known = ", ".join(_BY_NAME)
        return [f'{prefix}kind: "{shown(document.get("kind"))}" is not a kind of Towline: write one of {known}']
    if document.get("apiVersion") != API_VERSION:
        return [f'{prefix}apiVersion: "{shown(document.get("apiVersion"))}" is not known: write {API_VERSION}']
    document = _named(document)
    name_problem = _name_problem(document.get("metadata"))
    try:
        # Names of Python are names of Python: the API server knows only those on the wire.
        model = kind.model.model_validate(document, strict=True, by_alias=True, by_name=False)
    except ValidationError as error:
        return [*([f"{prefix}{name_problem}"] if name_problem else []), *explain(error, source)]
    if name_problem:
        return [f"{prefix}{name_problem}"]
    return [f"{prefix}{sentence}" for sentence in broken(model)]


def broken(model: Model) -> list[str]:
    """The rules between fields that a Connector, Integration or SyncJob of the right shape breaks."""
    whole = model.model_dump(mode="json", by_alias=True, exclude_none=True)
    return list(_broken(_schema(type(model).__name__), whole, ()))


def _named(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """With the name that the API server would make from `generateName`: five characters after it."""
    metadata = document.get("metadata")
    if isinstance(metadata, Mapping) and not metadata.get("name") and metadata.get("generateName"):
        return {**document, "metadata": {**metadata, "name": f"{metadata['generateName']}xxxxx"}}
    return document


def _name_problem(metadata: object) -> str | None:
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    if not name:
        return "metadata.name: it is missing: add it"
    if not isinstance(name, str) or len(name) > 253 or not _NAME.fullmatch(name):
        return (
            f'metadata.name: "{shown(name)}" is not a name for Kubernetes: use lower-case letters, digits and dashes;'
            " begin and end with a letter or digit"
        )
    return None


@cache
def _schema(kind_name: str) -> Schema:
    kind: Kind = _BY_NAME[kind_name]
    return structural(kind.model)


def _broken(schema: Schema, value: Any, path: tuple[str | int, ...]) -> Iterator[str]:
    """The rules that `value` and all in it break."""
    for rule in schema.get(RULES, []):
        if "oldSelf" not in rule["rule"] and not cel.evaluate(rule["rule"], {"self": value}):
            place = path_text(path) + rule.get("fieldPath", "")
            yield f"{place.removeprefix('.')}: {_message(rule, value)}" if place else _message(rule, value)
    if isinstance(value, Mapping):
        properties, others = schema.get("properties", {}), schema.get("additionalProperties", {})
        for key, child in value.items():
            yield from _broken(properties.get(key, others), child, (*path, key))
    elif isinstance(value, list) and "items" in schema:
        yield from _repeated(schema, value, path)
        for index, child in enumerate(value):
            yield from _broken(schema["items"], child, (*path, index))


def _message(rule: Schema, value: Any) -> str:
    if "messageExpression" in rule:
        return str(cel.evaluate(rule["messageExpression"], {"self": value}))
    return str(rule["message"])


def _repeated(schema: Schema, items: list[Any], path: tuple[str | int, ...]) -> Iterator[str]:
    keys = schema.get("x-kubernetes-list-map-keys")
    if not keys and schema.get("x-kubernetes-list-type") != "set":
        return
    seen: set[str] = set()
    for index, item in enumerate(items):
        identity = ", ".join(f"{key} {item.get(key)}" for key in keys) if keys else str(item)
        if identity in seen:
            yield f"{path_text((*path, index))}: {shown(identity)} stands here twice: remove one"
        seen.add(identity)
