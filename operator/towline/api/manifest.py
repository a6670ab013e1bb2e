"""The manifest language: the parts of Connector.spec that say how an API behaves.

Strings that start with `=` are JMESPath expressions; `${…}` interpolates `config`, `secret`, `stream`,
`window`, `job` and `part` into other strings. Nothing here can do I/O.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from towline.api import forms
from towline.api.base import (
    Duration,
    FreeForm,
    FreeObject,
    IntOrString,
    Model,
    Name63,
    Rule,
    StreamName,
    listmap,
)

Expression = Annotated[str, Field(min_length=1, max_length=1024)]
Path = Annotated[str, Field(min_length=1, max_length=1024)]
Status = Annotated[int, Field(ge=100, le=599)]
Phase = Literal["Create", "Poll", "Fetch", "Cancel"]
ErrorClass = Literal[
    "Empty", "Auth", "Permission", "RateLimited", "Transient", "Permanent", "DuplicateJob", "JobLost",
    "SkipStream", "SkipRecord",
]  # fmt: skip


class Auth(Model):
    rules: ClassVar = (
        Rule("self.kind != 'Header' || (has(self.name) && has(self.value))", "kind Header needs name and value"),
        Rule("self.kind != 'Query' || (has(self.name) && has(self.value))", "kind Query needs name and value"),
        Rule(
            "self.kind != 'Basic' || (has(self.username) && has(self.password))",
            "kind Basic needs username and password",
        ),
        Rule("self.kind != 'Bearer' || has(self.value)", "kind Bearer needs value"),
        Rule(
            "self.kind != 'OAuth2ClientCredentials' || has(self.tokenURL)",
            "kind OAuth2ClientCredentials needs tokenURL",
            field_path=".tokenURL",
            reason="FieldValueRequired",
        ),
    )

    kind: Literal["None", "Basic", "Bearer", "Header", "Query", "OAuth2ClientCredentials"]
    name: str | None = Field(default=None, max_length=128)
    value: str | None = Field(default=None, max_length=512)
    username: str | None = Field(default=None, max_length=512)
    password: str | None = Field(default=None, max_length=512)
    token_url: str | None = Field(default=None, alias="tokenURL", max_length=512)
    client_id: str | None = Field(default=None, alias="clientID", max_length=512)
    client_secret: str | None = Field(default=None, max_length=512)
    scope: str | None = Field(default=None, max_length=1024)
    refresh_skew: Duration | None = None


class BudgetMatch(Model):
    path: str | None = Field(default=None, max_length=512)
    method: str | None = Field(default=None, max_length=16)


class Budget(Model):
    """What one credential may ask of the vendor; streams, pushes and probes share it."""

    name: Name63
    rates: list[Annotated[str, Field(max_length=32, pattern=forms.RATE)]] | None = Field(
        default=None, max_length=8, description="For example 100/1m."
    )
    concurrency: int | None = Field(default=None, ge=1, le=1000)
    match: BudgetMatch | None = None


class BodyMatch(Model):
    path: str = Field(max_length=512)
    contains: str | None = Field(default=None, max_length=512)
    equals: IntOrString | None = None


class ErrorWhen(Model):
    rules: ClassVar = (
        Rule(
            "has(self.status) || has(self.path) || has(self.phase) || has(self.header) || has(self.body)",
            "an empty when would match every answer: give at least one of status, path, phase, header and body",
        ),
    )

    status: list[Status] | None = Field(default=None, min_length=1, max_length=32)
    path: str | None = Field(default=None, max_length=512)
    phase: list[Phase] | None = Field(default=None, max_length=4)
    header: dict[str, Annotated[str, Field(max_length=256)]] | None = Field(default=None, max_length=8)
    body: BodyMatch | None = None


class ErrorRule(Model):
    when: ErrorWhen
    class_: ErrorClass = Field(alias="class")
    hint: str | None = Field(default=None, max_length=512)
    wait: list[Annotated[str, Field(max_length=128)]] | None = Field(
        default=None,
        max_length=8,
        description="Where the waiting time stands, the first that is there counts: header:NAME or a duration.",
    )
    job_id: Expression | None = Field(
        default=None, alias="jobID", description="With DuplicateJob: where the answer names the running job."
    )


class Backoff(Model):
    initial: Duration | None = None
    cap: Duration | None = None
    jitter: Literal["None", "Full"] | None = None


class HttpRetry(Model):
    attempts: int | None = Field(default=None, ge=1, le=50)
    max_elapsed: Duration | None = None
    backoff: Backoff | None = None


class Http(Model):
    base_url: str = Field(alias="baseURL", min_length=1, max_length=512, pattern=forms.BASE_URL)
    auth: Auth | None = None
    headers: dict[str, Annotated[str, Field(max_length=1024)]] | None = Field(default=None, max_length=32)
    budgets: list[Budget] | None = listmap("name", max_length=16)
    errors: list[ErrorRule] | None = Field(
        default=None,
        max_length=32,
        description="The first that matches counts.",
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
    )
    retry: HttpRetry | None = None
    timeout: Duration | None = None


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


class Request(Model):
    method: Literal["GET", "HEAD", "POST"] | None = None
    path: Path
    query: dict[str, IntOrString] | None = Field(default=None, max_length=32)
    headers: dict[str, Annotated[str, Field(max_length=1024)]] | None = Field(default=None, max_length=32)
    body: FreeForm | None = Field(default=None, alias="json")


class Expect(Model):
    status: list[Status] | None = Field(default=None, min_length=1, max_length=32)


class Health(Model):
    """The cheapest call that proves the credentials. A directory needs none: the bind proves them."""

    request: Request
    expect: Expect | None = None
    every: Duration | None = None


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


class ActionRequest(Model):
    method: Literal["POST", "PUT", "PATCH", "DELETE"] | None = None
    path: Path
    body: FreeForm | None = Field(default=None, alias="json")


class Action(Model):
    name: StreamName
    permission: str | None = Field(default=None, max_length=256)
    request: ActionRequest
    idempotent: bool | None = None
    idempotency: FreeObject | None = None
    result: dict[str, Annotated[str, Field(max_length=512)]] | None = Field(default=None, max_length=16)
    await_: FreeObject | None = Field(default=None, alias="await")


class TwoWay(Model):
    entity: Name63
    owner: dict[str, Literal["Remote", "Local", "Append"]] | None = Field(default=None, max_length=50)
    conflict: FreeObject | None = None
    echo: FreeObject | None = None


class Verify(Model):
    kind: Literal["HMACSHA256", "HMACSHA1", "StandardWebhooks", "BearerToken", "Ed25519"]
    header: str | None = Field(default=None, max_length=128)
    timestamp_header: str | None = Field(default=None, max_length=128)
    tolerance: Duration | None = None


class Refetch(Model):
    stream: str = Field(max_length=512)
    key: str = Field(max_length=512)


class Webhook(Model):
    name: Name63
    verify: Verify
    dedupe: str | None = Field(default=None, max_length=512)
    refetch: Refetch | None = None
