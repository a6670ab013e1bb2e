"""Which assets are taken for one, in both databases."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.sinks.sinkdata import open_session, row, rows_of

from towline.api.conditions import Reason
from towline.contract import RunResult
from towline_connectors.sinks.base import Batch, SinkError
from towline_connectors.sinks.correlation import MOST_ASSETS, correlate_at, join, undo

Assets = dict[str, dict[str, Any]]  # "integration/key": fields


def write(target: str, assets: Assets, *, finish: bool = False) -> None:
    """Each integration syncs its assets."""
    for name in sorted({key.split("/")[0] for key in assets}):
        session = open_session(target, uid=f"sync-{name}", integration=f"team/{name}")
        rows = [row("asset", key, **fields) for key, fields in assets.items() if key.split("/")[0] == name]
        session.commit(Batch("assets", 1, rows={"asset": rows}))
        if finish:
            session.finish(RunResult(sync_uid=f"sync-{name}", attempt=1, pod_uid="pod-1", reason=Reason.COMPLETED))
        session.close()


def groups(target: str) -> set[frozenset[str]]:
    """Keys of the assets that are one, where they are several."""
    found: dict[str, set[str]] = {}
    for one in rows_of(target, "assets_correlated"):
        found.setdefault(one["identity"], set()).add(one["source_key"])
    return {frozenset(keys) for keys in found.values() if len(keys) > 1}


MAC = "00:1b:44:11:3a:b7"


@pytest.mark.parametrize(
    ("one", "other", "rule"),
    [
        ({"cloud_uid": "i-0abc"}, {"cloud_uid": "I-0ABC "}, "cloud_uid"),
        ({"serial": "c02x1234"}, {"serial": "C02X1234"}, "serial"),
        ({"agent_uid": "9f-1"}, {"agent_uid": "9f-1"}, "agent_uid"),
        ({"mac": [MAC], "hostname": "web-1"}, {"mac": ["x", MAC], "hostname": "WEB-1.example.com"}, "mac_hostname"),
        ({"mac": [MAC], "name": "web-1"}, {"mac": [MAC], "hostname": "web-1"}, "mac_hostname"),
        ({"mac": [MAC], "hostname": "web-1"}, {"mac": [MAC], "hostname": "web-2"}, None),
        ({"mac": ["02:42:ac:11:00:02"], "hostname": "w"}, {"mac": ["02:42:ac:11:00:02"], "hostname": "w"}, None),
        ({"mac": [MAC], "hostname": "localhost"}, {"mac": [MAC], "hostname": "localhost"}, None),
        ({"ip": ["10.0.0.1"], "hostname": "web-1"}, {"ip": ["10.0.0.1"], "hostname": "web-1"}, None),
        ({"serial": "To be filled by O.E.M."}, {"serial": "To Be Filled By O.E.M."}, None),
        ({"serial": "0000000"}, {"serial": "0000000"}, None),
        ({"serial": "s-1234", "cloud_uid": "a"}, {"serial": "s-1234", "cloud_uid": "b"}, None),
        ({"mac": [MAC], "hostname": "w", "serial": "AA11"}, {"mac": [MAC], "hostname": "w", "serial": "BB22"}, None),
    ],
)
def test_two_assets_are_one_by_the_strongest_rule_that_holds_and_never_by_address(
    target: str, one: dict[str, Any], other: dict[str, Any], rule: str | None
) -> None:
    write(target, {"cmdb/1": one, "scan/1": other})
    found = correlate_at(target)
    assert groups(target) == ({frozenset({"cmdb/1", "scan/1"})} if rule else set())
    assert (found.assets, found.identities) == ((2, 1) if rule else (0, 0))
    assert {link["rule"] for link in rows_of(target, "asset_links")} == ({rule} if rule else set())


def test_links_go_through_several_sources_and_rules(target: str) -> None:
    write(
        target,
        {
            "cloud/1": {"cloud_uid": "i-1", "serial": "ec2a1"},
            "cmdb/1": {"serial": "EC2A1", "mac": [MAC], "hostname": "web-1"},
            "edr/1": {"mac": [MAC], "hostname": "web-1"},
            "scan/1": {"cloud_uid": "i-1"},
            "scan/2": {"cloud_uid": "i-2"},
        },
    )
    correlate_at(target)
    assert groups(target) == {frozenset({"cloud/1", "cmdb/1", "edr/1", "scan/1"})}
    confidences = {one["confidence"] for one in rows_of(target, "assets_correlated") if one["rule"]}
    assert confidences == {0.8}  # a chain is as strong as its weakest link


def test_an_asset_between_two_that_differ_joins_one_of_them_and_not_both(target: str) -> None:
    other = "00:1b:44:11:3a:b8"
    write(
        target,
        {
            "cmdb/1": {"serial": "AA11", "mac": [MAC], "hostname": "w"},
            "cmdb/2": {"serial": "BB22", "mac": [other], "hostname": "w"},
            "scan/1": {"mac": [MAC, other], "hostname": "w"},
        },
    )
    correlate_at(target)
    (found,) = groups(target)
    assert "scan/1" in found
    assert len(found) == 2


def test_a_value_that_too_many_share_is_a_placeholder(target: str) -> None:
    write(target, {f"cmdb/{n}": {"serial": "VMWARE-1"} for n in range(MOST_ASSETS + 1)})
    assert correlate_at(target).assets == 0


def test_a_run_links_the_assets_that_it_brought_and_unlinks_what_changed(target: str) -> None:
    write(target, {"cmdb/1": {"serial": "AA11"}, "scan/1": {"serial": "AA11"}}, finish=True)
    assert len(groups(target)) == 1
    before = rows_of(target, "asset_identities")
    correlate_at(target)
    assert rows_of(target, "asset_identities") == before
    write(target, {"scan/1": {"serial": "CC33"}}, finish=True)
    assert groups(target) == set()
    assert rows_of(target, "asset_links") == []


def test_a_wrong_link_can_be_undone_for_good_and_all_links_can(target: str) -> None:
    write(target, {f"{name}/1": {"serial": "AA11"} for name in ("a", "b", "c")}, finish=True)
    wrong = next(one["uid"] for one in rows_of(target, "asset") if one["source_key"] == "b/1")
    assets = rows_of(target, "asset")
    assert undo(target, [wrong]) == 1
    correlate_at(target)
    assert groups(target) == {frozenset({"a/1", "c/1"})}
    assert join(target, [wrong]) == 1
    assert len(next(iter(groups(target)))) == 3
    assert undo(target) == 3
    assert groups(target) == set()
    assert rows_of(target, "asset") == assets
    with pytest.raises(SinkError, match="There is no asset with uid nowhere"):
        undo(target, ["nowhere"])


def test_people_find_out_who_is_affected_where_another_source_knows_the_owner(target: str) -> None:
    write(target, {"cmdb/1": {"serial": "AA11", "owner_key": "u1"}, "scan/1": {"serial": "AA11", "hostname": "web-1"}})
    session = open_session(target, uid="sync-z", integration="team/cmdb")
    session.commit(Batch("users", 1, rows={"user": [row("user", "u1", name="ada", email_addr="ada@example.com")]}))
    session.close()
    session = open_session(target, uid="sync-z", integration="team/scan")
    found = [
        row("asset_vulnerability", key, asset_key="scan/1", vulnerability_key="v", severity_id=level)
        for key, level in (("f1", 5), ("f2", 3))
    ]
    session.commit(Batch("v", 1, rows={"asset_vulnerability": found, "vulnerability": [row("vulnerability", "v")]}))
    session.close()
    correlate_at(target)
    assert [(one["user_name"], one["hostname"], one["severity"]) for one in rows_of(target, "affected_users")] == [
        ("ada", "web-1", "Critical"),
        ("ada", "web-1", "Medium"),
    ]
    (counted,) = rows_of(target, "open_vulnerabilities_by_asset")
    assert [counted[name] for name in ("hostname", "total", "critical", "high", "medium")] == ["web-1", 2, 1, 0, 1]
