"""Objects for the tests of the pure decisions."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from towline.api.connector import Connector
from towline.api.integration import Integration
from towline.api.syncjob import SyncJob
from towline.contract import EXIT_CODES, RunResult
from towline.core.facts import RunSettings, SecretFacts, Surroundings
from towline.core.validate import Problem, View, validate

NOW = datetime(2026, 11, 21, 8, 30, tzinfo=UTC)
SETTINGS = RunSettings(image="towline:test")


def connector(**spec: Any) -> Connector:
    """A Connector with one fixed host, two credentials and two streams."""
    stream = {"sync": {"mode": "Full"}, "emit": [{"entity": "asset", "key": "id"}]}
    return Connector.model_validate(
        {
            "metadata": {"name": "acme", "uid": "c-1", "generation": 1},
            "spec": {
                "title": "Acme",
                "version": "1.0.0",
                "category": "EDR",
                "capabilities": ["Pull"],
                "http": {"baseURL": "https://api.acme.example"},
                "egress": ["api.acme.example"],
                "credentials": [{"key": "client_id"}, {"key": "client_secret"}, {"key": "tenant", "optional": True}],
                "configSchema": {
                    "type": "object",
                    "additionalProperties": False,
                    "required": ["region"],
                    "properties": {
                        "region": {"type": "string", "enum": ["eu", "us"], "description": "Where the account lives."},
                        "size": {"type": "integer", "default": 100, "minimum": 1},
                        "host": {"type": "string"},
                    },
                },
                "streams": [
                    {"name": "hosts", "request": {"path": "/hosts"}, **stream},
                    {"name": "alerts", "request": {"path": "/alerts"}, **stream},
                ],
                **spec,
            },
        }
    )


def integration(status: dict[str, Any] | None = None, generation: int = 1, **spec: Any) -> Integration:
    """A valid Integration of that Connector."""
    whole: dict[str, Any] = {
        "metadata": {
            "name": "acme-prod",
            "namespace": "secops",
            "uid": "i-1",
            "generation": generation,
            "creationTimestamp": "2026-11-21T08:00:00Z",
            "annotations": spec.pop("annotations", {}),
        },
        "spec": {
            "connectorRef": {"name": "acme"},
            "config": {"region": "eu"},
            "credentials": {"secretRef": {"name": "acme-api"}},
            "schedule": {"interval": "30m", "jitter": "1s"},
            **spec,
        },
    }
    if status is not None:
        whole["status"] = status
    return Integration.model_validate(whole)


def secret(keys: set[str] | None = None, version: str = "s-1/1", allowed: str = "") -> SecretFacts:
    return SecretFacts(version, keys if keys is not None else {"client_id", "client_secret"}, allowed)


def around(**changes: Any) -> Surroundings:
    facts: dict[str, Any] = {
        "connector": connector(),
        "connector_uid": "c-1",
        "connector_generation": 1,
        "known_connectors": ("acme", "other"),
        "secrets": {"acme-api": secret()},
    }
    return Surroundings(**{**facts, **changes})


def checked(subject: Integration, **changes: Any) -> View | Problem:
    return validate(subject, "secops", "i-1", around(**changes), SETTINGS)


def view(subject: Integration | None = None, **changes: Any) -> View:
    found = checked(subject or integration(), **changes)
    assert isinstance(found, View), found
    return found


def sync(status: dict[str, Any] | None = None, name: str = "acme-prod-m-1", **spec: Any) -> SyncJob:
    """A SyncJob of that Integration."""
    whole: dict[str, Any] = {
        "metadata": {
            "name": name,
            "namespace": "secops",
            "uid": f"uid-{name}",
            "generation": 1,
            "creationTimestamp": "2026-11-21T08:29:00Z",
        },
        "spec": {"integrationRef": {"name": "acme-prod"}, **spec},
    }
    if status is not None:
        whole["status"] = status
    return SyncJob.model_validate(whole)


def result(reason: str = "Completed", **fields: Any) -> RunResult:
    return RunResult.model_validate(
        {"sync_uid": "uid-acme-prod-m-1", "attempt": 1, "pod_uid": "p-1", "reason": reason, **fields}
    )


def exit_code(found: RunResult) -> int:
    return int(EXIT_CODES[found.reason])
