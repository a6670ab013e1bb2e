"""What a session needs of an SQL database. SQL is written with `?`; each store translates it to its own."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from towline_connectors.entities.model import Entity
from towline_connectors.sinks.base import SinkError
from towline_connectors.sinks.changes import Row, Seen, Stored
from towline_connectors.sinks.schema import Dialect


class ConnectionLost(SinkError):  # noqa: N818
    """The connection broke; whether the transaction was committed is not known."""


class UnstorableText(SinkError):  # noqa: N818
    """A text that the database cannot hold, as NUL in PostgreSQL. The session mends the batch and repeats it."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """What all rows of a stream in one run have in common."""

    integration: str
    stream: str
    run_id: str
    now: str  # ISO 8601: the start of the run


class Store(Protocol):
    """One connection."""

    dialect: Dialect

    def prepare(self, now: str) -> None:
        """Make or extend the tables. Safe with several processes at once."""

    def transaction(self) -> AbstractContextManager[None]:
        """A transaction that may write; it commits unless an exception leaves it. Raises SinkError."""

    def execute(self, sql: str, params: tuple[Any, ...] = ()) -> int:
        """Number of rows changed."""

    def fetch(self, sql: str, params: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """Rows; JSON columns as text."""

    def lock_claim(self, integration: str) -> tuple[Any, ...] | None:
        """The claim's columns in the order of Claim, locked until the transaction ends."""

    def stored(self, entity: Entity, integration: str, keys: list[str]) -> dict[str, Stored]:
        """What is known of those rows."""

    def has_rows(self, entity: Entity, integration: str) -> bool:
        """Whether anything of that integration is there."""

    def insert(self, entity: Entity, stamp: Stamp, rows: list[Row]) -> int:
        """Write those rows that are not there; how many. When some are there it may write none."""

    def change(self, entity: Entity, stamp: Stamp, rows: list[Row]) -> None:
        """Overwrite rows that are there, and revive them."""

    def see(self, entity: Entity, stamp: Stamp, rows: list[Seen]) -> None:
        """Note that rows were seen again."""

    def delete(self, entity: Entity, stamp: Stamp, keys: list[str]) -> int:
        """Mark live rows as deleted; how many."""

    def delete_others(self, entity: Entity, stamp: Stamp, column: str, value: str, keys: list[str]) -> int:
        """Mark live rows with that value in `column` as deleted unless they are among `keys`; how many."""

    def reconnect(self) -> None:
        """Connect anew after ConnectionLost. Raises SinkError."""

    def close(self) -> None: ...
