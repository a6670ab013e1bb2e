"""Manifests to copy: an Integration of a connector and the Secret that it needs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from towline.api.base import API_VERSION
from towline.api.connector import Connector, CredentialKey
from towline.contract import ALLOWED_HOSTS


def manifests(
    connector: Connector,
    *,
    name: str | None = None,
    config: Mapping[str, Any] | None = None,
    credentials: Mapping[str, str] | None = None,
    allowed_hosts: str | None = None,
) -> list[dict[str, Any]]:
    """A Secret (where credentials are needed) and an Integration, with given or telling values."""
    connector_name = str(connector.metadata["name"])
    name = name or connector_name
    settings = dict(config) if config is not None else example_config(connector)
    keys = wanted_keys(connector)
    objects: list[dict[str, Any]] = []
    spec: dict[str, Any] = {"connectorRef": {"name": connector_name}}
    if settings:
        spec["config"] = settings
    if keys:
        values = credentials or {key.key: f"your {(key.title or key.key).lower()}" for key in keys}
        metadata: dict[str, Any] = {"name": name}
        hosts = allowed_hosts if allowed_hosts is not None else ",".join(chosen_hosts(connector, settings))
        if hosts:
            metadata["annotations"] = {ALLOWED_HOSTS: hosts}
        objects.append({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": dict(values)})
        spec["credentials"] = {"secretRef": {"name": name}}
    else:
        spec["credentials"] = {"source": "None"}
    spec["schedule"] = {"interval": "1h"}
    objects.append({"apiVersion": API_VERSION, "kind": "Integration", "metadata": {"name": name}, "spec": spec})
    return objects


def wanted_keys(connector: Connector) -> list[CredentialKey]:
    """The credentials that a Secret has to hold; where there are several ways to log in, those of the first."""
    keys = connector.spec.credentials or []
    required = [key for key in keys if not key.optional]
    http = connector.spec.http
    if required or http is None or http.auth is None:
        return required
    first = http.auth.model_dump_json()
    return [key for key in keys if f"secret.{key.key}" in first]


def example_config(connector: Connector) -> dict[str, Any]:
    """Values for the settings that have no default: the schema's first example or enum, else the setting's name."""
    schema = connector.spec.config_schema or {}
    required = schema.get("required") or []
    properties = schema.get("properties") or {}
    wanted = [key for key in required if "default" not in (properties.get(key) or {})]
    return {key: _example(key, properties.get(key) or {}) for key in wanted}


def chosen_hosts(connector: Connector, config: Mapping[str, Any]) -> list[str]:
    """The hosts that the user chooses through `config`, as the Secret's annotation names them."""
    hosts = []
    for entry in connector.spec.egress or []:
        if "${config." not in entry:
            continue
        text = entry
        for key, value in config.items():
            text = text.replace(f"${{config.{key}}}", str(value))
        if "${" not in text:
            hosts.append(urlsplit(text).netloc if "://" in text else text)
    fixed = [entry for entry in connector.spec.egress or [] if "${" not in entry]
    return [host for host in dict.fromkeys(hosts) if host not in fixed]


def to_yaml(objects: list[dict[str, Any]]) -> str:
    import yaml

    return "---\n".join(yaml.safe_dump(item, sort_keys=False, allow_unicode=True, width=110) for item in objects)


def _example(key: str, schema: Mapping[str, Any]) -> Any:
    for candidates in (schema.get("examples"), schema.get("enum")):
        if candidates:
            return candidates[0]
    named = re.search(r"(?i)for example (\S+?)[.,;]?(\s|$)", str(schema.get("description", "")))
    if named and schema.get("type", "string") == "string":
        return named.group(1)
    kind = schema.get("type")
    if kind in ("integer", "number"):
        return schema.get("minimum", 1)
    if kind == "boolean":
        return False
    if kind == "array":
        return [_example(key, schema.get("items") or {})]
    return f"your {key.replace('_', ' ')}"
