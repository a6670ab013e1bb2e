"""What tests on a real API server share: Towline's kinds served, a namespace per test, kubectl and a plain client."""

import json
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client, config
from kubernetes.client.rest import ApiException
from tests.api.acme import CONNECTOR
from tests.api.client import GROUP, PLURALS, VERSION, Api, Kubectl
from tests.api.operator_process import Cluster, OperatorProcess
from tests.cluster.kubectl import kubectl as run_kubectl

ROOT = Path(__file__).parents[2]
OPTIONS = ("--secret-recheck=1", "--secret-check=3", "--start-timeout=4", "--max-active-syncs=4", "--resync=5")


@pytest.fixture(scope="session")
def kubectl(control_plane: Path) -> Kubectl:
    """kubectl against the cluster of this run; ClusterError with its words when it fails."""

    def run(*arguments: str, **options: Any) -> str:
        return run_kubectl(control_plane, *arguments, **options)

    return run


@pytest.fixture(scope="session")
def api(control_plane: Path, kubectl: Kubectl) -> Api:
    """A client of an API server that serves Towline's kinds."""
    kubectl("apply", "--server-side", "--force-conflicts", "-f", str(ROOT / "crds"))
    kubectl("wait", "--for=condition=Established", "--timeout=60s", *(f"crd/{p}.{GROUP}" for p in PLURALS.values()))
    connection = config.new_client_from_config(str(control_plane))
    served = Api(client.CustomObjectsApi(connection), client.CoreV1Api(connection))
    deadline = time.monotonic() + 60
    for plural in PLURALS.values():
        while True:  # Established comes a moment before every replica of the handler serves the kind
            try:
                served.objects.list_cluster_custom_object(GROUP, VERSION, plural, limit=1)
                break
            except ApiException:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
    return served


@pytest.fixture
def namespace(api: Api) -> Iterator[str]:
    """A namespace for one test."""
    name = f"test-{uuid.uuid4().hex[:10]}"
    api.core.create_namespace({"metadata": {"name": name}})
    yield name
    api.core.delete_namespace(name)


@pytest.fixture
def cluster(api: Api) -> Iterator[Cluster]:
    """A namespace for one test of an operator, with all that the operator makes in it."""
    name = f"operator-{uuid.uuid4().hex[:8]}"
    api.core.create_namespace({"metadata": {"name": name}})
    found = Cluster(api.objects, api.core, client.BatchV1Api(api.core.api_client), name)
    yield found
    found.remove()


@pytest.fixture(scope="module")
def operator(control_plane: Path, api: Api, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OperatorProcess]:
    """An operator for a module, which finds a Connector that is no longer bundled. Many modules have their own."""
    dropped = CONNECTOR.replace("metadata: {name: %s}", "metadata: {name: %s, labels: %s}") % (
        "no-longer-bundled",
        json.dumps({"towline.dev/bundled": "true", "app.kubernetes.io/managed-by": "towline"}),
        "",
    )
    Cluster(api.objects, api.core, client.BatchV1Api(api.core.api_client), "default").apply(dropped)
    process = OperatorProcess(control_plane, tmp_path_factory.mktemp("operator") / "log", OPTIONS)
    process.start()
    yield process
    process.stop_if_running()
    for one in api.objects.list_cluster_custom_object("towline.dev", "v1alpha1", "connectors")["items"]:
        api.objects.delete_cluster_custom_object("towline.dev", "v1alpha1", "connectors", one["metadata"]["name"])


@pytest.fixture
def acme(operator: OperatorProcess, cluster: Cluster) -> str:
    """A Connector of this test, checked and ready."""
    if operator.process is None or operator.process.poll() is not None:
        operator.start()  # a test before has left it dead
    name = f"acme-{uuid.uuid4().hex[:6]}"
    cluster.apply(CONNECTOR % (name, ""))
    cluster.wait_reason("connectors", name, "Valid")
    return name
