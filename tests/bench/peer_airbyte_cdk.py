"""The same pages read by Airbyte's CDK: a declarative source, as its low-code connectors are, to record messages.

`python peer_airbyte_cdk.py URL RECORDS` in an environment with airbyte-cdk prints the seconds.
"""

import logging
import sys
import time
from typing import Any

from airbyte_cdk.models import (
    AirbyteStream,
    ConfiguredAirbyteCatalog,
    ConfiguredAirbyteStream,
    DestinationSyncMode,
    SyncMode,
    Type,
)
from airbyte_cdk.sources.declarative.concurrent_declarative_source import ConcurrentDeclarativeSource

SCHEMA: dict[str, Any] = {"type": "object", "additionalProperties": True, "properties": {"id": {"type": "string"}}}


def manifest(url: str) -> dict[str, Any]:
    retriever = {
        "type": "SimpleRetriever",
        "requester": {"type": "HttpRequester", "url_base": url, "path": "/vulns", "http_method": "GET"},
        "record_selector": {"type": "RecordSelector", "extractor": {"type": "DpathExtractor", "field_path": ["items"]}},
        "paginator": {
            "type": "DefaultPaginator",
            "page_token_option": {"type": "RequestOption", "inject_into": "request_parameter", "field_name": "offset"},
            "page_size_option": {"type": "RequestOption", "inject_into": "request_parameter", "field_name": "limit"},
            "pagination_strategy": {"type": "OffsetIncrement", "page_size": 1000, "inject_on_first_request": True},
        },
    }
    stream = {
        "type": "DeclarativeStream",
        "name": "vulns",
        "primary_key": ["id"],
        "retriever": retriever,
        "schema_loader": {"type": "InlineSchemaLoader", "schema": SCHEMA},
    }
    return {
        "version": "6.0.0",
        "type": "DeclarativeSource",
        "check": {"type": "CheckStream", "stream_names": ["vulns"]},
        "streams": [stream],
    }


def main(url: str, records: int) -> None:
    stream = AirbyteStream(name="vulns", json_schema=SCHEMA, supported_sync_modes=[SyncMode.full_refresh])
    chosen = ConfiguredAirbyteStream(
        stream=stream, sync_mode=SyncMode.full_refresh, destination_sync_mode=DestinationSyncMode.overwrite
    )
    catalog = ConfiguredAirbyteCatalog(streams=[chosen])
    begun = time.perf_counter()
    source = ConcurrentDeclarativeSource(catalog=catalog, config={}, state=[], source_config=manifest(url))
    read = sum(m.type == Type.RECORD for m in source.read(logging.getLogger("bench"), {}, catalog, []))
    seconds = time.perf_counter() - begun
    assert read == records, read
    print(seconds)


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    main(sys.argv[1], int(sys.argv[2]))
