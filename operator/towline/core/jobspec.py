"""The Job of one attempt: one pod, no API token, a read-only root, under the `restricted` Pod Security profile."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Any

from towline.api.connector import Connector
from towline.api.integration import Integration
from towline.api.syncjob import SyncJob
from towline.contract import (
    CA_BUNDLE_PATH,
    CHECKS_UNTIL,
    CREDENTIALS_PATH,
    DATA_PATH,
    DESTINATION_PATH,
    ENDS_UNTIL,
    PLAN_ANNOTATION,
    PLAN_PATH,
    POD_UID_ENV,
    PROGRESS_AUDIENCE,
    PROGRESS_TOKEN_PATH,
    PROXY_PATH,
    REPORTS_PATH,
    ExitCode,
    Plan,
)
from towline.core import checks, names, restricted
from towline.core.facts import CONNECTOR_LABEL, INTEGRATION_LABEL, MANAGED_BY, MANAGER, SYNC_LABEL, RunSettings
from towline.core.validate import View

CONTAINER = "connector"
REPORTS_CLAIM = "towline-reports"  # names of claims with reports begin so: their owner's consent
GRACE_SECONDS = 60
UNREACHABLE_SECONDS = 30
_TOKEN_SECONDS = 3600  # the kubelet renews it in time
_READABLE = 0o440


def build_job(sync: SyncJob, integration: Integration, view: View, plan: Plan, settings: RunSettings) -> dict[str, Any]:
    """The Job, owned by the SyncJob. Its name is the lock of the attempt."""
    job_settings = integration.spec.job
    ours = labels(str(integration.metadata["name"]), str(sync.metadata["name"]), plan.connector)
    theirs = dict(job_settings.labels or {}) if job_settings else {}
    ttl = (job_settings.ttl_seconds_after_finished if job_settings else None) or settings.ttl_seconds
    told = {CHECKS_UNTIL: checks.told_until(plan.sync.origin.seen), ENDS_UNTIL: plan.sync.origin.ends_until}
    told = {name: until for name, until in told.items() if until}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            **({"annotations": told} if told else {}),
            "name": names.job(str(sync.metadata["name"]), plan.sync.attempt),
            "namespace": plan.sync.namespace,
            "labels": {**theirs, **ours},
            "ownerReferences": [owner(sync)],
        },
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": plan.deadline_seconds + 60,
            "ttlSecondsAfterFinished": ttl,
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": {
                "rules": [
                    {"action": "FailJob", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
                    {
                        "action": "FailJob",
                        "onExitCodes": {
                            "containerName": CONTAINER,
                            "operator": "In",
                            "values": sorted(code for code in ExitCode if code != ExitCode.OK),
                        },
                    },
                ]
            },
            "template": {
                "metadata": {
                    "labels": {**theirs, **settings.pod.labels, **ours},
                    "annotations": {**settings.pod.annotations, PLAN_ANNOTATION: plan.model_dump_json()},
                },
                "spec": _pod(integration, view, settings),
            },
        },
    }


def labels(integration: str, sync: str, connector: str) -> dict[str, str]:
    """The labels by which the operator finds Jobs and pods again."""
    found = {MANAGED_BY: MANAGER, INTEGRATION_LABEL: integration, SYNC_LABEL: sync}
    if len(connector) <= 63:  # names may have 253 characters, values of labels 63
        found[CONNECTOR_LABEL] = connector
    return found


def owner(sync: SyncJob) -> dict[str, Any]:
    """The owner reference that lets Kubernetes delete Jobs together with their SyncJob."""
    return {
        "apiVersion": sync.api_version,
        "kind": sync.kind,
        "name": sync.metadata["name"],
        "uid": sync.metadata["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def image_of(connector: Connector, settings: RunSettings) -> tuple[str, str]:
    """Image and pull policy: the Connector's own, or Towline's."""
    own = connector.spec.image
    if own is None:
        return settings.image, settings.pull_policy
    reference = own.repository
    if own.tag:
        reference += f":{own.tag}"
    if own.digest:
        reference += f"@{own.digest}"
    return reference, own.pull_policy


def _pod(integration: Integration, view: View, settings: RunSettings) -> dict[str, Any]:
    image, pull_policy = image_of(view.connector, settings)
    volumes, mounts = _volumes(integration, view, settings)
    job_settings = integration.spec.job
    pod: dict[str, Any] = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "securityContext": restricted.pod(settings.pod.security_context),
        "tolerations": [*map(dict, settings.pod.tolerations), _toleration("unreachable"), _toleration("not-ready")],
        "containers": [
            {
                "name": CONTAINER,
                "image": image,
                "imagePullPolicy": pull_policy,
                "command": ["towline-run"],
                "env": [{"name": POD_UID_ENV, "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}}],
                "resources": _resources(integration, view.connector, settings),
                "terminationMessagePath": "/dev/termination-log",
                "terminationMessagePolicy": "File",  # logs as a fallback could put a secret into status
                "securityContext": restricted.container(),
                "volumeMounts": mounts,
            }
        ],
        "volumes": volumes,
    }
    if settings.pull_secrets:
        pod["imagePullSecrets"] = [{"name": name} for name in settings.pull_secrets]
    if settings.priority_class:
        pod["priorityClassName"] = settings.priority_class
    theirs = dict(job_settings.node_selector or {}) if job_settings else {}
    # The installation last: an author narrows where a run may be, and does not leave the nodes that runs are given.
    if selector := {**theirs, **settings.pod.node_selector}:
        pod["nodeSelector"] = selector
    return pod


def _toleration(condition: str) -> dict[str, Any]:
    return {
        "key": f"node.kubernetes.io/{condition}",
        "operator": "Exists",
        "effect": "NoExecute",
        "tolerationSeconds": UNREACHABLE_SECONDS,
    }


def _resources(integration: Integration, connector: Connector, settings: RunSettings) -> dict[str, Any]:
    """Requests and limits: the Integration's before the Connector's before the installation's, resource by resource."""
    merged = {kind: dict(values) for kind, values in settings.resources.items()}
    layers = [connector.spec.defaults, integration.spec.job]
    for layer in layers:
        if layer is None or layer.resources is None:
            continue
        for kind, values in (("requests", layer.resources.requests), ("limits", layer.resources.limits)):
            merged.setdefault(kind, {}).update(values or {})
    return {kind: values for kind, values in merged.items() if values}


