"""Streams of groups with members, and of changes behind a token, for the engine's tests."""

from __future__ import annotations

from typing import Any

from tests.unit.engine.plans import users
from tests.unit.engine.vendor import Vendor

MEMBERS = "select source_key from memberships where deleted_time is null order by source_key"


def memberships(**changes: Any) -> list[dict[str, Any]]:
    groups = {
        "name": "groups",
        "request": {"path": "/groups"},
        "records": "=items",
        "sync": {"mode": "Full"},
    }
    members = {
        "name": "members",
        "request": {"path": "/groups/${partition.group}/members"},
        "records": "=items",
        "partitions": [
            {"name": "group", "kind": "Parent", "stream": "groups", "key": "=id", "keep": {"title": "=name"},
             "when": "=kind != 'hidden'", "optional": True}
        ],
        "sync": {"mode": "Full", "deletes": {"completeScan": "Always"}},
        "emit": [
            {"entity": "membership", "key": "=join('/', [partition.group, id])",
             "fields": {"group": {"ref": "group", "key": "=partition.group"}, "member": {"ref": "user", "key": "=id"}}},
        ],
        **changes,
    }  # fmt: skip
    return [groups, members]


def serve_groups(vendor: Vendor, groups: dict[str, list[str]]) -> None:
    hidden = {"id": "secret", "name": "s", "kind": "hidden"}
    vendor.json("/groups", {"items": [*({"id": key, "name": key.upper()} for key in groups), hidden]})
    for key, members in groups.items():
        vendor.json(f"/groups/{key}/members", {"items": [{"id": member} for member in members]})


def delta(**changes: Any) -> dict[str, Any]:
    return users(
        paginate={"kind": "OData"},
        sync={
            "mode": "Incremental",
            "token": {"from": '="@odata.deltaLink"', "place": "URL"},
            "deletes": {"tombstone": '="@removed"', "completeScan": "OnFull"},
            "maxDeletePercent": 100,
        },
        **changes,
    )
