"""An Integration against the objects that it names: either a view that can be run, or a problem with its cure.

The command line uses the same function, so that both say the same sentence.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from towline.api.conditions import Reason
from towline.api.connector import AllowedNamespaces, Connector, CredentialKey, LabelSelector
from towline.api.integration import Integration, IntegrationStream
from towline.contract import ALLOWED_HOSTS
from towline.core import config, hosts, times
from towline.core.facts import RunSettings, SecretFacts, Surroundings, destination_secret
from towline.core.schedule import ScheduleError, Timetable, timetable


@dataclass(frozen=True)
class Problem:
    """Why an Integration cannot run. The message names the thing and the cure."""

    reason: Reason
    message: str


@dataclass(frozen=True)
class View:
    """An Integration that can run."""

    connector: Connector
    config: dict[str, Any]
    streams: tuple[IntegrationStream, ...]
    allowed_hosts: tuple[str, ...]
    timetable: Timetable | None
    credential_items: tuple[tuple[str, str], ...]
    """Pairs (key in the Secret, credential of the connector)."""
    credentials_version: str
    destination_secret: str
    expires: datetime | None = None
    """When the credentials expire, where their Secret says."""


class _InvalidError(Exception):
    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.problem = Problem(reason, message)


def validate(
    integration: Integration, namespace: str, uid: str, around: Surroundings, settings: RunSettings
) -> View | Problem:
    """Check everything that can be checked without asking the vendor."""
    try:
        connector = _connector(integration, namespace, around)
        streams = _streams(integration, connector)
        settled = _config(integration, connector)
        table = _timetable(integration, uid)
        items, version, consent = _credentials(integration, connector, namespace, around)
        allowed = _hosts(integration, connector, settled, namespace, consent)
        _extras(integration, namespace, around)
        destination = _destination(integration, namespace, around, settings)
    except _InvalidError as invalid:
        return invalid.problem
    expires = times.moment(consent.expires_at) if consent else None
    return View(connector, settled, streams, allowed, table, items, version, destination, expires)


def _connector(integration: Integration, namespace: str, around: Surroundings) -> Connector:
    name = integration.spec.connector_ref.name
    if around.connector is None:
        close = difflib.get_close_matches(name, around.known_connectors, n=1)
        hint = f'Did you mean "{close[0]}"? ' if close else ""
        raise _InvalidError(
            Reason.CONNECTOR_NOT_FOUND,
            f'Connector "{name}" does not exist. {hint}kubectl get connectors lists those that do; connectorRef'
            " cannot be changed, so delete this Integration and create it anew, or create the Connector",
        )
    if around.connector_problem:
        raise _InvalidError(
            Reason.CONNECTOR_INVALID,
            f'Connector "{name}" cannot be used, its administrator has to correct it: {around.connector_problem}',
        )
    allowed = around.connector.spec.allowed_namespaces
    if allowed and not _namespace_allowed(allowed, around.namespace_labels):
        raise _InvalidError(
            Reason.NAMESPACE_NOT_ALLOWED,
            f'Connector "{name}" is not open to namespace "{namespace}": its labels have to match'
            f" {_selector_text(allowed.selector)} (kubectl label namespace {namespace} …)",
        )
    return around.connector


def _streams(integration: Integration, connector: Connector) -> tuple[IntegrationStream, ...]:
    known = [stream.name for stream in connector.spec.streams or []]
    wanted = integration.spec.streams
    if wanted is None:
        return tuple(IntegrationStream(name=name) for name in known)
    for index, stream in enumerate(wanted):
        if stream.name not in known:
            close = difflib.get_close_matches(stream.name, known, n=1)
            hint = f"did you mean {close[0]}?" if close else f"it has {', '.join(known)}"
            raise _InvalidError(
                Reason.INVALID_SPEC,
                f'spec.streams[{index}].name: Connector "{integration.spec.connector_ref.name}" has no stream'
                f' "{stream.name}": {hint}',
            )
    return tuple(wanted)


def _config(integration: Integration, connector: Connector) -> dict[str, Any]:
    given = integration.spec.config if isinstance(integration.spec.config, Mapping) else {}
    schema = connector.spec.config_schema
    if not schema:
        if given:
            raise _InvalidError(Reason.INVALID_SPEC, "spec.config: this connector has no settings: leave config out")
        return {}
    filled = config.with_defaults(schema, given)
    if wrong := config.check(schema, filled):
        raise _InvalidError(Reason.INVALID_SPEC, "spec." + "; ".join(wrong))
    return filled


def _timetable(integration: Integration, uid: str) -> Timetable | None:
    if integration.spec.schedule is None:
        return None
    try:
        return timetable(integration.spec.schedule, uid)
    except ScheduleError as error:
        raise _InvalidError(error.reason, f"spec.{error}") from None


def _credentials(
    integration: Integration, connector: Connector, namespace: str, around: Surroundings
) -> tuple[tuple[tuple[str, str], ...], str, SecretFacts | None]:
    declared = connector.spec.credentials or []
    required = [entry.key for entry in declared if not entry.optional]
    given = integration.spec.credentials
    if given is None or given.source != "Secret" or given.secret_ref is None:
        if required:
            raise _InvalidError(
                Reason.INVALID_SPEC,
                f"spec.credentials is missing: this connector needs a Secret with {_and(required)}."
                f" {_create_secret(namespace, integration_secret(integration), required)}",
            )
        return (), "", None
    name = given.secret_ref.name
    facts = around.secrets.get(name)
    keys = given.keys or {}
    if unknown := sorted(set(keys) - {entry.key for entry in declared}):
        names = [entry.key for entry in declared]
        raise _InvalidError(
            Reason.INVALID_SPEC,
            f"spec.credentials.keys: this connector has no credential {_and(unknown)}: it has {_and(names)}",
        )
    if facts is None:
        literals = [keys.get(key, key) for key in required]
        raise _InvalidError(
            Reason.SECRET_NOT_FOUND,
            f'Secret "{name}" does not exist in namespace "{namespace}". {_create_secret(namespace, name, literals)}',
        )
    items = _items(declared, keys, facts)
    present = {credential for _, credential in items}
    if missing := [keys.get(key, key) for key in required if key not in present]:
        raise _InvalidError(
            Reason.KEY_MISSING,
            f'Secret "{name}" lacks the key{"s" if len(missing) > 1 else ""} {_and(missing)}. Add what is missing, or'
            " say in spec.credentials.keys which key of the Secret holds it:"
            f" kubectl -n {namespace} edit secret {name}",
        )
    return items, facts.version, facts


def _items(declared: list[CredentialKey], keys: Mapping[str, str], facts: SecretFacts) -> tuple[tuple[str, str], ...]:
    pairs = ((keys.get(entry.key, entry.key), entry.key) for entry in declared)
    return tuple((in_secret, credential) for in_secret, credential in pairs if in_secret in facts.keys)


def _hosts(
    integration: Integration,
    connector: Connector,
    settled: Mapping[str, Any],
    namespace: str,
    consent: SecretFacts | None,
) -> tuple[str, ...]:
    try:
        egress = hosts.resolve(connector.spec.egress or [], settled)
    except hosts.HostError as error:
        raise _InvalidError(
            Reason.INVALID_SPEC,
            f'spec.config leads to "{error}", which is not a host: give a host name, host:port or a URL'
            " without user and password",
        ) from None
    if consent is not None:
        allowed = hosts.allowances(consent.allowed_hosts)
        for host in egress.chosen:
            if not any(entry.covers(host) for entry in allowed):
                name = integration_secret(integration)
                value = ",".join([*(str(entry) for entry in allowed), str(host)])
                raise _InvalidError(
                    Reason.HOST_NOT_ALLOWED,
                    f'the credentials would be sent to "{host}", which Secret "{name}" does not allow. If that host is'
                    f" right: kubectl -n {namespace} annotate --overwrite secret {name} '{ALLOWED_HOSTS}={value}'",
                )
    return tuple(dict.fromkeys(host.name for host in (*egress.fixed, *egress.chosen)))


def _extras(integration: Integration, namespace: str, around: Surroundings) -> None:
    spec = integration.spec
    if spec.proxy_secret_ref:
        _need(around.secrets, "Secret", spec.proxy_secret_ref.name, "proxy_url", namespace, "spec.proxySecretRef")
    if spec.ca_bundle_ref:
        ref = spec.ca_bundle_ref
        found = around.secrets if ref.kind == "Secret" else around.config_maps
        _need(found, ref.kind, ref.name, ref.key, namespace, "spec.caBundleRef")


def _destination(integration: Integration, namespace: str, around: Surroundings, settings: RunSettings) -> str:
    name = destination_secret(integration, settings)
    if name:
        field = "spec.destinationSecretRef" if integration.spec.destination_secret_ref else "the default destination"
        _need(around.secrets, "Secret", name, "url", namespace, field)
    return name


def _need(found: Mapping[str, SecretFacts | None], kind: str, name: str, key: str, namespace: str, field: str) -> None:
    facts = found.get(name)
    if facts is None:
        what = "secret generic" if kind == "Secret" else "configmap"
        source = f"--from-literal={key}=…" if kind == "Secret" else f"--from-file={key}=…"
        raise _InvalidError(
            Reason.SECRET_NOT_FOUND,
            f'{field}: {kind} "{name}" does not exist in namespace "{namespace}".'
            f" Create it: kubectl -n {namespace} create {what} {name} {source}",
        )
    if key not in facts.keys:
        raise _InvalidError(
            Reason.KEY_MISSING,
            f'{field}: {kind} "{name}" lacks the key {key}: kubectl -n {namespace} edit {kind.lower()} {name}',
        )


def integration_secret(integration: Integration) -> str:
    """The Secret with the credentials, or the name that one would give it."""
    given = integration.spec.credentials
    if given and given.secret_ref:
        return given.secret_ref.name
    return f"{integration.metadata.get('name', 'integration')}-credentials"


def _create_secret(namespace: str, name: str, keys: list[str]) -> str:
    literals = " ".join(f"--from-literal={key}=…" for key in keys)
    return f"Create it: kubectl -n {namespace} create secret generic {name} {literals}".rstrip()


def _namespace_allowed(allowed: AllowedNamespaces, labels: Mapping[str, str]) -> bool:
    if allowed.from_ == "All" or allowed.selector is None:
        return True
    for key, value in (allowed.selector.match_labels or {}).items():
        if labels.get(key) != value:
            return False
    for requirement in allowed.selector.match_expressions or []:
        value_now = labels.get(requirement.key)
        matches = {
            "In": value_now in (requirement.values or []),
            "NotIn": value_now not in (requirement.values or []),
            "Exists": requirement.key in labels,
            "DoesNotExist": requirement.key not in labels,
        }
        if not matches[requirement.operator]:
            return False
    return True


def _selector_text(selector: LabelSelector | None) -> str:
    if selector is None:
        return "its selector"
    parts = [f"{key}={value}" for key, value in (selector.match_labels or {}).items()]
    needs = selector.match_expressions or []
    parts += [f"{need.key} {need.operator} {', '.join(need.values or [])}".strip() for need in needs]
    return " and ".join(parts)


def _and(names: list[str]) -> str:
    if len(names) < 2:
        return names[0] if names else "none"
    return f"{', '.join(names[:-1])} and {names[-1]}"
