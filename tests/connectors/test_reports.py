"""Trivy and Grype: reports in a folder, compressed, damaged, gone, or at a URL."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest
from tests.connectors.harness import Integration, listed, served, stream

from towline.api.conditions import Reason
from towline_connectors.catalogue.vulnerability.grype import simulator as grype
from towline_connectors.catalogue.vulnerability.trivy import simulator as trivy

SIMULATORS = {"trivy": trivy, "grype": grype}
BOTH = pytest.mark.parametrize("name", SIMULATORS)


def scanner(name: str, tmp_path: Path, **options: Any) -> tuple[Integration, Path]:
    folder = tmp_path / "reports"
    module = SIMULATORS[name]
    module.reports(folder, module.Options(**{**module.SMALL, **options}))
    return Integration(name, {"path": str(folder)}, {}, tmp_path / "data.db", streams=["reports"]), folder


def rewritten(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@BOTH
def test_images_packages_and_vulnerabilities_arrive_with_their_references(name: str, tmp_path: Path) -> None:
    integration, _ = scanner(name, tmp_path)
    result = integration.sync()
    assert result.reason is Reason.COMPLETED, result.message
    assert integration.count("assets") == 4
    assert integration.count("asset_vulnerabilities") == 20
    assert integration.count("software") > 0
    unknown = """SELECT count(*) AS n FROM asset_vulnerabilities f
        LEFT JOIN assets a ON a.source_key = f.asset_key
        LEFT JOIN vulnerabilities v ON v.source_key = f.vulnerability_key WHERE a.uid IS NULL OR v.uid IS NULL"""
    assert integration.one(unknown)["n"] == 0


def test_a_finding_of_trivy_has_the_values_of_the_report(tmp_path: Path) -> None:
    integration, folder = scanner("trivy", tmp_path, images=1)
    integration.sync()
    report = json.loads((folder / "images/service-000.json").read_text())
    asset = integration.one("SELECT * FROM assets")
    assert asset["source_key"] == report["Metadata"]["RepoDigests"][0]
    assert (asset["os_name"], asset["os_version"], asset["type_id"]) == ("alpine", "3.20.3", 6)
    for result in report["Results"][:2]:
        for found in result["Vulnerabilities"]:
            row = integration.one(
                "SELECT * FROM asset_vulnerabilities WHERE vulnerability_key = ?", found["VulnerabilityID"]
            )
            assert row["asset_key"] == asset["source_key"]
            assert (row["package"], row["package_version"]) == (found["PkgName"], found["InstalledVersion"])
            assert (row["fixed_in_version"] or "") == found["FixedVersion"]
            assert row["purl"] == found["PkgIdentifier"]["PURL"]
            assert (row["path"] or "") == found["PkgPath"]
            vulnerability = integration.one(
                "SELECT * FROM vulnerabilities WHERE source_key = ?", row["vulnerability_key"]
            )
            assert vulnerability["cvss3_score"] == vulnerability["cvss_score"] == found["CVSS"]["nvd"]["V3Score"]
            assert vulnerability["published_time"] == "2025-03-04T10:15:00.000Z"
    secret = integration.one("SELECT * FROM findings")
    assert (secret["control"], secret["severity_id"], secret["standard"]) == ("private-key", 4, "Secret")


def test_a_cluster_report_of_trivy_gives_resources_with_what_was_found_there(tmp_path: Path) -> None:
    integration, folder = scanner("trivy", tmp_path)
    integration.streams = ["cluster-reports"]
    integration.sync()
    assert {row["name"] for row in integration.rows("SELECT name FROM assets")} == {"web", "node-1"}
    assert integration.count("asset_vulnerabilities") == 5
    finding = integration.one("SELECT * FROM findings")
    assert (finding["control"], finding["severity_id"], finding["resource_name"]) == (
        "KSV-0012",
        3,
        "Deployment/web",
    )
    rewritten(folder / "cluster.json", Resources=json.loads((folder / "cluster.json").read_text())["Resources"][:1])
    integration.sync(manifest=_unguarded(integration))
    assert (integration.count("assets"), integration.count("findings")) == (1, 0)


def test_a_match_of_grype_has_the_values_of_the_report(tmp_path: Path) -> None:
    integration, folder = scanner("grype", tmp_path, images=2)
    integration.sync()
    report = json.loads((folder / "images/service-001.json").read_text())
    for match in report["matches"]:
        given = match["vulnerability"]
        row = integration.one("SELECT * FROM vulnerabilities WHERE source_key = ?", given["id"])
        assert row["epss"] == given["epss"][0]["epss"]
        assert bool(row["is_known_exploited"]) == ("knownExploited" in given)
        related = [each["id"] for each in match["relatedVulnerabilities"]]
        assert listed(row["cve_uids"]) == (related or [given["id"]])
        cvss = (given["cvss"] or match["relatedVulnerabilities"][0]["cvss"])[0]
        assert row["cvss_score"] == row["cvss3_score"] == cvss["metrics"]["baseScore"]
        finding = integration.one("SELECT * FROM asset_vulnerabilities WHERE vulnerability_key = ?", given["id"])
        assert finding["asset_key"] == report["source"]["target"]["repoDigests"][0]
        assert (finding["package"], finding["purl"]) == (match["artifact"]["name"], match["artifact"]["purl"])
        assert (finding["fixed_in_version"] == "3.0.12") == (given["fix"]["state"] == "fixed")
    assert integration.count("asset_vulnerabilities", "status_id = 3") == len(report["ignoredMatches"]) == 1


@BOTH
def test_a_report_that_did_not_change_is_not_taken_in_again(name: str, tmp_path: Path) -> None:
    integration, folder = scanner(name, tmp_path)
    integration.sync()
    again = integration.sync()
    assert (stream(again, "reports").read, stream(again, "reports").full) == (0, False)
    module = SIMULATORS[name]
    (folder / "new.json").write_bytes(json.dumps(module.image(module.Options(images=9), 8)).encode())
    third = integration.sync()
    assert (stream(third, "reports").read, stream(third, "reports").full) == (1, False)
    assert integration.count("assets") == 5


def test_a_vulnerability_that_a_newer_report_lacks_is_gone(tmp_path: Path) -> None:
    integration, folder = scanner("trivy", tmp_path)
    integration.sync()
    path = folder / "images/service-001.json"
    rewritten(path, Results=json.loads(path.read_text())["Results"][:1])
    result = integration.sync()
    assert stream(result, "reports").read == 1
    assert 0 < integration.count("asset_vulnerabilities") < 20
    assert integration.count("assets") == 4


def test_of_two_reports_about_one_image_the_newer_counts(tmp_path: Path) -> None:
    integration, folder = scanner("trivy", tmp_path, images=1)
    older, newer = folder / "zzz.json", folder / "images/service-000.json"
    older.write_bytes(newer.read_bytes())
    rewritten(newer, Results=None)
    os.utime(older, (1, 1))
    integration.sync()
    assert (integration.count("assets"), integration.count("asset_vulnerabilities")) == (1, 0)


@BOTH
def test_when_a_report_is_removed_so_is_its_asset(name: str, tmp_path: Path) -> None:
    integration, folder = scanner(name, tmp_path)
    integration.sync()
    (folder / "images/service-002.json").unlink()
    result = integration.sync()
    assert stream(result, "reports").full
    assert (integration.count("assets"), integration.count("asset_vulnerabilities")) == (3, 15)


@pytest.mark.parametrize(
    "content", [b'{"SchemaVersion": 2, "Arti', b"", b"<html>", b"\x1f\x8b\x08cut", b"\xff\xfe\x00"]
)
def test_a_damaged_report_is_counted_and_told_and_deletes_nothing(tmp_path: Path, content: bytes) -> None:
    integration, folder = scanner("trivy", tmp_path)
    integration.sync()
    (folder / "images/service-002.json").unlink()
    (folder / "images/bad.json").write_bytes(content)
    for _ in range(2):
        result = integration.sync()
        assert result.reason is Reason.COMPLETED
        assert stream(result, "reports").rejected == 1
        assert integration.count("assets") == 4
    (folder / "images/bad.json").unlink()
    integration.sync()
    assert integration.count("assets") == 3


def test_compressed_reports_are_read_and_other_documents_left_out(tmp_path: Path) -> None:
    integration, folder = scanner("trivy", tmp_path, images=2)
    plain = folder / "images/service-001.json"
    (folder / "images/service-001.json.gz").write_bytes(gzip.compress(plain.read_bytes()))
    plain.unlink()
    (folder / "package.json").write_text('{"name": "not a report"}')
    (folder / "list.json").write_text("[1, 2]")
    result = integration.sync()
    assert result.reason is Reason.COMPLETED
    assert integration.count("assets") == 2
    assert stream(result, "reports").rejected == 0


def test_a_report_that_inflates_beyond_the_limit_is_left_out(tmp_path: Path) -> None:
    integration, folder = scanner("trivy", tmp_path, images=1)
    (folder / "bomb.json.gz").write_bytes(gzip.compress(b" " * (4 << 20)))
    manifest = dict(integration.plan().manifest)
    manifest["streams"] = [{**each, "file": {**each["file"], "maxBytes": 1 << 20}} for each in manifest["streams"]]
    result = integration.sync(manifest=manifest)
    assert (stream(result, "reports").read, stream(result, "reports").rejected) == (1, 1)


def test_one_file_or_a_pattern_can_be_named(tmp_path: Path) -> None:
    integration, folder = scanner("trivy", tmp_path)
    integration.config["path"] = str(folder / "images/service-00[01].json")
    integration.sync()
    assert integration.count("assets") == 2
    single = Integration("trivy", {"path": str(folder / "images/service-003.json")}, {}, tmp_path / "single.db")
    single.streams = ["reports"]
    single.sync()
    assert single.count("assets") == 1


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({}, "config.path"),
        ({"path": "/nowhere"}, "there is no /nowhere"),
        ({"path": "x", "url": "http://127.0.0.1/x.json"}, "give one of them"),
    ],
)
def test_a_place_without_reports_is_told(tmp_path: Path, config: dict[str, str], told: str) -> None:
    integration = Integration("trivy", config, {}, tmp_path / "data.db", streams=["reports"])
    for mode in ("Check", "Incremental"):
        result = integration.sync(mode)
        assert result.reason is Reason.CONFIG_INVALID
        assert told in result.message


@BOTH
def test_one_report_is_enough_for_all_streams_and_another_document_is_refused(name: str, tmp_path: Path) -> None:
    module = SIMULATORS[name]
    report, other = tmp_path / "report.json", tmp_path / "package.json"
    report.write_bytes(module.documents(module.Options())["report.json"])
    other.write_text('{"name": "not a report"}')
    integration = Integration(name, {"path": str(report)}, {}, tmp_path / "data.db")
    assert integration.sync().reason is Reason.COMPLETED
    integration.config["path"] = str(other)
    result = integration.sync("Full")
    assert result.reason is Reason.SCHEMA_MISMATCH
    assert "package.json is no report" in result.message


@BOTH
def test_a_report_is_read_from_a_url_with_a_header(name: str, tmp_path: Path) -> None:
    module = SIMULATORS[name]
    with served(module.application(module.Options(images=1, authorization="Bearer t0p"))) as url:
        integration = Integration(name, {"url": f"{url}/report.json"}, {}, tmp_path / "data.db", streams=["reports"])
        assert integration.sync().reason is Reason.CREDENTIALS_REJECTED
        integration.secrets = {"authorization": "Bearer t0p"}
        result = integration.sync()
        assert result.reason is Reason.COMPLETED, result.message
        assert integration.count("assets") == 1
        assert stream(integration.sync(), "reports").read == 0


def _unguarded(integration: Integration) -> dict[str, Any]:
    manifest = dict(integration.plan().manifest)
    streams = [{**each, "sync": {**each["sync"], "maxDeletePercent": 100}} for each in manifest["streams"]]
    return {**manifest, "streams": streams}


def test_licenses_become_findings_about_packages_and_files(tmp_path: Path) -> None:
    integration, folder = scanner("trivy", tmp_path, images=1)
    found = [
        {"Severity": "HIGH", "Category": "restricted", "PkgName": "a-library", "FilePath": "", "Name": "GPL-3.0"},
        {"Severity": "LOW", "Category": "notice", "PkgName": "", "FilePath": "/app/LICENSE", "Name": "MIT"},
    ]
    results = [{"Target": "Node.js", "Class": "license", "Licenses": found}]
    report = {"SchemaVersion": 2, "ArtifactName": "app", "ArtifactType": "filesystem", "Results": results}
    (folder / "licenses.json").write_text(json.dumps(report))
    integration.streams = ["reports"]
    integration.sync()
    rows = integration.rows("SELECT * FROM findings WHERE standard = 'License' ORDER BY control")
    assert [(row["control"], row["resource_name"], row["severity_id"]) for row in rows] == [
        ("GPL-3.0", "a-library", 4),
        ("MIT", "/app/LICENSE", 2),
    ]
