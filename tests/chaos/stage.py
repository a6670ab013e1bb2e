"""What every fault is tried on: an API server, the proxy before it, an operator that can be killed, and a hand that
plays the kubelet and ends each pod with a result."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kubernetes import client, config
from tests.api.operator_process import NOWHERE, Cluster, OperatorProcess, container, until
from tests.chaos import vendor as vendors
from tests.chaos.kubelet import Kubelet
from tests.chaos.proxy import Proxy
from tests.chaos.vendor import Vendor
from tests.cluster.network import free_port

from towline.contract import PLAN_ANNOTATION, RunResult

IMAGE = "towline.example/run:test"
CONNECTOR = """
apiVersion: towline.dev/v1alpha1
kind: Connector
metadata: {name: %s}
spec:
  title: Acme
  version: 1.0.0
  category: EDR
  capabilities: [Pull]
  egress: [api.acme.example]
  http: {baseURL: "https://api.acme.example"}
  streams:
  - name: hosts
    request: {path: /hosts}
    sync: {mode: Full}
    emit: [{entity: asset, key: id, fields: {hostname: "=name"}}]
"""


@dataclass
class Victim(OperatorProcess):
    """An operator process with a fault in it."""

    point: str = ""
    clock: Path | None = None
    path: str = ""
    """PYTHONPATH of another version."""
    image: str = IMAGE

    def start(self) -> None:
        self.launch()
        until("the operator is ready", self._ready)

    def launch(self) -> None:
        """Start without waiting: it may be killed before it is ready."""
        self.port = free_port()
        command = [sys.executable, "-m", "tests.chaos.victim", "operator", f"--kubeconfig={self.kubeconfig}"]
        command += ["--host=127.0.0.1", f"--port={self.port}", f"--image={self.image}", *self.options]
        here = {"TOWLINE_OPERATOR_EGRESS_ALLOW": "127.0.0.0/8"}  # where the vendors are; older operators do not read it
        environment = {**os.environ, **here, "CHAOS_KILL": self.point, "CHAOS_CLOCK": str(self.clock or "")}
        if self.path:
            environment["PYTHONPATH"] = self.path
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, start_new_session=True, env=environment, cwd=Path(__file__).parents[2]
            )

    @property
    def dead(self) -> bool:
        return self.process is None or self.process.poll() is not None

    def number(self, metric: str) -> float:
        """The sum of a metric's samples; 0 while the operator does not answer."""
        try:
            lines = self.get("/metrics").splitlines()
        except OSError:
            return 0.0
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith((f"{metric} ", f"{metric}{{")))


