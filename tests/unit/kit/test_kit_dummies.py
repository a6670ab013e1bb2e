"""Settings and credentials that stand in, and what a recording tells of them."""

from __future__ import annotations

from typing import Any

import pytest

from towline.api.connector import ConnectorSpec
from towline_connectors.kit import dummies

PROPERTIES: dict[str, Any] = {
    "host": {"type": "string"},
    "tenant": {"type": "string", "pattern": "^[0-9a-f]{8}-0000$"},
    "region": {"type": "string", "enum": ["us-2", "eu-1"]},
    "days": {"type": "integer", "minimum": 7},
    "regions": {"type": "array", "minItems": 1, "items": {"type": "string"}},
    "prefix": {"type": "string", "default": ""},
    "note": {"type": "string"},
}


def spec(**changes: Any) -> ConnectorSpec:
    return ConnectorSpec.model_validate(
        {
            "title": "Acme",
            "version": "1.0.0",
            "category": "Other",
            "capabilities": ["Pull"],
            "credentials": [{"key": "token"}, {"key": "account"}, {"key": "extra", "optional": True}],
            "configSchema": {
                "type": "object",
                "required": ["host", "region", "days", "regions"],
                "properties": {**PROPERTIES, **changes},
            },
            "http": {
                "baseURL": "https://${config.host}${config.prefix}/api",
                "auth": {"kind": "Bearer", "value": "${secret.token}"},
                "headers": {"x-account": "${secret.account.id}"},
            },
            "streams": [
                {
                    "name": "users",
                    "request": {"path": "/users"},
                    "sync": {"mode": "Full"},
                    "emit": [{"entity": "user", "key": "=id"}],
                }
            ],
        }
    )


def test_what_is_needed_gets_a_value_that_fits_and_the_rest_stays_as_it_is() -> None:
    found = dummies.settings(spec(), {"host": "mine.example"})
    assert found == {"host": "mine.example", "prefix": "", "region": "us-2", "days": 7, "regions": ["example"]}


def test_a_recording_tells_host_and_tenant() -> None:
    template = "https://${config.host}/${config.tenant}/users/${partition.id}"
    guesses = dummies.guessed([template], ["https://eu.acme.example/12345678-0000/users/7", "https://x.example/"])
    assert guesses == {"host": ["eu.acme.example"], "tenant": ["12345678-0000"]}
    assert dummies.settings(spec(), {}, guesses)["host"] == "eu.acme.example"


def test_a_setting_for_which_nothing_fits_is_named() -> None:
    with pytest.raises(ValueError, match=r"^region$"):
        dummies.settings(spec(region={"type": "string", "pattern": "^zone-[xyz]{3}!$"}), {})


def test_credentials_stand_in_and_documents_have_the_members_that_are_read() -> None:
    assert dummies.secrets(spec()) == {"token": "replayed", "account": '{"id": "replayed"}'}
