"""Install, upgrade, rollback and uninstall by Helm while syncs run, where only `restricted` pods may."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hack.chart import CHART
from hack.demo import systems
from hack.demo.target import CRDS, RELEASE, SYSTEM_NAMESPACE, Target, helm, install
from tests.cluster.fixtures import Running
from tests.cluster.kubectl import find_kubectl
from tests.node.installation import INSTALLED_WITH, Reader, Towline, condition, until
from tests.node.previous import Release, previous_release
from tests.node.test_killed import rows

pytestmark = pytest.mark.node

SLOW = ("one", "two")
RELEASED = f"app.kubernetes.io/instance={RELEASE}"
INSIDE = ("egress.allow={10.0.0.0/8,172.16.0.0/12,192.168.0.0/16}",)
FULL = ["towline.dev/requested-at", "towline.dev/full-at"]


@pytest.fixture(scope="module")
def previous(towline: Towline, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Release]:
    """The release before this one, installed by two values instead of what the other tests use; theirs comes back."""
    target = towline.target
    release = previous_release(target, tmp_path_factory.mktemp("previous"))
    helm(target, "uninstall", RELEASE, "--namespace", SYSTEM_NAMESPACE, "--wait")
    put(target, release)
    settled(target)
    yield release
    helm(target, "uninstall", RELEASE, "--namespace", SYSTEM_NAMESPACE, "--ignore-not-found", "--wait")
    install(target, towline.image, INSTALLED_WITH)


@pytest.fixture(scope="module")
def unhurried(node_cluster: Running, towline: Towline, systems_namespace: str) -> str:
    """Host of a ServiceNow whose answers take long enough for a whole upgrade beside one sync."""
    options = {"incidents": 12000, "computers": 3000, "servers": 1000, "users": 3000, "groups": 100, "latency_ms": 1000}
    host = systems.simulator(towline.target, systems_namespace, "servicenow", node_cluster.image, options, "unhurried")
    systems.wait_for(towline.target, systems_namespace, "unhurried")
    return host


def put(target: Target, release: Release) -> None:
    """`helm upgrade --install` with the two values that everybody sets: repository and tag of the image.

    A release that closes private addresses gets a third one: the simulated system is a pod.
    """
    repository, _, tag = release.image.rpartition(":")
    arguments = ["upgrade", "--install", RELEASE, str(release.chart), "--namespace", SYSTEM_NAMESPACE]
    arguments += ["--set", f"image.repository={repository}", "--set-string", f"image.tag={tag}"]
    arguments += [argument for value in release.values for argument in ("--set", value)]
    # The definitions of an installation before were kept; --take-ownership makes them this release's again.
    helm(target, *arguments, "--take-ownership", "--wait", "--timeout", "3m")


def settled(target: Target) -> None:
    """Wait until an operator of this release leads and has looked at every Connector as it is now."""

    def leader() -> str:
        (lease,) = target.objects("-n", SYSTEM_NAMESPACE, "lease", RELEASE)
        holder = lease["spec"].get("holderIdentity", "")
        return next((pod for pod in operators(target) if holder.startswith(pod)), "")

    def works() -> bool:
        """It writes the Connectors before it looks at anything."""
        path = f"/api/v1/namespaces/{SYSTEM_NAMESPACE}/pods/{leader()}:8080/proxy/metrics"
        return "towline_reconcile_duration_seconds_count{" in target.kubectl("get", "--raw", path, check=False)

    def looked() -> bool:
        found = target.objects("connectors")
        return all(each["status"]["observedGeneration"] == each["metadata"]["generation"] for each in found)

    until(leader, 60)
    until(works, 60)
    until(looked, 60)


def at_work(towline: Towline, namespace: str, names: tuple[str, ...]) -> dict[str, tuple[str, str]]:
    """SyncJob and pod of each Integration's newest sync, once all of these pods run."""

    def found() -> dict[str, tuple[str, str]] | None:
        running = {}
        for name in names:
            runs, pods = towline.runs(namespace, name), towline.pods(namespace, name)
            if not runs or condition(runs[-1], "Succeeded").get("status") in {"True", "False"}:
                return None
            if pods and pods[-1]["status"].get("phase") == "Running":
                running[name] = (runs[-1]["metadata"]["name"], pods[-1]["metadata"]["uid"])
        return running if len(running) == len(names) else None

    return until(found, 120, lambda: "\n".join(towline.describe(namespace, name) for name in names))


def start_again(towline: Towline, namespace: str, names: tuple[str, ...], token: str) -> None:
    """Ask each Integration for a sync that reads everything."""
    for name in names:
        tokens = [f"{annotation}={token}" for annotation in FULL]
        towline.target.kubectl("-n", namespace, "annotate", "integration", name, "--overwrite", *tokens)
    until(lambda: all(towline.runs(namespace, name)[-1]["spec"]["trigger"] == "Manual" for name in names), 60)


def ended(towline: Towline, namespace: str, sync: str) -> dict[str, Any]:
    """The status of a SyncJob that is over."""

    def found() -> dict[str, Any] | None:
        item = towline.get(namespace, "syncjob", sync)
        return item["status"] if condition(item, "Succeeded").get("status") in {"True", "False"} else None

    return until(found, 240, lambda: json.dumps(towline.get(namespace, "syncjob", sync).get("status"), indent=1))


