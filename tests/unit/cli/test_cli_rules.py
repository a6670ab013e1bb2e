"""The rules between fields, checked without an API server."""

from __future__ import annotations

from typing import Any

import pytest

import towline.api.syncjob  # noqa: F401 - every model has to be loaded to be found
from towline.api.base import Model
from towline.api.connector import Connector
from towline.api.integration import Integration
from towline.cli.rules import PREDICATES, broken

# Rules that need the old object, or that are checked elsewhere with a better sentence (names, cron).
ELSEWHERE = ("oldSelf", "self.metadata.name", "self.cron.matches")


def models(base: type[Model] = Model) -> list[type[Model]]:
    return [model for child in base.__subclasses__() for model in (child, *models(child))]


def test_every_rule_of_the_api_can_be_checked_without_a_cluster() -> None:
    for model in models():
        if not model.__module__.startswith("towline."):
            continue
        for rule in model.__dict__.get("rules", ()):
            if any(word in rule.rule for word in ELSEWHERE):
                continue
            assert rule.message in PREDICATES.get(model.__name__, {}), (
                f"{model.__name__}: give towline.cli.rules a predicate for: {rule.message}"
            )


def test_no_predicate_is_left_of_a_rule_that_is_gone() -> None:
    messages = {model.__name__: {rule.message for rule in model.__dict__.get("rules", ())} for model in models()}
    for name, predicates in PREDICATES.items():
        assert set(predicates) <= messages[name]


def integration(**spec: Any) -> Integration:
    return Integration.model_validate(
        {"metadata": {"name": "x"}, "spec": {"connectorRef": {"name": "tenable-io"}, **spec}}
    )


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ({"schedule": {}}, "spec.schedule: set exactly one of cron and interval"),
        ({"schedule": {"cron": "@daily", "interval": "1h"}}, "spec.schedule: set exactly one of cron and interval"),
        (
            {"schedule": {"interval": "1h", "timeZone": "Europe/Paris"}},
            "spec.schedule.timeZone: timeZone only has a meaning with cron",
        ),
        ({"schedule": {"interval": "59s"}}, "spec.schedule.interval: interval must be at least 1m"),
        (
            {"schedule": {"interval": "1h", "jitter": "60m"}},
            "spec.schedule.jitter: jitter must be shorter than interval",
        ),
        (
            {"credentials": {"source": "Secret"}},
            "spec.credentials: name a Secret in secretRef when source is Secret, and only then",
        ),
        (
            {"streams": [{"name": "a", "mode": "Full", "fullEvery": "7d"}]},
            "spec.streams[0].fullEvery: fullEvery only has a meaning with mode Incremental",
        ),
    ],
)
def test_a_broken_rule_names_the_field_and_the_cure(spec: dict[str, Any], sentence: str) -> None:
    assert list(broken(integration(**spec))) == [sentence]


def test_a_good_integration_breaks_none() -> None:
    spec = {"schedule": {"cron": "@daily", "timeZone": "Europe/Paris"}, "credentials": {"secretRef": {"name": "x"}}}
    assert list(broken(integration(**spec))) == []


def test_deep_parts_of_a_connector_are_reached() -> None:
    stream = {
        "name": "hosts",
        "request": {"path": "/hosts"},
        "sync": {"mode": "Incremental"},
        "emit": [{"entity": "asset", "key": "=id"}],
    }
    connector = Connector.model_validate(
        {
            "metadata": {"name": "x"},
            "spec": {
                "title": "X",
                "version": "1.0.0",
                "category": "Other",
                "capabilities": ["Pull"],
                "http": {"baseURL": "https://example.com", "auth": {"kind": "Basic"}},
                "streams": [stream],
            },
        }
    )
    assert list(broken(connector)) == [
        "spec.http.auth: kind Basic needs username and password",
        "spec.streams[0].sync.cursor: mode Incremental needs cursor",
    ]
