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

    kind: Literal["None", "Basic", "Bearer", "Header", "Query", "OAuth2ClientCredentials"] = Field(
        description="How the credentials are sent."
    )
    name: str | None = Field(default=None, max_length=128, description="Name of the header or of the query parameter.")
    value: str | None = Field(
        default=None,
        max_length=512,
        description="What is sent, for example ${secret.token}; with Bearer the token alone.",
    )
    username: str | None = Field(
        default=None, max_length=512, description="With Basic, for example ${secret.username}."
    )
    password: str | None = Field(
        default=None, max_length=512, description="With Basic, for example ${secret.password}."
    )
    token_url: str | None = Field(
        default=None, alias="tokenURL", max_length=512, description="Where tokens are fetched."
    )
    client_id: str | None = Field(
        default=None, alias="clientID", max_length=512, description="${secret.client_id} if left out."
    )
    client_secret: str | None = Field(default=None, max_length=512, description="${secret.client_secret} if left out.")
    scope: str | None = Field(default=None, max_length=1024, description="Scopes of the token, separated by blanks.")
    refresh_skew: Duration | None = Field(
        default=None, description="How long before it expires a token is fetched anew. 1m if left out."
    )


class BudgetMatch(Model):
    path: str | None = Field(default=None, max_length=512, description="Path of the request; * stands for anything.")
    method: str | None = Field(default=None, max_length=16, description="Method of the request.")


class Budget(Model):
    """What one credential may ask of the vendor; streams, pushes and probes share it."""

    name: Name63 = Field(description="The budget named default holds where no other fits.")
    rates: list[Annotated[str, Field(max_length=32, pattern=forms.RATE)]] | None = Field(
        default=None, max_length=8, description="For example 100/1m."
    )
    concurrency: int | None = Field(default=None, ge=1, le=1000, description="Requests at once.")
    match: BudgetMatch | None = Field(default=None, description="Requests that draw on this budget by themselves.")


class BodyMatch(Model):
    path: str = Field(
        max_length=512, description="Expression over the answer. Without contains and equals it has to be true."
    )
    contains: str | None = Field(default=None, max_length=512, description="Text in it; capitals do not matter.")
    equals: IntOrString | None = Field(default=None, description="Its value.")


class ErrorWhen(Model):
    rules: ClassVar = (
        Rule(
            "has(self.status) || has(self.path) || has(self.phase) || has(self.header) || has(self.body)",
            "an empty when would match every answer: give at least one of status, path, phase, header and body",
        ),
    )

    status: list[Status] | None = Field(
        default=None, min_length=1, max_length=32, description="HTTP status. Left out, 400 and above."
    )
    path: str | None = Field(default=None, max_length=512, description="Path of the request; * stands for anything.")
    phase: list[Phase] | None = Field(default=None, max_length=4, description="Step of an export.")
    header: dict[str, Annotated[str, Field(max_length=256)]] | None = Field(
        default=None, max_length=8, description="Headers of the answer; * stands for anything."
    )
    body: BodyMatch | None = Field(default=None, description="What the answer says.")


class ErrorRule(Model):
    when: ErrorWhen = Field(description="Answers that this rule speaks of; all of it must fit.")
    class_: ErrorClass = Field(alias="class", description="What the answer means.")
    hint: str | None = Field(default=None, max_length=512, description="What to do about it; shown to the user.")
    wait: list[Annotated[str, Field(max_length=128)]] | None = Field(
        default=None,
        max_length=8,
        description="Where the waiting time stands, the first that is there counts: header:NAME or a duration.",
    )
    job_id: Expression | None = Field(
        default=None, alias="jobID", description="With DuplicateJob: where the answer names the running job."
    )


class Backoff(Model):
    initial: Duration | None = Field(default=None, description="The first pause. 1s if left out.")
    cap: Duration | None = Field(default=None, description="The longest pause. 1m if left out.")
    jitter: Literal["None", "Full"] | None = Field(default=None, description="Full: a random part of the pause.")


class HttpRetry(Model):
    attempts: int | None = Field(default=None, ge=1, le=50, description="How often a request is sent at most.")
    max_elapsed: Duration | None = Field(default=None, description="How long one request may take with all its pauses.")
    backoff: Backoff | None = Field(default=None, description="Pauses between attempts; each is twice the last.")


class Http(Model):
    base_url: str = Field(
        alias="baseURL", min_length=1, max_length=512, pattern=forms.BASE_URL, description="What all paths stand below."
    )
    auth: Auth | None = Field(default=None, description="How the credentials are sent. Left out, none are.")
    headers: dict[str, Annotated[str, Field(max_length=1024)]] | None = Field(
        default=None, max_length=32, description="Headers of every request."
    )
    budgets: list[Budget] | None = listmap("name", max_length=16, description="How much may be asked of the vendor.")
    errors: list[ErrorRule] | None = Field(
        default=None,
        max_length=32,
        description="The first that matches counts.",
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
    )
    retry: HttpRetry | None = Field(default=None, description="When a request is sent again within one run.")
    timeout: Duration | None = Field(default=None, description="How long to wait for an answer.")


class Request(Model):
    method: Literal["GET", "HEAD", "POST"] | None = Field(default=None, description="GET if left out.")
    path: Path = Field(description="Path below baseURL.")
    query: dict[str, IntOrString] | None = Field(default=None, max_length=32, description="Query parameters.")
    headers: dict[str, Annotated[str, Field(max_length=1024)]] | None = Field(
        default=None, max_length=32, description="Headers of this request."
    )
    body: FreeForm | None = Field(
        default=None, alias="json", description="Body, sent as JSON; texts that begin with = are expressions."
    )


class Expect(Model):
    status: list[Status] | None = Field(
        default=None,
        min_length=1,
        max_length=32,
        description="HTTP statuses that prove the credentials. Left out, 200 to 299.",
    )


class Health(Model):
    """The cheapest call that proves the credentials. A directory needs none: the bind proves them."""

    request: Request = Field(description="The call.")
    expect: Expect | None = Field(default=None, description="What the answer has to be.")
    every: Duration | None = Field(default=None, description="How often it is made.")