class Hand(threading.Thread):
    """Plays the kubelet: lets each pod of the namespace run and end with a good result."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(name="hand", daemon=True)
        self._cluster = cluster
        self._stop_asked = threading.Event()
        self.paused = threading.Event()
        self.started: Counter[tuple[str, str]] = Counter()
        """Pods by the uid of their SyncJob and its attempt."""
        self._seen: set[str] = set()
        self.misbehave: Callable[[Any], dict[str, Any] | None] = lambda _pod: None
        """Another status for a pod than a good end, if it has one."""

    def run(self) -> None:
        while not self._stop_asked.wait(0.15):
            if self.paused.is_set():
                continue
            try:
                pods = self._cluster.core.list_namespaced_pod(self._cluster.namespace).items
                for pod in pods:
                    self._end(pod)
            except client.ApiException:
                continue  # the pod or its namespace is gone

    def _end(self, pod: Any) -> None:
        if pod.metadata.uid in self._seen or pod.metadata.deletion_timestamp:
            return
        if poison := self.misbehave(pod):
            self._cluster.pod_status(pod, poison)
            self._seen.add(pod.metadata.uid)
            return
        identity = json.loads(pod.metadata.annotations[PLAN_ANNOTATION])["sync"]
        result = RunResult.model_validate(
            {
                "sync_uid": identity["uid"],
                "attempt": identity["attempt"],
                "pod_uid": pod.metadata.uid,
                "reason": "Completed",
                "streams": [{"name": "hosts", "read": 1, "upserted": 1}],
            }
        )
        ended = {"exitCode": 0, "reason": "Completed", "message": result.model_dump_json()}
        self._cluster.pod_status(pod, {"phase": "Succeeded", **container({"terminated": ended})})
        self._seen.add(pod.metadata.uid)
        self.started[identity["uid"], str(identity["attempt"])] += 1

    def stop(self) -> None:
        self._stop_asked.set()
        self.join(20)


@dataclass
class Stage:
    """A namespace, a Connector, and how to start operators for it."""

    kubeconfig: Path
    folder: Path
    seed: int
    cluster: Cluster = field(init=False)
    proxy: Proxy = field(init=False)
    through: Path = field(init=False)
    hand: Hand = field(init=False)
    connector: str = field(init=False)
    clock: Path = field(init=False)
    operators: list[Victim] = field(default_factory=list)
    kubelets: list[Kubelet] = field(default_factory=list)

    def __enter__(self) -> Stage:
        connection = config.new_client_from_config(str(self.kubeconfig))
        self.folder.mkdir(parents=True, exist_ok=True)
        name = f"chaos-{uuid.uuid4().hex[:8]}"
        core = client.CoreV1Api(connection)
        core.create_namespace({"metadata": {"name": name}})
        self.cluster = Cluster(client.CustomObjectsApi(connection), core, client.BatchV1Api(connection), name)
        self.proxy = Proxy(self.kubeconfig, self.seed)
        self.through = self.proxy.start(self.folder)
        self.connector = f"acme-{uuid.uuid4().hex[:6]}"
        self.cluster.apply(CONNECTOR % self.connector)
        self.clock = self.folder / f"clock-{name}"
        self.clock.write_text("0")
        own = config.new_client_from_config(str(self.kubeconfig))  # a connection of its own: it is a thread of its own
        self.hand = Hand(Cluster(client.CustomObjectsApi(own), client.CoreV1Api(own), client.BatchV1Api(own), name))
        self.hand.start()
        return self

    def __exit__(self, *_: object) -> None:
        for operator in self.operators:
            operator.stop_if_running()
        self.hand.stop()
        for kubelet in self.kubelets:
            kubelet.stop()
        self.proxy.stop()
        self.cluster.remove()

    def operator(self, *options: str, kill: str = "", direct: bool = False) -> Victim:
        """An operator of this namespace that is not started yet."""
        always = (f"--namespace={self.cluster.namespace}", "--no-bundled", "--max-active-syncs=500", "--resync=3")
        log = self.folder / f"operator-{len(self.operators)}.log"
        made = Victim(self.kubeconfig if direct else self.through, log, (*always, *options), point=kill)
        made.clock = self.clock
        self.operators.append(made)
        return made

    def integrations(self, number: int, more: str, prefix: str = "i") -> list[str]:
        """Make Integrations without credentials; their names."""
        names = [f"{prefix}{index}" for index in range(number)]
        for name in names:
            self.cluster.apply(
                f"apiVersion: towline.dev/v1alpha1\nkind: Integration\nmetadata: {{name: {name}}}\n"
                f"spec:\n  connectorRef: {{name: {self.connector}}}\n  job: {NOWHERE}\n  {more}\n"
            )
        return names

    def kubelet(self, only: str = "", code: dict[str, tuple[str, tuple[str, ...]]] | None = None) -> Kubelet:
        """A node that runs connectors, those of Integrations whose name begins with `only`, instead of the hand."""
        self.hand.stop()
        name = f"{self.cluster.namespace}-{len(self.kubelets)}"
        volume = self.folder / f"volume-{self.cluster.namespace}"
        made = Kubelet(self.kubeconfig, name, self.cluster.namespace, self.folder / name, volume, only, code or {})
        self.kubelets.append(made)
        made.start()
        return made

    def started(self) -> Counter[tuple[str, str]]:
        """Pods that ran, by the uid of their SyncJob and its attempt."""
        return sum((one.started for one in self.kubelets), Counter(self.hand.started))

    def accounts(self, vendor: Vendor, names: list[str], more: str = "", token: str = vendors.TOKEN) -> None:
        """Integrations of a vendor, each with a Secret of its own."""
        connector = f"vendor-{uuid.uuid5(uuid.NAMESPACE_URL, vendor.url + self.cluster.namespace).hex[:6]}"
        if connector not in self.cluster.connectors:
            self.cluster.apply(vendors.CONNECTOR % {"name": connector, "url": vendor.url})
        for name in names:
            self.cluster.apply(
                f"apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}}}\nstringData: {{token: {token}}}\n---\n"
                f"apiVersion: towline.dev/v1alpha1\nkind: Integration\nmetadata: {{name: {name}}}\n"
                f"spec:\n  connectorRef: {{name: {connector}}}\n  job: {NOWHERE}\n  config: {{account: {name}}}\n"
                f"  credentials: {{secretRef: {{name: {name}}}}}\n  {more}\n"
            )

    def secret(self, name: str, token: str) -> None:
        """Put another token into the Secret of an Integration."""
        self.cluster.core.patch_namespaced_secret(name, self.cluster.namespace, {"stringData": {"token": token}})

    def rows(self, name: str) -> list[tuple[str, str]]:
        """Live rows of an Integration: key and host name."""
        file = self.folder / f"volume-{self.cluster.namespace}" / self.cluster.namespace / "towline.db"
        with contextlib.closing(sqlite3.connect(file)) as base:
            sql = "SELECT source_key, hostname FROM assets WHERE integration = ? AND deleted_time IS NULL ORDER BY 1"
            return base.execute(sql, (f"{self.cluster.namespace}/{name}",)).fetchall()

    def listed(self, plural: str) -> list[dict[str, Any]]:
        place = ("towline.dev", "v1alpha1", self.cluster.namespace, plural)
        return list(self.cluster.objects.list_namespaced_custom_object(*place)["items"])

    def ask(self, name: str, token: str) -> None:
        """Ask for a sync by annotation."""
        self.cluster.patch("integrations", name, {"metadata": {"annotations": {"towline.dev/requested-at": token}}})

    def rest(self, pause: float = 2.0) -> None:
        """Wait until nothing was written for `pause` seconds."""
        last, deadline = -1, time.monotonic() + 120
        while self.proxy.writes != last and time.monotonic() < deadline:
            last = self.proxy.writes
            time.sleep(pause)

    def settled(self, seconds: float = 60.0) -> list[dict[str, Any]]:
        """The SyncJobs once all of them have ended."""

        def look() -> list[dict[str, Any]]:
            found = self.listed("syncjobs")
            return found if found and all((one.get("status") or {}).get("completionTime") for one in found) else []

        return until("all SyncJobs have ended", look, seconds)
