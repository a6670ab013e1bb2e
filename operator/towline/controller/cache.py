"""The operator's copy of the objects that it watches. It never goes back to an older version of one."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from sys import intern
from typing import Any

from towline.contract import CHECKS_UNTIL, ENDS_UNTIL
from towline.core.activity import ACTORS, actors
from towline.core.facts import INTEGRATION_LABEL, MANAGED_BY, MANAGER, SYNC_LABEL
from towline.core.jobspec import CONTAINER
from towline.kube.resources import BY_KIND

_TOMBSTONE_SECONDS = 900.0
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
Place = tuple[str, str]
"""Namespace and name."""


class Cache:
    """Objects by kind and place, with the indexes that reconciling needs. Used from one event loop only."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._objects: dict[str, dict[Place, dict[str, Any]]] = defaultdict(dict)
        self._groups: dict[tuple[str, Place], set[Place]] = defaultdict(set)
        self._buried: dict[str, float] = {}
        self._last_words: dict[Place, dict[str, tuple[float, dict[str, Any]]]] = defaultdict(dict)

    def get(self, kind: str, namespace: str, name: str) -> dict[str, Any] | None:
        return self._objects[kind].get((namespace, name))

    def all(self, kind: str) -> Iterator[dict[str, Any]]:
        yield from list(self._objects[kind].values())

    def count(self, kind: str) -> int:
        return len(self._objects[kind])

    def group(self, kind: str, namespace: str, parent: str) -> list[dict[str, Any]]:
        """SyncJobs of an Integration, Jobs and pods of a SyncJob, Integrations of a Connector (namespace empty)."""
        found = self._objects[kind]
        return [found[place] for place in sorted(self._groups.get((kind, (namespace, parent)), ()))]

    def departed(self, namespace: str, sync: str) -> list[dict[str, Any]]:
        """Pods of a SyncJob that are gone: what they said last, kept for a while."""
        return [pod for _, pod in self._last_words.get((namespace, sync), {}).values()]

    def put(self, kind: str, obj: dict[str, Any]) -> bool:
        """Take in an object; False if it is no news."""
        meta = obj["metadata"]
        if meta["uid"] in self._buried:
            return False
        place = (meta.get("namespace", ""), meta["name"])
        old = self._objects[kind].get(place)
        if old is not None and old["metadata"]["uid"] == meta["uid"] and _version(old) >= _version(obj):
            return False
        self._objects[kind][place] = obj
        if (parent := parent_of(kind, obj)) is not None:
            self._groups[(kind, parent)].add(place)
        return True

    def drop(self, kind: str, obj: dict[str, Any]) -> bool:
        """Take out a deleted object; False if it was not here. A pod's last words stay for a while."""
        meta = obj["metadata"]
        self._buried[meta["uid"]] = self._clock()
        place = (meta.get("namespace", ""), meta["name"])
        old = self._objects[kind].get(place)
        if kind == "Pod" and (parent := parent_of(kind, obj)) is not None:
            self._last_words[parent][meta["name"]] = (self._clock(), obj)
        if old is None or old["metadata"]["uid"] != meta["uid"]:
            return False
        del self._objects[kind][place]
        if (parent := parent_of(kind, old)) is not None:
            group = self._groups[(kind, parent)]
            group.discard(place)
            if not group:
                del self._groups[(kind, parent)]
        return True

    def missing_from(self, kind: str, listed: set[str], version: str) -> list[dict[str, Any]]:
        """Objects that a list of this version should have held but does not: they were deleted unnoticed."""
        limit = int(version) if version.isdigit() else 0
        return [
            obj
            for obj in self._objects[kind].values()
            if obj["metadata"]["uid"] not in listed and _version(obj) <= limit
        ]

    def forget_old(self) -> None:
        """Drop what was only kept for a while."""
        limit = self._clock() - _TOMBSTONE_SECONDS
        self._buried = {uid: at for uid, at in self._buried.items() if at >= limit}
        for parent, pods in list(self._last_words.items()):
            kept = {name: entry for name, entry in pods.items() if entry[0] >= limit}
            if kept:
                self._last_words[parent] = kept
            else:
                del self._last_words[parent]


