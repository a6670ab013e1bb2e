"""Where pods run, what they may reach, and what a drain leaves of them."""

from __future__ import annotations

from tests.chart.rendered import Render, objects, only

from towline.core.facts import MANAGED_BY


def test_pods_of_syncs_take_no_connection_and_reach_no_metadata_service(render: Render) -> None:
    arguments = ["--set=networkPolicy.enabled=true,namespaces={a,b},networkPolicy.syncs.ports={443}"]
    found = [each for each in objects(render(*arguments)) if each["kind"] == "NetworkPolicy"]
    policies = {each["metadata"]["namespace"]: each["spec"] for each in found}
    assert set(policies) == {"towline-system", "a", "b"}
    policy = policies["a"]
    # The label that the operator gives to every pod of a sync.
    assert policy["podSelector"] == {"matchLabels": {MANAGED_BY: "towline"}}
    assert policy["ingress"] == []
    names, systems, operator = policy["egress"]
    assert {port["port"] for port in names["ports"]} == {53}
    assert [port["port"] for port in systems["ports"]] == [443]
    four, six = [each["ipBlock"] for each in systems["to"]]
    assert four == {"cidr": "0.0.0.0/0", "except": ["169.254.0.0/16"]}
    assert six == {"cidr": "::/0", "except": ["fe80::/10", "fd00:ec2::/32"]}
    deployment = only(render(*arguments), "Deployment")["spec"]["template"]
    (to,) = operator["to"]
    assert to["podSelector"]["matchLabels"].items() <= deployment["metadata"]["labels"].items()
    assert operator["ports"][0]["port"] in {
        port["name"] for port in deployment["spec"]["containers"][0]["ports"] if port["containerPort"] == 8081
    }
    elsewhere = render("--set=networkPolicy.enabled=true", "--set=networkPolicy.syncs.namespaces={c}")
    assert {each["metadata"].get("namespace") for each in objects(elsewhere) if each["kind"] == "NetworkPolicy"} == {
        "towline-system",
        "c",
    }


def test_the_operators_policy_lets_out_health_calls_and_lets_in_helm_test(render: Render) -> None:
    arguments = ["--set=networkPolicy.enabled=true,networkPolicy.egress[0].ports[0].port=3128"]
    arguments += ['--set-json=networkPolicy.metricsFrom=[{"namespaceSelector":{"matchLabels":{"name":"monitoring"}}}]']
    manifests = render(*arguments)
    policy = only(manifests, "NetworkPolicy")["spec"]
    names, asked, more = policy["egress"]
    assert {port["port"] for port in names["ports"]} == {53}
    assert [port["port"] for port in asked["ports"]] == [443, 6443, 636]  # directories are probed too
    assert [port["port"] for port in more["ports"]] == [3128]
    monitoring, test = policy["ingress"][0]["from"]
    assert monitoring == {"namespaceSelector": {"matchLabels": {"name": "monitoring"}}}
    assert test["podSelector"]["matchLabels"].items() <= only(manifests, "Pod")["metadata"]["labels"].items()


def test_operators_are_spread_over_nodes_and_zones(render: Render) -> None:
    spec = only(render(), "Deployment")["spec"]
    pod = spec["template"]["spec"]
    (zones,) = pod["topologySpreadConstraints"]
    assert zones["topologyKey"] == "topology.kubernetes.io/zone"
    assert zones["labelSelector"] == spec["selector"]
    (nodes,) = pod["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    assert nodes["podAffinityTerm"]["topologyKey"] == "kubernetes.io/hostname"
    mine = (
        '--set-json=topologySpreadConstraints=[{"topologyKey":"rack","maxSkew":2,"whenUnsatisfiable":"DoNotSchedule"}]'
    )
    (rack,) = only(render(mine), "Deployment")["spec"]["template"]["spec"]["topologySpreadConstraints"]
    assert (rack["topologyKey"], rack["maxSkew"], rack["labelSelector"]) == ("rack", 2, spec["selector"])


def test_a_drain_leaves_an_operator_and_one_replica_stops_no_drain(render: Render) -> None:
    budget, deployment = only(render(), "PodDisruptionBudget"), only(render(), "Deployment")
    assert (deployment["spec"]["replicas"], budget["spec"]["maxUnavailable"]) == (2, 1)
    assert budget["spec"]["selector"] == deployment["spec"]["selector"]
    assert deployment["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0


def test_the_pod_of_helm_test_is_none_of_the_operators(render: Render) -> None:
    manifests = render()
    pod = only(manifests, "Pod")
    assert pod["metadata"]["annotations"]["helm.sh/hook"] == "test"
    selectors = [each["spec"]["selector"] for each in objects(manifests) if each["kind"] in {"Service", "Deployment"}]
    for selector in selectors:
        wanted = selector.get("matchLabels", selector)
        assert not wanted.items() <= pod["metadata"]["labels"].items()


def test_networks_reach_the_operator_as_they_are_written(render: Render) -> None:
    values = '--set-json=egress={"allow":["10.0.0.0/8","[fd00::/8]:443","10.1.2.3/32:636"],"deny":["10.96.0.0/12"]}'
    arguments = only(render(values), "Deployment")["spec"]["template"]["spec"]["containers"][0]["args"]
    assert [each for each in arguments if each.startswith("--egress")] == [
        "--egress-allow=10.0.0.0/8",
        "--egress-allow=[fd00::/8]:443",
        "--egress-allow=10.1.2.3/32:636",
        "--egress-deny=10.96.0.0/12",
    ]
