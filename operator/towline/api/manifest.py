"""The manifest language: what a stream reads, in which steps, and which entities come of it.

`http` is its part about requests, `paging` about getting from one request to all records, `export` about jobs,
`directory` about LDAP, `outward` about pushing and webhooks.

Strings that start with `=` are JMESPath expressions; `${…}` interpolates `config`, `secret`, `stream`,
`window`, `job`, `part` and `partition` into other strings. Nothing here can do I/O.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from towline.api.base import OPAQUE, Duration, FreeForm, Model, Name63, Rule, StreamName
from towline.api.directory import Search
from towline.api.export import Export
from towline.api.http import Expression, Request
from towline.api.paging import Details, FileRead, Paginate, Partition, SyncToken


class Parse(Model):
    """Peculiarities of an answer's text."""

    lists: list[Annotated[str, Field(max_length=128)]] | None = Field(
        default=None, max_length=64, description="With XML: elements that are lists even where there is one of them."
    )
    delimiter: str | None = Field(
        default=None, min_length=1, max_length=1, description="With CSV; a comma if left out."
    )
    columns: list[Annotated[str, Field(max_length=128)]] | None = Field(
        default=None,
        max_length=200,
        description="With CSV: its columns, where no first line names them.",
    )
    comment: str | None = Field(
        default=None,
        max_length=8,
        description="With CSV and Lines: begins a line without data. # if left out.",
    )
    encoding: str | None = Field(default=None, max_length=32, description="Encoding of text. UTF-8 if left out.")


class Deletes(Model):
    complete_scan: Literal["Never", "OnFull", "Always"] | None = Field(
        default=None, description="Rows that a complete scan did not show are marked as deleted."
    )
    tombstone: Expression | None = Field(default=None, description="A record that is true here is a deletion.")
    entities: list[Name63] | None = Field(
        default=None,
        max_length=8,
        description="Entities of which a tombstone deletes the row. Left out, the one that the record is about.",
    )


class Sync(Model):
    rules: ClassVar = (
        Rule(
            "self.mode != 'Incremental' || has(self.cursor) || has(self.token)",
            "mode Incremental needs cursor, or token where the vendor gives one",
            field_path=".cursor",
            reason="FieldValueRequired",
        ),
        Rule("!has(self.cursor) || !has(self.token)", "give one of cursor and token", field_path=".token"),
    )

    mode: Literal["Full", "Incremental"] = Field(
        description="Full reads everything in each run, Incremental what changed since the last."
    )
    cursor: Expression | None = Field(
        default=None,
        max_length=512,
        description="Expression over the record; or job_created_at; or files: what was read of each;"
        " or root:ATTRIBUTE of a directory's root DSE.",
    )
    token: SyncToken | None = Field(
        default=None,
        json_schema_extra={OPAQUE: True},
        description="A vendor's token for what changed since, instead of a cursor: {from, place, param}. When the"
        " vendor does not know it any more, the stream is read in full.",
    )
    format: Literal["Time", "Epoch", "EpochMillis", "Integer", "GeneralizedTime"] | None = Field(
        default=None, description="What ${window.start} looks like. Time is ISO 8601."
    )
    time_format: str | None = Field(
        default=None, max_length=64, description="strftime pattern for ${window.start}, in UTC."
    )
    order: Literal["Ascending", "Descending", "Unknown"] | None = Field(
        default=None, description="Ascending: the checkpoint moves with each page. Otherwise at the end only."
    )
    lookback: Duration | None = Field(default=None, description="How far before the checkpoint to read again.")
    first_run: Duration | None = Field(
        default=None, description="How far back the first run reads. Left out, everything."
    )
    full_every: Duration | None = Field(default=None, description="How often an incremental stream is read in full.")
    max_delete_percent: int | None = Field(
        default=None,
        ge=0,
        le=100,
        description="Stop instead of marking more than this share of the rows as deleted in one run.",
    )
    deletes: Deletes | None = Field(default=None, description="How deletions are noticed.")


