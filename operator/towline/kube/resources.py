"""The kinds that the operator reads or writes, and where they stand in the API."""

from __future__ import annotations

import re
from dataclasses import dataclass

from towline.api.base import GROUP, VERSION
from towline.kube.errors import NotFoundError

_SEGMENT = re.compile(r"[A-Za-z0-9._:-]+")


@dataclass(frozen=True)
class Resource:
    """A kind of Kubernetes. `group` is empty for the core group."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """The URL path of a collection or an object.

        Names come from specs. One that could lead elsewhere, to another namespace's Secret, is no object's name:
        NotFoundError.
        """
        for part in (namespace, name):
            if part and (not _SEGMENT.fullmatch(part) or part in (".", "..")):
                raise NotFoundError(f"find {self.plural} {part!a}", 404, "NotFound")
        parts = ["/apis", self.group, self.version] if self.group else ["/api", self.version]
        if self.namespaced and namespace:
            parts += ["namespaces", namespace]
        parts += [part for part in (self.plural, name, subresource) if part]
        return "/".join(parts)


CONNECTORS = Resource(GROUP, VERSION, "connectors", "Connector", namespaced=False)
INTEGRATIONS = Resource(GROUP, VERSION, "integrations", "Integration")
SYNCJOBS = Resource(GROUP, VERSION, "syncjobs", "SyncJob")
JOBS = Resource("batch", "v1", "jobs", "Job")
PODS = Resource("", "v1", "pods", "Pod")
SECRETS = Resource("", "v1", "secrets", "Secret")
CONFIGMAPS = Resource("", "v1", "configmaps", "ConfigMap")
NAMESPACES = Resource("", "v1", "namespaces", "Namespace", namespaced=False)
CLAIMS = Resource("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim")
LEASES = Resource("coordination.k8s.io", "v1", "leases", "Lease")
TOKEN_REVIEWS = Resource("authentication.k8s.io", "v1", "tokenreviews", "TokenReview", namespaced=False)
EVENTS = Resource("", "v1", "events", "Event")

OWN = (CONNECTORS, INTEGRATIONS, SYNCJOBS)
WATCHED = (*OWN, JOBS, PODS)
BY_KIND = {resource.kind: resource for resource in WATCHED}
