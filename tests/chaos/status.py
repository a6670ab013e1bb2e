"""Faults of status: other writers, objects of every shape, and quiet minutes."""

from __future__ import annotations

import copy
import random
import time
from collections.abc import Iterator
from typing import Any

import hypothesis
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from kubernetes.client.rest import ApiException
from tests.api.acme import SELDOM
from tests.api.operator_process import until
from tests.chaos.outcome import Outcome
from tests.chaos.stage import Stage
from tests.chaos.vendor import Vendor, serving
from tests.shapes import specs

_GROUP = ("towline.dev", "v1alpha1")


def truths(stage: Stage, random_: random.Random, size: int) -> Outcome:
    """14: status tells of what is asked now, touches nobody else's, loses nothing, and is not written at rest."""
    found = Outcome(14, "foreign conditions; objects of every shape; quiet")
    vendor = Vendor(pages=1)
    names = [f"i{number}" for number in range(4 * size)]
    with serving(vendor):
        operator = stage.operator("--probe-every=60")
        operator.start()
        stage.accounts(vendor, names, SELDOM)
        until("all have synced", lambda: all(_ready(stage, one)["reason"] == "Synced" for one in names), 180)
        _foreign(found, stage, names, random_)
        _shapes(found, stage, random_, min(10_000, 12 * size * size))
        found.expect(not operator.dead, "the operator ended")
        _quiet(found, stage, seconds=12 * size)
    return found


def _ready(stage: Stage, name: str) -> dict[str, Any]:
    return stage.cluster.condition("integrations", name) or {"reason": "", "status": ""}


# -- another manager


def _foreign(found: Outcome, stage: Stage, names: list[str], random_: random.Random) -> None:
    """Somebody else's condition stays, whatever we write; ours tell of the newest generation."""
    theirs = {"type": "example.com/Reviewed", "status": "True", "reason": "Audit", "message": "by hand"}
    theirs["lastTransitionTime"] = "2026-01-01T00:00:00Z"
    objects = [("integrations", "Integration", name) for name in names]
    objects += [("syncjobs", "SyncJob", one["metadata"]["name"]) for one in stage.listed("syncjobs")]
    for plural, kind, name in objects:
        body = {"apiVersion": "/".join(_GROUP), "kind": kind, "metadata": {"name": name}}
        stage.cluster.objects.patch_namespaced_custom_object_status(
            *_GROUP,
            stage.cluster.namespace,
            plural,
            name,
            {**body, "status": {"conditions": [theirs]}},
            field_manager="auditor",
            _content_type="application/apply-patch+yaml",
        )
        found.injected += 1
    for _ in range(3):  # each makes us write the status
        for name in random_.sample(names, len(names)):
            suspended = stage.cluster.get("integrations", name)["spec"].get("suspend", False)
            stage.cluster.patch("integrations", name, {"spec": {"suspend": not suspended}})
    until("all were looked at", lambda: not _behind(stage), 60)
    for plural, _, name in objects:
        conditions = stage.cluster.get(plural, name)["status"]["conditions"]
        found.expect(theirs in conditions, f"{plural}/{name}: the condition of another manager is gone or changed")
        found.expect(len(conditions) > 1, f"{plural}/{name}: ours are gone")
    for name in names:
        generation = stage.cluster.get("integrations", name)["metadata"]["generation"]
        ours = [one for one in _conditions(stage, name) if one["type"] != theirs["type"]]
        old = [one["type"] for one in ours if one.get("observedGeneration") != generation]
        found.expect(not old, f"{name}: {', '.join(old)} speak of an older spec")


def _conditions(stage: Stage, name: str) -> list[dict[str, Any]]:
    return list(stage.cluster.get("integrations", name)["status"]["conditions"])


def _behind(stage: Stage) -> list[str]:
    """Integrations whose status does not speak of their spec."""
    return [
        one["metadata"]["name"]
        for one in stage.listed("integrations")
        if one.get("status", {}).get("observedGeneration") != one["metadata"]["generation"]
    ]


# -- objects of every shape


def _shapes(found: Outcome, stage: Stage, random_: random.Random, number: int) -> None:
    """Whatever the schema lets in is kept as it was sent, and judged."""
    refused = 0
    for index, sent in enumerate(_examples(specs("integrations"), number, random_.randrange(2**32))):
        sent["connectorRef"] = {"name": random_.choice([stage.connector, "nobody"])}
        sent["suspend"] = True
        body = {"apiVersion": "/".join(_GROUP), "kind": "Integration", "metadata": {"name": f"shape-{index}"}}
        body["spec"] = sent
        try:
            made = stage.cluster.objects.create_namespaced_custom_object(
                *_GROUP, stage.cluster.namespace, "integrations", copy.deepcopy(body), field_validation="Strict"
            )
        except ApiException as error:
            found.expect(error.status == 422, f"shape-{index}: {error.status} {error.reason}: {error.body}")
            refused += 1
            continue
        found.injected += 1
        lost = list(_lost(sent, made["spec"], "spec"))
        found.expect(not lost, f"shape-{index}: pruned or changed: {', '.join(lost)}")
    found.expect(refused < number * 0.9, f"{refused} of {number} were refused: that tried nothing")
    try:
        until("all shapes were judged", lambda: not _behind(stage), 60 + number / 20)
    except AssertionError:
        found.violations.append(f"never judged: {', '.join(_behind(stage)[:10])}")
    for one in stage.listed("integrations"):
        ready = [each for each in one.get("status", {}).get("conditions", []) if each["type"] == "Ready"]
        good = ready and ready[0]["reason"] and ready[0]["message"]
        found.expect(bool(good), f"{one['metadata']['name']}: no word whether it is ready")
        if one["metadata"]["name"].startswith("shape-"):
            stage.cluster.objects.delete_namespaced_custom_object(
                *_GROUP, stage.cluster.namespace, "integrations", one["metadata"]["name"]
            )


def _lost(sent: Any, kept: Any, path: str) -> Iterator[str]:
    """Paths of what was sent and is not there any more."""
    if isinstance(sent, dict):
        for key, value in sent.items():
            if not isinstance(kept, dict) or key not in kept:
                yield f"{path}.{key}"
            else:
                yield from _lost(value, kept[key], f"{path}.{key}")
    elif isinstance(sent, list):
        if not isinstance(kept, list) or len(kept) != len(sent):
            yield path
        else:
            for index, value in enumerate(sent):
                yield from _lost(value, kept[index], f"{path}[{index}]")
    elif sent != kept:
        yield path


def _examples(strategy: st.SearchStrategy[Any], number: int, seed: int) -> list[Any]:
    found: list[Any] = []

    @hypothesis.seed(seed)
    @hypothesis_settings(
        max_examples=number,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def collect(value: Any) -> None:
        found.append(value)

    collect()
    return found


# -- rest


def _quiet(found: Outcome, stage: Stage, seconds: float) -> None:
    until("no shape is left", lambda: not _shape_names(stage), 120)
    stage.rest(pause=5)
    before = stage.proxy.writes
    time.sleep(seconds)
    written = stage.proxy.writes - before
    found.expect(written == 0, f"{written} writes in {seconds:.0f} s in which nothing happened")


def _shape_names(stage: Stage) -> list[str]:
    names = [one["metadata"]["name"] for one in stage.listed("integrations")]
    return [name for name in names if name.startswith("shape-")]
