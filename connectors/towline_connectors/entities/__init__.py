"""The normalised model: REGISTRY maps the name that manifests use to the entity."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from types import MappingProxyType
from typing import Final

from towline_connectors.entities.alert import ALERT
from towline_connectors.entities.application import APPLICATION
from towline_connectors.entities.approval import APPROVAL
from towline_connectors.entities.asset import ASSET
from towline_connectors.entities.asset_vulnerability import ASSET_VULNERABILITY
from towline_connectors.entities.auth_factor import AUTH_FACTOR
from towline_connectors.entities.change_request import CHANGE_REQUEST
from towline_connectors.entities.cloud_account import CLOUD_ACCOUNT
from towline_connectors.entities.comment import COMMENT
from towline_connectors.entities.event import EVENT
from towline_connectors.entities.field_change import FIELD_CHANGE
from towline_connectors.entities.finding import FINDING
from towline_connectors.entities.group import GROUP
from towline_connectors.entities.incident import INCIDENT
from towline_connectors.entities.indicator import INDICATOR
from towline_connectors.entities.membership import MEMBERSHIP
from towline_connectors.entities.model import Entity, Field
from towline_connectors.entities.policy import POLICY
from towline_connectors.entities.relation import RELATION
from towline_connectors.entities.scan import SCAN
from towline_connectors.entities.score import SCORE
from towline_connectors.entities.service import SERVICE
from towline_connectors.entities.sighting import SIGHTING
from towline_connectors.entities.software import SOFTWARE
from towline_connectors.entities.threat_report import THREAT_REPORT
from towline_connectors.entities.user import USER
from towline_connectors.entities.vulnerability import VULNERABILITY

__all__ = ["REGISTRY", "Entity", "Field", "get"]

_ALL = (
    ASSET,
    SOFTWARE,
    VULNERABILITY,
    ASSET_VULNERABILITY,
    FINDING,
    ALERT,
    INCIDENT,
    INDICATOR,
    USER,
    GROUP,
    MEMBERSHIP,
    SERVICE,
    POLICY,
    CHANGE_REQUEST,
    APPROVAL,
    RELATION,
    THREAT_REPORT,
    SIGHTING,
    SCAN,
    COMMENT,
    FIELD_CHANGE,
    CLOUD_ACCOUNT,
    EVENT,
    APPLICATION,
    AUTH_FACTOR,
    SCORE,
)

REGISTRY: Final = MappingProxyType({entity.name: entity for entity in _ALL})


def near(name: str, known: Iterable[str]) -> str:
    """The name that is meant, if one is alike, and all that there are."""
    names = sorted(known)
    alike = difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.8)
    return f"{f'is {alike[0]} meant? T' if alike else 't'}here are {', '.join(names)}"


def get(name: str) -> Entity:
    """The entity of that name. KeyError, with the names that exist, when there is none."""
    entity = REGISTRY.get(name)
    if entity is None:
        raise KeyError(f"there is no entity {name}; {near(name, REGISTRY)}")
    return entity