@contextmanager
def availability(target: Target) -> Iterator[list[int]]:
    """How many operators were available, at each change of the Deployment while the context lasts."""
    said: list[int] = []
    command = [str(find_kubectl()), f"--kubeconfig={target.kubeconfig}", "-n", SYSTEM_NAMESPACE, "get", "--watch"]
    command += [f"deployment/{RELEASE}", "-o", "jsonpath={.status.availableReplicas}{'\\n'}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said.append(int(process.stdout.readline() or 0))  # it watches from now on
        yield said
        process.terminate()
        said += [int(line or 0) for line in process.stdout.read().splitlines()]


def undisturbed(towline: Towline, namespace: str, started: dict[str, tuple[str, str]]) -> None:
    """Each of these syncs ended well in the pod that it began in."""
    for name, (sync, pod) in started.items():
        status = ended(towline, namespace, sync)
        assert condition({"status": status}, "Succeeded")["reason"] == "Completed", status
        assert status["attempts"] == 1, status
        left = [each["metadata"]["uid"] for each in towline.pods(namespace, name)]
        assert set(left) <= {pod}, "a second pod was made for a sync that was at work"


def operators(target: Target) -> dict[str, str]:
    """Name and image of the operator's pods, without those that end."""
    pods = target.objects("-n", SYSTEM_NAMESPACE, "pods", "--selector=app.kubernetes.io/component=operator")
    alive = [each for each in pods if "deletionTimestamp" not in each["metadata"]]
    return {each["metadata"]["name"]: each["spec"]["containers"][0]["image"] for each in alive}


def two_operators(target: Target, release: Release) -> None:
    assert list(operators(target).values()) == [release.image] * 2


def test_syncs_lose_and_double_nothing_while_the_release_changes_beneath_them(
    towline: Towline, namespace: str, previous: Release, unhurried: str
) -> None:
    target, current = towline.target, Release(CHART, towline.image, INSIDE)
    for place in (namespace, SYSTEM_NAMESPACE):
        labels = target.objects("namespace", place)[0]["metadata"]["labels"]
        assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    two_operators(target, previous)

    # The previous release is at work when this one comes.
    for name in SLOW:
        towline.servicenow(namespace, name, unhurried)
    started = at_work(towline, namespace, SLOW)
    with availability(target) as seen:
        put(target, current)
    two_operators(target, current)
    assert seen
    assert min(seen) >= 1, f"operators available during the upgrade: {seen}"
    undisturbed(towline, namespace, started)
    reader = towline.reader(namespace)
    expected = complete(reader, SLOW)

    # This release is at work, on rows that the previous one wrote, when it is rolled back.
    start_again(towline, namespace, SLOW, "upgraded")
    started = at_work(towline, namespace, SLOW)
    assert image_of(towline, namespace, SLOW[0]) == current.image
    helm(target, "rollback", RELEASE, "1", "--namespace", SYSTEM_NAMESPACE, "--wait", "--timeout", "3m")
    two_operators(target, previous)
    undisturbed(towline, namespace, started)
    assert complete(reader, SLOW) == expected

    # The previous release goes on with rows that this one wrote, and its run ends while there is no operator at all.
    start_again(towline, namespace, SLOW[:1], "rolled-back")
    started = at_work(towline, namespace, SLOW[:1])
    assert image_of(towline, namespace, SLOW[0]) == previous.image
    helm(target, "uninstall", RELEASE, "--namespace", SYSTEM_NAMESPACE, "--wait", "--timeout", "2m")
    assert target.objects("-n", SYSTEM_NAMESPACE, "deployments,serviceaccounts", f"--selector={RELEASED}") == []
    assert {each["metadata"]["name"] for each in target.objects("crd")} >= set(CRDS)
    assert towline.get(namespace, "integration", SLOW[0])["metadata"].get("deletionTimestamp") is None
    pod = towline.pods(namespace, SLOW[0])[-1]["metadata"]["name"]
    target.kubectl(
        "-n", namespace, "wait", "--for=jsonpath={.status.phase}=Succeeded", f"pod/{pod}", "--timeout=240s", timeout=250
    )
    put(target, current)
    helm(target, "test", RELEASE, "--namespace", SYSTEM_NAMESPACE, "--timeout", "2m")
    undisturbed(towline, namespace, started)
    assert complete(reader, SLOW) == expected
    towline.condition(namespace, SLOW[0], "Ready", "Synced")


def complete(reader: Reader, names: tuple[str, ...]) -> dict[str, Any]:
    """The rows of these Integrations, each with all that the system has, and nothing of it twice or deleted."""
    found = {name: rows(reader, name) for name in names}
    for each in found.values():
        assert (len(each["incident"]), len(each["user"]), len(each["asset"])) == (12000, 3000, 4000)
        assert all(alive for entity in each.values() for _key, _hash, alive in entity)
    return found


def image_of(towline: Towline, namespace: str, name: str) -> str:
    spec: dict[str, Any] = towline.pods(namespace, name)[-1]["spec"]
    return str(spec["containers"][0]["image"])
