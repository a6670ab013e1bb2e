"""What the engine asks of a protocol: HTTP and LDAP implement `Source`, a run drives it.

For one stream a run calls `origin`, decides the window, then iterates `read`. A page's rows, and whatever
state it carries, commit together. A source never writes and never maps.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from towline.api.connector import ConnectorSpec
from towline.api.manifest import Stream
from towline_connectors.engine.addresses import Gate, gate
from towline_connectors.engine.answers import json
from towline_connectors.engine.answers.cut import joined

if TYPE_CHECKING:
    from towline_connectors.engine.accounts import Accounts


@dataclass(slots=True)
class Origin:
    """What is known of a stream before it is read."""

    cursor: str | None = None
    """The value that becomes the checkpoint once the stream was read to its end, when the source and not the
    records tells it (`sync.cursor: root:ATTRIBUTE`). Canonical text: a decimal number or ISO 8601 in UTC."""
    anchor: str | None = None
    """Identity of the server that cursors belong to. A checkpoint of another anchor is void: the run is full."""


@dataclass(slots=True, frozen=True)
class Window:
    start: str
    """Where to begin, as `sync.format`/`sync.timeFormat` write it; in a full run the lowest value of the format
    (1970-01-01T00:00:00Z, 0, 19700101000000.0Z). `${window.start}` in a manifest. For streams with `sync.token` or
    `cursor: files` the committed text as it is, empty in a full run."""
    full: bool
    now: str  # ISO 8601, when this stream was begun: `${window.now}`
    since: str = ""  # `start` as canonical text, where it is a time


@dataclass(slots=True)
class Page:
    """A part of a stream that commits together (or in several batches, when it is large)."""

    records: list[Any] = field(default_factory=list)
    raws: list[bytes] | None = None
    """Raw JSON of each record, when the source has it at hand; the engine makes it otherwise."""
    job: dict[str, Any] | None = None
    """State to go on from after a crash, committed with these records; None leaves what was committed.
    Plain JSON values. An empty dict clears it."""
    cursor: str | None = None
    """Checkpoint that the whole stream has when it ends, when the source tells it (overrides Origin.cursor)."""
    unreadable: int = 0
    """Records in this page that could not be decoded: counted as rejected, and the scan counts as incomplete."""
    expected: int | None = None
    """How many records the system says the whole stream has, to show how far it is; nothing relies on it."""
    incomplete: str | None = None
    """Why the scan is incomplete although nothing failed, as the end of a sentence: nothing is deleted after it."""
    unread: tuple[str, str] | None = None
    """Where the records come from, host and path, when they are pieces of JSON that nobody has read yet."""

    def read(self, records: list[Any]) -> list[Any]:
        """Some of its records as values. Raises SchemaMismatch, Unreachable."""
        if self.unread is None:
            return records
        found: list[Any] = json.loads(joined(records), *self.unread)
        return found


@dataclass(slots=True)
class Reading:
    """One pass over one stream."""

    stream: Stream
    window: Window
    text: Callable[[str], str]
    """Fills `${config.…}`, `${secret.…}`, `${stream.name}` and `${window.…}` into a string, unescaped."""
    job: dict[str, Any] | None = None  # what an earlier run committed as Page.job and did not clear
    cursor_of: Callable[[Any], str | None] = lambda _record: None
    """A record's cursor value as `sync.format` writes it, for re-anchoring."""


class Source(Protocol):
    """One system with one set of credentials. All methods raise `engine.errors.EngineError`, or `SkipStream`
    from `origin` and `read` when the stream does not exist there."""

    async def check(self) -> None:
        """Prove that the system can be reached and takes the credentials, as cheaply as possible."""

    async def origin(self, stream: Stream) -> Origin: ...

    def read(self, reading: Reading) -> AsyncIterator[Page]:
        """Pages in the system's order. An async generator; it is closed early when the run has to stop."""

    async def close(self) -> None: ...


@dataclass(slots=True, frozen=True)
class Setup:
    """What a protocol needs to be opened: `open_source(setup) -> Source` in `engine.http_source`, `engine.ldap`."""

    spec: ConnectorSpec
    text: Callable[[str], str]  # fills ${config.…} and ${secret.…} into a string
    value: Callable[[Any], Any]  # evaluates "=expression" and "${…}" strings of a manifest value
    allowed_hosts: tuple[str, ...]  # credentials go nowhere else; "*.example.com" matches below example.com
    ca_bundle: str | None = None  # path of a PEM file of private CAs, added to the system's
    proxy: str | None = None  # http://[user:password@]host:port, for HTTPS to vendors
    reroute: str | None = None  # http://HOST:PORT that takes all requests, for replays
    files_root: str | None = None  # the only folder that files are read from; None: any, below the current one
    gate: Gate = field(default_factory=lambda: gate(None))  # which addresses may be connected to
    accounts: Accounts | None = None  # tokens and budgets that are shared with others; None: of this run alone
    deadline: float = float("inf")  # time.monotonic() when the run has to have stopped
    progress: Callable[[str], None] = lambda _message: None  # a sentence for the log: waiting, retrying …
