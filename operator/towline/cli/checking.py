"""What can be said about manifests without a cluster."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from pydantic import BaseModel, ValidationError

from towline.api.base import GROUP
from towline.api.check import check as check_document
from towline.api.connector import Connector
from towline.api.integration import Integration
from towline.api.syncjob import SyncJob
from towline.cli import connectors, credentials
from towline.cli.errors import CliError
from towline.cli.lines import located
from towline.cli.local import DEFAULT_NAMESPACE, Choices, facts_of, plan_of
from towline.cli.manifests import Document
from towline.core import hosts
from towline.core.config import schema_problem, with_defaults
from towline.core.facts import RunSettings, SecretFacts, Surroundings, references
from towline.core.validate import Problem, View
from towline.core.validate import validate as validate_integration

MODELS: dict[str, type[BaseModel]] = {"Integration": Integration, "Connector": Connector, "SyncJob": SyncJob}


@dataclass(slots=True)
class Finding:
    """All about one object. `notes` tell what could not be checked."""

    document: Document
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def check(documents: Sequence[Document]) -> list[Finding]:
    """One finding for each Integration, Connector and SyncJob, in the order of the files."""
    findings = []
    for document in documents:
        model = MODELS.get(document.kind)
        if model is None and str(document.data.get("apiVersion", "")).startswith(f"{GROUP}/"):
            wrong = check_document(document.data, document.source)
            findings.append(Finding(document, located(document, wrong)))
            continue
        if model is None or not document.known:
            continue
        finding = Finding(document, check_document(document.data, document.source))
        with contextlib.suppress(ValidationError):  # then the problems tell already what is wrong
            parsed = model.model_validate(document.data)
            if isinstance(parsed, Connector):
                finding.problems += _connector(parsed, document.source)
            elif isinstance(parsed, Integration):
                _integration(parsed, documents, finding)
        finding.problems = located(document, finding.problems)
        findings.append(finding)
    return findings


def _connector(connector: Connector, source: str) -> list[str]:
    from towline_connectors.engine.compile import manifest_problems

    problem = schema_problem(connector.spec.config_schema) if connector.spec.config_schema else ""
    if problem:
        return [f"{source}: spec.{problem}"]
    return [f"{source}: {words}" for words in manifest_problems(connector.spec)]


def _integration(integration: Integration, documents: Sequence[Document], finding: Finding) -> None:
    name = integration.spec.connector_ref.name
    try:
        connector = connectors.load(name, documents)
    except CliError as error:
        if any(d.kind == "Connector" and d.known and d.name == name for d in documents):
            finding.notes.append(f'Connector "{name}" is not valid itself; what depends on it was not checked.')
        else:
            finding.notes += [str(error), *error.cure, "Its settings and streams were not checked."]
        return
    namespace = finding.document.namespace or DEFAULT_NAMESPACE
    around = _surroundings(integration, connector, documents, namespace, finding)
    outcome = validate_integration(integration, namespace, "", around, RunSettings())
    if isinstance(outcome, Problem):
        finding.problems.append(f"{finding.document.source}: {outcome.message}")
    else:
        finding.problems += _compiled(integration, namespace, outcome, finding)


def _compiled(integration: Integration, namespace: str, view: View, finding: Finding) -> list[str]:
    """What the engine says of the Integration's own filters and mappings."""
    from towline_connectors.engine.compile import compile_plan
    from towline_connectors.engine.errors import EngineError

    if finding.problems:
        return []  # a plan needs a good name, for one
    try:
        compile_plan(plan_of(integration, namespace, view, Choices()))
    except EngineError as error:
        return [f"{finding.document.source}: {error.message}"]
    except CliError as error:
        return [str(error)]
    return []


def _surroundings(
    integration: Integration, connector: Connector, documents: Sequence[Document], namespace: str, finding: Finding
) -> Surroundings:
    """What the files hold; what they lack counts as right and is noted."""
    needed = references(integration, connector, RunSettings())
    secrets: dict[str, SecretFacts | None] = {}
    for name in sorted(needed.secrets):
        document = credentials.find(documents, "Secret", name, namespace)
        if document is None:
            secrets[name] = _assumed(integration, connector)
            finding.notes.append(
                f'Secret "{name}" is not among the files: its keys and allowed hosts were not checked.'
            )
            continue
        try:
            secrets[name] = facts_of(credentials.secret(document))
        except CliError as error:
            secrets[name] = _assumed(integration, connector)
            finding.problems.append(str(error))
    maps: dict[str, SecretFacts | None] = {}
    for name in sorted(needed.config_maps):
        document = credentials.find(documents, "ConfigMap", name, namespace)
        if document is None:
            finding.notes.append(f'ConfigMap "{name}" is not among the files and was not checked.')
            ref = integration.spec.ca_bundle_ref
            maps[name] = SecretFacts("", frozenset({ref.key} if ref else ()))
        else:
            maps[name] = SecretFacts("", frozenset(document.data.get("data") or {}))
    # Which namespaces may use a connector depends on labels that only the cluster has.
    free = connector.model_copy(update={"spec": connector.spec.model_copy(update={"allowed_namespaces": None})})
    return Surroundings(connector=free, secrets=secrets, config_maps=maps)


def _assumed(integration: Integration, connector: Connector) -> SecretFacts:
    """Facts with which a Secret that is not at hand passes."""
    spec = integration.spec
    renamed = (spec.credentials.keys if spec.credentials else None) or {}
    keys = {renamed.get(entry.key, entry.key) for entry in connector.spec.credentials or []} | {"url", "proxy_url"}
    if spec.ca_bundle_ref:
        keys.add(spec.ca_bundle_ref.key)
    settled = with_defaults(connector.spec.config_schema or {}, spec.config or {})
    try:
        chosen = hosts.resolve(connector.spec.egress or [], settled).chosen
    except hosts.HostError:
        chosen = ()  # refused with a sentence of its own
    return SecretFacts("", frozenset(keys), ",".join(map(str, chosen)))
