"""Reports as a `Source`: JSON documents in a folder, on a volume or at a URL.

A document is one page. The checkpoint holds a digest of each report, so one that did not change is not taken in
again; when one has vanished, the stream is read in full, because only a complete scan may delete.
"""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import orjson

from towline.api.base import seconds
from towline.api.http import Http, Request
from towline.api.manifest import Stream
from towline.api.paging import FileRead, Files
from towline_connectors.engine import expressions
from towline_connectors.engine.caller import Caller
from towline_connectors.engine.decode import decode_json
from towline_connectors.engine.errors import ConfigInvalid, CursorLost, EngineError, InvalidManifest, SchemaMismatch
from towline_connectors.engine.http import Client
from towline_connectors.engine.interpolate import Scope
from towline_connectors.engine.source import Origin, Page, Reading, Setup, Source
from towline_connectors.engine.values import Mismatch, iso

PATTERN: Final = "**/*.json*"
MAX_BYTES: Final = 256 << 20  # of one report, inflated
MAX_FILES: Final = 20_000  # in one folder; their digests have to fit into a checkpoint
_HALF: Final = 6  # bytes of a name's and of a content's digest in the checkpoint
_WILD: Final = frozenset("*?[")


class TooLarge(Exception):  # noqa: N818 - an outcome of reading, told as a sentence
    """A report is larger than the stream allows."""


@dataclass(frozen=True, slots=True)
class Report:
    """One file, or what a URL answered. `name` is what people and records call it."""

    name: str
    path: Path | None = None
    value: Any = None

    def content(self, most: int) -> bytes:
        """Its bytes, inflated if they are gzip. Raises OSError, TooLarge, zlib.error."""
        if self.path is None:
            return orjson.dumps(self.value)
        with self.path.open("rb") as file:
            body = file.read(most + 1)
        if len(body) > most:
            raise TooLarge
        return inflated(body, most) if body[:2] == b"\x1f\x8b" else body

    def about(self) -> dict[str, Any]:
        """What records see as `_file`."""
        found: dict[str, Any] = {"name": PurePosixPath(self.name).name, "path": self.name}
        if self.path is not None:
            found["modified_time"] = iso(datetime.fromtimestamp(self.path.stat().st_mtime, UTC))
        return found


def inflated(body: bytes, most: int) -> bytes:
    """The content of a gzip file. Raises TooLarge before it takes more memory than `most` bytes, and zlib.error."""
    inflater = zlib.decompressobj(16 + zlib.MAX_WBITS)
    content = inflater.decompress(body, most + 1)
    if len(content) > most:
        raise TooLarge
    if not inflater.eof:
        raise zlib.error("it ends in the middle")
    return content


