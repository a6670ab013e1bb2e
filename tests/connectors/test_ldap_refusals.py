"""What a directory may refuse, and what each refusal is called."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.connectors.harness import Integration
from tests.connectors.test_ldap_directory import integration_of
from tests.slapd import Slapd, certificates

from towline.api.conditions import Reason
from towline_connectors.catalogue.iam import directory
from towline_connectors.engine.ldap_errors import bind_detail, failure


def test_a_good_account_passes_the_check(large_openldap: Slapd, tmp_path: Path) -> None:
    assert integration_of(large_openldap, tmp_path / "data.db").sync("Check").reason is Reason.COMPLETED


@pytest.mark.parametrize("mode", ["Check", "Incremental"])
def test_a_wrong_password_is_told_as_such_and_never_shown(large_openldap: Slapd, tmp_path: Path, mode: str) -> None:
    integration = integration_of(large_openldap, tmp_path / "data.db")
    integration.secrets["password"] = "not-the-password"
    result = integration.sync(mode)
    assert result.reason is Reason.CREDENTIALS_REJECTED
    assert "not-the-password" not in result.message
    assert "localhost" in result.message


def test_a_password_that_was_rotated_since_the_run_began_is_read_anew_and_tried_once(
    large_openldap: Slapd, tmp_path: Path
) -> None:
    integration = integration_of(large_openldap, tmp_path / "data.db")
    rotated, asked = dict(integration.secrets), 0
    integration.secrets = {**rotated, "password": "that-of-yesterday"}

    def reread() -> dict[str, str]:
        nonlocal asked
        asked += 1
        return rotated

    integration.reread = reread
    assert integration.sync().reason is Reason.COMPLETED
    assert (asked, integration.count("users") > 0) == (1, True)
    rotated = {**rotated, "password": "that-of-tomorrow"}
    result = integration.sync()
    assert result.reason is Reason.CREDENTIALS_REJECTED
    assert "that-of" not in result.message
    assert asked == 2, "once more is all: the account must not be locked"


def test_an_empty_password_is_refused_before_it_is_sent(large_openldap: Slapd, tmp_path: Path) -> None:
    """Servers take such a bind for an anonymous one and call it a success."""
    integration = integration_of(large_openldap, tmp_path / "data.db")
    integration.secrets["password"] = ""
    assert integration.sync("Check").reason is Reason.KEY_MISSING


def test_a_base_that_does_not_exist_is_named(large_openldap: Slapd, tmp_path: Path) -> None:
    integration = integration_of(large_openldap, tmp_path / "data.db", base="ou=nowhere,dc=example,dc=org")
    for mode in ("Check", "Incremental"):
        result = integration.sync(mode)
        assert result.reason is Reason.CONFIG_INVALID
        assert "ou=nowhere" in result.message


def test_a_malformed_filter_is_told_as_such(large_openldap: Slapd, tmp_path: Path) -> None:
    integration = integration_of(large_openldap, tmp_path / "data.db", user_filter="(objectClass=person")
    integration.streams = ["users"]
    result = integration.sync()
    assert result.reason is Reason.CONFIG_INVALID
    assert "filter" in result.message


def test_a_password_never_crosses_a_plain_connection(large_openldap: Slapd, tmp_path: Path) -> None:
    integration = integration_of(large_openldap, tmp_path / "data.db", url=large_openldap.plain_url)
    result = integration.sync("Check")
    assert result.reason is Reason.CONFIG_INVALID
    assert "start_tls" in result.message


def test_a_certificate_of_an_unknown_ca_is_refused(large_openldap: Slapd, tmp_path: Path) -> None:
    integration = integration_of(large_openldap, tmp_path / "data.db")
    integration.ca = certificates(tmp_path)
    for config in ({}, {"url": large_openldap.plain_url, "start_tls": True}):
        integration.config |= config
        result = integration.sync("Check")
        assert result.reason is Reason.UNREACHABLE
        assert "caBundleRef" in result.message


def test_a_certificate_of_another_host_is_refused(large_openldap: Slapd, tmp_path: Path) -> None:
    url = f"ldaps://127.0.0.1:{large_openldap.tls_port}"
    result = integration_of(large_openldap, tmp_path / "data.db", url=url).sync("Check")
    assert result.reason is Reason.UNREACHABLE
    assert "not trusted" in result.message


def test_a_server_without_tls_is_told_as_such(large_openldap: Slapd, tmp_path: Path) -> None:
    url = large_openldap.plain_url.replace("ldap://", "ldaps://")
    result = integration_of(large_openldap, tmp_path / "data.db", url=url).sync("Check")
    assert result.reason is Reason.UNREACHABLE
    assert "does not speak TLS" in result.message


@pytest.mark.parametrize(
    ("url", "words"),
    [("ldaps://localhost:1", "connection refused"), ("ldaps://no-such-host.invalid", "DNS")],
)
def test_an_unreachable_server_is_named_with_the_cause(
    large_openldap: Slapd, tmp_path: Path, url: str, words: str
) -> None:
    result = integration_of(large_openldap, tmp_path / "data.db", url=url).sync("Check")
    assert result.reason is Reason.UNREACHABLE
    assert words in result.message


def test_a_host_that_the_secret_does_not_allow_gets_no_password(large_openldap: Slapd, tmp_path: Path) -> None:
    integration = integration_of(large_openldap, tmp_path / "data.db")
    result = integration.sync("Check", allowed_hosts=["ldap.example.org", "*.example.com"])
    assert result.reason is Reason.HOST_NOT_ALLOWED
    assert "towline.dev/allowed-hosts" in result.message


def test_a_directory_that_is_no_domain_controller_is_told_as_such(large_openldap: Slapd, tmp_path: Path) -> None:
    secrets = {"username": large_openldap.options.reader, "password": directory.READER_PASSWORD}
    config = {"url": large_openldap.url}
    integration = Integration("active-directory", config, secrets, tmp_path / "data.db", ca=large_openldap.ca)
    result = integration.sync()
    assert result.reason is Reason.CONFIG_INVALID
    assert "highestCommittedUSN" in result.message


def test_active_directory_says_why_a_bind_failed() -> None:
    message = "80090308: LdapErr: DSID-0C090439, comment: AcceptSecurityContext error, data 775, v4563"
    assert bind_detail(message) == "the account is locked"
    error = failure("directory dc1:636", 49, "invalidCredentials", message, "the log-in")
    assert error.message == "directory dc1:636 rejects the credentials: the account is locked."
