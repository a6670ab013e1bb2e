"""Large groups of a domain controller, which come in ranges, and connections that break between two pages."""

from __future__ import annotations

from pathlib import Path

from tests.connectors.ranges import answering_in_ranges
from tests.connectors.test_ldap_directory import integration_of, memberships
from tests.slapd import MakeDirectory

from towline.api.conditions import Reason
from towline_connectors.catalogue.iam import directory
from towline_connectors.engine.ldap_values import parse_range


def test_members_that_come_in_ranges_are_put_together(make_directory: MakeDirectory, tmp_path: Path) -> None:
    server = make_directory("active-directory")
    with answering_in_ranges(server.folder, server.tls_port, size=7) as proxy:
        integration = integration_of(server, tmp_path / "data.db", url=f"ldaps://localhost:{proxy.port}")
        integration.streams = ["groups"]
        result = integration.sync()
    assert result.reason is Reason.COMPLETED, result.message
    assert "member;range=7-*" in proxy.asked
    assert integration.count("memberships") == memberships(server.options)
    key = str(directory.object_guid(server.options, "group", 0))
    found = {row["member_dn"] for row in integration.rows("SELECT * FROM memberships WHERE group_key = ?", key)}
    assert {dn.lower() for dn in found} == {dn.lower() for dn in directory.members(server.options, 0)}


def test_a_connection_that_breaks_between_two_pages_ends_the_run_and_the_next_one_completes_it(
    make_directory: MakeDirectory, tmp_path: Path
) -> None:
    server = make_directory("active-directory", people=1200)
    with answering_in_ranges(server.folder, server.tls_port, size=1500, cut_after=4) as proxy:
        integration = integration_of(server, tmp_path / "data.db", url=f"ldaps://localhost:{proxy.port}")
        integration.streams = ["users"]
        broken = integration.sync()
    assert broken.reason is Reason.UNREACHABLE
    assert "broke" in broken.message
    assert 0 < integration.count("users") < 1200
    integration.config["url"] = server.url
    assert integration.sync().reason is Reason.COMPLETED
    assert integration.count("users") == 1200


def test_the_bounds_of_a_range_are_read_as_servers_write_them() -> None:
    assert parse_range("member;range=0-1499") == ("member", 1500)
    assert parse_range("member;Range=1500-*") == ("member", None)
    assert parse_range("member") == ("member", None)
    assert parse_range("userCertificate;binary") == ("userCertificate;binary", None)