class FileSource:
    """See source.Source. Either `path` or `url` of the manifest comes to something, not both."""

    def __init__(self, setup: Setup, files: Files, scope: Scope) -> None:
        self._setup = setup
        self._scope = scope
        self._root = Path(setup.files_root).resolve() if setup.files_root else None
        self.path = setup.text(files.path).strip() if files.path else ""
        self.url = setup.text(files.url).strip() if files.url else ""
        if self.path and self.url:
            raise ConfigInvalid("config.path and config.url are both set: give one of them, where the reports are.")
        if not self.path and not self.url and self._root is None:
            raise ConfigInvalid("It is not said where the reports are: set config.path or config.url.")
        self._caller = self._open_url(files) if self.url else None

    @property
    def counts(self) -> dict[str, int]:
        """Answers of the URL by class."""
        return dict(self._caller.client.counts) if self._caller else {}

    @property
    def received(self) -> int:
        """Bytes that came from the URL."""
        return self._caller.client.received if self._caller else 0

    async def check(self) -> None:
        if self._caller is not None:
            await self._fetch(self._caller)
        else:
            self._list(PATTERN)

    async def origin(self, stream: Stream) -> Origin:
        return Origin()

    async def read(self, reading: Reading) -> AsyncIterator[Page]:
        wanted = reading.stream.file
        if wanted is None:
            raise InvalidManifest(f"streams[{reading.stream.name}] has no file: the connector reads reports.")
        reports = [await self._fetch(self._caller)] if self._caller else self._list(wanted.pattern or PATTERN)
        before = {} if reading.window.full else seen(reading.window.start)
        now: dict[bytes, bytes] = {}
        names = {_digest(report.name.encode()) for report in reports}
        if before.keys() - names:
            raise CursorLost("A report is there no more.")
        opened = _Opened(reading.stream, wanted)
        unreadable = 0
        for report in reports:
            name = _digest(report.name.encode())
            try:
                content = report.content(wanted.max_bytes or MAX_BYTES)
                digest = _digest(content)
                records = None if before.get(name) == digest else opened.records(report, content)
            except (OSError, zlib.error, TooLarge, EngineError) as error:
                problem = _problem(report, error, wanted.max_bytes or MAX_BYTES)
                if len(reports) == 1 and not self._is_many:
                    raise problem from None
                unreadable += 1
                self._setup.progress(problem.message)
                yield Page(unreadable=1)
                continue
            now[name] = digest
            if records:
                yield Page(records)
        if opened.others and len(reports) == 1 and not self._is_many and not self._is_known(opened.others[0]):
            raise SchemaMismatch(f"{reports[0].name} is no report that this connector reads.")
        if not (unreadable and reading.window.full):
            yield Page(cursor=written(now))

    async def close(self) -> None:
        if self._caller is not None:
            await self._caller.client.close()

    def _is_known(self, document: Any) -> bool:
        """Whether another stream reads documents of that kind."""
        wanted = [stream.file.expect for stream in self._setup.spec.streams or [] if stream.file is not None]
        accepts = [expressions.compile_expression(expect) for expect in wanted if expect]
        return len(accepts) < len(wanted) or any(expressions.truthy(_quietly(each, document)) for each in accepts)

    @property
    def _is_many(self) -> bool:
        """Whether a folder or a pattern was given, of which one file may be bad."""
        return not self.url and not (self._base() / self.path).is_file()

    def _base(self) -> Path:
        return self._root or Path.cwd()

    def _list(self, pattern: str) -> list[Report]:
        """The files, the oldest first: of two reports about one thing the newer counts. Raises ConfigInvalid."""
        base = self._base()
        target = base / self.path
        if _WILD & set(self.path):
            plain = list(_before_wild(PurePosixPath(self.path)))
            folder = base.joinpath(*plain)
            pattern = str(PurePosixPath(self.path).relative_to(PurePosixPath(*plain)))
        elif target.is_file() and self._is_inside(target):
            return [Report(target.name, target)]
        else:
            folder = target
        if not self._is_inside(folder) or not folder.is_dir():
            where = "the volume with the reports" if self._root else str(base)
            raise ConfigInvalid(
                f"config.path: there is no {self.path or 'folder'} in {where}; give a file, a folder or a pattern."
            )
        found = [path for path in folder.glob(pattern) if self._is_plain(path, folder)]
        if len(found) > MAX_FILES:
            raise ConfigInvalid(
                f"config.path: {self.path} holds {len(found):,} reports, more than {MAX_FILES:,}; give a narrower"
                " pattern, or several Integrations a part each."
            )
        found.sort(key=lambda path: (path.stat().st_mtime_ns, str(path)))
        return [Report(path.relative_to(folder).as_posix(), path) for path in found]

    def _is_inside(self, path: Path) -> bool:
        """In a pod nothing is read but the volume; neither by .. nor by a link."""
        return self._root is None or path.resolve().is_relative_to(self._root)

    def _is_plain(self, path: Path, folder: Path) -> bool:
        # A ConfigMap's volume has each file twice more, below ..data and ..2026_11_21….
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        return not hidden and path.is_file() and self._is_inside(path)

    def _open_url(self, files: Files) -> Caller:
        address = urlsplit(self.url)
        client = Client(
            self._setup.allowed_hosts,
            plain_http=address.scheme == "http",
            timeout=float(seconds(files.timeout)) if files.timeout else 60.0,
            ca_bundle=self._setup.ca_bundle,
            proxy=self._setup.proxy,
            reroute=self._setup.reroute,
            gate=self._setup.gate,
        )
        client.check_host(self.url)
        http = Http(base_url=f"{address.scheme}://{address.netloc}", headers=self._headers(files) or None)
        return Caller(http, self._setup, self._scope, client)

    def _headers(self, files: Files) -> dict[str, str]:
        """Headers of the manifest; one whose optional secret is not there is left out."""
        optional = {key.key for key in self._setup.spec.credentials or [] if key.optional}
        given = self._scope.get("secret") or {}
        missing = tuple(f"${{secret.{key}}}" for key in optional if key not in given)
        return {name: text for name, text in (files.headers or {}).items() if not any(m in text for m in missing)}

    async def _fetch(self, caller: Caller) -> Report:
        address = urlsplit(self.url)
        call = caller.call(Request(path="/"), self._scope, budget=None, phase=None)
        reply = await caller.send(replace(call, url=self.url, shown=address.path or "/"))
        return Report(unquote(PurePosixPath(address.path).name) or address.netloc, value=reply.value)


