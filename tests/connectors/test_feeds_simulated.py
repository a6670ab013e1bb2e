"""The public feeds: a whole catalogue each time, and a list of text."""

from __future__ import annotations

from pathlib import Path

from tests.connectors.harness import Integration, listed, served, stream

from towline.api.conditions import Reason
from towline_connectors.catalogue.simulating import handle
from towline_connectors.catalogue.threat_intel.cisa_kev import simulator as kev
from towline_connectors.catalogue.threat_intel.feodo_tracker import simulator as feodo


def test_known_exploited_vulnerabilities_arrive_without_credentials(tmp_path: Path) -> None:
    with served(kev.application(kev.Options())) as url:
        integration = Integration("cisa-kev", {"base_url": url}, {}, tmp_path / "data.db")
        assert integration.sync("Check").reason is Reason.COMPLETED
        result = integration.sync()
    assert result.reason is Reason.COMPLETED
    assert integration.count("vulnerabilities", "is_known_exploited AND deleted_time IS NULL") == 1400
    row = integration.one("SELECT * FROM vulnerabilities WHERE source_key = 'CVE-2025-20000'")
    assert listed(row["cve_uids"]) == ["CVE-2025-20000"]
    assert row["due_time"] == "2026-01-21T00:00:00.000Z"
    assert row["src_url"] == "https://nvd.nist.gov/vuln/detail/CVE-2025-20000"


def test_what_leaves_the_catalogue_is_marked_and_what_stays_is_not_written_again(tmp_path: Path) -> None:
    app = kev.application(kev.Options(vulnerabilities=50))
    with served(app) as url:
        integration = Integration("cisa-kev", {"base_url": url}, {}, tmp_path / "data.db")
        integration.sync()
        handle(app).withdrawn.add(3)
        result = integration.sync()
    assert stream(result, "vulnerabilities").deleted == 1
    assert stream(result, "vulnerabilities").upserted == 0
    assert integration.count("vulnerabilities") == 49


def test_a_list_of_addresses_becomes_indicators(tmp_path: Path) -> None:
    with served(feodo.application(feodo.Options(addresses=30))) as url:
        integration = Integration("feodo-tracker", {"base_url": url}, {}, tmp_path / "data.db")
        result = integration.sync()
    assert result.reason is Reason.COMPLETED
    row = integration.one("SELECT * FROM indicators WHERE value = '192.0.2.1'")
    assert (row["type_id"], listed(row["labels"])) == (1, ["botnet-c2"])
    assert integration.count("indicators") == 30
    assert stream(result, "addresses").rejected == 0


def test_an_empty_list_is_a_good_answer_and_ends_all_blocking(tmp_path: Path) -> None:
    app = feodo.application(feodo.Options(addresses=30))
    with served(app) as url:
        integration = Integration("feodo-tracker", {"base_url": url}, {}, tmp_path / "data.db")
        integration.sync()
        handle(app).clear()
        assert integration.sync().reason is Reason.COMPLETED
    assert integration.count("indicators") == 0
    assert integration.count("indicators", "deleted_time IS NOT NULL") == 30


def test_a_page_in_place_of_the_list_deletes_nothing(tmp_path: Path) -> None:
    app = feodo.application(feodo.Options(addresses=30))
    with served(app) as url:
        integration = Integration("feodo-tracker", {"base_url": url}, {}, tmp_path / "data.db")
        integration.sync()
        handle(app)[:] = ["<html>", *(f"<p>Line {number} of a notice</p>" for number in range(40)), "</html>"]
        assert integration.sync().reason is Reason.SCHEMA_MISMATCH
    assert integration.count("indicators") == 30
