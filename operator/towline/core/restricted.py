"""What Kubernetes' Pod Security profile `restricted` asks of a pod, for every pod that Towline makes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

USER = 65532  # as in the image; nobody on a node
CHOSEN = frozenset(
    {"runAsUser", "runAsGroup", "fsGroup", "fsGroupChangePolicy", "supplementalGroups", "seLinuxOptions"}
)
"""What an administrator may choose of a pod's securityContext; the profile fixes the rest."""


def pod(chosen: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The securityContext of a pod. `chosen`: user and groups, instead of those of the image."""
    ids = {"runAsUser": USER, "runAsGroup": USER, "fsGroup": USER} if chosen is None else dict(chosen)
    return {
        "fsGroupChangePolicy": "OnRootMismatch",
        **ids,
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def container() -> dict[str, Any]:
    """The securityContext of a container: stricter than the profile by its read-only root."""
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
