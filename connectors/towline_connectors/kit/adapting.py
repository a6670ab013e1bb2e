"""Fits a manifest to a recording of other traffic: its host, its page sizes, no credentials that nobody recorded."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Any
from urllib.parse import urlsplit

from towline.api.connector import ConnectorSpec
from towline_connectors.engine import expressions
from towline_connectors.engine.errors import InvalidManifest
from towline_connectors.engine.values import Mismatch
from towline_connectors.kit import dummies
from towline_connectors.kit.har import Entry
from towline_connectors.kit.lenient import loosen
from towline_connectors.kit.recorded import REFERENCE, Manifest, asked_by, document, exchanges, pattern


def url_templates(spec: ConnectorSpec) -> list[str]:
    """Each address that the manifest names, as it stands there."""
    if spec.http is None:
        return []
    base = spec.http.base_url.rstrip("/")
    relative = list(paths([stream.wire() for stream in spec.streams or []]))
    if spec.health is not None:
        relative.append(spec.health.request.path)
    tokens = [url for url in _values(spec.http.wire(), "tokenURL") if isinstance(url, str)]
    full = [path if "://" in path.partition("?")[0] else f"{base}/{path.lstrip('/')}" for path in relative]
    return [base, *(url.partition("?")[0] for url in full), *tokens]


def fitted(manifest: Manifest, config: Mapping[str, Any], entries: Sequence[Entry], *, lenient: bool) -> Manifest:
    """The manifest as it is replayed. `manifest` stays as it is."""
    made = deepcopy(manifest)
    http = made.get("http")
    if http is None:
        return made
    if not _logs_in(http, entries):
        _without_credentials(made)
    http["baseURL"] = _base(http["baseURL"], made, config, entries)
    # Budgets spare the vendor. One request at a time, so that repeated ones come in a known order.
    http["budgets"] = [{"name": "default", "concurrency": 1}]
    http["retry"] = {**(http.get("retry") or {}), "maxElapsed": "7d"}  # no wait is too long: none is waited for
    for stream in made.get("streams") or []:
        stream.pop("budget", None)
        if lenient:
            loosen(stream, manifest["streams"], config, entries)
    return made


def token_path(path: str, entries: Iterable[Entry]) -> str | None:
    """The recorded path of a token request: the same, or the same below another tenant."""
    tail = path.strip("/").split("/")[-2:]
    for entry in entries:
        if entry.method == "POST" and (entry.path == path or entry.path.strip("/").split("/")[-2:] == tail):
            return entry.path
    return None


def _logs_in(http: Manifest, entries: Sequence[Entry]) -> bool:
    """Whether the recording shows how credentials become a token, or how they are refused."""
    url = (http.get("auth") or {}).get("tokenURL")
    if not isinstance(url, str):
        return False
    path = urlsplit(REFERENCE.sub("x", url)).path
    recorded = token_path(path, entries)
    answers = [entry for entry in entries if entry.method == "POST" and entry.path == recorded]
    return any(entry.status >= 400 or _token(entry.body) for entry in answers)


def _token(body: bytes) -> bool:
    found = document(body)
    return isinstance(found, dict) and isinstance(found.get("access_token"), str) and bool(found["access_token"])


def _without_credentials(manifest: Manifest) -> None:
    """Nothing in a recording checks them, and log-ins, signatures and keys would need real ones."""
    http = manifest["http"]
    for name in ("auth", "auths", "tls"):
        http.pop(name, None)
    parts = [*(manifest.get("streams") or []), manifest.get("health") or {}]
    for request in _requests(parts):
        request.pop("auth", None)


def _requests(value: Any) -> Iterator[Manifest]:
    if isinstance(value, dict):
        if "path" in value and isinstance(value["path"], str):
            yield value
        for member in value.values():
            yield from _requests(member)
    elif isinstance(value, list):
        for member in value:
            yield from _requests(member)


def paths(value: Any) -> Iterator[str]:
    """The path of each request below a part of a manifest."""
    for request in _requests(value):
        if "/" in request["path"]:
            yield request["path"]


def _values(value: Any, name: str) -> Iterator[Any]:
    if isinstance(value, dict):
        for key, member in value.items():
            if key == name:
                yield member
            yield from _values(member, name)
    elif isinstance(value, list):
        for member in value:
            yield from _values(member, name)


def filled(template: str, config: Mapping[str, Any]) -> str:
    """A template with the settings in it; other references become x."""

    def value(match: re.Match[str]) -> str:
        kind, _, name = match[0][2:-1].strip().partition(".")
        return str(config.get(name, "")) if kind == "config" else "x"

    return REFERENCE.sub(value, template)


def _base(template: str, manifest: Manifest, config: Mapping[str, Any], entries: Sequence[Entry]) -> str:
    """The base URL at the host that most of the connector's paths were recorded from, so that links in the answers
    lead to the same host as the requests."""
    base = urlsplit(filled(template, config))
    prefix = base.path.rstrip("/")
    patterns = [pattern(f"{prefix}/{_filled_path(path, config)}") for path in paths(manifest.get("streams"))]
    counted: Counter[tuple[str, str]] = Counter()
    for entry in entries:
        if any(pattern.fullmatch(entry.path) for pattern in patterns):
            counted[entry.scheme, entry.netloc] += 1
    if not counted:  # leniently, another path of the same resource answers
        parts = manifest.get("streams") or []
        counted.update((each.scheme, each.netloc) for part in _requests(parts) for each in exchanges(part, entries))
    if not counted:
        return template
    scheme, netloc = max(counted, key=lambda place: counted[place])
    return f"{scheme}://{netloc}{prefix}"


def _filled_path(path: str, config: Mapping[str, Any]) -> str:
    found = re.sub(r"\$\{\s*config\.(\w+)\s*\}", lambda match: str(config.get(match[1], match[0])), path)
    return found.partition("?")[0].lstrip("/")


def needed(spec: ConnectorSpec, given: Mapping[str, Any], entries: Sequence[Entry]) -> dict[str, list[str]]:
    """What the recording tells about settings that are not given: hosts, tenants."""
    known = dummies.with_defaults(spec, given)

    def value(match: re.Match[str]) -> str:
        found = known.get(match[1])
        return match[0] if found is None else str(found)

    templates = [re.sub(r"\$\{\s*config\.(\w+)\s*\}", value, template) for template in url_templates(spec)]
    return dummies.guessed(templates, [entry.url for entry in entries])


def choices(
    spec: ConnectorSpec, given: Mapping[str, Any], entries: Sequence[Entry], *, lenient: bool = False
) -> dict[str, Any]:
    """Settings that decide which streams are read and that are not given: what has most streams in the recording,
    such as the one of two deployments that it is of. Leniently, other paths of the same resource count too."""
    properties = (spec.config_schema or {}).get("properties") or {}
    streams = [stream for each in spec.streams or [] if asked_by(stream := each.wire())]
    conditions = " ".join(str(stream.get("when") or "") for stream in streams)
    found: dict[str, Any] = {}
    for name, schema in properties.items():
        options = [False, True] if schema.get("type") == "boolean" else schema.get("enum") or []
        if name in given or len(options) < 2 or f"config.{name}" not in conditions:
            continue
        known = dummies.with_defaults(spec, {**given, **found})
        before = _streams_recorded(streams, known, entries, lenient)
        scores = {option: _streams_recorded(streams, {**known, name: option}, entries, lenient) for option in options}
        best = max(options, key=lambda option: scores[option])
        if scores[best] > before:
            found[name] = best
    return found


def _streams_recorded(
    streams: Sequence[Manifest], config: Mapping[str, Any], entries: Sequence[Entry], lenient: bool
) -> float:
    """How many streams are both read with these settings and recorded, path by path; with another path by half."""
    wanted = [stream for stream in streams if _wanted(stream, config)]
    exact = [any(_at(stream, entry) for entry in entries) for stream in wanted]
    near = [lenient and bool(exchanges(asked_by(stream), entries)) for stream in wanted]
    return sum(1 if here else 0.5 * there for here, there in zip(exact, near, strict=True))


def _wanted(stream: Manifest, config: Mapping[str, Any]) -> bool:
    condition = stream.get("when")
    if condition is None:
        return True
    try:
        return expressions.truthy(expressions.compile_expression(condition)({"config": dict(config)}))
    except (Mismatch, InvalidManifest):
        return False  # the run says what is wrong with it


def _at(stream: Manifest, entry: Entry) -> bool:
    path = "/" + str(asked_by(stream)["path"]).partition("?")[0].lstrip("/")
    return re.search(pattern(path).pattern + r"\Z", entry.path) is not None


def report(spec: ConnectorSpec, given: Mapping[str, Any], entries: Sequence[Entry]) -> dict[str, str]:
    """For a connector that reads a file from a URL: the setting of that URL, as recorded."""
    if spec.files is None or spec.files.url is None:
        return {}
    documents = [entry.url for entry in entries if entry.method == "GET" and entry.status == 200]
    keys = [key for kind, key, _member in dummies.references(spec.files.url) if kind == "config"]
    if not documents or not keys or any(given.get(each) for each in ("path", "volume", *keys)):
        return {}
    return {keys[0]: documents[0]}
