"""What goes wrong on a real node ends as a condition, an event and a metric, and is not tried forever."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hack.demo.target import RELEASE, SYSTEM_NAMESPACE
from tests.node.installation import SELDOM, VENDOR_SECRET, Towline, until

pytestmark = pytest.mark.node

ONCE: dict[str, Any] = {"retry": {"maxAttempts": 1}}
SMALL_VOLUME = "/var/lib/towline-small-volume"
# What nsenter does, which our image does not have.
AS_THE_NODE = """
import ctypes, os, sys
if ctypes.CDLL(None).setns(os.open("/proc/1/ns/mnt", os.O_RDONLY), 0):
    sys.exit("setns was refused")
os.execv("/bin/sh", ["sh", "-c", sys.argv[1]])  # execvp would import modules that the node need not have
"""
CONNECTOR_OF_NO_IMAGE: dict[str, Any] = {
    "apiVersion": "towline.dev/v1alpha1",
    "kind": "Connector",
    "metadata": {"name": "image-of-nowhere"},
    "spec": {
        "title": "An image that is nowhere",
        "version": "1.0.0",
        "category": "Other",
        "capabilities": ["Pull"],
        "entrypoint": "nowhere.main",
        "image": {"repository": "localhost/nowhere", "tag": "1"},
        "streams": [
            {
                "name": "things",
                "sync": {"mode": "Full"},
                "emit": [{"entity": "asset", "key": "=id", "fields": {"hostname": "=name"}}],
            }
        ],
    },
}


@pytest.fixture(scope="module")
def small_volume(towline: Towline, namespace: str) -> Iterator[str]:
    """A namespace whose volume holds 3 MiB and not a byte more: a tmpfs of the node, mounted there by a pod."""
    name = f"{namespace}-full"
    privileged = f"{namespace}-mounts"
    towline.target.namespace(name)
    towline.target.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": privileged}})
    node_shell(
        towline, privileged, f"mkdir -p {SMALL_VOLUME} && mount -t tmpfs -o size=3m,mode=0777 small {SMALL_VOLUME}"
    )
    volume = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "capacity": {"storage": "3Mi"},
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": "",
            "hostPath": {"path": SMALL_VOLUME, "type": "Directory"},
            "claimRef": {"namespace": name, "name": "towline-data"},
        },
    }
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "towline-data", "namespace": name},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "3Mi"}},
            "storageClassName": "",
            "volumeName": name,
        },
    }
    towline.target.apply(volume, claim)
    yield name
    towline.target.kubectl("delete", "namespace", name, "--wait=true", timeout=180)
    towline.target.kubectl("delete", "pv", name, "--wait=false")
    node_shell(towline, privileged, f"umount {SMALL_VOLUME} && rmdir {SMALL_VOLUME}")
    towline.target.kubectl("delete", "namespace", privileged, "--wait=false")


def node_shell(towline: Towline, namespace: str, command: str) -> None:
    """Run a command as the node itself: in the namespaces of its first process."""
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "node-shell", "namespace": namespace},
        "spec": {
            "hostPID": True,
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 0,
            "containers": [
                {
                    "name": "shell",
                    "image": towline.image,
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["python3", "-c", AS_THE_NODE, command],
                    "securityContext": {"privileged": True, "runAsUser": 0, "runAsGroup": 0},
                }
            ],
        },
    }
    towline.target.apply(pod)
    wait = ["wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/node-shell", "--timeout=60s"]
    towline.target.kubectl("-n", namespace, *wait)
    towline.target.kubectl("-n", namespace, "delete", "pod", "node-shell", "--wait=true")


@pytest.fixture(scope="module")
def applied(towline: Towline, namespace: str, small_volume: str, tenable: str, sluggish: str) -> None:
    """Everything that goes wrong, at once: the tests then wait for each."""
    towline.target.apply(CONNECTOR_OF_NO_IMAGE)
    towline.tenable(namespace, "rejected", tenable, VENDOR_SECRET)
    nobody = tenable.replace(tenable.partition(".")[0], "nobody", 1)
    towline.tenable(namespace, "unreachable", nobody, VENDOR_SECRET, **ONCE)
    small = {"resources": {"requests": {"memory": "8Mi"}, "limits": {"memory": "24Mi"}}}
    towline.tenable(namespace, "memory", tenable, job=small, **ONCE)
    towline.servicenow(namespace, "deadline", sluggish, job={"activeDeadlineSeconds": 60}, **ONCE)
    towline.tenable(small_volume, "full", tenable, **ONCE)


def test_rejected_credentials_stop_after_one_attempt(towline: Towline, namespace: str, applied: None) -> None:
    result = towline.result(namespace, "rejected")
    assert result["reason"] == "CredentialsRejected"
    stalled = towline.condition(namespace, "rejected", "Stalled", "CredentialsRejected")
    assert "Secret" in stalled["message"]
    assert towline.condition(namespace, "rejected", "CredentialsValid", "Rejected")["status"] == "False"
    (run,) = towline.runs(namespace, "rejected")
    assert run["status"]["attempts"] == 1
    assert_told(towline, namespace, "rejected", "CredentialsRejected")


def test_a_corrected_secret_is_noticed_without_anybody_asking(towline: Towline, namespace: str, applied: None) -> None:
    towline.condition(namespace, "rejected", "Stalled", "CredentialsRejected")
    patch = json.dumps({"stringData": {"secret_key": "simulator"}})
    towline.target.kubectl("-n", namespace, "patch", "secret", "rejected", "--type=merge", "-p", patch)
    towline.condition(namespace, "rejected", "Ready", "Synced", 90)
    assert towline.runs(namespace, "rejected")[-1]["spec"]["trigger"] == "CredentialsRotated"


def test_an_unreachable_host_is_named(towline: Towline, namespace: str, applied: None) -> None:
    result = towline.result(namespace, "unreachable")
    assert result["reason"] in {"Unreachable", "RetriesExhausted"}
    assert "nobody" in result["message"]
    assert_told(towline, namespace, "unreachable", result["reason"])


def test_a_pod_that_needs_more_memory_than_its_limit_says_so(towline: Towline, namespace: str, applied: None) -> None:
    result = towline.result(namespace, "memory")
    assert result["reason"] == "OutOfMemory"
    assert "spec.job.resources.limits.memory" in result["message"]
    assert_told(towline, namespace, "memory", "OutOfMemory")


def test_a_full_volume_is_told_as_one(towline: Towline, small_volume: str, applied: None) -> None:
    result = towline.result(small_volume, "full")
    assert result["reason"] in {"DestinationFull", "RetriesExhausted"}
    assert "full" in result["message"]
    assert_told(towline, small_volume, "full", result["reason"])


def test_an_image_that_cannot_be_pulled_is_named(towline: Towline, namespace: str, applied: None) -> None:
    towline.target.apply(
        {
            "apiVersion": "towline.dev/v1alpha1",
            "kind": "Integration",
            "metadata": {"name": "image", "namespace": namespace},
            "spec": {
                "connectorRef": {"name": "image-of-nowhere"},
                "credentials": {"source": "None"},
                "schedule": SELDOM,
                **ONCE,
            },
        }
    )
    result = towline.result(namespace, "image")
    assert result["reason"] == "ImagePullFailed"
    assert "localhost/nowhere:1" in result["message"]
    assert_told(towline, namespace, "image", "ImagePullFailed")


def test_a_sync_that_takes_too_long_keeps_what_it_has_written(towline: Towline, namespace: str, applied: None) -> None:
    result = towline.result(namespace, "deadline", 150)
    assert result["reason"] == "DeadlineExceeded"
    assert "activeDeadlineSeconds" in result["message"]
    assert_told(towline, namespace, "deadline", "DeadlineExceeded")


def test_a_vendors_secret_is_nowhere_but_in_the_secret(
    towline: Towline, namespace: str, small_volume: str, applied: None
) -> None:
    for name in ("rejected", "unreachable"):
        towline.result(namespace, name)
    kinds = "integrations,syncjobs,jobs,pods,events,configmaps,persistentvolumeclaims"
    texts = [towline.target.kubectl("-n", each, "get", kinds, "-o", "yaml") for each in (namespace, small_volume)]
    # A pod whose image cannot be pulled has no log, and kubectl complains of it.
    ours = ["logs", "--selector=app.kubernetes.io/managed-by=towline", "--tail=-1", "--prefix"]
    texts.append(towline.target.kubectl("-n", namespace, *ours, check=False))
    texts.append(towline.target.kubectl("-n", SYSTEM_NAMESPACE, "logs", f"deploy/{RELEASE}", "--tail=-1"))
    texts.append(towline.metrics())
    for text in texts:
        assert VENDOR_SECRET not in text


def assert_told(towline: Towline, namespace: str, integration: str, reason: str) -> None:
    """The failure is an event of the Integration or its SyncJob, and a counted run; nobody reads a traceback."""
    run = towline.runs(namespace, integration)[0]["metadata"]["name"]

    def event() -> dict[str, Any] | None:
        found = towline.target.objects("-n", namespace, "events")
        own = [each for each in found if each["involvedObject"]["name"] in {run, integration}]
        return next((each for each in own if each["type"] == "Warning"), None)

    warning = until(event, 60, lambda: towline.describe(namespace, integration))
    message = warning.get("message", "")
    assert message
    assert "Traceback" not in message

    def counted() -> bool:
        labels = (f'integration="{integration}"', f'namespace="{namespace}"', f'reason="{reason}"')
        lines = [line for line in towline.metrics().splitlines() if line.startswith("towline_sync_runs_total{")]
        return any(all(label in line for label in labels) for line in lines)

    until(counted, 60, towline.metrics)
    logs = towline.target.kubectl(
        "-n", namespace, "logs", f"--selector=towline.dev/integration={integration}", "--tail=-1", check=False
    )
    assert "Traceback" not in logs
