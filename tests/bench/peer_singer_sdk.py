"""The same pages read by a tap of Singer's SDK, to record messages on standard output, which is thrown away.

`python peer_singer_sdk.py URL RECORDS` in an environment with singer-sdk prints the seconds.
"""

import contextlib
import io
import logging
import os
import sys
import time
from typing import Any

from singer_sdk import RESTStream, Tap
from singer_sdk import typing as th
from singer_sdk.pagination import BaseOffsetPaginator

URL = sys.argv[1] if len(sys.argv) > 1 else ""
_TEXTS = ("id", "title", "severity", "first_found", "last_found", "state")


class Vulns(RESTStream):
    name = "vulns"
    path = "/vulns"
    url_base = URL
    primary_keys = ("id",)
    records_jsonpath = "$.items[*]"
    schema = th.PropertiesList(
        *(th.Property(name, th.StringType) for name in _TEXTS),
        th.Property("cvss", th.ObjectType(th.Property("score", th.NumberType), th.Property("vector", th.StringType))),
        th.Property("vpr", th.NumberType),
        th.Property("exploit_available", th.BooleanType),
        th.Property("asset", th.ObjectType(additional_properties=True)),
        th.Property("plugin", th.ObjectType(additional_properties=True)),
        th.Property("tags", th.ArrayType(th.StringType)),
    ).to_dict()
    read = 0

    def get_new_paginator(self) -> Any:
        class Offsets(BaseOffsetPaginator):
            def has_more(self, response: Any) -> bool:
                return len(response.content) > 100

        return Offsets(start_value=0, page_size=1000)

    def get_url_params(self, context: Any, next_page_token: Any) -> dict[str, Any]:
        return {"offset": next_page_token or 0, "limit": 1000}

    def post_process(self, row: Any, context: Any = None) -> Any:
        Vulns.read += 1
        return row


class VulnsTap(Tap):
    name = "tap-vulns"
    config_jsonschema = th.PropertiesList().to_dict()

    def discover_streams(self) -> list[Any]:
        return [Vulns(tap=self)]


def main(records: int) -> None:
    with open(os.devnull, "w") as nothing, contextlib.redirect_stdout(nothing):
        begun = time.perf_counter()
        VulnsTap(config={}).sync_all()
        seconds = time.perf_counter() - begun
    assert Vulns.read == records, Vulns.read
    print(seconds)


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    with contextlib.redirect_stderr(io.StringIO()):
        main(int(sys.argv[2]))
