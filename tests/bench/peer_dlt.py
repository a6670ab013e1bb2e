"""The same pages merged into DuckDB by dlt.

`python peer_dlt.py URL RECORDS FOLDER` in an environment with dlt[duckdb] prints the seconds.
"""

import os
import sys
import time
from collections.abc import Iterator
from typing import Any

os.environ |= {"RUNTIME__DLTHUB_TELEMETRY": "false", "RUNTIME__LOG_LEVEL": "CRITICAL"}

import dlt
from dlt.sources.helpers import requests


def main(url: str, records: int, folder: str) -> None:
    @dlt.resource(name="vulns", primary_key="id", write_disposition="merge")
    def vulns() -> Iterator[list[dict[str, Any]]]:
        offset = 0
        while items := requests.get(f"{url}/vulns", params={"offset": offset, "limit": 1000}).json()["items"]:
            yield items
            offset += len(items)

    begun = time.perf_counter()
    destination = dlt.destinations.duckdb(f"{folder}/dlt.duckdb")
    pipeline = dlt.pipeline("bench", destination=destination, dataset_name="bench", pipelines_dir=folder)
    pipeline.run(vulns())
    seconds = time.perf_counter() - begun
    with pipeline.sql_client() as client:
        rows = client.execute_sql("SELECT count(*) FROM vulns")
    assert rows[0][0] == records, rows
    print(seconds)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
