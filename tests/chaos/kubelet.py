"""Plays the kubelet of one node: runs the connectors' pods as processes, tells how they end, and fails as nodes do.

Everything else is real: the API server, the controllers that notice a silent node and delete its pods, the Job
controller, and the connector's own process with its plan, its credentials and its destination.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kubernetes import client, config
from kubernetes.client.rest import ApiException
from tests.api.operator_process import container

from towline import contract
from towline.core.facts import INTEGRATION_LABEL

ROOT = Path(__file__).parents[2]
RUN = (sys.executable, "-m", "towline_connectors.engine.pod")
_BEAT = 5.0  # seconds between signs of life


@dataclass
class Process:
    """A pod's connector."""

    pod: Any
    folder: Path
    process: subprocess.Popen[bytes]
    ended_by: str = ""
    """OOMKilled, when it was."""
    stop_by: float = 0.0
    """When it is killed after it was asked to stop; 0: it was not."""
    told: bool = False

    @property
    def name(self) -> str:
        return str(self.pod.metadata.name)


@dataclass
class Kubelet:
    """One node, and the pods of a namespace that have none yet."""

    kubeconfig: Path
    name: str
    namespace: str
    folder: Path
    volume: Path
    """Stands for the claims: one folder a namespace. Nodes may share it, as they would a network file system."""
    only: str = ""
    """How the names of the Integrations begin whose pods it takes."""
    code: dict[str, tuple[str, tuple[str, ...]]] = field(default_factory=dict)
    """PYTHONPATH and command of images that are not this checkout."""
    processes: dict[str, Process] = field(default_factory=dict)
    started: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Pods by the uid of their SyncJob and its attempt."""
    refreshes: bool = False
    """Mounted Secrets follow their objects at once. A real kubelet takes a minute or more."""
    silent: bool = False
    """The kubelet is stopped: no sign of life, no word about pods; their processes go on."""
    cordoned: bool = False
    """Takes no new pods."""

    def __post_init__(self) -> None:
        self._thread = threading.Thread(target=self._run, name=f"kubelet-{self.name}", daemon=True)
        connection = config.new_client_from_config(str(self.kubeconfig))
        self._core, self._leases = client.CoreV1Api(connection), client.CoordinationV1Api(connection)
        self._stop_asked = threading.Event()
        self._beat_at = 0.0

    # -- life

    def start(self) -> None:
        self._thread.start()

    def _run(self) -> None:
        taint = {"key": "towline.dev/chaos", "effect": "NoSchedule"}  # the scheduler gives it nothing: it takes
        self._core.create_node(
            {"metadata": {"name": self.name, "labels": {"towline.dev/chaos": "true"}}, "spec": {"taints": [taint]}}
        )
        while not self._stop_asked.wait(0.2):
            if self.silent:
                continue
            try:
                self._beat()
                self._sync()
            except ApiException:
                continue  # something is gone meanwhile: the next round sees it

    def stop(self) -> None:
        """End the processes and take the node away."""
        self._stop_asked.set()
        self._thread.join(30)
        for one in self.alive():
            os.killpg(one.process.pid, signal.SIGKILL)
            one.process.wait(30)
        try:
            self._core.delete_node(self.name)
            self._leases.delete_namespaced_lease(self.name, "kube-node-lease")
        except ApiException:
            pass

    # -- faults

    def out_of_memory(self, pod: str) -> None:
        """As the kernel's killer: no last words, and the kubelet knows who it was."""
        one = self.processes[pod]
        one.ended_by = "OOMKilled"
        one.process.send_signal(signal.SIGKILL)

    def crash(self, pod: str) -> None:
        """The process dies by itself."""
        self.processes[pod].process.send_signal(signal.SIGKILL)

    def evict_for_pressure(self, pod: str) -> None:
        """As a kubelet that is short of memory or disk: the pod ends here and now, and says why."""
        one = self.processes[pod]
        one.told = True
        one.process.send_signal(signal.SIGTERM)
        condition = {"type": "DisruptionTarget", "status": "True", "reason": "TerminationByKubelet"}
        condition["lastTransitionTime"] = _now()
        status = {"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."}
        self._status(one.pod, {**status, "conditions": [condition]})

    def power_off(self) -> None:
        """The machine is gone, with all that ran on it."""
        self.silent = True
        for one in self.alive():
            one.told = True  # before it dies: a look at the pods that is under way must not tell of it
            os.killpg(one.process.pid, signal.SIGKILL)

    def alive(self) -> list[Process]:
        return [one for one in self.processes.values() if one.process.poll() is None]

    # -- work

    def _beat(self) -> None:
        if time.monotonic() < self._beat_at:
            return
        self._beat_at = time.monotonic() + _BEAT
        ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "kubelet is posting"}
        ready |= {"lastHeartbeatTime": _now(), "lastTransitionTime": _now()}
        self._core.patch_node_status(self.name, {"status": {"conditions": [ready]}})
        lease = {"holderIdentity": self.name, "leaseDurationSeconds": 40}
        lease["renewTime"] = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        body = {"metadata": {"name": self.name, "namespace": "kube-node-lease"}, "spec": lease}
        try:
            self._leases.patch_namespaced_lease(self.name, "kube-node-lease", body)
        except ApiException as error:
            if error.status != 404:
                raise
            self._leases.create_namespaced_lease("kube-node-lease", body)

    def _sync(self) -> None:
        for pod in self._core.list_namespaced_pod(self.namespace).items:
            try:
                self._step(pod)
            except ApiException as error:
                if error.status not in (404, 409):
                    raise
        for one in [one for one in self.processes.values() if not one.told]:
            if one.process.poll() is not None:
                if not one.told:
                    self._tell_end(one)
            elif one.stop_by and time.monotonic() > one.stop_by:
                one.process.kill()
            elif self.refreshes:
                self._mount_secrets(one.pod, one.folder)

    def _step(self, pod: Any) -> None:
        meta, name = pod.metadata, pod.metadata.name
        if contract.PLAN_ANNOTATION not in (meta.annotations or {}):
            return
        mine = (meta.labels or {}).get(INTEGRATION_LABEL, "").startswith(self.only)
        if not pod.spec.node_name and not meta.deletion_timestamp and mine and not self.cordoned:
            target = client.V1Binding(
                metadata=client.V1ObjectMeta(name=name, namespace=meta.namespace),
                target=client.V1ObjectReference(api_version="v1", kind="Node", name=self.name),
            )
            self._core.create_namespaced_binding(meta.namespace, target, _preload_content=False)
            return
        if pod.spec.node_name != self.name:
            return
        if meta.deletion_timestamp:
            self._take_away(pod)
        elif name not in self.processes and pod.status.phase == "Pending":
            self.processes[name] = self._begin(pod)
            now = {"running": {"startedAt": _now()}}
            ready = {"type": "Ready", "status": "True"}
            self._status(pod, {"phase": "Running", "conditions": [ready], **container(now)})

    def _take_away(self, pod: Any) -> None:
        """A pod that was deleted: ask its process to stop, and let the object go once it has ended."""
        one = self.processes.get(pod.metadata.name)
        if one is not None and one.process.poll() is None:
            if not one.stop_by:
                one.stop_by = time.monotonic() + (pod.metadata.deletion_grace_period_seconds or 30)
                one.process.send_signal(signal.SIGTERM)
            return
        if one is not None and not one.told:
            self._tell_end(one)
        self._core.delete_namespaced_pod(pod.metadata.name, pod.metadata.namespace, grace_period_seconds=0)

    def _tell_end(self, one: Process) -> None:
        one.told = True
        code = one.process.returncode
        code = 128 - code if code < 0 else code
        message = (one.folder / contract.TERMINATION_LOG_PATH.lstrip("/")).read_text(errors="replace")[:4096]
        reason = one.ended_by or ("Error" if code else "Completed")
        ended = {"exitCode": code, "reason": reason, "message": message, "finishedAt": _now()}
        phase = "Failed" if code else "Succeeded"
        try:
            self._status(one.pod, {"phase": phase, **container({"terminated": ended})})
        except ApiException as error:
            if error.status != 404:
                one.told = False
                raise

    def _status(self, pod: Any, status: dict[str, Any]) -> None:
        self._core.patch_namespaced_pod_status(pod.metadata.name, pod.metadata.namespace, {"status": status})

    def _begin(self, pod: Any) -> Process:
        folder = self.folder / pod.metadata.uid
        plan = json.loads(pod.metadata.annotations[contract.PLAN_ANNOTATION])
        identity = plan["sync"]
        self.started[identity["uid"], str(identity["attempt"])] += 1
        volume = self.volume / pod.metadata.namespace
        volume.mkdir(parents=True, exist_ok=True)
        if plan["destination"]["kind"] == "SQLite":  # the volume is not at its path: this is no container
            plan["destination"]["path"] = str(volume / "towline.db")
        put(folder, contract.PLAN_PATH, json.dumps(plan))
        put(folder, contract.TERMINATION_LOG_PATH, "")
        self._mount_secrets(pod, folder)
        path, command = self.code.get(pod.spec.containers[0].image, ("", RUN))
        environment = {**os.environ, "TOWLINE_POD_ROOT": str(folder), contract.POD_UID_ENV: pod.metadata.uid}
        if path:
            environment["PYTHONPATH"] = path
        with (folder / "log").open("ab") as log:
            process = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=log, stderr=log, start_new_session=True
            )
        return Process(pod, folder, process)

    def _mount_secrets(self, pod: Any, folder: Path) -> None:
        for path, text in self._secrets(pod):
            put(folder, path, text)

    def _secrets(self, pod: Any) -> list[tuple[str, str]]:
        """Path and content of each key of a Secret that the pod mounts, as it is now."""
        mounts = {mount.name: mount.mount_path for mount in pod.spec.containers[0].volume_mounts}
        found = []
        for volume in pod.spec.volumes:
            for source in (volume.projected.sources or []) if volume.projected else []:
                if source.secret is None:
                    continue
                try:
                    secret = self._core.read_namespaced_secret(source.secret.name, pod.metadata.namespace)
                except ApiException:
                    continue  # the mount is optional
                found += [
                    (f"{mounts[volume.name]}/{item.path}", _decoded(secret.data[item.key]))
                    for item in source.secret.items or []
                    if item.key in (secret.data or {})
                ]
        return found


def _decoded(value: str) -> str:
    return base64.b64decode(value).decode()


def put(folder: Path, path: str, text: str) -> None:
    file = folder / path.lstrip("/")
    file.parent.mkdir(parents=True, exist_ok=True)
    new = file.with_name(f".{file.name}.new")
    new.write_text(text)
    new.replace(file)  # whoever reads it sees the old or the new one


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
