"""Faults of nodes. The connectors run as processes; the controllers that notice a silent node are Kubernetes' own."""

from __future__ import annotations

import random
import time

from kubernetes import client
from kubernetes.client.rest import ApiException
from tests.api.acme import SELDOM
from tests.api.operator_process import until
from tests.chaos.kubelet import Kubelet, Process
from tests.chaos.outcome import Outcome
from tests.chaos.promises import jobs_once
from tests.chaos.stage import Stage
from tests.chaos.vendor import Vendor, serving

from towline import contract
from towline.contract import RunResult

NODE_FAULTS = ("silent", "off", "drained")
POD_FAULTS = ("evicted", "pressed", "deleted", "memory", "crashed")
WITHIN = 120.0
"""Seconds until the next attempt."""


def node_loss(stage: Stage, random_: random.Random, size: int) -> Outcome:
    """9: whatever becomes of a node, a sync ends in one committed result, and a pod that comes late writes nothing."""
    found = Outcome(9, "node silent, off, drained; pod evicted, deleted, killed")
    of_each = max(1, size // 5)
    faults = [fault for fault in (*NODE_FAULTS, *POD_FAULTS) for _ in range(of_each)]
    names = [f"{fault}-{number}" for number, fault in enumerate(faults)]
    vendor = Vendor(pages=8, held_at=5)
    with serving(vendor):
        lost = {fault: stage.kubelet(f"{fault}-") for fault in NODE_FAULTS}
        others = stage.kubelet()
        others.cordoned = True
        stage.accounts(vendor, names, SELDOM)
        shaky = {fault: stage.kubelet(f"{fault}-") for fault in POD_FAULTS}
        stage.operator().start()
        until("all syncs are in the middle", lambda: len(vendor.waiting) == len(names), 180)
        before = dict(vendor.asked)
        old: dict[str, Process] = {}
        for kubelet in {**lost, **shaky}.values():
            kubelet.cordoned = True
            old |= {_integration(one): one for one in kubelet.processes.values()}
        others.cordoned = False
        random_.shuffle(names)
        began = time.time()
        for name in names:
            _break(stage, {**lost, **shaky}[name.partition("-")[0]], old[name], name.partition("-")[0])
            found.injected += 1
        try:
            until("each has another attempt", lambda: _second_attempts(stage) == set(names), WITHIN + 90)
        except AssertionError:
            found.violations += [f"{name}: no other attempt" for name in set(names) - _second_attempts(stage)]
            return found
        for job in stage.cluster.jobs():
            if job.metadata.name.endswith("-2"):
                took = job.metadata.creation_timestamp.timestamp() - began
                found.expect(took <= WITHIN, f"{job.metadata.name}: {took:.0f} s until the next attempt")
        # They begin to read once they hold the claim.
        until("they hold the claims", lambda: all(vendor.asked[name] > before[name] for name in names), 120)
        vendor.held_at = 0  # whoever is left of the old ones writes now, at the same time as the new ones
        syncs = stage.settled(180)
        for kubelet in lost.values():
            kubelet.silent = False  # it comes back, and tells what it has
    for sync in syncs:
        name = sync["spec"]["integrationRef"]["name"]
        condition = sync["status"]["conditions"][0]
        found.expect(condition["status"] == "True", f"{name}: {condition['reason']}: {condition['message']}")
        found.expect(sync["status"]["attempts"] == 2, f"{name}: {sync['status']['attempts']} attempts")
        counted = int(name.startswith(("memory", "crashed")))
        found.expect(int(sync["status"].get("failures") or 0) == counted, f"{name}: counted as a failure or not")
        rows = stage.rows(name)
        wanted = [(key, f"{name}-{int(key[1:])}") for key in vendor.expected()]
        found.expect(rows == wanted, f"{name}: {len(rows)} rows instead of {len(wanted)}")
    _late_writers(found, old)
    jobs_once(stage, found)
    return found


def _late_writers(found: Outcome, old: dict[str, Process]) -> None:
    """The pods of nodes that fell silent went on: what they tried to write was refused."""
    for name, one in old.items():
        if name.startswith("silent"):
            one.process.wait(60)
            text = (one.folder / contract.TERMINATION_LOG_PATH.lstrip("/")).read_text()
            result = RunResult.model_validate_json(text)
            found.expect(str(result.reason) == "Superseded", f"{name}: the old pod ended as {result.reason}")


def _break(stage: Stage, kubelet: Kubelet, one: Process, fault: str) -> None:
    core, name, namespace = stage.cluster.core, one.name, stage.cluster.namespace
    match fault:
        case "silent":
            kubelet.silent = True
        case "off":
            kubelet.power_off()
        case "drained":
            core.patch_node(kubelet.name, {"spec": {"unschedulable": True}})
            _evict(core, namespace, name)
        case "evicted":
            _evict(core, namespace, name)
        case "pressed":
            kubelet.evict_for_pressure(name)
        case "deleted":
            core.delete_namespaced_pod(name, namespace)
        case "memory":
            kubelet.out_of_memory(name)
        case _:
            kubelet.crash(name)


def _evict(core: client.CoreV1Api, namespace: str, name: str) -> None:
    """As `kubectl drain` does for each pod."""
    body = client.V1Eviction(metadata=client.V1ObjectMeta(name=name, namespace=namespace))
    try:
        core.create_namespaced_pod_eviction(name, namespace, body)
    except ApiException as error:
        if error.status != 404:
            raise


def _integration(one: Process) -> str:
    return str(one.pod.metadata.labels["towline.dev/integration"])


def _second_attempts(stage: Stage) -> set[str]:
    jobs = stage.cluster.jobs()
    return {job.metadata.labels["towline.dev/integration"] for job in jobs if job.metadata.name.endswith("-2")}
