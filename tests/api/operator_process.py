"""A real operator process, and a hand that plays the kubelet: it ends pods as a node would."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import yaml
from kubernetes import client
from kubernetes.client.rest import ApiException
from tests.cluster.network import free_port

from towline.contract import EXIT_CODES, RunResult

T = TypeVar("T")
GROUP, VERSION = "towline.dev", "v1alpha1"
DEADLINE = 60.0
# `spec.job` of the tests' Integrations. The tests are the kubelet: where the cluster has nodes, none may take the pods.
NOWHERE = '{nodeSelector: {towline.dev/tests: "nowhere"}}'


def until(what: str, look: Callable[[], T], seconds: float = DEADLINE) -> T:
    """The first answer that is true; fails with what was seen last."""
    end = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {seconds:.0f} s, last seen: {found!r}")
        time.sleep(0.1)


@dataclass
class OperatorProcess:
    """`towline operator` as a process of its own."""

    kubeconfig: Path
    log: Path
    options: tuple[str, ...] = ()
    port: int = 0
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.port = free_port()
        command = [str(Path(sys.executable).with_name("towline")), "operator", f"--kubeconfig={self.kubeconfig}"]
        command += ["--host=127.0.0.1", f"--port={self.port}", "--image=towline.example/run:test", *self.options]
        with self.log.open("ab") as log:
            environment = {**os.environ, "TOWLINE_OPERATOR_EGRESS_ALLOW": "127.0.0.0/8"}  # where the vendors are
            self.process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True, env=environment)
        until("the operator is ready", self._ready)

    def _ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text()[-4000:]
        try:
            return bool(self.get("/readyz") == "ok\n")
        except OSError:  # it does not listen yet, or is too busy to answer
            return False

    def get(self, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
            return str(answer.read().decode())

    def kill(self) -> None:
        """As a node that dies: no last words."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(30)

    def stop(self) -> int:
        """As Kubernetes does; the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)

    def stop_if_running(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(30)

    def rss_mib(self) -> float:
        assert self.process is not None
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


@dataclass
class Cluster:
    """What a test wants of the API server."""

    objects: client.CustomObjectsApi
    core: client.CoreV1Api
    batch: client.BatchV1Api
    namespace: str
    connectors: list[str] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)

    def apply(self, text: str) -> None:
        """Create objects from YAML in the namespace of the test."""
        for body in yaml.safe_load_all(text):
            kind, name = body["kind"], body["metadata"]["name"]
            if kind == "Secret":
                self.core.create_namespaced_secret(self.namespace, body)
            elif kind == "Connector":
                self.objects.create_cluster_custom_object(GROUP, VERSION, "connectors", body)
                self.connectors.append(name)
            else:
                plural = {"Integration": "integrations", "SyncJob": "syncjobs"}[kind]
                self.objects.create_namespaced_custom_object(GROUP, VERSION, self.namespace, plural, body)

    def patch(self, plural: str, name: str, body: dict[str, Any]) -> None:
        self.objects.patch_namespaced_custom_object(GROUP, VERSION, self.namespace, plural, name, body)

    def get(self, plural: str, name: str) -> dict[str, Any]:
        if plural == "connectors":
            return dict(self.objects.get_cluster_custom_object(GROUP, VERSION, plural, name))
        return dict(self.objects.get_namespaced_custom_object(GROUP, VERSION, self.namespace, plural, name))

    def syncs(self, integration: str = "") -> list[dict[str, Any]]:
        found = self.objects.list_namespaced_custom_object(GROUP, VERSION, self.namespace, "syncjobs")["items"]
        kept = [one for one in found if not integration or one["spec"]["integrationRef"]["name"] == integration]
        return sorted(kept, key=lambda one: (one["metadata"]["creationTimestamp"], one["metadata"]["name"]))

    def jobs(self) -> list[Any]:
        return list(self.batch.list_namespaced_job(self.namespace).items)

    def condition(self, plural: str, name: str, type_: str = "Ready") -> dict[str, Any]:
        conditions = self.get(plural, name).get("status", {}).get("conditions", [])
        return next((one for one in conditions if one["type"] == type_), {})

    def wait_reason(self, plural: str, name: str, reason: str, type_: str = "") -> dict[str, Any]:
        """Wait until the summary condition has this reason."""
        kind = type_ or ("Succeeded" if plural == "syncjobs" else "Ready")
        last: dict[str, Any] = {}

        def look() -> dict[str, Any]:
            nonlocal last
            last = self.condition(plural, name, kind)
            return last if last.get("reason") == reason else {}

        try:
            return until(f"{plural}/{name} {kind}={reason}", look)
        except AssertionError as error:
            raise AssertionError(f"{error}; it is {last}") from None

    def wait_sync(self, integration: str) -> dict[str, Any]:
        """A SyncJob of an Integration that was not returned before."""

        def look() -> dict[str, Any]:
            new = [one for one in self.syncs(integration) if one["metadata"]["uid"] not in self.seen]
            return new[0] if new else {}

        found = until(f"another SyncJob of {integration}", look)
        self.seen.add(found["metadata"]["uid"])
        return found

    def wait_pod(self, job: str) -> Any:
        """The pod that the Job controller made for a Job."""
        selector = f"batch.kubernetes.io/job-name={job}"
        pods = until(
            f"a pod of {job}", lambda: self.core.list_namespaced_pod(self.namespace, label_selector=selector).items
        )
        return pods[0]

    def events(self, name: str) -> list[tuple[str, str, str]]:
        found = self.core.list_namespaced_event(self.namespace, field_selector=f"involvedObject.name={name}").items
        return [(one.type, one.reason, one.message) for one in found if one.reporting_component == "towline"]

    def end_pod(self, sync: dict[str, Any], reason: str = "Completed", attempt: int = 1, **fields: Any) -> Any:
        """Let the pod of an attempt end with a result, as the kubelet would report it."""
        name = sync["metadata"]["name"]
        pod = self.wait_pod(f"{name}-{attempt}")
        result = RunResult.model_validate(
            {
                "sync_uid": sync["metadata"]["uid"],
                "attempt": attempt,
                "pod_uid": pod.metadata.uid,
                "reason": reason,
                **fields,
            }
        )
        self.terminate(pod, int(EXIT_CODES[result.reason]), result.model_dump_json())
        return pod

    def terminate(self, pod: Any, code: int, message: str = "", ended_by: str = "") -> None:
        ended = {"exitCode": code, "reason": ended_by or ("Error" if code else "Completed"), "message": message}
        self.pod_status(pod, {"phase": "Failed" if code else "Succeeded", **container({"terminated": ended})})

    def pod_status(self, pod: Any, status: dict[str, Any]) -> None:
        self.core.patch_namespaced_pod_status(pod.metadata.name, self.namespace, {"status": status})

    def everything(self) -> str:
        """All objects of the namespace but Secrets, as text: to look for what must not be there."""
        parts: list[Any] = [
            self.objects.list_namespaced_custom_object(GROUP, VERSION, self.namespace, plural)
            for plural in ("integrations", "syncjobs")
        ]
        raw = client.ApiClient()
        lists = (
            self.batch.list_namespaced_job(self.namespace),
            self.core.list_namespaced_pod(self.namespace),
            self.core.list_namespaced_event(self.namespace),
            self.core.list_namespaced_config_map(self.namespace),
        )
        parts += [raw.sanitize_for_serialization(found) for found in lists]
        return json.dumps(parts)

    def versions(self) -> dict[str, str]:
        """resourceVersions of all objects of Towline's kinds and of Jobs."""
        found = [
            *self.objects.list_cluster_custom_object(GROUP, VERSION, "connectors")["items"],
            *self.objects.list_namespaced_custom_object(GROUP, VERSION, self.namespace, "integrations")["items"],
            *self.syncs(),
        ]
        return {f"{one['kind']}/{one['metadata']['name']}": one["metadata"]["resourceVersion"] for one in found}

    def remove(self) -> None:
        """Delete everything; the runs first, so that their slots are free for the next test at once."""
        for plural in ("integrations", "syncjobs"):
            self.objects.delete_collection_namespaced_custom_object(GROUP, VERSION, self.namespace, plural)
        self.core.delete_namespace(self.namespace)
        for name in self.connectors:
            try:
                self.objects.delete_cluster_custom_object(GROUP, VERSION, "connectors", name)
            except ApiException as error:
                if error.status != 404:
                    raise


def container(state: dict[str, Any]) -> dict[str, Any]:
    """The status of the connector's container in a state."""
    return {
        "containerStatuses": [
            {
                "name": "connector",
                "image": "towline.example/run:test",
                "imageID": "",
                "ready": False,
                "restartCount": 0,
                "state": state,
            }
        ]
    }
