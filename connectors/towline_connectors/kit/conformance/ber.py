"""As much of LDAP's messages (RFC 4511, in BER) as a server with faults has to read and write."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

BIND, SEARCH = 0x60, 0x63
ENTRY, DONE = 0x64, 0x65
OTHER, NO_RIGHT, REFERRAL, BUSY, UNAVAILABLE = 80, 50, 10, 51, 52  # result codes
_SEQUENCE, _SET, _INTEGER, _TEXT, _ENUMERATED, _REFERRALS = 0x30, 0x31, 0x02, 0x04, 0x0A, 0xA3
_LARGEST = 64 << 20  # bytes


@dataclass(frozen=True, slots=True)
class Message:
    """`operation` is the request or answer itself, without the message's number and controls."""

    raw: bytes
    number: int
    tag: int
    operation: bytes


async def read(reader: asyncio.StreamReader) -> Message:
    """Raises IncompleteReadError at the end, ValueError when it is no LDAP."""
    head = await reader.readexactly(2)
    size, more = head[1], b""
    if size & 0x80:
        more = await reader.readexactly(size & 0x7F)
        size = int.from_bytes(more, "big")
    if head[0] != _SEQUENCE or size > _LARGEST:
        raise ValueError("no LDAP message")
    body = await reader.readexactly(size)
    _tag, number, after = _element(body, 0)
    tag, operation, _end = _element(body, after)
    return Message(head + more + body, int.from_bytes(number, "big"), tag, operation)


def searches_for_data(request: Message) -> bool:
    """Below a base, and for more than one entry alone."""
    if request.tag != SEARCH:
        return False
    _tag, base, after = _element(request.operation, 0)
    _tag, scope, _end = _element(request.operation, after)
    return bool(base) and int.from_bytes(scope, "big") != 0


def password(request: Message) -> bytes:
    """Of a simple bind."""
    _tag, _version, after = _element(request.operation, 0)
    _tag, _name, after = _element(request.operation, after)
    return _element(request.operation, after)[1]


def done(number: int, code: int, message: bytes = b"", referral: str = "") -> bytes:
    """The end of a search."""
    result = _made(_ENUMERATED, bytes([code])) + _made(_TEXT, b"") + _made(_TEXT, message)
    if referral:
        result += _made(_REFERRALS, _made(_TEXT, referral.encode()))
    return _message(number, _made(DONE, result))


def entry(number: int, name: str, attributes: Mapping[str, bytes]) -> bytes:
    """A result of a search."""
    values = b"".join(
        _made(_SEQUENCE, _made(_TEXT, key.encode()) + _made(_SET, _made(_TEXT, value)))
        for key, value in attributes.items()
    )
    return _message(number, _made(ENTRY, _made(_TEXT, name.encode()) + _made(_SEQUENCE, values)))


def _message(number: int, operation: bytes) -> bytes:
    size = number.bit_length() // 8 + 1
    return _made(_SEQUENCE, _made(_INTEGER, number.to_bytes(size, "big")) + operation)


def _made(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    written = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(written)]) + written + content


def _element(data: bytes, at: int) -> tuple[int, bytes, int]:
    """Tag, content and where the next one begins."""
    if at + 2 > len(data):
        raise ValueError("an LDAP message ends early")
    tag, size, at = data[at], data[at + 1], at + 2
    if size & 0x80:
        length = size & 0x7F
        size, at = int.from_bytes(data[at : at + length], "big"), at + length
    return tag, data[at : at + size], at + size
