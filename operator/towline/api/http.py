"""The manifest language, how to speak HTTP: credentials, budgets, errors, retries, requests and the health call."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from towline.api import forms
from towline.api.base import Duration, FreeForm, IntOrString, Model, Name63, Rule, listmap

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
