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
    password: str = Field(max_length=512, description="For example ${secret.password}.")


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
    bind: Bind = Field(description="How to log in.")
    base: str | None = Field(
        default=None,
        max_length=512,
        description="Search base; left out, the root DSE's defaultNamingContext.",
    )
    page_size: int = Field(default=500, ge=1, le=1000, description="Entries per page.")
    timeout: Duration | None = Field(default=None, description="How long to wait for an answer. 2m if left out.")


class PollEvery(Model):
    initial: Duration | None = Field(default=None, description="The first pause. 5s if left out.")
    cap: Duration | None = Field(default=None, description="The longest pause. 1m if left out.")


class Poll(Model):
    path: Path = Field(description="Path that tells how far the job is.")
    every: PollEvery | None = Field(default=None, description="Pauses between questions.")
    timeout: Duration | None = Field(default=None, description="How long the job may take. 6h if left out.")


class ExportStatus(Model):
    from_: Expression = Field(alias="from", description="Where the answer holds the status.")
    running: list[Annotated[str, Field(max_length=64)]] | None = Field(
        default=None, max_length=16, description="Statuses of a job that goes on."
    )
    done: list[Annotated[str, Field(max_length=64)]] = Field(
        min_length=1, max_length=16, description="Statuses of a job that is finished."
    )
    failed: list[Annotated[str, Field(max_length=64)]] | None = Field(
        default=None, max_length=16, description="Statuses of a job that failed; it is made anew."
    )


class PathOnly(Model):
    path: Path = Field(description="Path below baseURL; ${job.id} and ${part} stand for the job and its part.")


class Cancel(Model):
    method: Literal["POST", "DELETE"] | None = Field(default=None, description="POST if left out.")
    path: Path = Field(description="Path that ends the job.")


class Export(Model):
    """An asynchronous export job. Its id is committed before the first poll, so a crash resumes it."""

    create: Request = Field(description="The call that makes the job.")
    job_id: Expression = Field(alias="jobID", description="Where its answer holds the job's id.")
    poll: Poll = Field(description="How to ask how far it is.")
    status: ExportStatus = Field(description="How to read the answer.")
    parts: Expression | None = Field(default=None, description="Ids of the parts that can be fetched now.")
    failed_parts: Expression | None = Field(
        default=None, description="Ids of parts that the vendor could not make; the job is then made anew."
    )
    stream_parts: bool | None = Field(default=None, description="Fetch parts while the job still runs.")
    fetch: PathOnly = Field(description="Where a part is fetched.")
    cancel: Cancel | None = Field(default=None, description="How a job that is of no use any more is ended.")


class Search(Model):
    """One LDAP search, paged."""

    base: str | None = Field(
        default=None, max_length=512, description="Where to search. Left out, the directory's base."
    )
    scope: Literal["Base", "One", "Subtree"] = Field(
        default="Subtree", description="Base is the entry itself, One its children, Subtree all below."
    )
    filter: str = Field(
        min_length=1, max_length=2048, description="LDAP filter (RFC 4515); ${window.start} stands for the checkpoint."
    )
    attributes: list[Annotated[str, Field(max_length=128)]] = Field(
        min_length=1, max_length=100, description="Attributes to read."
    )
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

    kind: Literal["None", "NextURL", "LinkHeader", "Cursor", "Offset", "Page"] = Field(
        description="How the vendor pages."
    )
    from_: Expression | None = Field(
        default=None, alias="from", description="Where the next URL or cursor stands in the answer."
    )
    param: str | None = Field(default=None, max_length=128, description="Query parameter of the cursor or page.")
    offset: str | None = Field(default=None, max_length=128, description="Query parameter of the offset.")
    limit: str | None = Field(default=None, max_length=128, description="Query parameter of the page size.")
    size: int | None = Field(default=None, ge=1, le=100000, description="Records per page.")
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

    mode: Literal["Full", "Incremental"] = Field(
        description="Full reads everything in each run, Incremental what changed since the last."
    )
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
            "(has(self.request) ? 1 : 0) + (has(self.export) ? 1 : 0) + (has(self.search) ? 1 : 0) <= 1",
            "give one of request, export and search",
        ),
    )

    name: StreamName = Field(description="Name of the stream.")
    description: str | None = Field(default=None, max_length=500, description="What it reads.")
    permission: str | None = Field(
        default=None, max_length=256, description="Right that the credentials need at the vendor."
    )
    budget: str | None = Field(default=None, max_length=63, description="Budget that its requests draw on.")
    optional: bool | None = Field(
        default=None,
        description="A missing permission or table skips this stream instead of failing the run.",
    )
    request: Request | None = Field(default=None, description="The call that reads it.")
    export: Export | None = None
    search: Search | None = None
    format: Literal["JSON", "Lines", "CSV"] | None = Field(
        default=None, description="Lines: one record {line} per line of text; # starts a comment."
    )
    records: Expression | None = Field(default=None, description="Where the records stand; left out, the root.")
    paginate: Paginate | None = Field(default=None, description="How to get the next page. Left out, there is one.")
    sync: Sync = Field(description="Which records a run reads.")
    emit: list[Emit] = Field(
        min_length=1,
        max_length=8,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["entity"]},
        description="What becomes of a record.",
    )
