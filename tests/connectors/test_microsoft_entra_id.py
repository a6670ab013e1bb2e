"""Entra ID's connector against its simulator: delta tokens, memberships, reports, rights, limits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from tests.connectors.harness import Integration, served, stream

from towline.api.conditions import Reason
from towline_connectors.catalogue.iam.microsoft_entra_id.simulator import SMALL, Graph, Options, application
from towline_connectors.catalogue.simulating import handle

KEYS = {"client_id": "simulator", "client_secret": "simulator"}
TENANT = "00000000-0000-4000-8000-000000000000"


@contextmanager
def entra(folder: Path, secrets: dict[str, str] = KEYS, **options: Any) -> Iterator[tuple[Integration, Graph]]:
    app = application(Options(**{**SMALL, **options}))
    with served(app) as url:
        config = {"tenant_id": TENANT, "base_url": url, "login_url": url}
        yield Integration("microsoft-entra-id", config, secrets, folder / "data.db"), handle(app)


def test_every_stream_arrives_with_its_references(tmp_path: Path) -> None:
    with entra(tmp_path) as (integration, state):
        result = integration.sync()
        members = sum(len(state.directory.members(number)) for number in range(3))
        person = state.directory.user(2)
    assert result.reason is Reason.COMPLETED, result.message
    counts = {each.name: each.read for each in result.streams}
    assert {name: counts[name] for name in counts if name != "group-list"} == {
        "users": 12, "groups": 3, "memberships": members, "devices": 7, "risky-users": 3, "sign-ins": 8,
        "directory-audits": 6,
    }  # fmt: skip
    assert sum(each.rejected for each in result.streams) == 0
    assert integration.count("memberships", "member_type_id = 2") == 2
    assert integration.count("memberships", "member_type_id = 1") == members - 2
    people = "memberships m JOIN users u ON u.source_key = m.member_key JOIN groups g ON g.source_key = m.group_key"
    assert integration.one(f"SELECT count(*) AS n FROM {people}")["n"] == members - 2
    joined = "events e JOIN users u ON u.source_key = e.user_key WHERE e.log_name = 'sign-ins'"
    assert integration.one(f"SELECT count(*) AS n FROM {joined}")["n"] == 8
    row = integration.one("SELECT * FROM users WHERE source_key = ?", person["id"])
    assert (row["name"], row["full_name"]) == (person["userPrincipalName"], person["displayName"])
    assert row["email_addr"] == (person["mail"].lower() if "mail" in person else None)
    assert row["is_enabled"] == person["accountEnabled"]


def test_the_second_run_reads_only_what_changed_and_marks_what_was_removed(tmp_path: Path) -> None:
    with entra(tmp_path) as (integration, state):
        integration.streams = ["users", "groups", "devices"]
        integration.sync()
        state.directory.disabled.add(3)
        state.directory.touch("users", 3)
        state.directory.touch("users", 4, deleted=True)
        second = integration.sync()
        third = integration.sync()
        disabled, deleted = state.directory.id("users", 3), state.directory.id("users", 4)
    assert (stream(second, "users").read, stream(second, "users").deleted) == (2, 1)
    assert (stream(second, "groups").read, stream(second, "devices").read) == (0, 0)
    assert stream(third, "users").read == 0
    assert integration.one("SELECT is_enabled FROM users WHERE source_key = ?", disabled)["is_enabled"] == 0
    assert integration.one("SELECT deleted_time FROM users WHERE source_key = ?", deleted)["deleted_time"]
    assert integration.count("users") == 11


def test_a_token_that_aged_out_means_a_full_pass_that_finds_what_was_removed(tmp_path: Path) -> None:
    with entra(tmp_path) as (integration, state):
        integration.streams = ["users"]
        integration.sync()
        state.directory.touch("users", 4, deleted=True)
        state.oldest = len(state.directory.changes)
        result = integration.sync()
    assert result.reason is Reason.COMPLETED, result.message
    assert (stream(result, "users").read, integration.count("users")) == (11, 11)


def test_who_left_a_group_is_marked_as_such(tmp_path: Path) -> None:
    with entra(tmp_path) as (integration, state):
        integration.streams = ["memberships"]
        integration.sync()
        before = integration.count("memberships")
        user = next(n for n in range(12) if state.directory.id("users", n) == state.directory.members(1)[0]["id"])
        state.directory.left.add((1, user))
        result = integration.sync()
    assert stream(result, "memberships").deleted == 1
    assert integration.count("memberships") == before - 1


def test_a_certificate_takes_the_place_of_a_secret(tmp_path: Path) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "towline")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now).not_valid_after(now + timedelta(days=1))
    certificate = builder.sign(key, hashes.SHA256())
    encoding, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    secrets = {
        "client_id": "simulator",
        "private_key": key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, plain).decode(),
        "certificate": certificate.public_bytes(encoding).decode(),
    }
    public = key.public_key().public_bytes(encoding, serialization.PublicFormat.SubjectPublicKeyInfo).decode()
    with entra(tmp_path, secrets, public_key=public) as (integration, state):
        result = integration.sync("Check")
        issued = state.tokens.issued
    assert result.reason is Reason.COMPLETED, result.message
    assert issued == 1


def test_without_a_licence_reports_are_left_out_with_the_reason(tmp_path: Path) -> None:
    with entra(tmp_path, premium=False) as (integration, _):
        integration.streams = ["groups", "sign-ins", "risky-users"]
        result = integration.sync()
    assert result.reason is Reason.PARTIALLY_COMPLETED
    assert "licence" in result.message
    assert integration.count("groups") == 3


def test_a_permission_that_is_missing_is_named(tmp_path: Path) -> None:
    with entra(tmp_path, forbidden="users") as (integration, _):
        integration.streams = ["users"]
        result = integration.sync()
    assert result.reason is Reason.PERMISSION_DENIED
    assert "User.Read.All" in result.message


def test_a_wrong_secret_is_told_as_such(tmp_path: Path) -> None:
    with entra(tmp_path, {"client_id": "simulator", "client_secret": "wrong-one"}) as (integration, _):
        for mode in ("Check", "Incremental"):
            result = integration.sync(mode)
            assert result.reason is Reason.CREDENTIALS_REJECTED
            assert "wrong-one" not in result.message


@pytest.mark.parametrize("fault", [{"rate_limit_every": 6, "retry_after": 1}, {"error_every": 5}], ids=["429", "503"])
def test_a_fault_delays_the_run_and_loses_nothing(tmp_path: Path, fault: dict[str, Any]) -> None:
    with entra(tmp_path, **fault) as (integration, _):
        integration.streams = ["users", "devices"]
        result = integration.sync()
    assert result.reason is Reason.COMPLETED, result.message
    assert (integration.count("users"), integration.count("assets")) == (12, 7)
