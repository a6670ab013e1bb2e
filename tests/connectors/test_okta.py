"""Okta's connector against its simulator: rows, both kinds of credentials, changes, what vanished, limits."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from tests.connectors.harness import Integration, listed, served, stream

from towline.api.conditions import Reason
from towline_connectors.catalogue.iam.okta.simulator import SMALL, Okta, Options, application
from towline_connectors.catalogue.simulating import EPOCH, handle

KEYS = {"api_token": "simulator"}


@contextmanager
def okta(folder: Path, secrets: dict[str, str] = KEYS, **options: Any) -> Iterator[tuple[Integration, Okta]]:
    app = application(Options(**{**SMALL, **options}))
    with served(app) as url:
        yield Integration("okta", {"base_url": url}, secrets, folder / "data.db"), handle(app)


def test_every_stream_arrives_with_its_references(tmp_path: Path) -> None:
    with okta(tmp_path) as (integration, state):
        result = integration.sync()
        members = sum(len(state.org.members(number)) for number in state.org.groups)
        factors = [state.org.factors(n) for n in state.org.users if state.org.user(n)["status"] != "DEPROVISIONED"]
    assert result.reason is Reason.COMPLETED, result.message
    assert {each.name: each.read for each in result.streams} == {
        "users": 12, "groups": 3, "memberships": members, "applications": 5, "factors": sum(map(len, factors)),
        "devices": 5, "system-log": 12,
    }  # fmt: skip
    assert sum(each.rejected for each in result.streams) == 0
    joined = "memberships m JOIN groups g ON g.source_key = m.group_key JOIN users u ON u.source_key = m.member_key"
    assert integration.one(f"SELECT count(*) AS n FROM {joined}")["n"] == members
    assert integration.count("auth_factors", "user_key IN (SELECT source_key FROM users)") == sum(map(len, factors))


def test_a_user_has_the_values_that_okta_sent(tmp_path: Path) -> None:
    with okta(tmp_path) as (integration, state):
        integration.streams = ["users"]
        integration.sync()
        people = [state.org.user(number) for number in state.org.users]
    for user in people:
        row = integration.one("SELECT * FROM users WHERE source_key = ?", user["id"])
        profile = user["profile"]
        assert (row["name"], row["email_addr"]) == (profile["login"], profile["email"])
        assert row["full_name"] == f"{profile['firstName']} {profile['lastName']}"
        assert (row["status"], row["job_title"]) == (user["status"], profile.get("title"))
        assert row["is_locked"] == (user["status"] == "LOCKED_OUT")
        assert row["last_login_time"] == user["lastLogin"]
    assert {user["status"] for user in people} > {"ACTIVE"}


def test_an_event_names_who_did_what_with_which_outcome(tmp_path: Path) -> None:
    with okta(tmp_path) as (integration, state):
        integration.streams = ["system-log"]
        integration.sync()
        event = next(e for e in map(state.org.event, range(12)) if e["eventType"] == "user.authentication.sso")
        second = integration.sync()
    row = integration.one("SELECT * FROM events WHERE source_key = ?", event["uuid"])
    assert (row["title"], row["user_key"]) == (event["eventType"], event["actor"]["id"])
    assert (row["application_name"], listed(row["targets"])) == ("Mail", ["Mail"])
    assert row["outcome"] == event["outcome"]["result"]
    assert stream(second, "system-log").read < 12  # from the last event on, less the overlap


def test_the_second_run_reads_only_users_that_were_updated_and_deactivated_ones_stay(tmp_path: Path) -> None:
    with okta(tmp_path) as (integration, state):
        integration.streams = ["users"]
        integration.sync()
        state.org.changed[5] = ("DEPROVISIONED", EPOCH + 3600)
        result = integration.sync()
        key = state.org.user_id(5)
    assert stream(result, "users").read <= 2
    row = integration.one("SELECT * FROM users WHERE source_key = ?", key)
    assert (row["status"], row["is_enabled"], row["deleted_time"]) == ("DEPROVISIONED", 0, None)


def test_who_left_a_group_and_who_was_deleted_is_marked_as_such(tmp_path: Path) -> None:
    with okta(tmp_path) as (integration, state):
        integration.streams = ["users", "memberships"]
        integration.sync()
        gone = (1, state.org.members(1)[0])
        state.org.left.add(gone)
        result = integration.sync()
        assert stream(result, "memberships").deleted == 1
        state.org.users.pop()
        integration.sync("Full")
    assert integration.count("users") == 11


def test_a_signed_token_takes_the_place_of_an_api_token(tmp_path: Path) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    ).decode()  # fmt: skip
    secrets = {"client_id": "simulator", "private_key": private}
    with okta(tmp_path, secrets, public_key=public, api_token="another") as (integration, state):
        integration.streams = ["groups"]
        result = integration.sync()
        issued = state.tokens.issued
    assert result.reason is Reason.COMPLETED, result.message
    assert (issued, integration.count("groups")) == (1, 3)


def test_a_wrong_token_is_told_as_such(tmp_path: Path) -> None:
    with okta(tmp_path, {"api_token": "wrong-one"}) as (integration, _):
        for mode in ("Check", "Incremental"):
            result = integration.sync(mode)
            assert result.reason is Reason.CREDENTIALS_REJECTED
            assert "wrong-one" not in result.message


def test_a_missing_scope_leaves_its_stream_out(tmp_path: Path) -> None:
    with okta(tmp_path, forbidden="logs") as (integration, _):
        integration.streams = ["groups", "system-log"]
        result = integration.sync()
    assert result.reason is Reason.PARTIALLY_COMPLETED
    assert "system-log" in result.message
    assert integration.count("groups") == 3


def test_a_group_that_vanishes_in_between_is_passed_over_and_nothing_is_deleted(tmp_path: Path) -> None:
    with okta(tmp_path) as (integration, _):
        integration.streams = ["memberships"]
        integration.sync()
        before = integration.count("memberships")
    with okta(tmp_path, vanished=1) as (integration, _):
        integration.streams = ["memberships"]
        result = integration.sync()
    assert result.reason is Reason.COMPLETED, result.message
    assert integration.count("memberships") == before


def test_second_factors_can_be_left_out(tmp_path: Path) -> None:
    with okta(tmp_path) as (integration, state):
        integration.config["factors"] = False
        integration.streams = ["factors"]
        integration.sync()
        asked = list(state.asked)
    assert asked == []


@pytest.mark.parametrize("fault", [{"rate_limit_every": 6, "retry_after": 1}, {"error_every": 5}], ids=["429", "503"])
def test_a_fault_delays_the_run_and_loses_nothing(tmp_path: Path, fault: dict[str, Any]) -> None:
    with okta(tmp_path, **fault) as (integration, _):
        integration.streams = ["users", "groups", "devices"]
        result = integration.sync()
    assert result.reason is Reason.COMPLETED, result.message
    assert (integration.count("users"), integration.count("assets")) == (12, 5)
    row = integration.rows("SELECT * FROM assets WHERE owner_key IS NOT NULL")[0]
    assert json.loads(row["ext"])["disk_encryption"] == "ALL_INTERNAL_VOLUMES"
