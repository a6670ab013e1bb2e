"""Views for people: live rows only, and the joins that everyone needs."""

from __future__ import annotations

from dataclasses import dataclass

from towline_connectors.entities import REGISTRY
from towline_connectors.entities.enums import FINDING_STATUS, SEVERITY, Enum
from towline_connectors.sinks.schema import Dialect, entity_table, literal, quote

# Findings that still wait for somebody.
CLOSED_STATUS = (3, 4, 5, 6)


@dataclass(frozen=True, slots=True)
class View:
    """`query` is SQL that both dialects understand."""

    name: str
    description: str
    query: str

    def sql(self, dialect: Dialect) -> str:
        """CREATE VIEW."""
        create = "CREATE OR REPLACE VIEW" if dialect == "postgresql" else "CREATE VIEW"
        return f"{create} {quote(self.name)} AS {self.query}"


def live_view(table: str) -> str:
    """Name of the view of a table's live rows."""
    return f"live_{table}"


def _caption(column: str, enum: Enum) -> str:
    cases = " ".join(f"WHEN {number} THEN {literal(caption)}" for number, caption in enum)
    return f"CASE {column} {cases} END"


def _live() -> list[View]:
    return [
        View(
            live_view(entity.table),
            f"Rows of {entity.table} that are not deleted.",
            f"SELECT {', '.join(quote(name) for name, _ in entity_table(entity).columns if name != 'deleted_time')}"
            f" FROM {quote(entity.table)} WHERE deleted_time IS NULL",
        )
        for entity in REGISTRY.values()
    ]


def _open_vulnerabilities() -> View:
    closed = ", ".join(map(str, CLOSED_STATUS))
    severity = "coalesce(f.severity_id, v.severity_id)"
    return View(
        "open_vulnerabilities",
        "Vulnerabilities found on assets and not mended, with the asset's and the vulnerability's names.",
        "SELECT f.integration, coalesce(a.hostname, a.name) AS hostname, a.ip, v.cve_uids, v.title,"
        f" {severity} AS severity_id, {_caption(severity, SEVERITY)} AS severity,"
        f" {_caption('f.status_id', FINDING_STATUS)} AS status, v.cvss_score, v.vpr_score, v.epss,"
        " v.is_exploit_available, v.is_known_exploited, f.port, f.protocol, v.remediation,"
        " coalesce(f.first_observed_time, f.first_seen_time) AS first_observed_time,"
        " coalesce(f.last_observed_time, f.last_seen_time) AS last_observed_time,"
        " f.asset_key, f.vulnerability_key, f.source_key"
        " FROM asset_vulnerabilities f"
        " LEFT JOIN vulnerabilities v ON v.integration = f.integration AND v.source_key = f.vulnerability_key"
        " LEFT JOIN assets a ON a.integration = f.integration AND a.source_key = f.asset_key"
        f" WHERE f.deleted_time IS NULL AND a.deleted_time IS NULL"
        f" AND (f.status_id IS NULL OR f.status_id NOT IN ({closed}))",
    )


def _user_groups() -> View:
    columns = (
        "m.integration, u.name AS user_name, u.full_name, u.email_addr, u.is_enabled, g.name AS group_name,"
        " u.source_key AS user_key, g.source_key AS group_key"
    )
    groups = " JOIN groups g ON g.integration = m.integration AND g.source_key = m.group_key AND g.deleted_time IS NULL"
    # Two joins and no OR between them, so that both can use an index or a hash.
    return View(
        "user_groups",
        "Who is in which group, directly. A member is found by its key, or by its distinguished name.",
        f"SELECT {columns} FROM memberships m{groups}"
        " JOIN users u ON u.integration = m.integration AND u.source_key = m.member_key AND u.deleted_time IS NULL"
        " WHERE m.deleted_time IS NULL AND m.member_key IS NOT NULL"
        f" UNION ALL SELECT {columns} FROM memberships m{groups}"
        " JOIN (SELECT integration, source_key, name, full_name, email_addr, is_enabled, lower(dn) AS low_dn"
        " FROM users WHERE dn IS NOT NULL AND deleted_time IS NULL) u"
        " ON u.integration = m.integration AND u.low_dn = lower(m.member_dn)"
        " WHERE m.deleted_time IS NULL AND m.member_key IS NULL",
    )


def _assets_by_source() -> View:
    return View(
        "assets_by_source",
        "How many assets each integration knows.",
        "SELECT integration, sum(CASE WHEN deleted_time IS NULL THEN 1 ELSE 0 END) AS live,"
        " sum(CASE WHEN deleted_time IS NULL THEN 0 ELSE 1 END) AS deleted,"
        " min(first_seen_time) AS first_seen_time, max(last_seen_time) AS last_seen_time"
        " FROM assets GROUP BY integration",
    )


def _open_vulnerabilities_by_asset() -> View:
    counts = ", ".join(
        f"sum(CASE severity_id WHEN {number} THEN 1 ELSE 0 END) AS {caption.lower()}"
        for number, caption in SEVERITY
        if caption in ("Critical", "High", "Medium", "Low")
    )
    return View(
        "open_vulnerabilities_by_asset",
        "How many open vulnerabilities each asset has, by severity.",
        f"SELECT integration, asset_key, min(hostname) AS hostname, count(*) AS total, {counts},"
        " max(cvss_score) AS highest_cvss_score, min(first_observed_time) AS oldest_time"
        " FROM open_vulnerabilities GROUP BY integration, asset_key",
    )


def _assets_correlated() -> View:
    columns = (
        "hostname", "name", "ip", "mac", "os_name", "serial", "cloud_uid", "agent_uid", "owner_key", "last_seen_time",
    )  # fmt: skip
    return View(
        "assets_correlated",
        "Each asset with the identity that it shares with the same asset in other sources, and by which rule.",
        "SELECT coalesce(i.identity, a.uid) AS identity, a.integration, a.source_key,"
        f" {', '.join(f'a.{name}' for name in columns)}, i.rule, i.confidence, a.uid"
        " FROM assets a LEFT JOIN asset_identities i ON i.uid = a.uid WHERE a.deleted_time IS NULL",
    )


def _affected_users() -> View:
    return View(
        "affected_users",
        "Who is responsible for an asset with an open vulnerability, also where another source knows the owner.",
        "SELECT u.integration AS user_integration, u.source_key AS user_key, u.name AS user_name, u.full_name,"
        " u.email_addr, o.integration, o.hostname, o.cve_uids, o.title, o.severity_id, o.severity, o.cvss_score,"
        " o.is_known_exploited, o.remediation, o.asset_key, o.vulnerability_key, o.source_key"
        " FROM open_vulnerabilities o"
        " JOIN assets_correlated a ON a.integration = o.integration AND a.source_key = o.asset_key"
        " JOIN (SELECT DISTINCT identity, integration, owner_key FROM assets_correlated WHERE owner_key IS NOT NULL) b"
        " ON b.identity = a.identity"
        " JOIN users u ON u.integration = b.integration AND u.source_key = b.owner_key AND u.deleted_time IS NULL",
    )


def all_views() -> tuple[View, ...]:
    """In an order in which they can be made."""
    return (
        *_live(),
        _open_vulnerabilities(),
        _open_vulnerabilities_by_asset(),
        _user_groups(),
        _assets_by_source(),
        _assets_correlated(),
        _affected_users(),
    )
