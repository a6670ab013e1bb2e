"""What is refused in how a stream is read, with its place and its cure, before anything is sent."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.engine.plans import spec, users

from towline.api.check import check
from towline.api.connector import ConnectorSpec
from towline_connectors.engine.compile import manifest_problems

PARENT = {"name": "group", "kind": "Parent", "stream": "groups", "key": "=id"}
GROUPS = {"name": "groups", "request": {"path": "/groups"}, "sync": {"mode": "Full"}}


def manifest(*streams: dict[str, Any]) -> dict[str, Any]:
    body = spec("https://api.example.com", list(streams))
    return {"apiVersion": "towline.dev/v1alpha1", "kind": "Connector", "metadata": {"name": "a"}, "spec": body}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"partitions": [{"name": "a", "kind": "Parent", "stream": "groups"}]}, "kind Parent needs stream and key"),
        ({"partitions": [{"name": "a", "kind": "List"}]}, "values belong to kind List"),
        (
            {"partitions": [{"name": "a", "kind": "List", "values": ["x"], "cap": 5}]},
            "only have a meaning with kind Dates",
        ),
        ({"partitions": [{"name": "a", "kind": "Dates", "key": "=id"}]}, "only have a meaning with kind Parent"),
        ({"partitions": [{"name": "Not A Name", "kind": "Dates"}]}, "lower-case letters"),
        ({"gather": True}, "gather needs partitions"),
        ({"sync": {"mode": "Incremental", "token": {"from": "=t", "place": "URL", "param": "x"}}}, "param belongs to"),
        ({"sync": {"mode": "Incremental", "token": {"from": "=t", "place": "Query"}}}, "param belongs to"),
        ({"details": {"request": {"path": "/a"}, "batch": 0}}, "at least 1"),
        ({"paginate": {"kind": "Cursor", "from": "=a", "end": "b"}}, "end only has a meaning with kind Offset"),
    ],
)
def test_a_shape_that_means_nothing_is_refused(changes: dict[str, Any], says: str) -> None:
    assert any(says in sentence for sentence in check(manifest(users(**changes), GROUPS))), check(
        manifest(users(**changes), GROUPS)
    )


@pytest.mark.parametrize(
    ("streams", "says"),
    [
        ([users(partitions=[PARENT])], "streams[users].partitions[group].stream: there is no stream groups"),
        (
            [users(partitions=[PARENT]), {**GROUPS, "partitions": [{"name": "a", "kind": "List", "values": ["x"]}]}],
            "groups has to have a request and no partitions",
        ),
        ([users(), GROUPS], "streams[groups].emit: it is missing, and no other stream is read by this one"),
        (
            [users(request={"path": "/${partition.grp}"}, partitions=[PARENT]), GROUPS],
            "streams[users].request: ${partition.grp} is not among its partitions; there is group.",
        ),
        ([users(request={"path": "/${partition.a}"})], "there are none"),
        (
            [users(partitions=[{"name": "t", "kind": "Dates"}], sync={"mode": "Full", "format": "Integer"})],
            "streams[users].partitions[t].kind: Dates needs a window of time",
        ),
        (
            [users(partitions=[{"name": "t", "kind": "Dates", "step": "1d"}])],
            "streams[users].partitions[t].step: it needs sync.firstRun",
        ),
        (
            [users(sync={"mode": "Full", "deletes": {"tombstone": "=gone", "entities": ["asset"]}})],
            "streams[users].sync.deletes.entities: asset is not among what it emits",
        ),
        ([users(paginate={"kind": "Cursor", "from": "=a b"})], "streams[users].paginate.from"),
        ([users(details={"request": {"path": "/x"}, "key": "=nope(id)"})], "streams[users].details.key"),
        ([users(when="=config.")], "streams[users].when"),
        ([users(sync={"mode": "Incremental", "token": {"from": "=a[", "place": "URL"}})], "streams[users].sync.token"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_place(streams: list[dict[str, Any]], says: str) -> None:
    found = manifest_problems(ConnectorSpec.model_validate(manifest(*streams)["spec"]))
    assert any(says in sentence for sentence in found), found
