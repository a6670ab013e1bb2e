"""Which assets of several sources are one thing: links beside the assets, made anew each time, undone by removing them.

Rules go from the strongest to the weakest, and a weaker one never joins what a stronger one tells apart. An address
alone is no rule. All of it is SQL over sets, the same in SQLite and PostgreSQL.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

from towline_connectors.sinks.address import is_lake, is_postgresql, sqlite_path
from towline_connectors.sinks.base import SinkError
from towline_connectors.sinks.records import utc_now
from towline_connectors.sinks.schema import Dialect, literal
from towline_connectors.sinks.store import Store

MOST_ASSETS: Final = 20  # of one value: what more of them share says nothing of the machine
_ROUNDS: Final = 100
APART: Final = "apart"  # the rule of an asset that a person took out
_LOCK: Final = 0x746F776C696E66  # for pg_advisory_xact_lock

# What firmware and vendors write where there is no serial number, and host names that everybody has.
_NO_SERIAL: Final = (
    "NONE", "NULL", "UNKNOWN", "DEFAULT STRING", "SYSTEM SERIAL NUMBER", "TO BE FILLED BY O.E.M.", "NOT SPECIFIED",
    "NOT AVAILABLE", "NOT APPLICABLE", "INVALID", "0123456789", "123456789", "1234567890", "EMPTY", "CHASSIS SERIAL",
)  # fmt: skip
_NO_HOST: Final = ("", "localhost", "unknown", "ubuntu", "debian", "raspberrypi", "macbook-pro")
_NO_MAC: Final = ("00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff")


@dataclass(frozen=True, slots=True)
class Rule:
    """`values` is a query for (uid, value) over the working table; `apart` are columns that must not differ."""

    name: Literal["cloud_uid", "serial", "agent_uid", "mac_hostname"]
    confidence: float
    values: str
    apart: tuple[str, ...]


RULES: Final = (
    Rule("cloud_uid", 1.0, "SELECT uid, cloud_uid AS value FROM correlating WHERE cloud_uid IS NOT NULL", ()),
    Rule("serial", 0.95, "SELECT uid, serial AS value FROM correlating WHERE serial IS NOT NULL", ("cloud_uid",)),
    Rule(
        "agent_uid",
        0.9,
        "SELECT uid, agent_uid AS value FROM correlating WHERE agent_uid IS NOT NULL",
        ("cloud_uid", "serial"),
    ),
    Rule(
        "mac_hostname",
        0.8,
        "SELECT c.uid, m.mac || ' ' || c.host AS value FROM correlating c JOIN correlating_macs m ON m.uid = c.uid"
        " WHERE c.host IS NOT NULL",
        ("cloud_uid", "serial"),
    ),
)


@dataclass(frozen=True, slots=True)
class Correlated:
    """`assets` of several sources are `identities` things."""

    assets: int
    identities: int


def correlate(store: Store) -> Correlated:
    """Make all links anew, in one transaction. Raises SinkError."""
    with store.transaction():
        if store.dialect == "postgresql":
            store.execute("SET LOCAL enable_hashjoin = on")
            store.execute(f"SELECT pg_advisory_xact_lock({_LOCK})")
        _gather(store, store.dialect)
        for rule in RULES:
            _apply(store, rule)
        _keep(store)
        for table in ("correlating", "correlating_macs", "correlating_links"):
            store.execute(f"DROP TABLE {table}")
        found = store.fetch("SELECT count(*), count(DISTINCT identity) FROM asset_identities WHERE rule <> ?", (APART,))
    return Correlated(int(found[0][0]), int(found[0][1]))


def _gather(store: Store, dialect: Dialect) -> None:
    """Live assets with what they are recognised by, each an identity of its own so far."""
    for table in ("correlating", "correlating_macs", "correlating_links"):
        store.execute(f"DROP TABLE IF EXISTS {table}")
    host = "lower(trim(coalesce(a.hostname, a.name)))"
    short = (
        f"split_part({host}, '.', 1)"
        if dialect == "postgresql"
        else f"substr({host}, 1, CASE instr({host}, '.') WHEN 0 THEN 255 ELSE instr({host}, '.') - 1 END)"
    )
    serial = "upper(trim(a.serial))"
    # A vendor fills in one repeated character where a machine has no serial number.
    real = f"length({serial}) > 3 AND {serial} NOT IN ({_listed(_NO_SERIAL)})"
    real += f" AND length(replace({serial}, substr({serial}, 1, 1), '')) > 0"
    store.execute(
        "CREATE TEMP TABLE correlating AS SELECT a.uid AS uid, a.uid AS identity, CAST(NULL AS text) AS rule,"
        f" nullif(lower(trim(a.cloud_uid)), '') AS cloud_uid, CASE WHEN {real} THEN {serial} END AS serial,"
        " nullif(lower(trim(a.agent_uid)), '') AS agent_uid,"
        f" CASE WHEN {short} NOT IN ({_listed(_NO_HOST)}) THEN {short} END AS host"
        " FROM assets a LEFT JOIN asset_identities k ON k.uid = a.uid AND k.rule = ?"
        " WHERE a.deleted_time IS NULL AND k.uid IS NULL",
        (APART,),
    )
    items = "unnest(a.mac) AS m(mac)" if dialect == "postgresql" else "(SELECT 1) AS one, json_each(a.mac) AS m"
    mac = "m.mac" if dialect == "postgresql" else "m.value"
    join = "CROSS JOIN LATERAL" if dialect == "postgresql" else "JOIN"
    store.execute(
        f"CREATE TEMP TABLE correlating_macs AS SELECT DISTINCT a.uid AS uid, {mac} AS mac FROM assets a {join} {items}"
        # 02:42 are the bridges of containers, the same on many machines.
        f" WHERE a.deleted_time IS NULL AND {mac} NOT IN ({_listed(_NO_MAC)}) AND substr({mac}, 1, 5) <> '02:42'"
    )
    store.execute(
        "CREATE TEMP TABLE correlating_links (uid text, other_uid text, rule text, value text, confidence"
        " double precision)"
    )
    for table, column in (
        ("correlating", "uid"),
        ("correlating", "identity"),
        ("correlating_macs", "uid"),
        ("correlating_links", "uid"),
    ):
        store.execute(f"CREATE INDEX {table}_{column} ON {table} ({column})")


def _apply(store: Store, rule: Rule) -> None:
    """Join identities that share a value, round by round, until none is left that may be joined."""
    store.execute(f"CREATE TEMP TABLE correlating_values AS {rule.values}")
    store.execute("CREATE INDEX correlating_values_value ON correlating_values (value)")
    differs = " OR ".join(f"count(DISTINCT y.{column}) > 1" for column in rule.apart)
    for _ in range(_ROUNDS):
        store.execute(
            "CREATE TEMP TABLE correlating_groups AS SELECT v.value AS value, min(x.identity) AS identity"
            " FROM correlating_values v JOIN correlating x ON x.uid = v.uid GROUP BY v.value"
            f" HAVING count(DISTINCT x.identity) > 1 AND count(DISTINCT v.uid) <= {MOST_ASSETS}"
        )
        if not store.fetch("SELECT 1 FROM correlating_groups LIMIT 1"):
            store.execute("DROP TABLE correlating_groups")
            break
        store.execute("CREATE INDEX correlating_groups_value ON correlating_groups (value)")
        if differs:
            store.execute(
                "DELETE FROM correlating_groups WHERE value IN (SELECT g.value FROM correlating_groups g"
                " JOIN correlating_values v ON v.value = g.value JOIN correlating x ON x.uid = v.uid"
                f" JOIN correlating y ON y.identity = x.identity GROUP BY g.value HAVING {differs})"
            )
        # One value an identity and round, and nothing into what itself is moved: each step then is judged by all
        # that was joined before.
        store.execute(
            "CREATE TEMP TABLE correlating_moves AS SELECT x.identity AS old, min(g.identity) AS new,"
            " min(g.value) AS value FROM (SELECT identity, min(value) AS value FROM correlating_groups"
            " GROUP BY identity) g JOIN correlating_values v ON v.value = g.value JOIN correlating x ON x.uid = v.uid"
            " WHERE x.identity <> g.identity GROUP BY x.identity"
        )
        store.execute("CREATE INDEX correlating_moves_old ON correlating_moves (old)")
        store.execute("DELETE FROM correlating_moves WHERE new IN (SELECT old FROM correlating_moves)")
        moved = store.execute(
            "INSERT INTO correlating_links SELECT new, old, ?, value, ? FROM correlating_moves",
            (rule.name, rule.confidence),
        )
        store.execute(
            "UPDATE correlating SET identity = (SELECT new FROM correlating_moves WHERE old = identity)"
            " WHERE identity IN (SELECT old FROM correlating_moves)"
        )
        store.execute(
            "UPDATE correlating SET rule = ? WHERE identity IN (SELECT new FROM correlating_moves)", (rule.name,)
        )
        store.execute("DROP TABLE correlating_groups")
        store.execute("DROP TABLE correlating_moves")
        if moved <= 0:
            break
    store.execute("DROP TABLE correlating_values")


def _keep(store: Store) -> None:
    """Write what differs from the links that are there."""
    now = utc_now()
    same = "l.uid = k.uid AND l.other_uid = k.other_uid AND l.rule = k.rule AND l.value = k.value"
    store.execute(
        "DELETE FROM asset_links WHERE NOT EXISTS (SELECT 1 FROM correlating_links l WHERE"
        f" {same.replace('k.', 'asset_links.')})"
    )
    store.execute(
        "INSERT INTO asset_links (uid, other_uid, rule, value, confidence, linked_time) SELECT l.uid, l.other_uid,"
        f" l.rule, l.value, l.confidence, {literal(now)} FROM correlating_links l"
        f" WHERE NOT EXISTS (SELECT 1 FROM asset_links k WHERE {same})"
    )
    confidence = " ".join(f"WHEN {literal(rule.name)} THEN {rule.confidence}" for rule in RULES)
    same = "c.uid = k.uid AND c.identity = k.identity AND c.rule = k.rule"
    store.execute(
        "DELETE FROM asset_identities WHERE rule <> ? AND NOT EXISTS (SELECT 1 FROM correlating c WHERE"
        f" {same.replace('k.', 'asset_identities.')})",
        (APART,),
    )
    store.execute(
        "INSERT INTO asset_identities (uid, identity, rule, confidence, linked_time) SELECT c.uid, c.identity, c.rule,"
        f" CASE c.rule {confidence} END, {literal(now)} FROM correlating c WHERE c.rule IS NOT NULL"
        f" AND NOT EXISTS (SELECT 1 FROM asset_identities k WHERE {same})"
    )


def _listed(texts: Iterable[str]) -> str:
    return ", ".join(map(literal, texts))


def correlate_at(target: str) -> Correlated:
    """The same at an address. Raises SinkError."""
    store = _opened(target)
    try:
        return correlate(store)
    finally:
        store.close()


def undo(target: str, uids: Iterable[str] = ()) -> int:
    """Remove all links; or take those assets out, for good, until `join` lets them in again. Returns how many assets
    stand alone now that did not before. Raises SinkError."""
    store = _opened(target)
    chosen = list(uids)
    try:
        with store.transaction():
            if not chosen:
                store.execute("DELETE FROM asset_links")
                return store.execute("DELETE FROM asset_identities WHERE rule <> ?", (APART,))
            taken = 0
            for uid in chosen:
                if not store.fetch("SELECT 1 FROM assets WHERE uid = ?", (uid,)):
                    raise SinkError(f"There is no asset with uid {uid}; the view assets_correlated shows uids.")
                taken += store.execute("DELETE FROM asset_identities WHERE uid = ? AND rule <> ?", (uid, APART))
                store.execute(
                    "INSERT INTO asset_identities (uid, identity, rule, linked_time) VALUES (?, ?, ?, ?)"
                    " ON CONFLICT (uid) DO NOTHING",
                    (uid, uid, APART, utc_now()),
                )
        correlate(store)
        return taken
    finally:
        store.close()


def join(target: str, uids: Iterable[str]) -> int:
    """Let assets that were taken out be linked again; how many. Raises SinkError."""
    store = _opened(target)
    try:
        with store.transaction():
            freed = sum(
                store.execute("DELETE FROM asset_identities WHERE uid = ? AND rule = ?", (uid, APART)) for uid in uids
            )
        correlate(store)
        return freed
    finally:
        store.close()


def _opened(target: str) -> Store:
    """A connection, with the tables laid out."""
    store: Store
    if is_lake(target):
        raise SinkError("Links are kept in SQLite and PostgreSQL only; a lake's are made when it is read.")
    if is_postgresql(target):
        from towline_connectors.sinks.postgresql import PostgresqlStore

        store = PostgresqlStore(target)
    else:
        from towline_connectors.sinks.query import must_be_file
        from towline_connectors.sinks.sqlite import SqliteStore

        path = sqlite_path(target)
        must_be_file(path)
        store = SqliteStore(path)
    try:
        store.prepare(utc_now())
    except BaseException:
        store.close()
        raise
    return store
