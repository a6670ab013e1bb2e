"""The manifest language, how to speak HTTP: budgets, errors, retries, requests and the health call.

`auth` has how a request proves who asks.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from towline.api import forms
from towline.api.auth import Auth, AuthChoice, Tls
from towline.api.base import OPAQUE, Duration, FreeForm, IntOrString, Model, Name63, Rule, listmap
from towline.api.base import Expression as Expression

Path = Annotated[str, Field(min_length=1, max_length=1024)]
Status = Annotated[int, Field(ge=100, le=599)]
Phase = Literal["Create", "Poll", "Fetch", "Cancel", "Token"]
ErrorClass = Literal[
    "Empty", "Auth", "Permission", "RateLimited", "Transient", "Permanent", "DuplicateJob", "JobLost",
    "SkipStream", "SkipRecord", "Policy", "CursorLost",
]  # fmt: skip
FromHeader = Annotated[str, Field(max_length=128, pattern=forms.FROM_HEADER)]


class BudgetMatch(Model):
    path: str | None = Field(default=None, max_length=512, description="Path of the request; * stands for anything.")
    method: str | None = Field(default=None, max_length=16, description="Method of the request.")


class Adaptive(Model):
    """What the vendor's answers tell of the budget, each as header:NAME; whatever is left out is counted here."""

    limit: FromHeader | None = Field(default=None, description="Requests in the window.")
    remaining: FromHeader | None = Field(default=None, description="Requests that are left in it.")
    reset: FromHeader | None = Field(
        default=None, description="When it begins anew: seconds from now, an epoch time or a date."
    )
    keep_percent: int | None = Field(
        default=None, ge=0, le=90, description="Share of limit that is left to others. 0 if left out."
    )


class Budget(Model):
    """What one credential may ask of the vendor; streams, pushes and probes share it."""

    name: Name63 = Field(description="The budget named default holds where no other fits.")
    rates: list[Annotated[str, Field(max_length=32, pattern=forms.RATE)]] | None = Field(
        default=None, max_length=8, description="For example 100/1m."
    )
    concurrency: int | None = Field(default=None, ge=1, le=1000, description="Requests at once.")
    adaptive: Adaptive | None = Field(default=None, json_schema_extra={OPAQUE: True})
    match: BudgetMatch | None = Field(default=None, description="Requests that draw on this budget by themselves.")


class BodyMatch(Model):
    path: Expression | None = Field(
        default=None,
        description="Expression over the answer; left out, its whole text. Without contains and equals it has to be"
        " true.",
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
        default=None,
        min_length=1,
        max_length=32,
        description="HTTP status. Left out, 400 and above; with 200 a rule speaks of answers that look good.",
    )
    path: str | None = Field(default=None, max_length=512, description="Path of the request; * stands for anything.")
    phase: list[Phase] | None = Field(
        default=None,
        max_length=5,
        description="Step of an export; Token: log-ins and requests for a token, which only such rules judge.",
    )
    header: dict[str, Annotated[str, Field(max_length=256)]] | None = Field(
        default=None, max_length=8, description="Headers of the answer; * stands for anything."
    )
    body: BodyMatch | None = Field(default=None, description="What the answer says.")


class ErrorRule(Model):
    when: ErrorWhen = Field(description="Answers that this rule speaks of; all of it must fit.")
    class_: ErrorClass = Field(alias="class", description="What the answer means.")
    hint: str | None = Field(default=None, max_length=512, description="What to do about it; shown to the user.")
    wait: list[Annotated[str, Field(max_length=128, pattern=forms.WAIT)]] | None = Field(
        default=None,
        max_length=8,
        description="Where the waiting time stands, the first that is there counts: header:NAME, body:EXPRESSION or a"
        " duration. A number is seconds or, when large, an epoch time; header:NAME:ms counts milliseconds.",
    )
    job_id: Expression | None = Field(
        default=None, alias="jobID", description="With DuplicateJob: where the answer names the running job."
    )


class Backoff(Model):
    initial: Duration | None = Field(default=None, description="The first pause. 1s if left out.")
    cap: Duration | None = Field(default=None, description="The longest pause. 1m if left out.")
    jitter: Literal["None", "Full"] | None = Field(default=None, description="Full: a random part of the pause.")


class Breaker(Model):
    failures: int | None = Field(
        default=None, ge=2, le=1000, description="Failures in a row that open it. 10 if left out."
    )
    pause: Duration | None = Field(default=None, description="How long it stays open. 30s if left out.")


