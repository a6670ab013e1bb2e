"""The example repository, reconciled by Flux' own kustomize-controller until it is ready."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from hack.chart import CHECKOUT
from hack.demo.systems import secret
from tests.cluster.binaries import is_built
from tests.node import flux
from tests.node.installation import SELDOM, Towline, condition, until

pytestmark = [
    pytest.mark.node,
    pytest.mark.skipif(
        not (is_built(flux.FLUX) or os.environ.get("TOWLINE_BUILD_FLUX")),
        reason="Flux is not built yet; `make test-flux` builds it",
    ),
]
EXAMPLES = CHECKOUT / "examples" / "gitops"
NAME = "towline-integrations"


@dataclass(frozen=True)
class Applied:
    """The Kustomization of the examples, and where its objects went."""

    towline: Towline
    namespace: str
    log: Path

    def ready(self) -> dict[str, Any]:
        found = self.towline.target.objects("-n", flux.NAMESPACE, "kustomization", NAME)
        return condition(found[0], "Ready") if found else {}

    def wait(self, status: str, seconds: float = 90) -> dict[str, Any]:
        """The condition Ready once it has this status."""

        def reached() -> dict[str, Any] | None:
            return found if (found := self.ready()).get("status") == status else None

        return until(reached, seconds, lambda: f"{self.ready()}\n{self.log.read_text()[-3000:]}")

    def ask(self, token: str) -> None:
        """Reconcile now, as `flux reconcile` does, and wait until that is over."""
        target = self.towline.target
        request = f"reconcile.fluxcd.io/requestedAt={token}"
        target.kubectl("-n", flux.NAMESPACE, "annotate", "kustomization", NAME, "--overwrite", request)

        def handled() -> bool:
            found = target.objects("-n", flux.NAMESPACE, "kustomization", NAME)[0]
            return bool(found["status"].get("lastHandledReconcileAt") == token)

        until(handled, 90, lambda: self.log.read_text()[-3000:])


@pytest.fixture(scope="module")
def applied(
    towline: Towline, namespace: str, servicenow: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Applied]:
    """The examples' Kustomization for production, turned to this module's namespace and to a simulated ServiceNow."""
    folder = tmp_path_factory.mktemp("flux")
    kustomization = yaml.safe_load((EXAMPLES / "flux" / "kustomization.yaml").read_text())
    host = {"op": "replace", "path": "/spec/config", "value": {"host": servicenow, "scheme": "http"}}
    seldom = {"op": "replace", "path": "/spec/schedule", "value": SELDOM}
    volume = {"op": "remove", "path": "/spec/destinationSecretRef"}
    patch = {
        "target": {"kind": "Integration", "name": "servicenow"},
        "patch": yaml.safe_dump([host, volume, seldom]),
    }
    # Feeds are on the internet, where these tests have no business.
    rest = {"target": {"name": "kev"}, "patch": "- {op: add, path: /spec/suspend, value: true}"}
    kustomization["spec"] |= {"targetNamespace": namespace, "patches": [patch, rest], "retryInterval": "2s"}
    kustomization["spec"]["timeout"] = "60s"
    target = towline.target
    with (
        flux.controller(target, folder) as log,
        flux.repository(target, "platform", EXAMPLES, "examples/gitops", folder),
    ):
        target.apply(kustomization)
        yield Applied(towline, namespace, log)
        # Its finalizer is the controller's, which takes what it applied away.
        target.kubectl("-n", flux.NAMESPACE, "delete", "kustomization", NAME, "--timeout=60s")


def test_flux_says_what_is_missing_and_is_ready_once_it_is_there(
    applied: Applied, namespace: str, servicenow: str
) -> None:
    towline = applied.towline
    until(lambda: towline.get(namespace, "integration", "servicenow"), 60, lambda: applied.log.read_text()[-3000:])
    towline.condition(namespace, "servicenow", "Stalled", "SecretNotFound")
    waiting = applied.wait("False")
    assert waiting["reason"] == "HealthCheckFailed"
    assert f"Integration/{namespace}/servicenow" in waiting["message"]
    consent = {"towline.dev/allowed-hosts": servicenow}
    keys = {"username": "simulator", "password": "simulator"}
    towline.target.apply(secret(namespace, "servicenow", keys, **consent))
    towline.condition(namespace, "servicenow", "Ready", "Synced", 120)
    assert applied.wait("True")["reason"] == "ReconciliationSucceeded"


def test_a_sync_that_runs_does_not_make_flux_unready_and_nothing_drifts(applied: Applied, namespace: str) -> None:
    towline = applied.towline
    applied.wait("True")

    def written() -> dict[str, tuple[int, str]]:
        """Generation of each Integration, and what Flux wrote into it and when."""
        found = {}
        for each in towline.target.objects("-n", namespace, "integrations", "--show-managed-fields"):
            meta = each["metadata"]
            fields = [entry for entry in meta["managedFields"] if entry["manager"] == "kustomize-controller"]
            found[meta["name"]] = (meta["generation"], json.dumps(fields))
        return found

    before = written()
    assert set(before) == {"servicenow", "kev"}
    # Flux takes back what kubectl wrote into an object of Git, unless it writes under this name.
    command = ["annotate", "integration", "servicenow", "--field-manager=flux-client-side-apply"]
    tokens = ["towline.dev/requested-at=flux", "towline.dev/full-at=flux"]
    towline.target.kubectl("-n", namespace, *command, *tokens)
    until(lambda: towline.runs(namespace, "servicenow")[-1]["spec"]["trigger"] == "Manual", 60)
    applied.ask("while-a-sync-runs")
    assert condition(towline.runs(namespace, "servicenow")[-1], "Succeeded")["status"] == "Unknown", "it ended too soon"
    assert applied.ready()["status"] == "True"
    assert written() == before