def parent_of(kind: str, obj: dict[str, Any]) -> Place | None:
    """What an object belongs to: the key of its group."""
    meta = obj["metadata"]
    labels = meta.get("labels") or {}
    if kind == "SyncJob":
        return meta["namespace"], str(obj.get("spec", {}).get("integrationRef", {}).get("name", ""))
    if kind == "Integration":
        return "", str(obj.get("spec", {}).get("connectorRef", {}).get("name", ""))
    if kind in ("Job", "Pod") and labels.get(MANAGED_BY) == MANAGER and labels.get(SYNC_LABEL):
        return meta["namespace"], labels[SYNC_LABEL]
    return None


def slim(kind: str, obj: dict[str, Any]) -> dict[str, Any]:
    """The parts of an object that are worth keeping in memory, with texts that are the same kept once: reasons and
    messages of conditions, times, names of others. Of ten thousand Integrations that is two fifths."""
    found: dict[str, Any] = _shared(_parts(kind, obj))
    return found


def _shared(value: Any) -> Any:
    if type(value) is str:
        return intern(value)
    if type(value) is dict:
        return {key: _shared(each) for key, each in value.items()}
    return [_shared(each) for each in value] if type(value) is list else value


def _parts(kind: str, obj: dict[str, Any]) -> dict[str, Any]:
    meta = {key: value for key, value in obj["metadata"].items() if key != "managedFields"}
    if found := actors(obj["metadata"].get("managedFields")):
        meta[ACTORS] = found
    if annotations := meta.get("annotations"):
        meta["annotations"] = {key: value for key, value in annotations.items() if key != _LAST_APPLIED}
    if kind == "Job":
        notes = meta.pop("annotations", None) or {}
        if told := {name: notes[name] for name in (CHECKS_UNTIL, ENDS_UNTIL) if name in notes}:
            meta["annotations"] = told
        spec = obj.get("spec") or {}
        kept = {name: spec[name] for name in ("activeDeadlineSeconds", "suspend") if name in spec}
        return {"metadata": meta, "spec": kept, "status": obj.get("status") or {}}
    if kind == "Pod":
        meta.pop("annotations", None)
        containers = [
            {name: container[name] for name in ("name", "image", "resources") if name in container}
            for container in (obj.get("spec") or {}).get("containers") or []
            if container.get("name") == CONTAINER
        ]
        return {"metadata": meta, "spec": {"containers": containers}, "status": _pod_status(obj.get("status") or {})}
    resource = BY_KIND[kind]  # items of a list come without them
    whole = {**obj, "apiVersion": resource.api_version, "kind": kind, "metadata": meta}
    if "status" in obj:
        whole["status"] = _readable(obj["status"])
    return whole


def _readable(status: Any) -> dict[str, Any]:
    """A status whose conditions are a list of objects, whatever an older schema let in: everybody looks at them."""
    found: dict[str, Any] = status if isinstance(status, dict) else {}
    conditions = found.get("conditions", [])
    if isinstance(conditions, list) and all(isinstance(one, dict) for one in conditions):
        return found
    kept = [one for one in conditions if isinstance(one, dict)] if isinstance(conditions, list) else []
    return {**found, "conditions": kept}


def _pod_status(status: dict[str, Any]) -> dict[str, Any]:
    kept = ("phase", "reason", "conditions", "containerStatuses")
    return {key: status[key] for key in kept if key in status}


def label_of(obj: dict[str, Any], label: str = INTEGRATION_LABEL) -> str:
    """The value of a label; empty if there is none."""
    return str((obj["metadata"].get("labels") or {}).get(label) or "")


def _version(obj: dict[str, Any]) -> int:
    version = str(obj["metadata"].get("resourceVersion") or "0")
    return int(version) if version.isdigit() else 0
