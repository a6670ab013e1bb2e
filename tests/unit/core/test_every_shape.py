"""Whatever the schema lets in is judged with a sentence, with every connector, and nothing of it is an error."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from tests.shapes import specs
from tests.unit.core.build import NOW, SETTINGS, around, checked, connector, integration, secret, sync

from towline.api.connector import Connector
from towline.api.integration import Integration
from towline.cli.operator import compile_problems
from towline.core.connectors import problems, reconcile_connector
from towline.core.integrations import reconcile_integration
from towline.core.planner import IntegrationSnapshot
from towline.core.syncjobs import SyncSnapshot, reconcile_sync
from towline.core.validate import Problem, View, validate

BARE = connector(credentials=None, configSchema=None)
OF_THE_USERS_HOST = connector(
    http={"baseURL": "https://${{ config.host }}"},
    egress=["${{ config.host }}"],
    configSchema={"type": "object", "required": ["host"], "properties": {"host": {"type": "string"}}},
)


@pytest.mark.parametrize("used", [connector(), BARE, OF_THE_USERS_HOST], ids=["full", "bare", "any host"])
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(spec=specs("integrations"), keys=st.sets(st.sampled_from(["client_id", "client_secret", "url", "ca.crt"])))
def test_every_shape_is_judged(used: Connector, spec: dict[str, Any], keys: set[str]) -> None:
    meta = {"name": "a", "namespace": "ns", "uid": "u", "generation": 2, "creationTimestamp": "2026-11-21T08:00:00Z"}
    spec["connectorRef"] = {"name": "acme"}
    try:
        subject = Integration.model_validate({"metadata": meta, "spec": spec})
    except ValidationError:
        reject()  # has a condition of its own: test_explain
    named = spec.get("credentials", {}).get("secretRef", {}).get("name", "")
    surroundings = around(connector=used, secrets={named: secret(keys, allowed="*")} if named else {})
    found = validate(subject, "ns", "u", surroundings, SETTINGS)
    assert isinstance(found, View) or (isinstance(found, Problem) and found.message)
    decision = reconcile_integration(IntegrationSnapshot(subject, found, surroundings), NOW)
    assert decision.actions
    asked = SyncSnapshot(sync(integrationRef={"name": "a"}), subject, found, surroundings, slot=True)
    started = reconcile_sync(asked, NOW, SETTINGS)
    assert started.actions or started.look_again or subject.spec.suspend


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(spec=specs("syncjobs"))
def test_every_syncjob_is_judged(spec: dict[str, Any]) -> None:
    try:
        subject = sync(**spec)
    except ValidationError:
        reject()
    owner = integration()
    asked = SyncSnapshot(subject, owner, checked(owner), around(), slot=True)
    assert reconcile_sync(asked, NOW, SETTINGS).actions


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(spec=specs("connectors"))
def test_every_connector_is_judged(spec: dict[str, Any]) -> None:
    raw = {"metadata": {"name": "a", "uid": "u", "generation": 1}, "spec": spec}
    wrong = problems(raw, compile_problems)
    assert all(wrong)
    assert reconcile_connector(raw, wrong, 0, NOW).actions


def test_a_connector_without_credentials_says_so_to_who_names_one() -> None:
    spec = {"connectorRef": {"name": "acme"}, "credentials": {"secretRef": {"name": "s"}, "keys": {"token": "t"}}}
    subject = Integration.model_validate({"metadata": {"name": "a", "namespace": "ns", "uid": "u"}, "spec": spec})
    found = validate(subject, "ns", "u", around(connector=BARE), SETTINGS)
    assert isinstance(found, Problem)
    assert found.message == "spec.credentials.keys: this connector has no credential token: it has none"
