"""The manifest language, the way out and back: actions that push, two-way entities, webhooks that come in."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from towline.api.base import Duration, FreeForm, FreeObject, Model, Name63, StreamName
from towline.api.http import Path


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
