"""What Kubernetes' Pod Security profile `restricted` asks of a pod, for every pod that Towline makes."""

from __future__ import annotations

from typing import Any

USER = 65532  # as in the image; nobody on a node


def pod() -> dict[str, Any]:
    """The securityContext of a pod."""
    return {
        "runAsNonRoot": True,
        "runAsUser": USER,
        "runAsGroup": USER,
        "fsGroup": USER,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def container() -> dict[str, Any]:
    """The securityContext of a container: stricter than the profile by its read-only root."""
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
