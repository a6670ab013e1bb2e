"""The pod that reads a cluster's destination: nothing in it that it does not need."""

from __future__ import annotations

import json
from typing import Any

import pytest

from towline.cli import inside
from towline.cli.errors import CliError
from towline.cli.output import TALK_PREFIX

PLACE = inside.Place("towline:1", None, "towline-data")


def integration(name: str, secret: str = "") -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"destinationSecretRef": {"name": secret}} if secret else {}}


class Cluster:
    """A namespace as the API server tells it; `log` is what the pod prints."""

    namespace = "secops"

    def __init__(self, *log: str, phase: str = "Succeeded", secret: str = "", claim: bool = True) -> None:
        self.log, self.phase, self.secret, self.claim = log, phase, secret, claim
        self.made: list[dict[str, Any]] = []
        self.deleted: list[str] = []

    def list(self, plural: str) -> list[dict[str, Any]]:
        if plural == "syncjobs":
            times = ("2026-11-01T00:00:00Z", "2026-11-02T00:00:00Z")
            return [{"metadata": {"creationTimestamp": at}, "status": {"image": f"towline:{at[9]}"}} for at in times]
        return [integration("one", self.secret)]

    def read(self, path: str, query: Any = None) -> Any:
        if "persistentvolumeclaims" in path:
            return {"metadata": {}} if self.claim else None
        return {"status": {"phase": self.phase}} if "/pods/" in path else {"items": []}

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        self.made.append(body)
        return body

    def lines(self, path: str, query: Any) -> list[str]:
        return list(self.log)

    def delete(self, path: str) -> None:
        self.deleted.append(path)


class Several(Cluster):
    """A namespace of whose Integrations one has a destination of its own."""

    def list(self, plural: str) -> list[dict[str, Any]]:
        found = super().list(plural)
        return found if plural == "syncjobs" else [integration("one"), integration("two", "warehouse")]


def ask(cluster: Cluster, place: inside.Place | None = None) -> list[dict[str, Any]]:
    return inside.ask(cluster, ["data", "-o", "json"], place or inside.Place())  # type: ignore[arg-type]


def test_the_pod_has_no_token_no_rights_and_the_volume_only() -> None:
    spec = inside.pod("read", ["data"], PLACE)["spec"]
    (container,) = spec["containers"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert [volume.get("persistentVolumeClaim") for volume in spec["volumes"]] == [None, {"claimName": "towline-data"}]


class Installed(Cluster):
    """A cluster whose administrator gives syncs nodes, users and pull secrets of their own."""

    def read(self, path: str, query: Any = None) -> Any:
        if "deployments" not in path:
            return super().read(path, query)
        said = {"nodeSelector": {"pool": "batch"}, "tolerations": [{"operator": "Exists"}], "labels": {"mesh": "out"}}
        arguments = [f"--job-pod={json.dumps({**said, 'securityContext': {}})}", "--image-pull-secret=registry"]
        return {"items": [{"spec": {"template": {"spec": {"containers": [{"args": arguments}]}}}}]}


def test_it_runs_where_and_as_whom_syncs_run() -> None:
    cluster = Installed("[]")
    ask(cluster)
    (made,) = cluster.made
    spec = made["spec"]
    assert (spec["nodeSelector"], spec["tolerations"]) == ({"pool": "batch"}, [{"operator": "Exists"}])
    assert spec["imagePullSecrets"] == [{"name": "registry"}]
    assert ("runAsUser" in spec["securityContext"], spec["securityContext"]["runAsNonRoot"]) == (False, True)
    assert made["metadata"]["labels"]["mesh"] == "out"


def test_a_destination_with_a_secret_needs_no_volume_and_no_value_stands_in_the_pod() -> None:
    spec = inside.pod("read", ["data"], inside.Place("towline:1", "warehouse"))["spec"]
    assert [volume["name"] for volume in spec["volumes"]] == ["tmp"]
    assert spec["containers"][0]["env"][0] == {
        "name": "TOWLINE_TO", "valueFrom": {"secretKeyRef": {"name": "warehouse", "key": "url"}},
    }  # fmt: skip


def test_image_and_destination_are_those_of_the_namespace_and_the_pod_goes() -> None:
    cluster = Cluster("[", '{"a": "one\u2028line"}', "]", "\x02towline: ! first 1 rows", secret="warehouse")
    assert ask(cluster) == [{"a": "one\u2028line"}]
    (pod,) = cluster.made
    assert pod["spec"]["containers"][0]["image"] == "towline:2"
    assert {"name": TALK_PREFIX, "value": "\x02towline: "} in pod["spec"]["containers"][0]["env"]
    assert cluster.deleted == [f"/api/v1/namespaces/secops/pods/{pod['metadata']['name']}"]


def test_what_the_pod_says_when_it_fails_is_what_the_person_reads() -> None:
    cluster = Cluster("\x02towline: ✗ There is no entity foo.", phase="Failed")
    with pytest.raises(CliError, match="There is no entity foo") as caught:
        ask(cluster)
    assert caught.value.exit_code == 1
    assert cluster.deleted


def test_a_namespace_without_data_is_told_before_a_pod_is_made() -> None:
    cluster = Cluster(claim=False)
    with pytest.raises(CliError, match='no volume claim "towline-data"'):
        ask(cluster)
    assert cluster.made == []


def test_of_several_destinations_none_is_chosen_in_silence() -> None:
    cluster = Several()
    with pytest.raises(CliError, match="several destinations: the volume, Secret warehouse"):
        ask(cluster)
    assert cluster.made == []


@pytest.mark.parametrize(
    ("place", "volume"),
    [
        (inside.Place(integration="one"), True),
        (inside.Place(integration="two"), False),
        (inside.Place(claim="towline-data"), True),
        (inside.Place(destination_secret="warehouse"), False),
    ],
)
def test_of_several_destinations_the_one_that_is_meant_is_read(place: inside.Place, volume: bool) -> None:
    cluster = Several("[]")
    ask(cluster, place)
    volumes = [each["name"] for each in cluster.made[0]["spec"]["volumes"]]
    assert ("data" in volumes) is volume
