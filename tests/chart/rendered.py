"""Values that users give, and the manifests as tests look at them."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from typing import Any

import yaml

Helm = Callable[..., subprocess.CompletedProcess[str]]
Render = Callable[..., str]

VALUES = {
    "none": [],
    "a digest and pull secrets": [
        "--set=image.repository=registry.example.com/towline",
        f"--set=image.digest=sha256:{'ab' * 32}",
        "--set=imagePullSecrets[0].name=registry,sync.imagePullSecrets[0]=registry,sync.priorityClassName=low",
    ],
    "a mirror, and a chart around this one": [
        "--set=image.registry=mirror.example.com,global.imagePullSecrets={registry},imagePullSecrets={more}"
    ],
    "nodes of their own for syncs, where the cluster gives out users": [
        "--set=sync.nodeSelector.pool=batch,sync.podAnnotations.note=x",
        "--set-string=sync.podLabels.sidecar\\.istio\\.io/inject=false",
        '--set-json=sync.tolerations=[{"key":"batch","operator":"Exists"}]',
        *(
            f"--set={pod}podSecurityContext.{each}=null"
            for pod in ("", "sync.")
            for each in ("runAsUser", "runAsGroup", "fsGroup")
        ),
    ],
    "readers of the catalogue": [
        '--set-json=rbac.connectorReaders=[{"kind":"Group","name":"system:authenticated"},'
        '{"kind":"ServiceAccount","name":"portal","namespace":"default"}]'
    ],
    "more patience": ["--set=livenessProbe.failureThreshold=12,startupProbe.periodSeconds=5,logLevel=DEBUG"],
    "listed namespaces": ["--set=namespaces={default,kube-public}"],
    "postgresql by default": ["--set=destination.secretName=warehouse"],
    "another volume": [
        "--set=destination.sqlite.size=20Gi,destination.sqlite.storageClassName=fast,destination.sqlite.claimName=rows"
    ],
    "an account of one's own": ["--set=serviceAccount.create=false,serviceAccount.name=towline-operator"],
    "all that can be left out": [
        "--set=crds.install=false,rbac.create=false,rbac.aggregate=false,admissionPolicy.enabled=false,"
        "metrics.service.enabled=false,progress.enabled=false,podDisruptionBudget.enabled=false"
    ],
    "guards and dashboards": [
        "--set=networkPolicy.enabled=true,grafanaDashboard.enabled=true,namespaces={default,kube-public}",
        '--set-json=networkPolicy.metricsFrom=[{"namespaceSelector":{"matchLabels":{"name":"monitoring"}}}]',
        '--set-json=networkPolicy.egress=[{"ports":[{"port":3128,"protocol":"TCP"}]}]',
        '--set-json=extraObjects=[{"apiVersion":"v1","kind":"ConfigMap","metadata":'
        '{"name":"{{ .Release.Name }}-more","namespace":"{{ .Release.Namespace }}"}}]',
    ],
    "placement": [
        "--set=priorityClassName=system-cluster-critical,nodeSelector.disk=ssd,podLabels.team=sec,"
        "podAnnotations.note=x,commonLabels.owner=sec",
        '--set-json=tolerations=[{"key":"a","operator":"Exists"}]',
        '--set-json=affinity={"nodeAffinity":{}}',
        '--set-json=extraEnv=[{"name":"TZ","value":"UTC"}]',
        '--set-json=extraVolumes=[{"name":"more","emptyDir":{}}]',
        '--set-json=extraVolumeMounts=[{"name":"more","mountPath":"/more"}]',
        '--set-json=topologySpreadConstraints=[{"topologyKey":"rack","maxSkew":1,"whenUnsatisfiable":"DoNotSchedule"}]',
        "--set=podSecurityContext.runAsUser=null,podSecurityContext.fsGroup=null,deploymentAnnotations.note=x",
    ],
}


def objects(manifests: str) -> list[dict[str, Any]]:
    return [each for each in yaml.load_all(manifests, yaml.CSafeLoader) if each]  # a tenth of safe_load_all's time


def only(manifests: str, kind: str) -> dict[str, Any]:
    (found,) = [each for each in objects(manifests) if each["kind"] == kind]
    return found
