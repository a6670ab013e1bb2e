"""Gathers what an Integration is checked against."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from towline.api.conditions import Reason
from towline.api.integration import Integration
from towline.controller.context import Context
from towline.core.connectors import connector_problem
from towline.core.facts import RunSettings, SecretFacts, Surroundings, references
from towline.core.validate import Problem, View, validate
from towline.kube.resources import CONFIGMAPS, SECRETS

_NAMESPACE_SECONDS = 300.0


async def check_integration(
    context: Context, raw: dict[str, Any], integration: Integration, max_age: float
) -> tuple[View | Problem | None, Surroundings]:
    """An Integration checked against objects that are at most `max_age` seconds old; None: not yet possible."""
    namespace = str(integration.metadata["namespace"])
    settings = context.settings.runs
    found = context.cache.get("Connector", "", integration.spec.connector_ref.name)
    if found is None:
        known = tuple(sorted(one["metadata"]["name"] for one in context.cache.all("Connector")))
        around = Surroundings(known_connectors=known)
        return validate(integration, namespace, raw["metadata"]["uid"], around, settings), around
    wrong = connector_problem(found)
    if wrong is None:
        return None, Surroundings()
    generation = int(found["metadata"].get("generation") or 1)
    try:
        connector = context.connector(found)
    except ValidationError:
        text = wrong or "its manifest does not fit this version of Towline"
        name = integration.spec.connector_ref.name
        around = Surroundings(connector_problem=text, connector_generation=generation)
        return Problem(Reason.CONNECTOR_INVALID, f'Connector "{name}" cannot be used: {text}'), around
    needed = references(integration, connector, settings)
    secrets: dict[str, SecretFacts | None] = {}
    for name in sorted(needed.secrets):
        secrets[name] = await context.facts.read(SECRETS, namespace, name, max_age)
    config_maps: dict[str, SecretFacts | None] = {}
    for name in sorted(needed.config_maps):
        config_maps[name] = await context.facts.read(CONFIGMAPS, namespace, name, max_age)
    labels = (
        await context.facts.namespace_labels(namespace, min(max_age, _NAMESPACE_SECONDS)) if needed.namespace else {}
    )
    around = Surroundings(
        connector=connector,
        connector_uid=str(found["metadata"]["uid"]),
        connector_generation=generation,
        connector_problem=wrong,
        namespace_labels=labels,
        secrets=secrets,
        config_maps=config_maps,
    )
    return validate(integration, namespace, raw["metadata"]["uid"], around, settings), around


def depends_on_others(integration: Integration, around: Surroundings, settings: RunSettings) -> bool:
    """Whether what an Integration depends on has to be looked at from time to time, because nothing tells of a change:
    Secrets, ConfigMaps, labels of its namespace."""
    needed = references(integration, around.connector, settings)
    return bool(needed.secrets or needed.config_maps or needed.namespace)