class Emit(Model):
    """One entity made from a record. With `forEach` one per item; then expressions see {item, record}."""

    entity: Name63 = Field(description="Name of the entity, for example asset.")
    for_each: Expression | None = Field(default=None, description="Expression for a list; one entity per item.")
    when: Expression | None = Field(default=None, description="Emit only if this is true.")
    key: Expression = Field(description="Expression for the key of the row: stable and unique in the source.")
    fields: dict[str, FreeForm] | None = Field(
        default=None,
        max_length=100,
        description="Each is an expression, or {from, map, default}, or {ref, key}, or {value}.",
    )
    raw: bool | None = Field(
        default=None,
        description="Keep the source's record with this entity. Left out, it stays with the one that refers to the"
        " others, else with the first.",
    )
    replace_within: Name63 | None = Field(
        default=None,
        description="This reference field groups the rows: what a record emits is the whole group, rows that"
        " it no longer names are marked as deleted.",
    )


class Stream(Model):
    rules: ClassVar = (
        Rule(
            "(has(self.request) ? 1 : 0) + (has(self.export) ? 1 : 0) + (has(self.search) ? 1 : 0)"
            " + (has(self.file) ? 1 : 0) <= 1",
            "give one of request, export, search and file",
        ),
        Rule("!has(self.details) || has(self.request)", "details need request", field_path=".details"),
        Rule(
            "!has(self.partitions) || has(self.request)",
            "partitions need request",
            field_path=".partitions",
        ),
        Rule("!has(self.gather) || has(self.partitions)", "gather needs partitions", field_path=".gather"),
    )

    name: StreamName = Field(description="Name of the stream.")
    description: str | None = Field(default=None, max_length=500, description="What it reads.")
    permission: str | None = Field(
        default=None, max_length=256, description="Right that the credentials need at the vendor."
    )
    budget: str | None = Field(default=None, max_length=63, description="Budget that its requests draw on.")
    when: Expression | None = Field(
        default=None, description="Expression over config; where it is not true the stream is left out without a word."
    )
    optional: bool | None = Field(
        default=None,
        description="A missing permission or table skips this stream instead of failing the run.",
    )
    request: Request | None = Field(default=None, description="The call that reads it.")
    export: Export | None = None
    search: Search | None = None
    file: FileRead | None = Field(
        default=None, json_schema_extra={OPAQUE: True}, description="Which files it reads: {pattern, expect, maxBytes}."
    )
    partitions: list[Partition] | None = Field(
        default=None,
        min_length=1,
        max_length=3,
        json_schema_extra={OPAQUE: True, "x-kubernetes-list-type": "atomic"},
        description="What it is read by: records of another stream, values, or spans of time. Each of one with each of"
        " the next: {name, kind: Parent|List|Dates, …}.",
    )
    concurrency: int | None = Field(
        default=None,
        ge=1,
        le=64,
        description="Partitions, or calls for details, at once, in the budget. 4 if left out.",
    )
    gather: bool | None = Field(
        default=None,
        description="One record {partition, items} for each piece of partitions, with all that was read of it. With"
        " replaceWithin, rows that a piece no longer has are marked as deleted.",
    )
    details: Details | None = Field(
        default=None,
        json_schema_extra={OPAQUE: True},
        description="A second request for what the first one found: {request, key, batch, records, into}.",
    )
    format: Literal["JSON", "JSONLines", "CSV", "XML", "Lines"] | None = Field(
        default=None,
        description="What answers are; gzip and zip are unpacked. JSON if left out. XML: attributes are @name, text"
        " beside them is #text. Lines: one record {line} per line of text; # starts a comment.",
    )
    parse: Parse | None = Field(
        default=None,
        json_schema_extra={OPAQUE: True},
        description="Peculiarities of text: {lists, delimiter, columns, comment, encoding}.",
    )
    records: Expression | None = Field(default=None, description="Where the records stand; left out, the root.")
    paginate: Paginate | None = Field(default=None, description="How to get the next page. Left out, there is one.")
    sync: Sync = Field(description="Which records a run reads.")
    emit: list[Emit] | None = Field(
        default=None,
        min_length=1,
        max_length=8,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["entity"]},
        description="What becomes of a record. A stream without it is only read for others, as their parent.",
    )
