"""The plain program that a good engineer would write for the job in an afternoon: the measure of the engine.

`python -m tests.bench.script URL TARGET` reads all pages into a SQLite file or PostgreSQL and prints the seconds.
"""

from __future__ import annotations

import sqlite3
import sys
import time
from collections.abc import Iterator
from typing import Any

import httpx
import orjson
import psycopg

FIELDS = {
    "id": "text",
    "title": "text",
    "severity": "text",
    "cvss_score": "real",
    "cvss_vector": "text",
    "vpr": "real",
    "exploit_available": "boolean",
    "asset_id": "text",
    "hostname": "text",
    "ipv4": "text",
    "plugin_id": "bigint",
    "first_found": "text",
    "last_found": "text",
    "state": "text",
}
COLUMNS, KINDS = list(FIELDS), list(FIELDS.values())


def pages(url: str) -> Iterator[list[dict[str, Any]]]:
    offset = 0
    with httpx.Client() as client:
        while True:
            answer = client.get(f"{url}/vulns", params={"offset": offset, "limit": 1000})
            answer.raise_for_status()
            records = orjson.loads(answer.content)["items"]
            if records:
                yield records
            if len(records) < 1000:
                return
            offset += len(records)


def row(r: dict[str, Any]) -> tuple[Any, ...]:
    asset, cvss = r["asset"], r["cvss"]
    return (
        r["id"], r["title"], r["severity"], cvss["score"], cvss["vector"], r["vpr"], r["exploit_available"],
        asset["id"], asset["hostname"], ",".join(asset["ipv4"]), r["plugin"]["id"], r["first_found"],
        r["last_found"], r["state"], orjson.dumps(r).decode(),
    )  # fmt: skip


def upsert(placeholder: str | None) -> str:
    names = ", ".join([*COLUMNS, "raw"])
    values = f"VALUES ({', '.join([placeholder] * (len(COLUMNS) + 1))})" if placeholder else "SELECT * FROM staged"
    sets = ", ".join(f"{name} = excluded.{name}" for name in [*COLUMNS[1:], "raw"])
    return f"INSERT INTO vulns ({names}) {values} ON CONFLICT (id) DO UPDATE SET {sets}"


def into_sqlite(url: str, path: str) -> None:
    db = sqlite3.connect(path)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=NORMAL")
    fields = ", ".join(f"{name} {kind}" for name, kind in zip(COLUMNS, KINDS, strict=True))
    db.execute(f"CREATE TABLE IF NOT EXISTS vulns ({fields}, raw text, PRIMARY KEY (id))")
    for records in pages(url):
        with db:
            db.executemany(upsert("?"), [row(record) for record in records])
    db.close()


def into_postgresql(url: str, target: str) -> None:
    with psycopg.connect(target) as db:
        fields = ", ".join(f"{name} {kind}" for name, kind in zip(COLUMNS, KINDS, strict=True))
        db.execute(f"CREATE TABLE IF NOT EXISTS vulns ({fields}, raw json, PRIMARY KEY (id))")
        db.execute("CREATE TEMP TABLE staged (LIKE vulns) ON COMMIT DELETE ROWS")
        db.commit()
        for records in pages(url):
            with db.cursor() as cursor:
                with cursor.copy("COPY staged FROM STDIN") as copy:
                    for record in records:
                        copy.write_row(row(record))
                cursor.execute(upsert(None))
            db.commit()


if __name__ == "__main__":
    begun = time.perf_counter()
    (into_postgresql if "://" in sys.argv[2] else into_sqlite)(sys.argv[1], sys.argv[2])
    print(time.perf_counter() - begun)
