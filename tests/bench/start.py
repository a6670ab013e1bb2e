"""`make bench-start`: from SyncJob to data on a real node, beside a bare Job. python -m tests.bench.start

Job and SyncJob take turns, and medians are printed, so that what else the machine does hits both alike.
"""

from __future__ import annotations

import argparse
import importlib
import os
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hack.demo.steps import DemoError, say
from hack.demo.systems import secret
from hack.demo.target import RELEASE, SYSTEM_NAMESPACE, Target, find_target, host_address, install, target_of
from tests.bench.vendor import Vendor
from tests.cluster import lifecycle
from tests.cluster.images import TOWLINE
from tests.cluster.report import ClusterError

# The official client has no types for what is used here.
kubernetes: Any = importlib.import_module("kubernetes")

CLUSTER = "towline-bench"
NAMESPACE = "bench-start"
GROUP, VERSION = "towline.dev", "v1alpha1"
SECONDS = 120


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.start", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--records", type=int, default=1000, help="records of a SyncJob")
    parser.add_argument("--keep", action="store_true", help=f"leave the cluster {CLUSTER} running")
    options = parser.parse_args()
    try:
        with _cluster(options.keep) as target:
            _run(target, options.rounds, options.records)
    except (ClusterError, DemoError) as error:
        say(f"✗ {error}")
        return 1
    return 0


@contextmanager
def _cluster(keep: bool) -> Iterator[Target]:
    if named := os.environ.get("TOWLINE_KUBECONFIG"):
        yield target_of(Path(named))
        return
    try:
        yield find_target(CLUSTER)
    finally:
        if not keep:
            lifecycle.down(CLUSTER)


def _run(target: Target, rounds: int, records: int) -> None:
    image = target.image(TOWLINE)
    install(target, image)
    target.namespace(NAMESPACE)
    api = kubernetes.config.new_client_from_config(str(target.kubeconfig))
    with Vendor(host_address(target), records) as vendor:
        try:
            _integration(target, vendor.host)
            jobs, syncs = [], []
            for number in range(rounds + 1):
                job = _bare_job(api, image, number)
                sync = _sync(api, number, records)
                say(f"  round {number}: Job {job:.2f} s, SyncJob {sync:.2f} s{'  (to warm up)' if not number else ''}")
                if number:
                    jobs.append(job)
                    syncs.append(sync)
            starts = vendor.start_seconds[1:]
            rss = _operator_rss(target)
        finally:
            target.kubectl("delete", "namespace", NAMESPACE, timeout=180)
    job, sync = statistics.median(jobs), statistics.median(syncs)
    say(f"  a SyncJob of {records} records takes {sync / job:.2f} times a bare Job")
    print(f"BENCH job_echo_seconds {job:.3f} s")
    print(f"BENCH syncjob_1000_records_seconds {sync:.3f} s")
    if starts:
        print(f"BENCH container_to_first_request_seconds {statistics.median(starts):.3f} s")
    print(f"BENCH operator_idle_rss_mib {rss:.1f} MiB")
    print(f"BENCH image_mib {_image_size(target, image):.1f} MiB")


def _integration(target: Target, host: str) -> None:
    """An Integration that syncs when it is asked to, one stream of one vendor."""
    target.apply(
        secret(
            NAMESPACE,
            "vendor",
            {"username": "simulator", "password": "simulator"},
            **{"towline.dev/allowed-hosts": host},
        ),
        {
            "apiVersion": f"{GROUP}/{VERSION}",
            "kind": "Integration",
            "metadata": {"name": "vendor", "namespace": NAMESPACE},
            "spec": {
                "connectorRef": {"name": "servicenow"},
                "config": {"host": host, "scheme": "http"},
                "credentials": {"secretRef": {"name": "vendor"}},
                "streams": [{"name": "incidents", "mode": "Full"}],
                # All rounds' Jobs are to be there while the bench runs.
                "successfulSyncsHistoryLimit": 100,
            },
        },
    )
    target.kubectl("-n", NAMESPACE, "wait", "--for=condition=Ready", "integration/vendor", "--timeout=60s")


def _bare_job(api: Any, image: str, number: int) -> float:
    """Seconds from the creation of a Job that echoes a word to its condition Complete."""
    container = {
        "name": "echo",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["echo", "hello"],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    spec = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "runAsGroup": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
    }
    name = f"echo-{number}"
    body = {"metadata": {"name": name}, "spec": {"backoffLimit": 0, "template": {"spec": spec}}}
    batch = kubernetes.client.BatchV1Api(api)
    begun = time.monotonic()
    batch.create_namespaced_job(NAMESPACE, body)
    for event in kubernetes.watch.Watch().stream(
        batch.list_namespaced_job, NAMESPACE, field_selector=f"metadata.name={name}", timeout_seconds=SECONDS
    ):
        conditions = event["object"].status.conditions or []
        if any(each.type == "Complete" and each.status == "True" for each in conditions):
            return time.monotonic() - begun
        if any(each.type == "Failed" and each.status == "True" for each in conditions):
            break
    raise DemoError(f"Job {NAMESPACE}/{name} did not complete; kubectl -n {NAMESPACE} describe job {name} tells why.")


def _sync(api: Any, number: int, records: int) -> float:
    """Seconds from the creation of a SyncJob to its condition Succeeded, with all records read."""
    name = f"vendor-bench-{number}"
    body = {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "SyncJob",
        "metadata": {"name": name},
        "spec": {"integrationRef": {"name": "vendor"}, "mode": "Full"},
    }
    custom = kubernetes.client.CustomObjectsApi(api)
    begun = time.monotonic()
    custom.create_namespaced_custom_object(GROUP, VERSION, NAMESPACE, "syncjobs", body)
    for event in kubernetes.watch.Watch().stream(
        custom.list_namespaced_custom_object, GROUP, VERSION, NAMESPACE, "syncjobs",
        field_selector=f"metadata.name={name}", timeout_seconds=SECONDS,
    ):  # fmt: skip
        status: dict[str, Any] = event["object"].get("status", {})
        ended: dict[str, Any] = next((each for each in status.get("conditions", []) if each["type"] == "Succeeded"), {})
        if ended.get("status") == "True":
            taken = time.monotonic() - begun
            read = int(status.get("totals", {}).get("read", 0))
            if read < records:  # rows at the edges of pages are read twice
                raise DemoError(f"SyncJob {name} read {read} records, not {records}.")
            return taken
        if ended.get("status") == "False":
            raise DemoError(f"SyncJob {name} failed: {ended['reason']}: {ended['message']}")
    raise DemoError(f"SyncJob {NAMESPACE}/{name} did not end within {SECONDS} s.")


def _operator_rss(target: Target) -> float:
    """Resident memory of the operator's process, in MiB."""
    text = target.kubectl("-n", SYSTEM_NAMESPACE, "exec", f"deploy/{RELEASE}", "--", "cat", "/proc/1/status")
    (kilobytes,) = [int(line.split()[1]) for line in text.splitlines() if line.startswith("VmRSS:")]
    return kilobytes / 1024


def _image_size(target: Target, image: str) -> float:
    """Size of the image as the node counts it, in MiB."""
    for node in target.objects("nodes"):
        for each in node["status"].get("images", []):
            if image in each.get("names", []):
                return float(each["sizeBytes"]) / 2**20
    return float("nan")


if __name__ == "__main__":
    sys.exit(main())