def _volumes(
    integration: Integration, view: View, settings: RunSettings
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    spec = integration.spec
    volumes: list[dict[str, Any]] = []
    mounts: list[dict[str, Any]] = []

    def mount(name: str, path: str, source: dict[str, Any], read_only: bool = True) -> None:
        volumes.append({"name": name, **source})
        mounts.append({"name": name, "mountPath": path, **({"readOnly": True} if read_only else {})})

    plan_file = PurePosixPath(PLAN_PATH)
    plan_field = {"fieldRef": {"fieldPath": f"metadata.annotations['{PLAN_ANNOTATION}']"}}
    mount(
        "plan",
        str(plan_file.parent),
        {"downwardAPI": {"defaultMode": _READABLE, "items": [{"path": plan_file.name, **plan_field}]}},
    )
    if spec.credentials and spec.credentials.secret_ref:
        mount("credentials", CREDENTIALS_PATH, _secret(spec.credentials.secret_ref.name, view.credential_items))
    if view.destination_secret:
        mount("destination", DESTINATION_PATH, _secret(view.destination_secret, (("url", "url"),)))
    else:
        claim = {"persistentVolumeClaim": {"claimName": settings.volume_name}}
        mount("data", DATA_PATH, claim, read_only=False)
    if spec.ca_bundle_ref:
        ref = spec.ca_bundle_ref
        source = "secret" if ref.kind == "Secret" else "configMap"
        items = ((ref.key, PurePosixPath(CA_BUNDLE_PATH).name),)
        mount("ca", str(PurePosixPath(CA_BUNDLE_PATH).parent), _projected(source, ref.name, items))
    if spec.proxy_secret_ref:
        items = (("proxy_url", PurePosixPath(PROXY_PATH).name),)
        mount("proxy", str(PurePosixPath(PROXY_PATH).parent), _secret(spec.proxy_secret_ref.name, items))
    if reports := _reports_claim(view):
        mount("reports", REPORTS_PATH, {"persistentVolumeClaim": {"claimName": reports, "readOnly": True}})
    if settings.progress_url:
        token = PurePosixPath(PROGRESS_TOKEN_PATH)
        mount("token", str(token.parent), _token(token.name))
    mount("tmp", "/tmp", {"emptyDir": {}}, read_only=False)  # noqa: S108  the pod's own folder
    return volumes, mounts


def _reports_claim(view: View) -> str:
    """The claim that the Connector lets the config name; empty if there is none that may be mounted."""
    files = view.connector.spec.files
    if files is None or not files.volume:
        return ""
    option = re.fullmatch(r"\$\{config\.([A-Za-z0-9_]+)\}", files.volume)
    name = str(view.config.get(option.group(1)) or "") if option else files.volume
    # An Integration's author need not be somebody who may read every volume of the namespace.
    return name if name.startswith(REPORTS_CLAIM) else ""


def _token(path: str) -> dict[str, Any]:
    """A proof of which pod speaks, for the operator alone: the API server does not take a token of this audience."""
    source = {"audience": PROGRESS_AUDIENCE, "expirationSeconds": _TOKEN_SECONDS, "path": path}
    return {"projected": {"defaultMode": _READABLE, "sources": [{"serviceAccountToken": source}]}}


def _secret(name: str, items: tuple[tuple[str, str], ...]) -> dict[str, Any]:
    return _projected("secret", name, items)


def _projected(source: str, name: str, items: tuple[tuple[str, str], ...]) -> dict[str, Any]:
    """Optional, so that a Secret which vanishes between check and start ends as a result, not as a hung mount."""
    paths = [{"key": key, "path": path} for key, path in items]
    return {
        "projected": {
            "defaultMode": _READABLE,
            "sources": [{source: {"name": name, "optional": True, "items": paths}}],
        }
    }


def build_claim(namespace: str, settings: RunSettings) -> dict[str, Any]:
    """The volume of the SQLite destination. Nobody owns it, so no deletion takes the data along."""
    spec: dict[str, Any] = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": settings.volume_size}},
    }
    if settings.storage_class:
        spec["storageClassName"] = settings.storage_class
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": settings.volume_name, "namespace": namespace, "labels": {MANAGED_BY: MANAGER}},
        "spec": spec,
    }
