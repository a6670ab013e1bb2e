"""MISP's connector against its simulator: searches by POST, deletions, kinds of indicators and refusals."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.connectors.harness import Integration, listed, served, stream

from towline.api.conditions import Reason
from towline_connectors.catalogue.simulating import handle
from towline_connectors.catalogue.threat_intel.misp.simulator import SMALL, Options, World, application

KEY = {"auth_key": "simulator"}


@contextmanager
def misp(
    folder: Path, secrets: dict[str, str] = KEY, config: dict[str, Any] | None = None, **options: Any
) -> Iterator[tuple[Integration, World]]:
    app = application(Options(**{**SMALL, **options}))
    with served(app) as url:
        settings = {"host": url.removeprefix("http://"), "scheme": "http", **(config or {})}
        yield Integration("misp", settings, secrets, folder / "data.db"), handle(app)


def test_events_indicators_sightings_and_warning_lists_arrive(tmp_path: Path) -> None:
    with misp(tmp_path, config={"only_published": False}) as (integration, _):
        result = integration.sync()
    assert result.reason is Reason.COMPLETED, result.message
    assert integration.count("threat_reports") == 60
    assert integration.count("indicators") == 990  # each tenth is not marked for detection
    assert integration.count("sightings") == 20
    assert integration.count("policies") == 2


@pytest.mark.parametrize(
    ("number", "type_id", "value"),
    [
        (1, 2, "host-1.example.net"),
        (3, 5, "http://host-3.example.net/gate.php?id=3"),
        (6, 2, "host-6.example.net"),
        (7, 9, "sender7@example.net"),
        (8, 10, "CVE-2025-10008"),
    ],
)
def test_an_attribute_becomes_the_indicator_that_one_looks_for(
    tmp_path: Path, number: int, type_id: int, value: str
) -> None:
    with misp(tmp_path, attributes=20) as (integration, world):
        integration.streams = ["attributes"]
        integration.sync()
    row = integration.one("SELECT * FROM indicators WHERE source_key = ?", world.uuid("attribute", number))
    assert (row["type_id"], row["value"]) == (type_id, value)


def test_of_an_address_with_a_port_and_a_file_with_a_hash_the_part_that_matters_is_the_value(tmp_path: Path) -> None:
    with misp(tmp_path, attributes=20) as (integration, world):
        integration.streams = ["attributes"]
        integration.sync()
    sent = {number: world.attribute(number)["value"] for number in (4, 5)}
    rows = {
        number: integration.one("SELECT * FROM indicators WHERE source_key = ?", world.uuid("attribute", number))
        for number in (4, 5)
    }
    assert (rows[4]["type_id"], rows[4]["value"]) == (1, sent[4].partition("|")[0])
    assert (rows[5]["type_id"], rows[5]["value"]) == (4, sent[5].partition("|")[2])


def test_an_event_has_its_actor_techniques_and_mark(tmp_path: Path) -> None:
    with misp(tmp_path) as (integration, world):
        integration.streams = ["events"]
        integration.sync()
    row = integration.one("SELECT * FROM threat_reports WHERE source_key = ?", world.uuid("event", 1))
    assert listed(row["threat_names"]) == ["Example Panda"]
    assert listed(row["attacks"]) == ["T1071.001"]
    assert (row["tlp"], row["status"], row["severity_id"]) == ("green", "Ongoing", 3)


def test_the_second_run_reads_what_was_edited_and_marks_what_was_deleted(tmp_path: Path) -> None:
    with misp(tmp_path) as (integration, world):
        integration.streams = ["attributes"]
        integration.sync()
        world.touch(3)
        world.delete(4)
        second = integration.sync()
    assert (stream(second, "attributes").upserted, stream(second, "attributes").deleted) == (1, 1)
    edited = integration.one("SELECT * FROM indicators WHERE source_key = ?", world.uuid("attribute", 3))
    assert edited["description"] == "seen again"
    assert integration.count("indicators") == 989
    assert int(world.searches[-1][1]["timestamp"]) > 0


def test_an_event_that_was_deleted_is_found_by_a_full_run(tmp_path: Path) -> None:
    with misp(tmp_path, config={"only_published": False}) as (integration, world):
        integration.streams = ["events"]
        integration.sync()
        world.gone.add(7)
        result = integration.sync("Full")
    assert stream(result, "events").deleted == 1
    assert integration.count("threat_reports") == 59


def test_settings_become_the_search(tmp_path: Path) -> None:
    config = {"only_detection": False, "only_published": False, "drop_known_benign": False}
    with misp(tmp_path, config=config, attributes=100) as (integration, world):
        integration.streams = ["attributes"]
        integration.sync()
    assert integration.count("indicators") == 100
    assert not {"to_ids", "published", "enforceWarninglist"} & set(world.searches[0][1])


def test_a_wrong_key_and_a_missing_right_are_told_apart(tmp_path: Path) -> None:
    with misp(tmp_path, {"auth_key": "not-it"}) as (integration, _):
        for mode in ("Check", "Incremental"):
            refused = integration.sync(mode)
            assert refused.reason is Reason.CREDENTIALS_REJECTED
            assert "not-it" not in refused.message
    with misp(tmp_path, read_only=True) as (integration, _):
        denied = integration.sync()
    assert denied.reason is Reason.PARTIALLY_COMPLETED
    assert [each.name for each in denied.streams if each.skipped] == ["sightings"]


def test_a_rate_limit_delays_the_run_and_loses_nothing(tmp_path: Path) -> None:
    with misp(tmp_path, rate_limit_every=3, retry_after=0) as (integration, _):
        result = integration.sync()
    assert result.reason is Reason.COMPLETED, result.message
    assert integration.count("indicators") == 990
