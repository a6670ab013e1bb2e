"""Definitions of other projects' kinds, from their Go modules, before a real API server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from tests.cluster.kubectl import kubectl
from tests.cluster.modules import module_folder
from tests.node.installation import until

PROMETHEUS_OPERATOR = (
    "github.com/prometheus-operator/prometheus-operator",
    "v0.85.0",
    "h1:M5xLCLEoaW2IJfnuCwFzzpL+jSVQu3KGT84Pye+fW8s=",
)
ARGO_CD = ("github.com/argoproj/argo-cd/v3", "v3.2.1", "h1:rvrkW/JdH4V+xJgNDZI9wa/Ygd+fWoGbd1rAhvno22c=")
EXTERNAL_SECRETS = (
    "github.com/external-secrets/external-secrets",
    "v1.3.2",
    "h1:u2J8RjlHIeF0oZCqtl92adI/uZWUwOesJIDkfql6LqQ=",
)
FLUX_KUSTOMIZE = (
    "github.com/fluxcd/kustomize-controller",
    "v1.7.3",
    "h1:SzNnGn/4ObAPEHHleM5U7y/AKxKXph3Vj6ZhteeXw8M=",
)
FLUX_SOURCE = ("github.com/fluxcd/source-controller", "v1.7.2", "h1:PQLzvgHNEYsstl8uATBZg/70b/i0tj63e0IqnYDeJyg=")
KUEUE = ("sigs.k8s.io/kueue", "v0.17.0", "h1:7hzb38M4eKGzYW+CFv2s1L+swzzacUCHOCXxZmAV90I=")


Definition = tuple[tuple[str, str, str], str]
"""A module, its version and its sum; the path of the definition in it."""


@contextmanager
def served(control_plane: Path, *definitions: Definition) -> Iterator[None]:
    """Serve these definitions, and take them away again."""
    paths = [part for module, file in definitions for part in ("-f", str(module_folder(*module) / file))]
    kubectl(control_plane, "apply", "--server-side", "--force-conflicts", *paths)
    try:
        # A moment after its creation a definition has no conditions yet, and kubectl does not wait for those.
        established = ["wait", "--for=condition=Established", "--timeout=60s", *paths]
        until(lambda: kubectl(control_plane, *established, check=False).count("condition met") == len(definitions), 60)
        yield
    finally:
        kubectl(control_plane, "delete", "--ignore-not-found", *paths)


def accepted(control_plane: Path, item: dict[str, Any], namespace: str) -> None:
    """The served definition takes the object as it is, and would not take just anything."""
    if "namespace" in item["metadata"]:
        item = {**item, "metadata": {**item["metadata"], "namespace": namespace}}
    strictly = ["create", "--dry-run=server", "--validate=strict", "-f", "-"]
    kubectl(control_plane, *strictly, stdin=yaml.safe_dump(item))
    item["spec"] = {**item.get("spec", {}), "unheardOf": 1}
    said = kubectl(control_plane, *strictly, stdin=yaml.safe_dump(item), check=False)
    assert 'unknown field "spec.unheardOf"' in said, "the definition refuses nothing"