class _Opened:
    """From a document to the records of one stream."""

    def __init__(self, stream: Stream, wanted: FileRead) -> None:
        self._expect = expressions.compile_expression(wanted.expect) if wanted.expect else None
        self._records = expressions.compile_expression(stream.records) if stream.records else None
        self._stream = stream
        self.others: list[Any] = []  # the first document of another kind

    def records(self, report: Report, content: bytes) -> list[Any]:
        """Each with what is known of its file as `_file`. Raises EngineError."""
        document = decode_json(content, report.name, "") if report.path is not None else report.value
        if self._expect is not None and not expressions.truthy(_quietly(self._expect, document)):
            self.others = self.others or [document]
            return []
        about = report.about()
        if isinstance(document, dict):
            document = {**document, "_file": about}
        found = document if self._records is None else _quietly(self._records, document)
        records = found if isinstance(found, list) else [] if found is None else [found]
        return [{**record, "_file": about} if isinstance(record, dict) else record for record in records]


def _quietly(expression: Callable[[Any], Any], document: Any) -> Any:
    try:
        return expression(document)
    except Mismatch:
        return None


def _before_wild(path: PurePosixPath) -> Iterator[str]:
    for part in path.parts:
        if _WILD & set(part):
            return
        yield part


def _problem(report: Report, error: Exception, most: int) -> EngineError:
    """What is wrong with a report, as a sentence without anything of its content."""
    if isinstance(error, OSError):
        return SchemaMismatch(f"Report {report.name} cannot be read ({error.strerror or type(error).__name__}).")
    if isinstance(error, TooLarge):
        return SchemaMismatch(f"Report {report.name} has more than {most >> 20} MiB; it is left out.")
    if isinstance(error, zlib.error):
        return SchemaMismatch(f"Report {report.name} is damaged: it cannot be unpacked.")
    return SchemaMismatch(f"Report {report.name} is not JSON; was it written to its end?")


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()[:_HALF]


def written(digests: dict[bytes, bytes]) -> str:
    """A checkpoint: how many reports, and a digest of the name and of the content of each."""
    packed = b"".join(name + content for name, content in sorted(digests.items()))
    return f"{len(digests)} reports {base64.b64encode(packed).decode()}"


def seen(checkpoint: str) -> dict[bytes, bytes]:
    """Digests by name of a checkpoint; none when it is of another form."""
    try:
        packed = base64.b64decode(checkpoint.rpartition(" ")[2], validate=True)
    except ValueError:
        return {}
    whole = range(0, len(packed) - 2 * _HALF + 1, 2 * _HALF)
    return {packed[at : at + _HALF]: packed[at + _HALF : at + 2 * _HALF] for at in whole}


def open_source(setup: Setup, scope: Scope) -> Source:
    """Raises ConfigInvalid, HostNotAllowed, InvalidManifest."""
    if setup.spec.files is None:
        raise InvalidManifest("The connector reads no files.")
    return FileSource(setup, setup.spec.files, scope)
