"""The manifest language, the way out and back: actions that push, two-way entities, webhooks that come in."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from towline.api.base import OPAQUE, Duration, FreeForm, FreeObject, IntOrString, Model, Name63, Rule, StreamName
from towline.api.http import Expression, GraphQL, Path, Request

Template = Annotated[str, Field(min_length=1, max_length=1024)]


class ActionRequest(Model):
    method: Literal["POST", "PUT", "PATCH", "DELETE"] | None = Field(default=None, description="POST if left out.")
    path: Path = Field(description="Path below baseURL.")
    query: dict[str, IntOrString] | None = Field(default=None, max_length=32, description="Query parameters.")
    headers: dict[str, Template] | None = Field(default=None, max_length=16, description="Headers.")
    body: FreeForm | None = Field(
        default=None,
        alias="json",
        description="Body, sent as JSON; texts that begin with = are expressions over input.",
    )
    form: dict[str, IntOrString] | None = Field(default=None, max_length=64, description="Body, sent as a form.")
    text: str | None = Field(default=None, max_length=8192, description="Body as it stands, with ${input.…}.")
    graphql: GraphQL | None = Field(
        default=None, json_schema_extra={OPAQUE: True}, description="Body, sent as a GraphQL mutation."
    )
    auth: str | None = Field(default=None, max_length=63, description="Entry of http.auths that this request uses.")
    cost: int | None = Field(default=None, ge=1, le=10000, description="What it takes from the budget's rates.")


class Lookup(Request):
    """The call that finds what an earlier call made."""

    records: Expression | None = Field(default=None, description="Where the records stand; left out, the root.")


class Idempotency(Model):
    """How an action that was sent twice has its effect once."""

    rules: ClassVar = (
        Rule(
            "has(self.lookup) != has(self.header)",
            "give lookup, to find what an earlier call made, or header, where the vendor itself refuses the second",
        ),
    )

    lookup: Lookup | None = Field(default=None, description="Finds what an earlier call with this key made.")
    header: Annotated[str, Field(min_length=1, max_length=64)] | None = Field(
        default=None, description="Header that takes ${input.idempotency_key}, for example Idempotency-Key."
    )
    settle: Duration | None = Field(
        default=None, description="How long the vendor's search may lag behind a call. 1m if left out."
    )


class Await(Model):
    """An action that is carried out later: its record is read until a field says that it is over."""

    stream: StreamName = Field(description="Stream that shows the record.")
    field: Annotated[str, Field(min_length=1, max_length=63)] = Field(description="Field of the entity.")
    done: list[Annotated[str, Field(max_length=64)]] = Field(
        min_length=1, max_length=16, description="Values that end it well."
    )
    failed: list[Annotated[str, Field(max_length=64)]] | None = Field(
        default=None, max_length=16, description="Values that end it otherwise."
    )
    poll: Duration | None = Field(default=None, description="How often to look. 1m if left out.")
    timeout: Duration | None = Field(default=None, description="How long to wait. 14d if left out.")


class Action(Model):
    name: StreamName = Field(description="Name of the action, for example create-incident.")
    description: str | None = Field(default=None, max_length=500, description="What it does.")
    permission: str | None = Field(
        default=None, max_length=256, description="Right that the credentials need at the vendor."
    )
    input: FreeObject | None = Field(default=None, description="JSON schema of ${input.…}.")
    request: ActionRequest = Field(description="The call.")
    idempotent: bool | None = Field(default=None, description="The same call twice does no harm.")
    idempotency: Idempotency | None = Field(
        default=None,
        json_schema_extra={OPAQUE: True},
        description="How to find out whether an earlier call was carried out.",
    )
    batch: int | None = Field(default=None, ge=1, le=10000, description="Items in one call; input.items has them.")
    result: dict[str, Expression] | None = Field(
        default=None, max_length=16, description="What is kept of the answer: names and expressions."
    )
    await_: Await | None = Field(
        default=None,
        alias="await",
        json_schema_extra={OPAQUE: True},
        description="How to wait for an action that the vendor carries out later.",
    )


class Conflict(Model):
    detect: Literal["BaseVersion", "Reread", "base_version"] = Field(
        description="BaseVersion: the vendor's version of the record; Reread: its fields, read before writing."
    )
    base: Expression | None = Field(default=None, description="Expression for the version in the source's record.")
    on_conflict: Literal["OwnerWins", "Hold", "owner_wins"] | None = Field(
        default=None, description="OwnerWins if left out."
    )


class EchoWhen(Model):
    field: Annotated[str, Field(min_length=1, max_length=63)] = Field(description="Field of the entity.")
    equals_last_push_hash: bool | None = Field(default=None, description="It holds the hash of what was pushed last.")


class Echo(Model):
    ignore_if: EchoWhen = Field(description="A change that is our own coming back.")


class TwoWay(Model):
    entity: Name63 = Field(description="Name of the entity, for example incident.")
    owner: dict[str, Literal["Remote", "Local", "Append"]] | None = Field(
        default=None, max_length=50, description="Whose value counts for each field."
    )
    conflict: Conflict | None = Field(
        default=None,
        json_schema_extra={OPAQUE: True},
        description="How a change on both sides is noticed and settled.",
    )
    echo: Echo | None = Field(
        default=None,
        json_schema_extra={OPAQUE: True},
        description="How our own change is known when it comes back.",
    )


class Verify(Model):
    rules: ClassVar = (
        Rule(
            "self.kind == 'StandardWebhooks' || self.kind == 'Basic' || self.kind == 'BearerToken' || has(self.header)",
            "this kind needs header: where the delivery's signature or token stands",
            field_path=".header",
            reason="FieldValueRequired",
        ),
    )

    kind: Literal[
        "HMACSHA256", "HMACSHA1", "HMACSHA512", "StandardWebhooks", "BearerToken", "Token", "Basic", "Ed25519"
    ] = Field(description="How a delivery proves where it comes from.")
    header: str | None = Field(default=None, max_length=128, description="Header that holds the signature or token.")
    timestamp_header: str | None = Field(
        default=None, max_length=128, description="Header that holds the time of the delivery."
    )
    tolerance: Duration | None = Field(
        default=None, description="How old a delivery may be, where its time is known. 5m if left out."
    )
    secret: str | None = Field(
        default=None,
        max_length=128,
        description="The key, for example ${secret.webhook_secret}. Left out, the Secret of Integration.spec.webhook.",
    )
    encoding: Literal["Hex", "Base64"] | None = Field(
        default=None, description="How the signature is written. Hex if left out."
    )
    prefix: str | None = Field(
        default=None, max_length=32, description="What stands before each signature, for example sha256=."
    )
    signed: str | None = Field(
        default=None,
        max_length=256,
        description="What is signed, made of ${body}, ${timestamp} and ${id}. ${body} if left out.",
    )
    id_header: str | None = Field(default=None, max_length=128, description="Header that holds the delivery's id.")


class Handshake(Model):
    """How the vendor asks whether the address is ours, and what it is answered."""

    method: Literal["GET", "POST"] | None = Field(default=None, description="POST if left out.")
    challenge: Annotated[str, Field(min_length=1, max_length=128)] = Field(
        description="Where the challenge stands: header:NAME, query:NAME or an expression over the body."
    )
    answer: Annotated[str, Field(min_length=1, max_length=64)] | None = Field(
        default=None, description="JSON member that holds it in the answer; left out, it is the answer's whole text."
    )


class Refetch(Model):
    stream: str = Field(max_length=512, description="Stream whose record is read anew, or an expression for its name.")
    key: Expression = Field(description="Expression for the record's key.")


class Webhook(Model):
    name: Name63 = Field(description="Name of the webhook; part of its path.")
    verify: Verify = Field(description="How deliveries are verified.")
    handshake: Handshake | None = Field(default=None, json_schema_extra={OPAQUE: True})
    when: Expression | None = Field(default=None, description="Deliveries that are not true here are dropped.")
    dedupe: Expression | None = Field(
        default=None, description="Expression for an id; a delivery with a known id is dropped."
    )
    items: Expression | None = Field(default=None, description="Expression for the list of records that it speaks of.")
    refetch: Refetch | None = Field(
        default=None, description="What to read when a delivery comes, instead of trusting its content."
    )
