"""A client of the API server that behaves as a careful user's: unknown fields are refused, refusals are words."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kubernetes import client
from kubernetes.client.rest import ApiException

GROUP, VERSION = "towline.dev", "v1alpha1"
PLURALS = {"Connector": "connectors", "Integration": "integrations", "SyncJob": "syncjobs"}

Kubectl = Callable[..., str]
"""kubectl with these arguments against the cluster of this run; ClusterError with its words when it fails."""


class RefusedError(Exception):
    """The API server said no; the text is its message."""


@dataclass(frozen=True)
class Api:
    """The API server of this run, with Towline's kinds served."""

    objects: client.CustomObjectsApi
    core: client.CoreV1Api

    def create(self, body: dict[str, Any], namespace: str, *, dry_run: bool = False) -> dict[str, Any]:
        """The object as the API server stored it (or would). RefusedError with the words that the user reads."""
        options: dict[str, Any] = {"field_validation": "Strict"} | ({"dry_run": "All"} if dry_run else {})
        plural = PLURALS[body["kind"]]
        try:
            if body["kind"] == "Connector":
                created = self.objects.create_cluster_custom_object(GROUP, VERSION, plural, body, **options)
            else:
                created = self.objects.create_namespaced_custom_object(
                    GROUP, VERSION, namespace, plural, body, **options
                )
        except ApiException as error:
            raise RefusedError(json.loads(error.body)["message"]) from error
        return dict(created)
