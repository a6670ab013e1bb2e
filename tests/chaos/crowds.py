"""Many objects, and a few among them that are poison."""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from collections import Counter
from pathlib import Path

import yaml
from kubernetes import client
from kubernetes.client.rest import ApiException
from tests.api.operator_process import container, until
from tests.bench.scale import Server, integration
from tests.chaos.outcome import Outcome
from tests.chaos.promises import BY_HAND
from tests.chaos.stage import Stage
from tests.chaos.vendor import Vendor, serving

from towline.core.names import requested

ROOT = Path(__file__).parents[2]
_GROUP = "/apis/towline.dev/v1alpha1"
MOST_MIB = 400.0
MOST_REQUESTS = 50.0
"""A second, at rest."""
COLD_SECONDS = 10.0
SLOPE = 1.1
"""What memory may grow by between the first round of changes and the last."""


def scale(stage: Stage, random_: random.Random, size: int) -> Outcome:
    """15: memory, requests at rest and the start stay bounded, however many Integrations there are."""
    number = min(10_000, 200 * size)
    found = Outcome(15, f"{number} Integrations made, changed, listed again")
    first = stage.operator("--requests-per-second=400")
    first.start()
    asyncio.run(_create(stage, number))
    found.injected += number
    until("all are known and judged", lambda: _judged(stage) == number, 60 + number / 20)
    first.stop()
    operator = stage.operator("--requests-per-second=400", "--resync=10")
    began = time.monotonic()
    operator.start()
    took = time.monotonic() - began
    found.expect(took <= COLD_SECONDS, f"{took:.1f} s until it was ready")
    found.expect(operator.number("towline_integration_info") == number, "it does not know all of them")
    memory = []
    for turn in range(5):
        chosen = random_.sample(range(number), number // 2)
        asyncio.run(_touch(stage, chosen, turn))
        found.injected += len(chosen)
        stage.rest()
        memory.append(operator.rss_mib())
    found.expect(max(memory) <= MOST_MIB, f"{max(memory):.0f} MiB")
    found.expect(memory[-1] <= SLOPE * memory[0], f"memory grows: {', '.join(f'{each:.0f}' for each in memory)} MiB")
    requests, writes = stage.proxy.requests, stage.proxy.writes
    time.sleep(20)  # two full lists among them
    rate = (stage.proxy.requests - requests) / 20
    found.expect(rate <= MOST_REQUESTS, f"{rate:.0f} requests a second at rest")
    found.expect(stage.proxy.writes == writes, f"{stage.proxy.writes - writes} writes at rest")
    found.about += f"; ready in {took:.1f} s, {max(memory):.0f} MiB, {rate:.1f} requests/s at rest"
    return found


async def _create(stage: Stage, number: int) -> None:
    server = Server(stage.kubeconfig)
    try:
        path = f"{_GROUP}/namespaces/{stage.cluster.namespace}/integrations"
        await server.create_all(path, (integration(f"i{n}", stage.connector) for n in range(number)))
    finally:
        await server.close()


async def _touch(stage: Stage, chosen: list[int], turn: int) -> None:
    """Change the spec of some: each is judged anew and its status written."""
    server = Server(stage.kubeconfig)
    gate = asyncio.Semaphore(16)
    path = f"{_GROUP}/namespaces/{stage.cluster.namespace}/integrations"

    async def one(name: str) -> None:
        async with gate:
            body = {"spec": {"suspend": turn % 2 == 0}}
            await server.call("PATCH", f"{path}/{name}", body, content_type="application/merge-patch+json")

    try:
        await asyncio.gather(*(one(f"i{n}") for n in chosen))
    finally:
        await server.close()


def _judged(stage: Stage) -> int:
    found = stage.listed("integrations")
    return sum((one.get("status") or {}).get("observedGeneration") == one["metadata"]["generation"] for one in found)


POISON = ("hang", "crash", "garbage", "liar", "deaf", "babble")
"""Pods that never end, die, leave garbage, claim to be another; systems that never answer, or answer nonsense."""


def poison(stage: Stage, random_: random.Random, size: int) -> Outcome:
    """17: what hangs, crashes or returns garbage does not slow down the others.

    A second operator has the same work without the poison at the same time: what else the machine does slows both.
    """
    found = Outcome(17, "1 % and more hang, crash, return garbage")
    vendor = Vendor(pages=1)
    healthy = [f"i{number}" for number in range(12 * size)]
    bad = [f"{kind}-{n}" for kind in POISON for n in range(max(1, len(healthy) // (100 * len(POISON))))]
    with serving(vendor), Stage(stage.kubeconfig, stage.folder / "control", stage.seed) as control:
        vendor.hanging |= {name for name in bad if name.startswith("deaf")}
        vendor.garbage |= {name for name in bad if name.startswith("babble")}
        stage.hand.misbehave = _misbehave
        stage.accounts(vendor, [*healthy, *bad], BY_HAND)
        control.accounts(vendor, healthy, BY_HAND)
        wrong = _stored_wrong(stage)
        found.injected += len(wrong)
        operators = [each.operator("--requests-per-second=200", "--probe-every=60") for each in (stage, control)]
        for operator in operators:
            operator.start()
        until("all are judged", lambda: _judged(stage) >= len([*healthy, *bad]), 120)
        until("the others too", lambda: _judged(control) == len(healthy), 120)
        took = Counter[str]()
        for turn in range(max(3, size // 2)):
            for name in bad:
                stage.ask(name, f"round-{turn}")
                found.injected += 1
            order = random_.sample(healthy, len(healthy))
            for namespace, seconds in _race([stage, control], order, turn).items():
                took[namespace] += seconds
        ratio = took[stage.cluster.namespace] / took[control.cluster.namespace]
        found.expect(ratio <= 1.2, f"the others took {ratio:.2f} times as long as without poison")
        found.about += f"; the others took {ratio:.2f} times as long"
        found.expect(not operators[0].dead, "the operator ended")
        _others_are_well(found, stage, healthy)
    return found


def _race(stages: list[Stage], names: list[str], turn: int) -> dict[str, float]:
    """A sync of each on each stage; the time until the mean one has ended, by the stage's namespace."""
    kept, began = set(names), time.monotonic()
    for name in names:
        for each in stages if turn % 2 else reversed(stages):
            each.ask(name, f"round-{turn}")
    ended: dict[str, dict[str, float]] = {each.cluster.namespace: {} for each in stages}

    def look() -> bool:
        for each in stages:
            for sync in each.listed("syncjobs"):
                owner, name = sync["spec"]["integrationRef"]["name"], sync["metadata"]["name"]
                mine = owner in kept and name == requested(owner, f"round-{turn}")
                if mine and "completionTime" in (sync.get("status") or {}):
                    ended[each.cluster.namespace].setdefault(name, time.monotonic() - began)
        return all(len(times) == len(names) for times in ended.values())

    until("the others have synced", look, 240)
    return {namespace: statistics.fmean(times.values()) for namespace, times in ended.items()}


WRONG: dict[str, dict[str, object]] = {
    "words": {"schedule": {"interval": "1 hour"}},
    "number": {"schedule": 5},
    "list": {"streams": {"name": "hosts"}},
    "nobody": {"connectorRef": {}},
}


def _stored_wrong(stage: Stage) -> list[str]:
    """Objects that no schema of today lets in, as an earlier version of the definitions could have stored them."""
    definitions = client.ApiextensionsV1Api(stage.cluster.core.api_client)
    name = "integrations.towline.dev"
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    # What selectableFields name has to have a type.
    reference = {**anything, "properties": {"name": {"type": "string"}}}
    lax = {**anything, "properties": {"connectorRef": reference, "suspend": {"type": "boolean"}}}
    kept = yaml.safe_load((ROOT / "crds" / "towline.dev_integrations.yaml").read_text())
    place = ("towline.dev", "v1alpha1", stage.cluster.namespace, "integrations")
    path = "/spec/versions/0/schema/openAPIV3Schema/properties/spec"
    strict = kept["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]

    def swap(schema: dict[str, object]) -> None:
        definitions.patch_custom_resource_definition(name, [{"op": "replace", "path": path, "value": schema}])

    def stored(kind: str, spec: dict[str, object]) -> bool:
        body = integration(f"wrong-{kind}", stage.connector)
        body["spec"] |= spec
        try:
            stage.cluster.objects.create_namespaced_custom_object(*place, body)
        except ApiException as error:
            return error.status == 409
        return True

    try:
        swap(lax)
        for kind, spec in WRONG.items():  # the new schema comes into force a moment later
            until(f"{kind} is stored", lambda kind=kind, spec=spec: stored(kind, spec), 30)
    finally:
        swap(strict)
    probe = integration("probe", stage.connector, schedule=5)

    def refused() -> bool:
        try:
            stage.cluster.objects.create_namespaced_custom_object(*place, probe, dry_run="All")
        except ApiException:
            return True
        return False

    until("the schema is strict again", refused, 30)
    return [f"wrong-{kind}" for kind in WRONG]


def _misbehave(pod: client.V1Pod) -> dict[str, object] | None:
    """The status of a pod that is poison; None for any other."""
    kind = (pod.metadata.labels or {}).get("towline.dev/integration", "").partition("-")[0]
    match kind:
        case "hang" | "deaf":
            return {"phase": "Running", **container({"running": {}})}
        case "crash":
            return {"phase": "Failed", **container({"terminated": {"exitCode": 139, "reason": "Error"}})}
        case "garbage" | "babble":
            ended = {"exitCode": 0, "reason": "Completed", "message": "\x1b[31m{" * 600}
            return {"phase": "Succeeded", **container({"terminated": ended})}
        case "liar":
            message = '{"v":1,"sync_uid":"of-another","attempt":1,"reason":"Completed"}'
            ended = {"exitCode": 0, "reason": "Completed", "message": message}
            return {"phase": "Succeeded", **container({"terminated": ended})}
    return None


def _others_are_well(found: Outcome, stage: Stage, healthy: list[str]) -> None:
    kept = set(healthy)
    for one in stage.listed("integrations"):
        name = one["metadata"]["name"]
        ready = next((c for c in one["status"]["conditions"] if c["type"] == "Ready"), {})
        if name in kept:
            found.expect(ready.get("status") == "True", f"{name}: {ready.get('reason')}: {ready.get('message')}")
        elif name == "wrong-number":  # the API server takes no write but the cure
            found.expect(_events(stage, name) == {"InvalidSpec"}, f"{name}: no event says what is wrong")
        elif name.startswith("wrong-"):  # to some of them the API server itself can apply nothing: 500
            found.expect(ready.get("reason") == "InvalidSpec", f"{name}: {ready.get('reason')}, not InvalidSpec")
            found.expect("spec." in ready.get("message", ""), f"{name}: does not say where: {ready.get('message')}")
    for one in stage.listed("syncjobs"):
        name = one["spec"]["integrationRef"]["name"]
        condition = one["status"]["conditions"][0]
        if name in kept:
            found.expect(condition["status"] == "True", f"{name}: {condition['reason']}")
        elif name.startswith(("garbage", "liar", "babble")):
            found.expect(condition["reason"] == "ResultInvalid", f"{name}: believed, {condition['reason']}")


def _events(stage: Stage, name: str) -> set[str]:
    """The reasons of the events about an Integration."""
    about = f"involvedObject.name={name}"
    events = stage.cluster.core.list_namespaced_event(stage.cluster.namespace, field_selector=about).items
    return {event.reason for event in events if "spec." in event.message}
