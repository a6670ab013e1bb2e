"""Towline installed once for all end-to-end tests, and simulated vendors for them."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator

import pytest
from hack.demo import systems
from hack.demo.target import SYSTEM_NAMESPACE, install, target_of, uninstall
from tests.cluster.fixtures import Running
from tests.node.installation import INSTALLED_WITH, Towline

SYSTEMS = "systems-of-the-tests"


@pytest.fixture(scope="session")
def towline(node_cluster: Running) -> Iterator[Towline]:
    """The chart, installed with the image of this checkout."""
    target = target_of(node_cluster.kubeconfig)
    install(target, node_cluster.image, INSTALLED_WITH)
    yield Towline(target, node_cluster.image)
    if node_cluster.record is None or os.environ.get("TOWLINE_KEEP_CLUSTER"):  # otherwise the whole cluster goes
        uninstall(target, namespace=SYSTEM_NAMESPACE)


@pytest.fixture(scope="session")
def systems_namespace(node_cluster: Running) -> Iterator[str]:
    target = target_of(node_cluster.kubeconfig)
    target.namespace(SYSTEMS)
    yield SYSTEMS
    target.kubectl("delete", "namespace", SYSTEMS, "--wait=false")


@pytest.fixture(scope="session")
def tenable(node_cluster: Running, systems_namespace: str) -> str:
    """Host of a Tenable with 300 assets and 6,000 findings."""
    target = target_of(node_cluster.kubeconfig)
    host = systems.simulator(target, SYSTEMS, "tenable-io", node_cluster.image, {"assets": 300, "running_exports": 50})
    systems.wait_for(target, SYSTEMS, host.partition(".")[0])
    return host


@pytest.fixture(scope="session")
def servicenow(node_cluster: Running, systems_namespace: str) -> str:
    """Host of a ServiceNow at volume that takes its time, so that a sync can be caught in the middle.

    Its table of change requests is empty, and answers after 20 seconds: who reads it last can be caught at its end."""
    target = target_of(node_cluster.kubeconfig)
    options: dict[str, object] = {"incidents": 6000, "computers": 3000, "servers": 1000, "users": 3000, "groups": 100}
    options |= {"others": 0, "latency_ms": 250, "slow_path": "/change_request", "slow_ms": 20000}
    host = systems.simulator(target, SYSTEMS, "servicenow", node_cluster.image, options)
    systems.wait_for(target, SYSTEMS, host.partition(".")[0])
    return host


@pytest.fixture(scope="session")
def sluggish(node_cluster: Running, systems_namespace: str) -> str:
    """Host of a ServiceNow that takes ten seconds for each answer."""
    target = target_of(node_cluster.kubeconfig)
    options = {"latency_ms": 10000}
    host = systems.simulator(target, SYSTEMS, "servicenow", node_cluster.image, options, "sluggish")
    systems.wait_for(target, SYSTEMS, "sluggish")
    return host


@pytest.fixture(scope="module")
def namespace(node_cluster: Running) -> Iterator[str]:
    """A namespace for a module, in which only `restricted` pods may run."""
    target = target_of(node_cluster.kubeconfig)
    name = f"sync-{uuid.uuid4().hex[:8]}"
    target.namespace(name)
    yield name
    target.kubectl("delete", "namespace", name, "--wait=false")
