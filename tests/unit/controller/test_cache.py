"""The cache never goes back, forgets what is deleted, and keeps no more than it needs."""

from typing import Any

import orjson

from towline.controller.cache import Cache, slim
from towline.controller.context import dependents
from towline.controller.queue import Key


def obj(name: str, version: int, uid: str = "", **more: Any) -> dict[str, Any]:
    meta = {"name": name, "namespace": "ns", "uid": uid or f"u-{name}", "resourceVersion": str(version)}
    return {"metadata": {**meta, **more.pop("metadata", {})}, **more}


def sync(name: str, version: int, integration: str = "i", **more: Any) -> dict[str, Any]:
    return obj(name, version, spec={"integrationRef": {"name": integration}}, **more)


def pod(name: str, version: int, sync_name: str = "s") -> dict[str, Any]:
    labels = {"app.kubernetes.io/managed-by": "towline", "towline.dev/sync": sync_name}
    return obj(name, version, metadata={"labels": labels})


def test_an_older_or_equal_version_is_no_news() -> None:
    cache = Cache()
    assert cache.put("Integration", obj("a", 5))
    assert not cache.put("Integration", obj("a", 5))
    assert not cache.put("Integration", obj("a", 4))
    assert cache.put("Integration", obj("a", 6))
    assert cache.put("Integration", obj("a", 3, uid="made-anew"))


def test_a_deleted_object_does_not_come_back_from_an_old_list() -> None:
    cache = Cache()
    cache.put("Integration", obj("a", 5))
    assert cache.drop("Integration", obj("a", 6))
    assert not cache.put("Integration", obj("a", 5))
    assert cache.get("Integration", "ns", "a") is None
    assert cache.put("Integration", obj("a", 9, uid="another"))


def test_the_end_of_an_older_namesake_does_not_take_the_new_one_along() -> None:
    cache = Cache()
    cache.put("Integration", obj("a", 7, uid="new"))
    assert not cache.drop("Integration", obj("a", 6, uid="old"))
    assert cache.get("Integration", "ns", "a") is not None


def test_groups_follow_their_objects() -> None:
    cache = Cache()
    cache.put("SyncJob", sync("s1", 1))
    cache.put("SyncJob", sync("s2", 1))
    cache.put("SyncJob", sync("s3", 1, integration="other"))
    assert [one["metadata"]["name"] for one in cache.group("SyncJob", "ns", "i")] == ["s1", "s2"]
    cache.drop("SyncJob", sync("s1", 2))
    assert [one["metadata"]["name"] for one in cache.group("SyncJob", "ns", "i")] == ["s2"]


def test_a_full_list_shows_what_was_deleted_unnoticed_but_not_what_is_newer() -> None:
    cache = Cache()
    cache.put("Integration", obj("ghost", 3))
    cache.put("Integration", obj("known", 4))
    cache.put("Integration", obj("newer", 20))
    missing = cache.missing_from("Integration", {"u-known"}, "10")
    assert [one["metadata"]["name"] for one in missing] == ["ghost"]


def test_a_pods_last_words_stay_for_a_while() -> None:
    now = 0.0
    cache = Cache(lambda: now)
    cache.put("Pod", pod("p", 1))
    cache.drop("Pod", pod("p", 2))
    assert cache.group("Pod", "ns", "s") == []
    assert [one["metadata"]["name"] for one in cache.departed("ns", "s")] == ["p"]
    now = 10_000
    cache.forget_old()
    assert cache.departed("ns", "s") == []


def test_plans_and_bookkeeping_are_not_kept_in_memory() -> None:
    full = obj(
        "j",
        1,
        metadata={
            "managedFields": [{"x": "y"}],
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}", "towline.dev/requested-at": "t"},
        },
        spec={"activeDeadlineSeconds": 5, "template": {"metadata": {"annotations": {"towline.dev/plan": "x" * 9999}}}},
        status={"conditions": []},
    )
    job = slim("Job", full)
    assert len(str(job)) < 400
    kept = slim("Integration", full)
    assert kept["metadata"]["annotations"] == {"towline.dev/requested-at": "t"}
    assert kept["kind"] == "Integration"
    assert "managedFields" not in kept["metadata"]


def test_a_change_wakes_those_who_depend_on_it_and_no_others() -> None:
    cache = Cache()
    intg = obj("i", 1, spec={"connectorRef": {"name": "c"}})
    other = obj("o", 1, spec={"connectorRef": {"name": "d"}})
    done = sync("done", 1, status={"completionTime": "2026-01-01T00:00:00Z"})
    running = sync("running", 1)
    for kind, one in (("Integration", intg), ("Integration", other), ("SyncJob", done), ("SyncJob", running)):
        cache.put(kind, one)
    own = Key("Integration", "ns", "i")
    assert dependents(cache, "Integration", intg, intg) == [own]
    assert dependents(cache, "Integration", intg, None) == [own, Key("SyncJob", "ns", "running")]
    queued = {**running, "status": {"queuePosition": 3}}
    reading = {**running, "status": {"progress": {"read": 5}}}
    assert own in dependents(cache, "SyncJob", queued, running)
    assert own not in dependents(cache, "SyncJob", reading, running), "how far it is concerns nobody else"
    connector = {"metadata": {"name": "c", "uid": "c", "generation": 1}, "status": {"users": 1}}
    counted = {**connector, "status": {"users": 2}}
    assert dependents(cache, "Connector", counted, connector) == [Key("Connector", "", "c")]
    assert own in dependents(
        cache, "Connector", {**connector, "metadata": {"name": "c", "uid": "c", "generation": 2}}, connector
    )
    changed = connector | {"metadata": {**connector["metadata"], "generation": 2}}
    ready = {"type": "Ready", "status": "True", "reason": "Valid"}
    before = changed | {"status": {"observedGeneration": 1, "conditions": [ready]}}
    after = changed | {"status": {"observedGeneration": 2, "conditions": [ready]}}
    assert own in dependents(cache, "Connector", after, before), "it was usable before, and is found usable again"
    assert dependents(cache, "Pod", pod("p", 1), None) == [Key("SyncJob", "ns", "s")]


def test_conditions_of_another_type_than_the_schemas_are_no_stumbling_block() -> None:
    """As an earlier schema, or none, may have let in; whoever reads conditions reads a list of objects."""
    fine = {"type": "Ready", "status": "True"}
    for conditions, kept in (("x", []), ([fine, 5], [fine]), (None, []), ([fine], [fine])):
        slimmed = slim("Integration", obj("a", 1, status={"conditions": conditions, "recent": 7}))
        assert slimmed["status"] == {"conditions": kept, "recent": 7}
    assert slim("Integration", obj("a", 1, status="x"))["status"] == {}
    assert "status" not in slim("Integration", obj("a", 1))


def test_a_text_that_many_objects_have_is_kept_once() -> None:
    def judged(name: str) -> dict[str, Any]:
        condition = {"type": "Ready", "message": "next sync at 08:00:00Z"}
        return slim("Integration", orjson.loads(orjson.dumps(obj(name, 1, status={"conditions": [condition]}))))

    first, second = judged("a"), judged("b")
    messages = [one["status"]["conditions"][0]["message"] for one in (first, second)]
    assert messages[0] is messages[1]
    assert first["metadata"]["namespace"] is second["metadata"]["namespace"]