class HttpRetry(Model):
    attempts: int | None = Field(default=None, ge=1, le=50, description="How often a request is sent at most.")
    max_elapsed: Duration | None = Field(default=None, description="How long one request may take with all its pauses.")
    backoff: Backoff | None = Field(default=None, description="Pauses between attempts; each is twice the last.")
    breaker: Breaker | None = Field(
        default=None,
        json_schema_extra={OPAQUE: True},
        description="After many failures of a host no request is sent for a while, then one to try it.",
    )


class Http(Model):
    base_url: str = Field(
        alias="baseURL", min_length=1, max_length=512, pattern=forms.BASE_URL, description="What all paths stand below."
    )
    auth: Auth | None = Field(default=None, description="How the credentials are sent. Left out, none are.")
    auths: list[AuthChoice] | None = Field(
        default=None,
        max_length=8,
        json_schema_extra={
            OPAQUE: True, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
        },
        description="Other ways to send credentials: chosen by what the user set, or for single requests.",
    )  # fmt: skip
    tls: Tls | None = Field(default=None, json_schema_extra={OPAQUE: True})
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
    max_answer_mib: int | None = Field(
        default=None,
        alias="maxAnswerMiB",
        ge=1,
        le=4096,
        description="Largest answer, inflated. 256 if left out.",
    )


class GraphQL(Model):
    query: str = Field(min_length=1, max_length=16384, description="The document.")
    variables: dict[str, FreeForm] | None = Field(
        default=None, max_length=32, description="Variables; texts that begin with = are expressions."
    )
    operation: str | None = Field(default=None, max_length=128, description="operationName.")


class JsonRpc(Model):
    method: str = Field(min_length=1, max_length=256, description="Name of the method.")
    params: FreeForm | None = Field(default=None, description="Parameters; texts that begin with = are expressions.")


class Request(Model):
    rules: ClassVar = (
        Rule(
            # CEL cannot see json, which may be anything: the engine's check adds it.
            "(has(self.form) ? 1 : 0) + (has(self.text) ? 1 : 0) + (has(self.graphql) ? 1 : 0)"
            " + (has(self.jsonRPC) ? 1 : 0) <= 1",
            "give one of json, form, text, graphql and jsonRPC",
        ),
    )

    method: Literal["GET", "HEAD", "POST"] | None = Field(
        default=None, description="GET if left out; POST with a body."
    )
    path: Path = Field(description="Path below baseURL.")
    query: dict[str, IntOrString] | None = Field(default=None, max_length=32, description="Query parameters.")
    headers: dict[str, Annotated[str, Field(max_length=1024)]] | None = Field(
        default=None, max_length=32, description="Headers of this request."
    )
    body: FreeForm | None = Field(
        default=None, alias="json", description="Body, sent as JSON; texts that begin with = are expressions."
    )
    form: dict[str, IntOrString] | None = Field(
        default=None, max_length=64, description="Body, sent as a form; what is null is left out."
    )
    text: str | None = Field(
        default=None, max_length=8192, description="Body as it stands; XML, if it begins with <, is escaped for it."
    )
    graphql: GraphQL | None = Field(
        default=None, json_schema_extra={OPAQUE: True}, description="Body, sent as a GraphQL query."
    )
    json_rpc: JsonRpc | None = Field(
        default=None,
        alias="jsonRPC",
        json_schema_extra={OPAQUE: True},
        description="Body, sent as a JSON-RPC 2.0 call.",
    )
    auth: str | None = Field(default=None, max_length=63, description="Entry of http.auths that this request uses.")
    cost: int | None = Field(
        default=None, ge=1, le=10000, description="What it takes from the budget's rates. 1 if left out."
    )


class Expect(Model):
    status: list[Status] | None = Field(
        default=None,
        min_length=1,
        max_length=32,
        description="HTTP statuses that prove the credentials. Left out, 200 to 299.",
    )
    body: Expression | None = Field(
        default=None, description="Expression over the answer that has to be true, for APIs that refuse with 200."
    )


class Health(Model):
    """The cheapest call that proves the credentials. A directory needs none: the bind proves them."""

    request: Request = Field(description="The call.")
    expect: Expect | None = Field(default=None, description="What the answer has to be.")
    every: Duration | None = Field(default=None, description="How often it is made.")
