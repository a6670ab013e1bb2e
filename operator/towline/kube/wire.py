"""How bodies go to the API server and what is looked at of those that come back."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp
import orjson

# What JSON may hold as it is and YAML may not, or takes for the end of a line: DEL, C1 controls, separators, marks.
_NOT_YAML = re.compile(rb"\x7f|\xc2[\x80-\x9f]|\xe2\x80[\xa8\xa9]|\xef\xbb\xbf|\xef\xbf[\xbe\xbf]")


def encoded(body: Mapping[str, Any], content_type: str) -> bytes:
    """A body as JSON, which is YAML as well where the API server reads that: of an apply."""
    data = orjson.dumps(body)
    return _NOT_YAML.sub(_escaped, data) if content_type.endswith("yaml") else data


def _escaped(found: re.Match[bytes]) -> bytes:
    return b"\\u%04x" % ord(found[0].decode())


async def lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Whole lines, however long."""
    rest = b""
    async for chunk in content.iter_any():
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            if line.strip():
                yield line


def reason(raw: bytes) -> str:
    """The machine-readable reason of a Status, the only part of an error's body that is ever looked at."""
    try:
        status = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return ""
    found = status.get("reason") if isinstance(status, dict) else None
    return found if isinstance(found, str) and found.isalnum() and len(found) < 64 else ""


def seconds(header: str | None) -> float | None:
    """What Retry-After says, where it is a number."""
    return float(header) if header and header.isdigit() else None
