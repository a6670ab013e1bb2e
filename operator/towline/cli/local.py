"""Prepares a connector run without a cluster: from manifests to a plan, checked as the operator checks it."""

from __future__ import annotations

import getpass
import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from towline.api.base import API_VERSION
from towline.api.check import check
from towline.api.conditions import Reason
from towline.api.connector import Connector
from towline.api.integration import Credentials as CredentialsSpec
from towline.api.integration import Integration, IntegrationStream, SecretRef
from towline.api.syncjob import IntegrationRef, Mode, SyncJob, SyncJobSpec
from towline.cli import connectors, credentials
from towline.cli.credentials import Credentials, Secret
from towline.cli.errors import CliError
from towline.cli.manifests import Document
from towline.cli.output import program
from towline.contract import ALLOWED_HOSTS, EXIT_CODES, ExitCode, Origin, Plan
from towline.core import hosts
from towline.core.config import with_defaults
from towline.core.facts import RunSettings, SecretFacts, Surroundings, references
from towline.core.plan import PlanTooLargeError, build_plan
from towline.core.validate import Problem, View, validate

DEFAULT_NAMESPACE = "default"
LONGEST_RUN = 7 * 86400  # seconds; who sits before it ends a run with Ctrl-C
COMMAND_LINE = "the command line"
_ENVIRONMENT = "environment"  # stands for the Secret when all credentials come from variables


@dataclass(frozen=True, slots=True)
class Choices:
    """What the command line says beside the manifests."""

    streams: tuple[str, ...] = ()
    full: bool = False
    check: bool = False
    settings: tuple[str, ...] = ()  # key=value


@dataclass(frozen=True, slots=True)
class Prepared:
    """A run, ready to start. `notes` are sentences for the user before it starts."""

    plan: Plan
    title: str
    secrets: Mapping[str, str] = field(repr=False)
    ca_bundle: str | None = field(default=None, repr=False)  # PEM
    proxy: str | None = field(default=None, repr=False)
    notes: tuple[str, ...] = ()
    credentials_from: str = ""  # where a missing value has to be put

    @property
    def name(self) -> str:
        """Of the Integration."""
        return self.plan.integration.partition("/")[2]


def of_connector(name: str) -> Document:
    """An Integration for a connector that is called by its name alone."""
    spec = {"connectorRef": {"name": name}, "credentials": {"source": "None"}}
    data = {"apiVersion": API_VERSION, "kind": "Integration", "metadata": {"name": name}, "spec": spec}
    return Document(COMMAND_LINE, data)


def choose(documents: Sequence[Document], name: str | None) -> list[Document]:
    """The Integrations to run: all, or the one called `name`. Raises CliError when there is none."""
    # Camel K has Integrations too, and Tailscale Connectors: `known` tells ours.
    found = [document for document in documents if document.kind == "Integration" and document.known]
    names = ", ".join(document.name for document in found)
    if not found:
        raise CliError(
            "There is no Integration among the manifests.",
            f"An example of one: {program()} explain CONNECTOR --example",
            exit_code=ExitCode.CONFIG,
        )
    if name is None:
        return found
    chosen = [document for document in found if document.name == name]
    if not chosen:
        raise CliError(f'There is no Integration "{name}" among the manifests: {names}.', exit_code=ExitCode.USAGE)
    return chosen


def prepare(
    document: Document, documents: Sequence[Document], choices: Choices, environment: Mapping[str, str]
) -> Prepared:
    """The plan of one Integration. Raises CliError with the operator's own sentence when it cannot run."""
    integration = parsed(document)
    namespace = document.namespace or DEFAULT_NAMESPACE
    connector = connectors.load(integration.spec.connector_ref.name, documents)
    secret = _secret_of(integration, documents, namespace)
    values = credentials.gather(integration, connector, secret, environment)
    adapted = _adapted(integration, connector, values, choices)
    around = _surroundings(adapted, connector, documents, namespace, secret, values)
    view = validate(adapted, namespace, "", around, RunSettings())
    if isinstance(view, Problem):
        raise _refused(view, document, connector, secret)
    return Prepared(
        plan=plan_of(adapted, namespace, view, choices),
        title=connector.spec.title,
        secrets=values.values,
        ca_bundle=_ca_bundle(integration, documents, namespace),
        proxy=_proxy(integration, documents, namespace),
        notes=_notes(integration, view, values, secret),
        credentials_from=f'Secret "{secret.name}" ({secret.source})' if secret else "the environment",
    )


