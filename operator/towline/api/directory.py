"""The manifest language, LDAP directories: how to log in and what to search."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from towline.api import forms
from towline.api.base import Duration, Model


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


class Search(Model):
    """One LDAP search, paged."""

    base: str | None = Field(
        default=None,
        max_length=512,
        description="Where to search. Left out, the directory's base; one that ends in a comma is put before it.",
    )
    deleted: bool | None = Field(
        default=None,
        description="Search what was deleted (Active Directory's tombstones). Where the account may not see it, the"
        " stream is left out.",
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
