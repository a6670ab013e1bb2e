"""Rows after a sync that was killed are the rows of a sync that was not: none lost, none doubled."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from tests.node.installation import Reader, Towline, condition, kill_process, until

pytestmark = pytest.mark.node

# One line per live row and entity: what identifies it and what it holds, without the times of writing.
DUMP = """
import json, sqlite3, sys
from towline_connectors.entities import REGISTRY
base = sqlite3.connect("file:/var/lib/towline/towline.db?mode=ro", uri=True)
rows = {}
for entity in REGISTRY.values():
    found = base.execute(
        f"SELECT source_key, content_hash, deleted_time IS NULL FROM {entity.table} WHERE integration = ?", sys.argv[1:]
    ).fetchall()
    if found:
        rows[entity.name] = sorted(found)
json.dump(rows, sys.stdout)
"""


@dataclass(frozen=True)
class Kill:
    """When a sync is killed, by what it has written so far, and how."""

    name: str
    written: int
    how: Callable[[Towline, str, dict[str, Any]], None]


def delete_pod(towline: Towline, namespace: str, pod: dict[str, Any]) -> None:
    """As an administrator in a hurry, or a node that is drained without grace."""
    towline.target.kubectl("-n", namespace, "delete", "pod", pod["metadata"]["name"], "--grace-period=0", "--force")


def kill_9(towline: Towline, namespace: str, pod: dict[str, Any]) -> None:
    """As the kernel does: the process has no chance to say a word."""
    if not kill_process(pod["metadata"]["uid"]):
        pytest.skip("the connector's process is not on this machine")


def kill_the_writer(towline: Towline, namespace: str, pod: dict[str, Any]) -> None:
    """As the kernel does when memory runs out: it picks one process, and the other has to notice."""
    if not kill_process(pod["metadata"]["uid"], newest=True):
        pytest.skip("the connector's writing process is not on this machine")


KILLS = (
    Kill("before-rows", 0, delete_pod),
    Kill("early", 500, delete_pod),
    Kill("midway", 4000, delete_pod),
    Kill("late", 12000, delete_pod),
    Kill("by-kernel", 2000, kill_9),
    Kill("writer-alone", 3000, kill_the_writer),
)


@pytest.fixture(scope="module")
def reference(towline: Towline, namespace: str, servicenow: str) -> dict[str, Any]:
    """The rows of a sync that nobody disturbed."""
    towline.servicenow(namespace, "undisturbed", servicenow)
    assert towline.result(namespace, "undisturbed", 180)["reason"] == "Completed"
    found = rows(towline.reader(namespace), "undisturbed")
    assert (len(found["incident"]), len(found["user"]), len(found["asset"])) == (6000, 3000, 4000)
    return found


@pytest.fixture(scope="module")
def killed(towline: Towline, namespace: str, servicenow: str, reference: dict[str, Any]) -> set[str]:
    """Syncs that run side by side into the same file; each is killed once. The names of those that were caught."""
    for kill in KILLS:
        towline.servicenow(namespace, kill.name, servicenow, lingering=True)
    reader = towline.reader(namespace)
    waiting, caught = set(KILLS), set[str]()
    deadline = time.monotonic() + 120
    while waiting:
        assert time.monotonic() < deadline, {kill.name for kill in waiting}
        written = counts(reader)
        for kill in sorted(waiting, key=lambda each: each.name):
            pods = towline.pods(namespace, kill.name)
            if not pods or pods[-1]["status"].get("phase") != "Running":
                continue
            if written.get(f"{namespace}/{kill.name}", 0) >= kill.written:
                kill.how(towline, namespace, pods[-1])
                caught.add(kill.name)
                waiting.remove(kill)
    return caught


@pytest.mark.parametrize("kill", KILLS, ids=[kill.name for kill in KILLS])
def test_a_killed_sync_ends_with_the_rows_of_an_undisturbed_one(
    towline: Towline, namespace: str, killed: set[str], reference: dict[str, Any], kill: Kill
) -> None:
    assert kill.name in killed
    assert towline.result(namespace, kill.name, 240)["reason"] == "Completed"
    (run,) = towline.runs(namespace, kill.name)
    assert run["status"]["attempts"] >= 2
    assert rows(towline.reader(namespace), kill.name) == reference


def test_a_deleted_pod_does_not_count_as_a_failure(towline: Towline, namespace: str, killed: set[str]) -> None:
    towline.result(namespace, "midway", 240)
    (run,) = towline.runs(namespace, "midway")
    assert run["status"].get("failures", 0) == 0


def test_a_killed_operator_goes_on_where_it_was(
    towline: Towline, namespace: str, servicenow: str, reference: dict[str, Any]
) -> None:
    towline.servicenow(namespace, "orphan", servicenow, lingering=True)

    def at_work() -> bool:
        pods = towline.pods(namespace, "orphan")
        return bool(pods) and pods[-1]["status"].get("phase") == "Running"

    until(at_work, 60, lambda: towline.describe(namespace, "orphan"))
    before = restarts(towline)
    if not kill_process(towline.operator_pod()["metadata"]["uid"]):
        pytest.skip("the operator's process is not on this machine")
    until(lambda: restarts(towline) > before, 60)
    assert towline.result(namespace, "orphan", 180)["reason"] == "Completed"
    (run,) = towline.runs(namespace, "orphan")
    assert run["status"]["attempts"] == 1
    assert len(towline.pods(namespace, "orphan")) <= 1
    assert rows(towline.reader(namespace), "orphan") == reference
    until(lambda: condition(towline.operator_pod(), "Ready").get("status") == "True", 60)


def restarts(towline: Towline) -> int:
    statuses: list[dict[str, Any]] = towline.operator_pod()["status"].get("containerStatuses", [])
    return sum(int(each["restartCount"]) for each in statuses)


def counts(reader: Reader) -> dict[str, int]:
    """Rows of each integration, whatever they are."""
    found: dict[str, int] = {}
    for each in reader.json("towline", "data", "-o", "json"):
        found[each["integration"]] = found.get(each["integration"], 0) + each["rows"]
    return found


def rows(reader: Reader, integration: str) -> dict[str, Any]:
    """Every row of an integration: key, content, live or not."""
    found: dict[str, Any] = reader.json("python3", "-c", DUMP, f"{reader.namespace}/{integration}")
    assert found, "there are no rows"
    return found
