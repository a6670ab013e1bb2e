"""The manifest language, the way out and back: actions that push, two-way entities, webhooks that come in."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from towline.api.base import Duration, FreeForm, FreeObject, Model, Name63, StreamName
from towline.api.http import Path


class ActionRequest(Model):
    method: Literal["POST", "PUT", "PATCH", "DELETE"] | None = Field(default=None, description="POST if left out.")
    path: Path = Field(description="Path below baseURL.")
    body: FreeForm | None = Field(
        default=None,
        alias="json",
        description="Body, sent as JSON; texts that begin with = are expressions over input.",
    )


class Action(Model):
    name: StreamName = Field(description="Name of the action, for example create-incident.")
    permission: str | None = Field(
        default=None, max_length=256, description="Right that the credentials need at the vendor."
    )
    request: ActionRequest = Field(description="The call.")
    idempotent: bool | None = Field(default=None, description="The same call twice does no harm.")
    idempotency: FreeObject | None = Field(
        default=None, description="How to find out whether an earlier call was carried out."
    )
    result: dict[str, Annotated[str, Field(max_length=512)]] | None = Field(
        default=None, max_length=16, description="What is kept of the answer: names and expressions."
    )
    await_: FreeObject | None = Field(
        default=None, alias="await", description="How to wait for an action that the vendor carries out later."
    )


class TwoWay(Model):
    entity: Name63 = Field(description="Name of the entity, for example incident.")
    owner: dict[str, Literal["Remote", "Local", "Append"]] | None = Field(
        default=None, max_length=50, description="Whose value counts for each field."
    )
    conflict: FreeObject | None = Field(default=None, description="How a change on both sides is noticed and settled.")
    echo: FreeObject | None = Field(default=None, description="How our own change is known when it comes back.")


class Verify(Model):
    kind: Literal["HMACSHA256", "HMACSHA1", "StandardWebhooks", "BearerToken", "Ed25519"] = Field(
        description="How a delivery proves where it comes from."
    )
    header: str | None = Field(default=None, max_length=128, description="Header that holds the signature or token.")
    timestamp_header: str | None = Field(
        default=None, max_length=128, description="Header that holds the time of the delivery."
    )
    tolerance: Duration | None = Field(default=None, description="How old a delivery may be.")


class Refetch(Model):
    stream: str = Field(max_length=512, description="Stream whose record is read anew.")
    key: str = Field(max_length=512, description="Expression for the record's key.")


class Webhook(Model):
    name: Name63 = Field(description="Name of the webhook; part of its path.")
    verify: Verify = Field(description="How deliveries are verified.")
    dedupe: str | None = Field(
        default=None, max_length=512, description="Expression for an id; a delivery with a known id is dropped."
    )
    refetch: Refetch | None = Field(
        default=None, description="What to read when a delivery comes, instead of trusting its content."
    )