def parsed(document: Document) -> Integration:
    title = f'Integration "{document.name}" is not valid.'
    if problems := check(document.data, document.source):
        raise CliError(title, *problems, exit_code=ExitCode.CONFIG)
    return Integration.model_validate(document.data)


def facts_of(secret: Secret) -> SecretFacts:
    return SecretFacts("", frozenset(secret.values), secret.annotations.get(ALLOWED_HOSTS, ""))


def _secret_of(integration: Integration, documents: Iterable[Document], namespace: str) -> Secret | None:
    given = integration.spec.credentials
    if given is None or given.secret_ref is None:
        return None
    document = credentials.find(documents, "Secret", given.secret_ref.name, namespace)
    return credentials.secret(document) if document else None


def _adapted(integration: Integration, connector: Connector, values: Credentials, choices: Choices) -> Integration:
    """The Integration as it runs here: with the settings and streams of the command line, without a destination
    of the cluster, and with the environment in the place of the Secret when all values come from there."""
    spec = integration.spec
    update: dict[str, Any] = {"destination_secret_ref": None}
    if choices.settings:
        update["config"] = _with_settings(spec.config or {}, connector, choices.settings)
    if choices.streams:
        known = {stream.name: stream for stream in spec.streams or []}
        update["streams"] = [known.get(name) or _stream(name) for name in dict.fromkeys(choices.streams)]
    if values.values and len(values.environment) == len(values.values):
        update["credentials"] = CredentialsSpec(secret_ref=SecretRef(name=_ENVIRONMENT))
    return integration.model_copy(update={"spec": spec.model_copy(update=update)})


def _stream(name: str) -> IntegrationStream:
    try:
        return IntegrationStream(name=name)
    except ValidationError:
        raise CliError(f'--stream: "{name}" is not the name of a stream.', exit_code=ExitCode.USAGE) from None


def _with_settings(config: Mapping[str, Any], connector: Connector, settings: Iterable[str]) -> dict[str, Any]:
    properties = (connector.spec.config_schema or {}).get("properties") or {}
    changed = dict(config)
    for setting in settings:
        key, separator, text = setting.partition("=")
        if not separator or not key:
            raise CliError(f'--set takes key=value; "{setting}" has no value.', exit_code=ExitCode.USAGE)
        changed[key] = _typed(key, text, (properties.get(key) or {}).get("type"))
    return changed


def _typed(key: str, text: str, kind: Any) -> Any:
    """A value in the type that the connector's schema names; texts need no quotes."""
    if kind in (None, "string"):
        return text
    try:
        return json.loads(text)
    except ValueError:
        if kind == "array":
            return [part.strip() for part in text.split(",")]
        raise CliError(f'--set {key}: "{text}" is not of type {kind}.', exit_code=ExitCode.USAGE) from None


def _surroundings(
    integration: Integration,
    connector: Connector,
    documents: Sequence[Document],
    namespace: str,
    secret: Secret | None,
    values: Credentials,
) -> Surroundings:
    facts: dict[str, SecretFacts | None] = {}
    for name in references(integration, connector, RunSettings()).secrets:
        if document := credentials.find(documents, "Secret", name, namespace):
            facts[name] = facts_of(credentials.secret(document))
    if secret is not None and values.environment:
        # Values from both: those of the environment stand in for keys that the Secret lacks.
        renamed = (integration.spec.credentials.keys if integration.spec.credentials else None) or {}
        added = {renamed.get(key, key) for key in values.environment}
        own = facts_of(secret)
        facts[secret.name] = SecretFacts("", frozenset(own.keys | added), own.allowed_hosts)
    facts[_ENVIRONMENT] = SecretFacts("", frozenset(values.values), _chosen_hosts(integration, connector))
    maps: dict[str, SecretFacts | None] = {
        document.name: SecretFacts("", frozenset(document.data.get("data") or {}))
        for document in documents
        if document.kind == "ConfigMap" and document.namespace in ("", namespace)
    }
    # Which namespaces may use a connector is a cluster's matter.
    free = connector.model_copy(update={"spec": connector.spec.model_copy(update={"allowed_namespaces": None})})
    return Surroundings(connector=free, secrets=facts, config_maps=maps)


