"""The manifest language, from a request to all of a stream's records: pages, parts, details, files."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from towline.api import forms
from towline.api.base import Duration, IntOrString, Model, Rule, StreamName
from towline.api.http import Expression, Request

Parameter = Annotated[str, Field(min_length=1, max_length=128)]


class Paginate(Model):
    """How the vendor pages. Parameters stand in the query, or by `place` in a header or in the body."""

    rules: ClassVar = (
        Rule(
            "!(self.kind in ['NextURL', 'Cursor', 'GraphQL', 'Keyset']) || has(self.from)",
            "kinds NextURL, Cursor, GraphQL and Keyset need from: where the answer names what comes next",
            field_path=".from",
            reason="FieldValueRequired",
        ),
        Rule(
            "self.kind in ['Cursor', 'Offset', 'Page', 'Keyset'] || !has(self.place)",
            "place only has a meaning with kind Cursor, Offset, Page or Keyset",
            field_path=".place",
        ),
        Rule("!has(self.end) || self.kind == 'Offset'", "end only has a meaning with kind Offset", field_path=".end"),
    )

    kind: Literal[
        "None", "NextURL", "OData", "LinkHeader", "Cursor", "GraphQL", "Offset", "Page", "Range", "Keyset"
    ] = Field(
        description="OData follows @odata.nextLink, GraphQL the pageInfo that from names, Range asks by header,"
        " Keyset goes on behind the last record. Next URLs are followed on the same host only."
    )
    from_: Expression | None = Field(
        default=None,
        alias="from",
        description="Where the next URL or cursor (with GraphQL: pageInfo) stands in the answer, or header:NAME."
        " With Keyset an expression over a page's last record. With Offset and Page a next URL that is followed where"
        " the answer names one, instead of counting on.",
    )
    place: Literal["Query", "Body", "Header"] | None = Field(
        default=None,
        description="Where the parameters stand. Query if left out. Names for Body may have dots: variables.after.",
    )
    param: Parameter | None = Field(default=None, description="Parameter of the cursor, key or page.")
    offset: Parameter | None = Field(default=None, description="Parameter of the offset.")
    end: Parameter | None = Field(default=None, description="Parameter of the offset's end, which is not in the page.")
    limit: Parameter | None = Field(default=None, description="Parameter of the page size.")
    size: int | None = Field(default=None, ge=1, le=200000, description="Records per page.")
    unit: str | None = Field(default=None, max_length=32, description="Unit of kind Range; items if left out.")
    start: int | None = Field(default=None, ge=0, description="First page number (1 if left out) or offset (0).")
    first: IntOrString | None = Field(default=None, description="Cursor or key of the first request. Left out, none.")
    total: Expression | None = Field(
        default=None, description="Where the number of all records stands: header:NAME or an expression."
    )
    pages: Expression | None = Field(
        default=None, description="Where the number of all pages stands: header:NAME or an expression."
    )
    more: Expression | None = Field(
        default=None, description="Whether there is a next page: an expression over the answer."
    )
    until: Literal["Short", "Empty"] | None = Field(
        default=None,
        description="Short: a page with fewer records than asked for is the last; what Offset and Page do if nothing"
        " else tells. Empty: only a page without records is; with the other kinds it ends them.",
    )
    reanchor: bool | None = Field(
        default=None,
        description="For Offset in ascending order: begin each page anew at the last cursor value instead of"
        " counting on, so that rows which move while we read are not missed.",
    )


class Partition(Model):
    """What a stream is read by, one piece after another: the records of another stream, values, or spans of time.

    The piece is `${partition.NAME}` in requests, and each record that is an object gets it as `partition`."""

    rules: ClassVar = (
        Rule(
            "self.kind != 'Parent' || (has(self.stream) && has(self.key))",
            "kind Parent needs stream and key: whose records, and what of each",
        ),
        Rule("(self.kind == 'List') == has(self.values)", "values belong to kind List, and it needs them"),
        Rule(
            "self.kind == 'Dates' || !(has(self.step) || has(self.smallest) || has(self.cap) || has(self.count))",
            "step, smallest, cap and count only have a meaning with kind Dates",
        ),
        Rule(
            "self.kind == 'Parent' || !(has(self.stream) || has(self.key) || has(self.keep) || has(self.when))",
            "stream, key, keep and when only have a meaning with kind Parent",
        ),
    )

    name: Annotated[str, Field(min_length=1, max_length=63, pattern=forms.CREDENTIAL_KEY)] = Field(
        description="Name in ${partition.NAME}. With kind Dates it is ${partition.start} and ${partition.end} instead."
    )
    kind: Literal["Parent", "List", "Dates"] = Field(description="What the pieces are.")
    stream: StreamName | None = Field(
        default=None, description="With Parent: a stream with a request. It is read with this stream's window."
    )
    key: Expression | None = Field(default=None, description="With Parent: expression over its record.")
    when: Expression | None = Field(default=None, description="With Parent: only records that are true here.")
    keep: dict[str, Expression] | None = Field(
        default=None, max_length=16, description="With Parent: more of its record, as ${partition.NAME} too."
    )
    batch: int | None = Field(
        default=None,
        ge=1,
        le=10000,
        description="So many keys or values at once: the piece is a list then. One if left out.",
    )
    values: list[Annotated[str, Field(max_length=1024)]] | str | None = Field(
        default=None,
        json_schema_extra={"x-kubernetes-preserve-unknown-fields": True},
        description="With List: the values, or an expression for them, for example =config.regions.",
    )
    step: Duration | None = Field(default=None, description="With Dates: length of a span. Left out, the whole window.")
    smallest: Duration | None = Field(
        default=None, description="With Dates: spans are split down to this. 1m if left out."
    )
    cap: int | None = Field(
        default=None,
        ge=1,
        description="With Dates: the vendor gives so many records at most; then a span is split.",
    )
    count: Expression | None = Field(
        default=None,
        description="With Dates: where the first page tells how many records a span has: header:NAME or an expression."
        " Left out, a span that gave cap records is split.",
    )
    optional: bool | None = Field(
        default=None,
        description="A piece that is denied or gone is left out instead of failing the stream; nothing is deleted.",
    )


class Details(Model):
    """A second request for what the first one found, for example the entities behind a list of ids."""

    request: Request = Field(description="The call; expressions see the keys as ids, ${id} is the first of them.")
    key: Expression | None = Field(default=None, description="Key of what was found; left out, it is the key itself.")
    batch: int = Field(default=100, ge=1, le=10000, description="Keys of one request.")
    records: Expression | None = Field(default=None, description="Where its records stand; left out, the root.")
    format: Literal["JSON", "JSONLines", "CSV", "XML", "Lines"] | None = Field(
        default=None, description="What its answers are. The stream's format if left out."
    )
    into: Annotated[str, Field(max_length=63, pattern=forms.CREDENTIAL_KEY)] | None = Field(
        default=None,
        description="With batch 1: keep the first request's record and put what was found into it under this name.",
    )
    optional: bool | None = Field(default=None, description="Keys that are gone or denied are left out.")


class Files(Model):
    """Reports as files: a folder on a volume, or a URL."""

    rules: ClassVar = (Rule("has(self.path) || has(self.url)", "give path or url: where the reports are"),)

    path: str | None = Field(
        default=None, max_length=512, description="File, folder or pattern, usually ${config.path}."
    )
    url: str | None = Field(default=None, max_length=1024, description="One report's address, usually ${config.url}.")
    headers: dict[str, Annotated[str, Field(max_length=1024)]] | None = Field(
        default=None, max_length=16, description="Headers that are sent to url."
    )
    volume: str | None = Field(
        default=None, max_length=253, description="Claim that is mounted read-only, usually ${config.volume}."
    )
    timeout: Duration | None = Field(default=None, description="How long to wait for url. 1m if left out.")


class FileRead(Model):
    """Which files a stream reads."""

    pattern: str | None = Field(
        default=None, max_length=256, description="Pattern in a folder; **/*.json* if left out."
    )
    expect: Expression | None = Field(
        default=None, description="Expression over the document; a file that is not true here is left out."
    )
    max_bytes: int | None = Field(default=None, ge=1, description="Largest file, inflated. 256 MiB if left out.")


class SyncToken(Model):
    """A vendor's token for what changed since; the last answer of a run gives the one for the next run."""

    from_: Expression = Field(alias="from", description="Where the answer holds it, or header:NAME.")
    place: Literal["URL", "Query", "Body", "Header"] = Field(
        description="How the next run begins: with the token as URL on the same host, or as a parameter."
    )
    param: Parameter | None = Field(default=None, description="Name of the parameter.")

    rules: ClassVar = (
        Rule("(self.place != 'URL') == has(self.param)", "param belongs to Query, Body and Header, and they need it"),
    )
