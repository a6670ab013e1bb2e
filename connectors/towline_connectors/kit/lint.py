"""What a good connector has beyond a manifest that runs: what its users need to know, and what protects them.

A problem begins with the path in the manifest that it is about, or with the name of a file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from towline.api.connector import ConnectorSpec
from towline.api.http import Http
from towline_connectors.engine.hosts import host_allowed
from towline_connectors.kit import dummies

# Credentials that auth kinds take when the manifest does not name any.
_IMPLIED = {
    "OAuth2ClientCredentials": {"client_id", "client_secret"},
    "OAuth2Password": {"client_id", "client_secret"},
    "OAuth2RefreshToken": {"client_id", "client_secret", "refresh_token"},
    "OAuth2JWTBearer": {"client_id"},
    "JWT": {"client_id"},
    "AWSSigV4": {"access_key_id", "secret_access_key", "session_token"},
}
_NEEDED = {401: "Auth", 403: "Permission", 429: "RateLimited"}


def style(name: str, spec: ConnectorSpec, folder: Path | None) -> list[str]:
    """Problems, each with its cure. `folder` has the connector's other files; None for a manifest alone."""
    found = [*_about(spec), *_settings(spec), *_hosts(spec), *_streams(spec), *_actions(spec)]
    if spec.http is not None:
        found += _http(spec, spec.http)
    if folder is not None:
        found += _files(name, spec, folder)
    return found


def _about(spec: ConnectorSpec) -> Iterator[str]:
    if not spec.description:
        yield "spec: description is missing: say in a sentence what is read"
    if not spec.vendor and spec.ldap is None and spec.files is None:
        yield "spec: vendor is missing: say who makes the product"
    if not spec.documentation_url:
        yield "spec: documentationURL is missing: give the vendor's page about this API"
    for credential in spec.credentials or []:
        if not (credential.description or credential.title):
            yield f"spec.credentials[{credential.key}]: say in title or description what it is and where to get it"


def _settings(spec: ConnectorSpec) -> Iterator[str]:
    manifest = spec.wire()
    schema = spec.config_schema or {}
    for name, below in (schema.get("properties") or {}).items():
        place = f"spec.configSchema.properties.{name}"
        if not isinstance(below, dict) or not below.get("description"):
            yield f"{place}: description is missing: say what it is for, with an example"
        if isinstance(below, dict) and not ({"type", "enum", "const", "$ref", "oneOf", "anyOf"} & below.keys()):
            yield f"{place}: type is missing: without it any value passes"
    if schema and schema.get("additionalProperties") is not False:
        yield "spec.configSchema: set additionalProperties: false, or a misspelt setting passes in silence"
    texts = [text for place, text in dummies.texts(manifest) if not place.startswith("configSchema")]
    whole = "\n".join(texts)
    for name in schema.get("properties") or {}:
        if not re.search(rf"\bconfig\.{re.escape(name)}\b", whole):
            yield f"spec.configSchema.properties.{name}: nothing uses it: refer to ${{config.{name}}}, or remove it"
    kinds = [auth.kind for auth in _auths(spec)]
    implied = {key for kind in kinds for key in _IMPLIED.get(kind, set())}
    for credential in spec.credentials or []:
        key = credential.key
        if key not in implied and not re.search(rf"\bsecret\.{re.escape(key)}\b", whole):
            yield f"spec.credentials[{key}]: nothing uses it: refer to ${{secret.{key}}}, or remove it"


def _auths(spec: ConnectorSpec) -> Iterator[Any]:
    if spec.http is not None:
        if spec.http.auth is not None:
            yield spec.http.auth
        yield from (choice.auth for choice in spec.http.auths or [])


def _hosts(spec: ConnectorSpec) -> Iterator[str]:
    if spec.http is None:
        return
    egress = spec.egress or []
    urls = [("spec.http.baseURL", spec.http.base_url)]
    urls += [("spec.http.auth.tokenURL", auth.token_url) for auth in _auths(spec) if auth.token_url]
    for place, url in urls:
        if url.startswith("http://"):
            yield f"{place}: credentials would go in the clear: write https://"
        if not egress:
            yield "spec.egress: it is missing: list the hosts that the connector talks to"
            return
        host = _host(url)
        fixed = host is not None and host_allowed(host, tuple(egress))
        keys = {key for kind, key, _member in dummies.references(url) if kind == "config"}
        chosen = any(key in entry for entry in egress for key in keys)
        if not fixed and not chosen:
            yield f"{place}: its host is not in spec.egress: add {host or url.split('/')[2] if '//' in url else url}"


def _host(url: str) -> str | None:
    """The host of a URL; None where the user chooses it."""
    if "${" in url.partition("://")[2].partition("/")[0] or url.startswith("${"):
        return None
    return urlsplit(url).hostname


def _http(spec: ConnectorSpec, http: Http) -> Iterator[str]:
    if spec.health is None:
        yield "spec: health is missing: name the cheapest call that proves the credentials"
    secret = [auth for auth in _auths(spec) if auth.kind != "None"]
    for auth in secret:
        for name in ("value", "password", "client_secret", "refresh_token"):
            text = getattr(auth, name)
            if text and "${" not in text and len(text) > 3:
                yield f"spec.http.auth.{name}: a credential must not stand in a manifest: write ${{secret.KEY}}"
    covered = {status for rule in http.errors or [] for status in rule.when.status or []}
    for status, class_ in _NEEDED.items():
        if secret and status not in covered:
            yield f"spec.http: errors says nothing of {status}: add {{when: {{status: [{status}]}}, class: {class_}}}"
    for number, rule in enumerate(http.errors or []):
        if rule.class_ in ("Auth", "Permission") and not rule.hint:
            yield f"spec.http.errors[{number}]: hint is missing: say what to do about it at the vendor"


def _streams(spec: ConnectorSpec) -> Iterator[str]:
    takes = any(auth.kind != "None" for auth in _auths(spec)) or spec.ldap is not None
    for stream in spec.streams or []:
        place = f"spec.streams[{stream.name}]"
        if not stream.description:
            yield f"{place}: description is missing: say what it reads"
        if takes and not stream.permission and spec.ldap is None:
            yield f"{place}: permission is missing: name the right that it needs at the vendor"
        for emit in stream.emit or []:
            deletes = stream.sync.deletes
            if not emit.fields and not (deletes and deletes.tombstone):
                yield f"{place}.emit[{emit.entity}]: it has no fields: map what the source knows"


def _actions(spec: ConnectorSpec) -> Iterator[str]:
    for action in spec.actions or []:
        place = f"spec.actions[{action.name}]"
        if not action.description:
            yield f"{place}: description is missing: say what it does"
        if not action.permission:
            yield f"{place}: permission is missing: name the right that it needs at the vendor"


def _files(name: str, spec: ConnectorSpec, folder: Path) -> Iterator[str]:
    readme = folder / "README.md"
    if not readme.is_file():
        yield "README.md: it is missing: say what to create at the vendor, which rights, which Secret, which data"
    else:
        text = readme.read_text("utf-8", "replace")
        for credential in spec.credentials or []:
            if credential.key not in text:
                yield f"README.md: it does not mention the credential {credential.key}: say where to get it"
        for stream in spec.streams or []:
            if stream.emit and f"`{stream.name}`" not in text:
                yield f"README.md: it does not mention the stream `{stream.name}`: say what it brings"
    if spec.http is not None and not (folder / "simulator.py").is_file():
        yield "simulator.py: it is missing: write one, so that towline connector test can prove the connector"
    if folder.name.replace("_", "-") != name:
        yield f"metadata.name: it differs from the folder {folder.name}: name both alike"
