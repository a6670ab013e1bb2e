"""Answers that are gzip or zip files: recognised by their first bytes, inflated in pieces, with a cap."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterator

from towline_connectors.engine.errors import EngineError, SchemaMismatch, Unreachable

PIECE = 1 << 20  # bytes inflated at once
MAX_PACKED_ZIP = 64 << 20  # bytes; a zip's directory stands at its end, so it is read whole
MAX_MEMBERS = 1000
_GZIP, _ZIP = b"\x1f\x8b", b"PK\x03\x04"


class Unpacker:
    """Takes an answer's bytes, gives what is in it. A zip's members come one after another; `members` tells how many
    have ended. Raises SchemaMismatch beyond `limit` bytes, Unreachable when the file is damaged or cut."""

    def __init__(self, about: str, limit: int) -> None:
        self._about = about  # HOST's answer to PATH
        self._limit = limit
        self._given = 0
        self._kind: str | None = None
        self._head = b""
        self._inflater = zlib.decompressobj(16 + zlib.MAX_WBITS)
        self._zip = bytearray()
        self.members = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        if self._kind is None:
            self._head += data
            if len(self._head) < 4:
                return
            data, self._head = self._head, b""
            self._kind = "gzip" if data[:2] == _GZIP else "zip" if data[:4] == _ZIP else "plain"
        if self._kind == "plain":
            yield self._counted(data)
        elif self._kind == "gzip":
            yield from self._gunzip(data)
        else:
            self._zip += data
            if len(self._zip) > MAX_PACKED_ZIP:
                raise SchemaMismatch(f"{self._about} is a zip file of more than {MAX_PACKED_ZIP >> 20} MiB.")

    def close(self) -> Iterator[bytes]:
        if self._kind is None and self._head:
            yield self._counted(self._head)
        elif self._kind == "gzip":
            if not self._inflater.eof:
                raise Unreachable(f"{self._about} is half a gzip file.")
        elif self._kind == "zip":
            yield from self._unzip()

    def _counted(self, piece: bytes) -> bytes:
        self._given += len(piece)
        if self._given > self._limit:
            raise SchemaMismatch(f"{self._about} holds more than {self._limit >> 20} MiB; ask for smaller pages.")
        return piece

    def _gunzip(self, data: bytes) -> Iterator[bytes]:
        while data:
            if self._inflater.eof:
                if not data.startswith(_GZIP):
                    return  # padding behind the last member
                self._inflater = zlib.decompressobj(16 + zlib.MAX_WBITS)
            try:
                piece = self._inflater.decompress(data, PIECE)
            except zlib.error:
                raise Unreachable(f"{self._about} is a damaged gzip file.") from None
            data = self._inflater.unused_data if self._inflater.eof else self._inflater.unconsumed_tail
            yield self._counted(piece)

    def _unzip(self) -> Iterator[bytes]:
        try:
            with zipfile.ZipFile(io.BytesIO(self._zip)) as archive:
                members = [one for one in archive.infolist() if not one.is_dir() and not one.filename.startswith("__")]
                if len(members) > MAX_MEMBERS:
                    raise SchemaMismatch(f"{self._about} is a zip file of {len(members)} files.")
                for member in members:
                    if member.flag_bits & 1:
                        raise SchemaMismatch(f"{self._about} is a zip file with a password.")
                    with archive.open(member) as file:
                        while piece := file.read(PIECE):
                            yield self._counted(piece)
                    self.members += 1
        except EngineError:
            raise
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError):
            # zipfile raises NotImplementedError for a way of packing that it does not know.
            raise Unreachable(f"{self._about} is a damaged zip file.") from None


def unpacked(body: bytes, about: str, limit: int) -> bytes:
    """A body as a whole, unpacked if it is packed."""
    if body[:2] != _GZIP and body[:4] != _ZIP:
        return body
    unpacker = Unpacker(about, limit)
    return b"".join([*unpacker.feed(body), *unpacker.close()])
