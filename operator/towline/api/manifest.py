"""The manifest language: what a stream reads, in which steps, and which entities come of it.

`http` is its part about requests, `outward` the one about pushing and webhooks.

Strings that start with `=` are JMESPath expressions; `${…}` interpolates `config`, `secret`, `stream`,
`window`, `job` and `part` into other strings. Nothing here can do I/O.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from towline.api import forms
from towline.api.base import Duration, FreeForm, Model, Name63, Rule, StreamName
from towline.api.http import Expression, Path, Request


class Bind(Model):
    """How to log in to a directory: a simple bind over TLS."""

    username: str = Field(max_length=512, description="DN, user@domain or DOMAIN\\user.")
    password: str = Field(max_length=512)


class Directory(Model):
    """An LDAP directory."""

    url: str = Field(
        min_length=1,
        max_length=512,
        pattern=forms.LDAP_URL,
        description="ldaps://HOST:636, or ldap://HOST:389 (then startTLS should be true).",
    )
    start_tls: bool | str | None = Field(
        default=None,
        alias="startTLS",
        json_schema_extra={"x-kubernetes-preserve-unknown-fields": True},
        description="true, false or an expression.",
    )
    bind: Bind
    base: str | None = Field(
        default=None,
        max_length=512,
        description="Search base; left out, the root DSE's defaultNamingContext.",
    )
    page_size: int = Field(default=500, ge=1, le=1000)
    timeout: Duration | None = None


class PollEvery(Model):
    initial: Duration | None = None
    cap: Duration | None = None


class Poll(Model):
    path: Path
    every: PollEvery | None = None
    timeout: Duration | None = None


class ExportStatus(Model):
    from_: Expression = Field(alias="from")
    running: list[Annotated[str, Field(max_length=64)]] | None = Field(default=None, max_length=16)
    done: list[Annotated[str, Field(max_length=64)]] = Field(min_length=1, max_length=16)
    failed: list[Annotated[str, Field(max_length=64)]] | None = Field(default=None, max_length=16)


class PathOnly(Model):
    path: Path


class Cancel(Model):
    method: Literal["POST", "DELETE"] | None = None
    path: Path


class Export(Model):
    """An asynchronous export job. Its id is committed before the first poll, so a crash resumes it."""

    create: Request
    job_id: Expression = Field(alias="jobID")
    poll: Poll
    status: ExportStatus
    parts: Expression | None = Field(default=None, description="Ids of the parts that can be fetched now.")
    failed_parts: Expression | None = Field(
        default=None, description="Ids of parts that the vendor could not make; the job is then made anew."
    )
    stream_parts: bool | None = Field(default=None, description="Fetch parts while the job still runs.")
    fetch: PathOnly
    cancel: Cancel | None = None


class Search(Model):
    """One LDAP search, paged."""

    base: str | None = Field(default=None, max_length=512)
    scope: Literal["Base", "One", "Subtree"] = "Subtree"
    filter: str = Field(min_length=1, max_length=2048)
    attributes: list[Annotated[str, Field(max_length=128)]] = Field(min_length=1, max_length=100)
    range_attributes: list[Annotated[str, Field(max_length=128)]] | None = Field(
        default=None, max_length=8, description="Attributes that may come in ranges, as member;range=0-1499."
    )


class Paginate(Model):
    rules: ClassVar = (
        Rule(
            "self.kind != 'NextURL' || has(self.from)",
            "kind NextURL needs from: where the answer names the next page",
            field_path=".from",
            reason="FieldValueRequired",
        ),
        Rule(
            "self.kind != 'Cursor' || has(self.from)",
            "kind Cursor needs from: where the answer names the next cursor",
            field_path=".from",
            reason="FieldValueRequired",
        ),
    )

    kind: Literal["None", "NextURL", "LinkHeader", "Cursor", "Offset", "Page"]
    from_: Expression | None = Field(
        default=None, alias="from", description="Where the next URL or cursor stands in the answer."
    )
    param: str | None = Field(default=None, max_length=128, description="Query parameter of the cursor or page.")
    offset: str | None = Field(default=None, max_length=128, description="Query parameter of the offset.")
    limit: str | None = Field(default=None, max_length=128, description="Query parameter of the page size.")
    size: int | None = Field(default=None, ge=1, le=100000)
    start: int | None = Field(default=None, ge=0, description="First page number; 1 if left out.")
    total: Expression | None = Field(
        default=None, description="Where the number of all records stands: header:NAME or an expression."
    )
    reanchor: bool | None = Field(
        default=None,
        description="For Offset in ascending order: begin each page anew at the last cursor value instead of"
        " counting on, so that rows which move while we read are not missed.",
    )


class Deletes(Model):
    complete_scan: Literal["Never", "OnFull", "Always"] | None = Field(
        default=None, description="Rows that a complete scan did not show are marked as deleted."
    )
    tombstone: Expression | None = Field(default=None, description="A record that is true here is a deletion.")


class Sync(Model):
    rules: ClassVar = (
        Rule(
            "self.mode != 'Incremental' || has(self.cursor)",
            "mode Incremental needs cursor",
            field_path=".cursor",
            reason="FieldValueRequired",
        ),
    )

    mode: Literal["Full", "Incremental"]
    cursor: Expression | None = Field(
        default=None,
        max_length=512,
        description="Expression over the record; or job_created_at; or root:ATTRIBUTE of a directory's root DSE.",
    )
    format: Literal["Time", "Epoch", "Integer", "GeneralizedTime"] | None = Field(
        default=None, description="What ${window.start} looks like. Time is ISO 8601."
    )
    time_format: str | None = Field(
        default=None, max_length=64, description="strftime pattern for ${window.start}, in UTC."
    )
    order: Literal["Ascending", "Descending", "Unknown"] | None = Field(
        default=None, description="Ascending: the checkpoint moves with each page. Otherwise at the end only."
    )
    lookback: Duration | None = None
    first_run: Duration | None = None
    full_every: Duration | None = None
    max_delete_percent: int | None = Field(default=None, ge=0, le=100)
    deletes: Deletes | None = None


class Emit(Model):
    """One entity made from a record. With `forEach` one per item; then expressions see {item, record}."""

    entity: Name63
    for_each: Expression | None = None
    when: Expression | None = Field(default=None, description="Emit only if this is true.")
    key: Expression
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
            "(has(self.request) ? 1 : 0) + (has(self.export) ? 1 : 0) + (has(self.search) ? 1 : 0) <= 1",
            "give one of request, export and search",
        ),
    )

    name: StreamName
    description: str | None = Field(default=None, max_length=500)
    permission: str | None = Field(default=None, max_length=256)
    budget: str | None = Field(default=None, max_length=63)
    optional: bool | None = Field(
        default=None,
        description="A missing permission or table skips this stream instead of failing the run.",
    )
    request: Request | None = None
    export: Export | None = None
    search: Search | None = None
    format: Literal["JSON", "Lines", "CSV"] | None = Field(
        default=None, description="Lines: one record {line} per line of text; # starts a comment."
    )
    records: Expression | None = Field(default=None, description="Where the records stand; left out, the root.")
    paginate: Paginate | None = None
    sync: Sync
    emit: list[Emit] = Field(
        min_length=1,
        max_length=8,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["entity"]},
    )
