"""The connectors of directories against a real slapd: people, groups, memberships, changes and removals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import ldap3
import pytest
from tests.connectors.harness import Integration, stream
from tests.slapd import MakeDirectory, Slapd

from towline.api.conditions import Reason
from towline_connectors.catalogue.iam import directory


def integration_of(server: Slapd, database: Path, **config: object) -> Integration:
    if server.options.flavour == "openldap":
        secrets = {"bind_dn": server.options.reader, "password": directory.READER_PASSWORD}
        base: dict[str, object] = {"url": server.url, "base": server.options.base}
        streams = ["users", "groups", "posix-groups"]
        return Integration("openldap", {**base, **config}, secrets, database, ca=server.ca, streams=streams)
    secrets = {"username": server.options.reader, "password": directory.READER_PASSWORD}
    streams = ["users", "groups", "computers"]
    return Integration(
        "active-directory", {"url": server.url, **config}, secrets, database, ca=server.ca, streams=streams
    )


def modify(admin: ldap3.Connection, dn: str, changes: Any) -> None:
    admin.modify(dn, changes)  # type: ignore[no-untyped-call]


def resolved(integration: Integration) -> int:
    """How many live memberships lead from a known group to a known user or group."""
    named = integration.rows("SELECT lower(dn) AS dn FROM users UNION SELECT lower(dn) FROM groups")
    names = {row["dn"] for row in named}
    groups = {row["source_key"] for row in integration.rows("SELECT source_key FROM groups")}
    live = integration.rows("SELECT group_key, lower(member_dn) AS dn FROM memberships WHERE deleted_time IS NULL")
    return sum(row["dn"] in names and row["group_key"] in groups for row in live)


def memberships(options: directory.Options) -> int:
    return sum(len(directory.members(options, number)) for number in range(options.groups))


def test_a_directory_of_3000_people_arrives_with_all_memberships(large_openldap: Slapd, tmp_path: Path) -> None:
    integration = integration_of(large_openldap, tmp_path / "data.db")
    result = integration.sync()
    assert result.reason is Reason.COMPLETED, result.message
    assert integration.count("users") == 3000
    assert integration.count("groups") == 61
    by_name = memberships(large_openldap.options)
    assert integration.count("memberships") == by_name + 5
    assert resolved(integration) == by_name
    largest = directory.object_guid(large_openldap.options, "group", 0)
    assert len(integration.rows("SELECT 1 FROM memberships WHERE group_key = ?", str(largest))) == 2000


def test_a_domain_of_3000_people_arrives_with_computers(large_active_directory: Slapd, tmp_path: Path) -> None:
    integration = integration_of(large_active_directory, tmp_path / "data.db")
    result = integration.sync()
    options = large_active_directory.options
    assert result.reason is Reason.COMPLETED, result.message
    assert (integration.count("users"), integration.count("groups"), integration.count("assets")) == (3000, 60, 300)
    assert resolved(integration) == integration.count("memberships") == memberships(options)
    key = str(directory.object_guid(options, "person", 25))
    row = integration.one("SELECT * FROM users WHERE source_key = ?", key)
    assert row["sid"] == "S-1-5-21-1004336348-1177238915-682003330-300025"
    assert (row["is_enabled"], row["email_addr"], row["expiration_time"]) == (0, f"{row['name']}@corp.example", None)
    assert row["created_time"] == "2024-01-05T08:00:00.000Z"
    assert str(row["last_login_time"]).startswith("2025-")
    assert integration.count("users", "type_id = 2") == 30
    assert integration.count("users", "is_locked") == 60
    server = integration.one("SELECT * FROM assets WHERE hostname = 'srv00002.corp.example'")
    assert (server["type_id"], server["os_name"]) == (1, "Windows Server 2022 Standard")


def test_units_policies_and_the_state_of_passwords_arrive(large_active_directory: Slapd, tmp_path: Path) -> None:
    integration = integration_of(large_active_directory, tmp_path / "data.db")
    integration.streams = None
    result = integration.sync()
    assert result.reason is Reason.COMPLETED, result.message
    assert integration.count("groups", "type = 'Organizational unit'") == 4
    policy = integration.one("SELECT * FROM policies")
    assert (policy["name"], policy["type"], policy["is_applied"]) == ("Default Domain Policy", "Group policy", 1)
    unit = integration.one("SELECT * FROM groups WHERE name = 'People'")
    assert "LDAP://CN={" in json.loads(unit["ext"])["policies"]
    key = str(directory.object_guid(large_active_directory.options, "person", 50))
    locked = integration.one("SELECT * FROM users WHERE source_key = ?", key)
    state = json.loads(locked["ext"])
    assert (locked["is_locked"], state["failed_logins"], state["password_never_expires"]) == (1, 5, False)
    assert state["locked_time"] is not None


def test_devices_and_units_of_a_directory_arrive(large_openldap: Slapd, tmp_path: Path) -> None:
    integration = integration_of(large_openldap, tmp_path / "data.db")
    integration.streams = ["organizational-units", "devices"]
    result = integration.sync()
    assert result.reason is Reason.COMPLETED, result.message
    assert {row["name"] for row in integration.rows("SELECT name FROM groups")} == {"people", "groups"}
    row = integration.one("SELECT * FROM assets WHERE hostname = 'host1.example.org'")
    assert (row["serial"], row["ip"], row["mac"]) == ("SN0001", '["10.0.0.2"]', '["02:00:00:00:00:01"]')


def test_what_was_deleted_in_a_domain_is_told_by_its_tombstone(make_directory: MakeDirectory, tmp_path: Path) -> None:
    server = make_directory("active-directory")
    integration = integration_of(server, tmp_path / "data.db")
    integration.streams = None
    integration.sync()
    guid = directory.object_guid(server.options, "person", 7)
    usn = directory.last_usn(server.options) + 1
    with server.admin() as admin:
        dn = directory.person_dn(server.options, 7)
        admin.delete(dn)  # type: ignore[no-untyped-call]
        tombstone = {
            "cn": f"Gone DEL:{guid}",
            "sn": "Gone",
            "objectGUID": guid.bytes_le,
            "sAMAccountName": "gone",
            "isDeleted": "TRUE",
            "lastKnownParent": f"OU=People,{server.options.base}",
            "uSNChanged": str(usn),
        }
        name = f"CN=Gone DEL:{guid},CN=Deleted Objects,{server.options.base}"
        assert admin.add(name, "user", tombstone), admin.result  # type: ignore[no-untyped-call]
    result = integration.sync()
    assert result.reason is Reason.COMPLETED, result.message
    assert (stream(result, "deleted-objects").deleted, stream(result, "users").full) == (1, False)
    assert integration.count("users") == 39


def test_a_domain_that_hides_deleted_objects_leaves_that_stream_out(
    make_directory: MakeDirectory, tmp_path: Path
) -> None:
    server = make_directory("active-directory")
    integration = integration_of(server, tmp_path / "data.db")
    integration.streams = ["users", "deleted-objects"]
    with server.admin() as admin:
        admin.delete(f"CN=Deleted Objects,{server.options.base}")  # type: ignore[no-untyped-call]
    result = integration.sync()
    assert result.reason is Reason.PARTIALLY_COMPLETED
    assert "hides deleted entries" in str(stream(result, "deleted-objects").skipped)


def test_security_and_distribution_groups_are_told_apart(large_active_directory: Slapd, tmp_path: Path) -> None:
    integration = integration_of(large_active_directory, tmp_path / "data.db")
    integration.streams = ["groups"]
    integration.sync()
    assert integration.count("groups", "type = 'Distribution'") == 12
    assert integration.count("groups", "type = 'Security'") == 48


def test_start_tls_reads_the_same(large_openldap: Slapd, tmp_path: Path) -> None:
    integration = integration_of(large_openldap, tmp_path / "data.db", url=large_openldap.plain_url, start_tls=True)
    integration.streams = ["groups"]
    assert integration.sync().reason is Reason.COMPLETED
    assert integration.count("groups") == 60


def test_the_second_run_reads_only_what_changed(make_directory: MakeDirectory, tmp_path: Path) -> None:
    server = make_directory("active-directory")
    integration = integration_of(server, tmp_path / "data.db")
    integration.sync()
    usn = directory.last_usn(server.options)
    with server.admin() as admin:
        change = {"title": [(ldap3.MODIFY_REPLACE, ["Pilot"])], "uSNChanged": [(ldap3.MODIFY_REPLACE, [str(usn + 1)])]}
        modify(admin, directory.person_dn(server.options, 8), change)
    server.commit_usn(usn + 1)
    second = integration.sync()
    key = str(directory.object_guid(server.options, "person", 8))
    assert integration.one("SELECT job_title FROM users WHERE source_key = ?", key)["job_title"] == "Pilot"
    assert stream(second, "users").upserted == 1
    assert stream(second, "users").read == 1
    assert not stream(second, "users").full


def test_a_restored_domain_controller_is_read_in_full(make_directory: MakeDirectory, tmp_path: Path) -> None:
    """Its numbers begin at an older state; a checkpoint of before would hide what happens now."""
    server = make_directory("active-directory")
    integration = integration_of(server, tmp_path / "data.db")
    integration.sync()
    with server.admin() as admin:
        modify(
            admin,
            directory.service_dn(server.options),
            {"invocationId": [(ldap3.MODIFY_REPLACE, [b"restored-database"])]},
        )
    again = integration.sync()
    assert stream(again, "users").full
    assert stream(again, "users").read == 40
    assert not stream(integration.sync(), "users").full


@pytest.mark.parametrize("flavour", ["openldap", "active-directory"])
def test_members_that_join_and_leave_are_followed(make_directory: MakeDirectory, tmp_path: Path, flavour: str) -> None:
    server = make_directory(flavour)
    integration = integration_of(server, tmp_path / "data.db")
    integration.sync()
    options = server.options
    group = directory.group_dn(options, 0)
    usn = directory.last_usn(options) + 1
    changes = {
        "member": [
            (ldap3.MODIFY_DELETE, [directory.person_dn(options, 3)]),
            (ldap3.MODIFY_ADD, [directory.person_dn(options, 35)]),
        ]
    }
    if flavour == "active-directory":
        changes["uSNChanged"] = [(ldap3.MODIFY_REPLACE, [str(usn)])]
    with server.admin() as admin:
        modify(admin, group, changes)
    if flavour == "active-directory":
        server.commit_usn(usn)
    result = integration.sync()
    key = str(directory.object_guid(options, "group", 0))
    live = {
        row["member_dn"].lower()
        for row in integration.rows(
            "SELECT member_dn FROM memberships WHERE group_key = ? AND deleted_time IS NULL", key
        )
    }
    assert directory.person_dn(options, 3).lower() not in live
    assert directory.person_dn(options, 35).lower() in live
    assert len(live) == 30
    assert stream(result, "groups").deleted == 1


def test_a_group_that_lost_its_last_member_has_none(make_directory: MakeDirectory, tmp_path: Path) -> None:
    server = make_directory("active-directory")
    integration = integration_of(server, tmp_path / "data.db")
    integration.sync()
    usn = directory.last_usn(server.options) + 1
    with server.admin() as admin:
        change = {"member": [(ldap3.MODIFY_REPLACE, [])], "uSNChanged": [(ldap3.MODIFY_REPLACE, [str(usn)])]}
        modify(admin, directory.group_dn(server.options, 2), change)
    server.commit_usn(usn)
    integration.sync()
    key = str(directory.object_guid(server.options, "group", 2))
    sql = "SELECT count(*) AS n FROM memberships WHERE group_key = ? AND deleted_time IS NULL"
    assert integration.one(sql, key)["n"] == 0
    assert integration.count("groups") == 12


@pytest.mark.parametrize("flavour", ["openldap", "active-directory"])
def test_a_removed_person_is_found_by_the_next_full_run(
    make_directory: MakeDirectory, tmp_path: Path, flavour: str
) -> None:
    server = make_directory(flavour)
    integration = integration_of(server, tmp_path / "data.db")
    integration.sync()
    with server.admin() as admin:
        admin.delete(directory.person_dn(server.options, 39))  # type: ignore[no-untyped-call]
    integration.sync()
    assert integration.count("users") == 40
    result = integration.sync("Full")
    assert integration.count("users") == 39
    assert stream(result, "users").deleted == 1


def test_changes_of_a_directory_without_numbers_are_found_by_time(
    make_directory: MakeDirectory, tmp_path: Path
) -> None:
    server = make_directory("openldap")
    integration = integration_of(server, tmp_path / "data.db")
    integration.sync()
    with server.admin() as admin:
        modify(admin, directory.person_dn(server.options, 5), {"title": [(ldap3.MODIFY_REPLACE, ["Pilot"])]})
        admin.modify_dn(directory.person_dn(server.options, 6), "uid=renamed.person")
    result = integration.sync()
    assert not stream(result, "users").full
    assert stream(result, "users").upserted == 2
    renamed = str(directory.object_guid(server.options, "person", 6))
    row = integration.one("SELECT name, dn FROM users WHERE source_key = ?", renamed)
    assert (row["name"], row["dn"].split(",")[0]) == ("renamed.person", "uid=renamed.person")
    assert integration.count("users") == 40
