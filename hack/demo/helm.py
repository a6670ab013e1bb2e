"""Helm for the demo and the tests: built from its Go module and kept in the cache, as Kubernetes' programs are."""

from __future__ import annotations

from pathlib import Path

from tests.cluster.binaries import KUBERNETES_VERSION, Module, build

HELM_VERSION = "v3.19.5"
_MAJOR, _MINOR = KUBERNETES_VERSION.removeprefix("v").split(".")[:2]
# Without a cluster at hand Helm renders for the Kubernetes that these name; its own default is older than the
# oldest that the chart allows.
_CAPABILITIES = "".join(
    f" -X helm.sh/helm/v3/pkg/{package}.k8sVersion{part}={number}"
    for package in ("chartutil", "lint/rules")
    for part, number in (("Major", _MAJOR), ("Minor", _MINOR))
)
HELM = Module(
    "helm",
    {"helm": "helm.sh/helm/v3/cmd/helm"},
    f"-s -w -X helm.sh/helm/v3/internal/version.version={HELM_VERSION}{_CAPABILITIES}",
    about="one or two minutes, the first time only",
)


def helm_program() -> Path:
    """The path of `helm`, built when the cache lacks it."""
    return build([HELM])["helm"]
