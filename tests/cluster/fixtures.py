"""Fixtures for tests on a real cluster; the root conftest loads this module as a plugin.

`control_plane` is the cheapest API server there is, `node_cluster` one that runs pods and has Towline's image. A run
in one process that needs both gets one cluster; processes side by side (`pytest -n`) have each their own. It is taken
down at the end; with `TOWLINE_KEEP_CLUSTER=1` it has a fixed name, stays, and is reused by the next run.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.cluster import choice, lifecycle
from tests.cluster.binaries import CONTROL_PLANE, is_built
from tests.cluster.images import IMAGES, TOWLINE, build_image
from tests.cluster.kubectl import kubectl
from tests.cluster.record import Record, load_all
from tests.cluster.report import ClusterError

PREFIX = "towline-test"
# Seconds for the test that builds everything the first time; the others keep the usual limit.
_FIRST_TIME = 2400


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give the first test of each cluster the time to build what the cache does not have yet."""
    waiting = {"control_plane", "node_cluster"}
    for item in items:
        if used := waiting.intersection(getattr(item, "fixturenames", ())):
            waiting -= used
            item.add_marker(pytest.mark.timeout(_FIRST_TIME))


@dataclass(frozen=True)
class Running:
    """A cluster during the tests; `image` is empty where no pods run."""

    name: str
    provider: str
    kubeconfig: Path
    image: str = ""
    record: Record | None = None

    def load(self, name: str) -> str:
        """Build the image `name` (see `images.IMAGES`), put it into the cluster; its reference."""
        return build_image(IMAGES[name], self.record)

    def kubectl(self, *arguments: str, stdin: str | None = None, timeout: float = 120.0, check: bool = True) -> str:
        """What kubectl prints; ClusterError with its words when it fails and `check` is on."""
        return kubectl(self.kubeconfig, *arguments, stdin=stdin, timeout=timeout, check=check)


@pytest.fixture(scope="session")
def control_plane(request: pytest.FixtureRequest) -> Iterator[Path]:
    """The kubeconfig of a real API server with the Job controller and the scheduler; nodes may be missing."""
    alone = "PYTEST_XDIST_WORKER" not in os.environ
    if alone and any("node_cluster" in getattr(item, "fixturenames", ()) for item in request.session.items):
        running: Running = request.getfixturevalue("node_cluster")
        yield running.kubeconfig
        return
    machine = choice.look_at_machine()
    # Where kind can be had, building an API server of our own would be the slower way.
    own = machine.linux and (machine.container_engine is None or all(map(is_built, CONTROL_PLANE)))
    with _running("-api", "control-plane" if own else "auto") as cluster:
        yield cluster.kubeconfig


@pytest.fixture(scope="session")
def node_cluster() -> Iterator[Running]:
    """A cluster that runs pods and has Towline's image; `TOWLINE_IMAGE` names it in a cluster that the user names."""
    machine = choice.look_at_machine()
    named = os.environ.get("TOWLINE_KUBECONFIG")
    if not (named or machine.container_engine or (machine.linux and machine.root)):
        pytest.skip("running pods needs Docker or Podman, or Linux and root, or a cluster named by TOWLINE_KUBECONFIG")
    if named and not os.environ.get("TOWLINE_IMAGE"):
        pytest.skip("with TOWLINE_KUBECONFIG, TOWLINE_IMAGE must name Towline's image as that cluster can pull it")
    with _running("", "auto", need_pods=True) as cluster:
        image = os.environ["TOWLINE_IMAGE"] if named else build_image(TOWLINE, cluster.record)
        yield Running(cluster.name, cluster.provider, cluster.kubeconfig, image, cluster.record)


@contextmanager
def _running(suffix: str, provider: str, need_pods: bool = False) -> Iterator[lifecycle.Cluster]:
    keep = os.environ.get("TOWLINE_KEEP_CLUSTER", "") not in {"", "0"}
    name = f"{PREFIX}{suffix}" if keep else f"{PREFIX}{suffix}-{os.getpid()}"
    if os.environ.get("TOWLINE_KUBECONFIG"):
        provider = "existing"
    sweep_abandoned()
    try:
        cluster = lifecycle.up(name, provider, need_pods=need_pods)
        yield cluster
    finally:
        if not keep and provider != "existing":
            lifecycle.down(name)


def sweep_abandoned() -> list[str]:
    """Take down the clusters of test runs that were killed; their names."""
    swept = []
    for record in load_all():
        prefix, _, pid = record.name.rpartition("-")
        if prefix.startswith(PREFIX) and pid.isdigit() and not Path(f"/proc/{pid}").exists():
            try:
                lifecycle.down(record.name)
            except ClusterError:
                continue
            swept.append(record.name)
    return swept
