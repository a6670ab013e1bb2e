"""Secrets and ConfigMaps, read by name. Of what comes back only names of keys and metadata are kept."""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Callable
from typing import Any

from towline.contract import ALLOWED_HOSTS, EXPIRES_AT
from towline.core.activity import ACTORS, actors, changed_by
from towline.core.facts import SecretFacts
from towline.kube.client import Client
from towline.kube.errors import NotFoundError
from towline.kube.resources import NAMESPACES, Resource

_FORGET_SECONDS = 1800.0
_ABSENT_SECONDS = 0.9  # what was not there a moment ago may have been applied since


class Facts:
    """Facts of named objects, remembered for as long as the caller accepts."""

    def __init__(self, client: Client, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._clock = clock
        self._known: dict[tuple[str, str, str], tuple[float, SecretFacts | None]] = {}
        self._labels: dict[str, tuple[float, dict[str, str]]] = {}

    async def read(self, resource: Resource, namespace: str, name: str, max_age: float) -> SecretFacts | None:
        """What a Secret or ConfigMap is like, at most `max_age` seconds ago; None if it does not exist.

        An object that has not changed is asked for its metadata only.
        """
        place = (resource.plural, namespace, name)
        now = self._clock()
        read_at, facts = self._known.get(place, (0.0, None))
        if place in self._known and now - read_at <= (max_age if facts else min(max_age, _ABSENT_SECONDS)):
            return facts
        try:
            if (
                facts is None
                or version_of(await self._client.get_metadata(*self._at(resource, place))) != facts.version
            ):
                facts = facts_of(await self._client.get(*self._at(resource, place)))
        except NotFoundError:
            facts = None
        self._known[place] = (now, facts)
        return facts

    def outdated(self, resource: Resource, namespace: str, name: str, version: str) -> bool:
        """Note that an object has this version now (empty: none); whether that is news, so that it is read again."""
        place = (resource.plural, namespace, name)
        if place not in self._known:
            return True
        facts = self._known[place][1]
        if version == (facts.version if facts else ""):
            return False
        self._known[place] = (float("-inf"), facts)
        return True

    async def namespace_labels(self, name: str, max_age: float) -> dict[str, str]:
        """The labels of a namespace, at most `max_age` seconds old."""
        read_at, labels = self._labels.get(name, (0.0, {}))
        if name in self._labels and self._clock() - read_at <= max_age:
            return labels
        try:
            meta = (await self._client.get_metadata(NAMESPACES, "", name)).get("metadata", {})
        except NotFoundError:
            meta = {}
        self._labels[name] = (self._clock(), dict(meta.get("labels") or {}))
        return self._labels[name][1]

    def forget_old(self) -> None:
        """Drop what nobody has asked for in a while."""
        limit = self._clock() - _FORGET_SECONDS
        self._known = {place: entry for place, entry in self._known.items() if entry[0] >= limit}
        self._labels = {name: labelled for name, labelled in self._labels.items() if labelled[0] >= limit}

    @staticmethod
    def _at(resource: Resource, place: tuple[str, str, str]) -> tuple[Resource, str, str]:
        return resource, place[1], place[2]


def version_of(obj: dict[str, Any]) -> str:
    """`uid/resourceVersion` of an object."""
    return f"{obj['metadata']['uid']}/{obj['metadata']['resourceVersion']}"


def values_of(obj: dict[str, Any]) -> dict[str, str]:
    """The texts in a Secret or ConfigMap. For a call that is made at once; never keep what is returned."""
    if obj.get("kind") == "ConfigMap":
        return {key: str(value) for key, value in (obj.get("data") or {}).items()}
    found = {}
    for key, value in (obj.get("data") or {}).items():
        try:
            found[key] = base64.b64decode(value).decode().rstrip("\r\n")
        except (binascii.Error, UnicodeDecodeError):
            continue  # a binary value is no credential of HTTP
    return found


def facts_of(obj: dict[str, Any]) -> SecretFacts:
    """Names of keys and metadata. Empty values do not count as present."""
    keys = frozenset(key for part in ("data", "binaryData") for key, value in (obj.get(part) or {}).items() if value)
    annotations = obj["metadata"].get("annotations") or {}
    manager, when = changed_by({**obj["metadata"], ACTORS: actors(obj["metadata"].get("managedFields"))})
    return SecretFacts(
        version_of(obj),
        keys,
        str(annotations.get(ALLOWED_HOSTS) or ""),
        str(annotations.get(EXPIRES_AT) or ""),
        manager,
        when or "",
    )
