"""`towline catalog` and `towline explain`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from towline_connectors.catalogue import manifests

if TYPE_CHECKING:
    from tests.cli.conftest import Towline


def test_the_catalogue_lists_every_bundled_connector(towline: Towline) -> None:
    listed = towline("catalog", "-o", "name")
    assert listed.stdout.split() == sorted(manifests())
    assert "NAME" in towline("catalog").stdout


def test_a_search_keeps_what_holds_every_word(towline: Towline) -> None:
    found = json.loads(towline("catalog", "tenable", "VULNERABILIT", "-o", "json").stdout)
    assert [connector["name"] for connector in found] == ["tenable-io"]
    nothing = towline("catalog", "no-such-thing")
    assert (nothing.returncode, nothing.stdout) == (0, "")
    assert "No connector matches" in nothing.stderr
    assert "Did you mean okta?" in towline("catalog", "oktaa").stderr


def test_explain_tells_what_a_connector_needs(towline: Towline) -> None:
    text = towline("explain", "tenable-io").stdout
    for part in ("access_key", "base_url", "vulnerabilities", "cloud.tenable.com", "kind: Integration"):
        assert part in text
    facts = json.loads(towline("explain", "tenable-io", "-o", "json").stdout)
    assert [entry["key"] for entry in facts["credentials"]] == ["access_key", "secret_key"]


def test_an_unknown_connector_gets_near_names(towline: Towline) -> None:
    ended = towline("explain", "tenable")
    assert ended.returncode == 1
    assert "Did you mean tenable-io?" in ended.stderr


@pytest.mark.parametrize("name", sorted(manifests()))
def test_the_example_of_every_connector_is_valid(towline: Towline, name: str) -> None:
    example = towline("explain", name, "--example").stdout
    checked = towline("validate", "-f", "-", stdin=example)
    assert checked.returncode == 0, checked.stderr
    assert f"Integration {name} is valid" in checked.stderr
