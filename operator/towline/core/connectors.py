"""What a Connector's status says: whether its manifest can be used, and how many Integrations use it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from towline.api.conditions import Condition, ConditionType, Reason
from towline.api.connector import Connector
from towline.api.explain import explain
from towline.core import config
from towline.core.actions import Action, Decision, Emit, PatchStatus
from towline.core.conditions import Wanted, find, settle
from towline.core.hosts import HostError, parse

Check = Callable[[Connector], list[str]]
"""Compiles a manifest; sentences about what is wrong with it, none if it can be run."""
_MAX_SENTENCES = 5


def problems(raw: Mapping[str, Any], check: Check) -> list[str]:
    """What is wrong with a Connector as it stands in the API server."""
    try:
        connector = Connector.model_validate(raw)
    except ValidationError as error:
        return explain(error)
    found = []
    if connector.spec.config_schema and (wrong := config.schema_problem(connector.spec.config_schema)):
        found.append(f"spec.{wrong}")
    for index, entry in enumerate(connector.spec.egress or []):
        if "${" in entry:
            continue
        try:
            parse(entry)
        except HostError:
            found.append(f'spec.egress[{index}]: "{entry}" is not a host: write host, host:port or *.domain')
    return found or check(connector)


def reconcile_connector(raw: Mapping[str, Any], wrong: list[str], users: int | None, now: datetime) -> Decision:
    """The status of one Connector. `users`: how many Integrations name it; None where nobody can tell."""
    meta = raw.get("metadata", {})
    if meta.get("deletionTimestamp"):
        return Decision()
    generation = int(meta.get("generation") or 1)
    before = previous_conditions(raw)
    if wrong:
        more = f" (and {len(wrong) - _MAX_SENTENCES} more)" if len(wrong) > _MAX_SENTENCES else ""
        text = "; ".join(wrong[:_MAX_SENTENCES]) + more
        wanted = [
            Wanted(ConditionType.READY, "False", Reason.INVALID_MANIFEST, text),
            Wanted(ConditionType.STALLED, "True", Reason.INVALID_MANIFEST, text),
        ]
    else:
        wanted = [Wanted(ConditionType.READY, "True", Reason.VALID, "The manifest can be used")]
    status = {
        "observedGeneration": generation,
        **({"users": users} if users is not None else {}),
        "conditions": settle(before, wanted, generation, now),
    }
    actions: list[Action] = [PatchStatus(status)]
    old = find(before, ConditionType.READY)
    if wrong and (old is None or old.status != "False" or old.observed_generation != generation):
        actions.append(Emit("Warning", Reason.INVALID_MANIFEST, wanted[0].message))
    return Decision(actions)


def connector_problem(raw: Mapping[str, Any]) -> str | None:
    """Why a Connector cannot be used, from its status: empty if it can, None if it has not been checked yet."""
    status = raw.get("status") or {}
    if status.get("observedGeneration") != raw.get("metadata", {}).get("generation"):
        return None
    ready = find(previous_conditions(raw), ConditionType.READY)
    if ready is None or ready.status == "Unknown":
        return None
    return "" if ready.status == "True" else ready.message


def previous_conditions(raw: Mapping[str, Any]) -> list[Condition]:
    """The conditions in the status of an object; those that cannot be read are left out."""
    found = []
    for entry in (raw.get("status") or {}).get("conditions") or []:
        try:
            found.append(Condition.model_validate(entry))
        except ValidationError:
            continue
    return found