def _chosen_hosts(integration: Integration, connector: Connector) -> str:
    """The hosts that the settings choose: who gives credentials by the environment sends them there knowingly."""
    settled = with_defaults(connector.spec.config_schema or {}, integration.spec.config or {})
    try:
        return ",".join(str(host) for host in hosts.resolve(connector.spec.egress or [], settled).chosen)
    except hosts.HostError:
        return ""  # `validate` refuses the setting with a sentence


def _refused(problem: Problem, document: Document, connector: Connector, secret: Secret | None) -> CliError:
    by_name = document.source == COMMAND_LINE
    message, cure = problem.message, []
    no_credentials = problem.message.startswith("spec.credentials is missing")
    if no_credentials or problem.reason in (Reason.SECRET_NOT_FOUND, Reason.KEY_MISSING):
        required = [key.key for key in connector.spec.credentials or [] if not key.optional]
        if by_name:
            message = f"it needs the credentials {' and '.join(required)}"
        variables = " and ".join(credentials.variable_of(key) for key in required)
        given = "set" if by_name else "give the Secret's manifest with -f as well, or set"
        cure.append(f"Without a cluster: {given} {variables}." if variables else "")
    if problem.reason == Reason.HOST_NOT_ALLOWED and secret is not None:
        cure.append(
            f'Without a cluster: put the annotation {ALLOWED_HOSTS} into Secret "{secret.name}" ({secret.source}).'
        )
    if by_name:
        name = connector.metadata["name"]
        cure.append(f"Settings are given with --set KEY=VALUE; {program()} explain {name} lists them.")
        cure.append(f"Manifests to fill in: {program()} explain {name} --example > {name}.yaml")
    code = EXIT_CODES.get(problem.reason, ExitCode.CONFIG)
    message = message.rstrip(".")
    text = f"{document.name} cannot run ({problem.reason}): {message}{'' if message.endswith('?') else '.'}"
    return CliError(text, *[line for line in cure if line], exit_code=code)


def plan_of(integration: Integration, namespace: str, view: View, choices: Choices) -> Plan:
    """The plan that the operator would write for a SyncJob made now."""
    name = str(integration.metadata["name"])
    now = datetime.now(UTC)
    mode: Mode = "Check" if choices.check else "Full" if choices.full else "Incremental"
    sync = SyncJob(
        metadata={
            "name": f"{name}-local-{now:%Y%m%dt%H%M%Sz}",
            "namespace": namespace,
            "uid": str(uuid.uuid4()),
            "creationTimestamp": now.isoformat(),
        },
        spec=SyncJobSpec(integration_ref=IntegrationRef(name=name), mode=mode),
    )
    try:
        origin = Origin(trigger="Manual", actor=_person())
        return build_plan(sync, 1, integration, view, RunSettings(deadline_seconds=LONGEST_RUN), origin)
    except PlanTooLargeError as error:
        raise CliError(f"{name} cannot run: {error}.", exit_code=ExitCode.CONFIG) from None


def _person() -> str:
    """Who sits here, for the record of the run."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container without a user's name
        return ""


def _ca_bundle(integration: Integration, documents: Sequence[Document], namespace: str) -> str | None:
    ref = integration.spec.ca_bundle_ref
    document = credentials.find(documents, ref.kind, ref.name, namespace) if ref else None
    if ref is None or document is None:
        return None
    if ref.kind == "Secret":
        return credentials.secret(document).values.get(ref.key)
    return str((document.data.get("data") or {}).get(ref.key, "")) or None


def _proxy(integration: Integration, documents: Sequence[Document], namespace: str) -> str | None:
    ref = integration.spec.proxy_secret_ref
    document = credentials.find(documents, "Secret", ref.name, namespace) if ref else None
    return credentials.secret(document).values.get("proxy_url") if document else None


def _notes(integration: Integration, view: View, values: Credentials, secret: Secret | None) -> tuple[str, ...]:
    notes = []
    if values.values:
        sources = []
        if values.environment:
            sources.append(", ".join(credentials.variable_of(key) for key in values.environment))
        if secret is not None and len(values.environment) < len(values.values):
            sources.append(f'Secret "{secret.name}" ({secret.source})')
        notes.append(f"credentials: {' and '.join(sources)}; they go to no host but {_or(view.allowed_hosts)}")
    if integration.spec.destination_secret_ref:
        name = integration.spec.destination_secret_ref.name
        notes.append(f'the destination of Secret "{name}" is for the cluster and not used here; choose one with --to')
    return tuple(notes)


def _or(words: Sequence[str]) -> str:
    return " or ".join(words) or "none"
