"""No secret in any output, whatever it looks like and whatever fails."""

from __future__ import annotations

import base64
import json
import logging
import sqlite3
import tempfile
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
from aiohttp import web
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.engine.plans import plan, spec, sync, users
from tests.unit.engine.vendor import Vendor

from towline_connectors.engine import http
from towline_connectors.engine.redact import JsonLines, Redactor

AROUND = st.text(max_size=30)
SECRETS = st.text(st.characters(min_codepoint=33, max_codepoint=0x24F), min_size=8, max_size=60)
TAILS = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=20)
FORMS: dict[str, Callable[[str, str], str]] = {
    "raw": lambda secret, _before: secret,
    "Base64": lambda secret, before: base64.b64encode(f"{before}{secret}~".encode()).decode(),
    "Base64 for URLs": lambda secret, before: base64.urlsafe_b64encode(f"{before}{secret}".encode()).decode(),
    "Basic": lambda secret, before: "Basic " + base64.b64encode(f"{before}:{secret}".encode()).decode(),
    "URL": lambda secret, _before: quote(secret),
    "URL, all": lambda secret, _before: quote(secret, safe=""),
    "form": lambda secret, _before: quote_plus(secret),
    "JSON": lambda secret, _before: json.dumps(secret)[1:-1],
    "JSON, not ASCII": lambda secret, _before: json.dumps(secret, ensure_ascii=False)[1:-1],
    "hex": lambda secret, _before: secret.encode().hex(),
    "HEX": lambda secret, _before: secret.encode().hex().upper(),
    "Python": lambda secret, _before: repr(secret)[1:-1],
}


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=60, deadline=None)
@given(secret=SECRETS, before=AROUND, after=AROUND)
def test_a_secret_is_blanked_in_every_form(form: str, secret: str, before: str, after: str) -> None:
    written = FORMS[form](secret, before)
    redacted = Redactor([secret]).text(f"{before}{written}{after}")
    # Of Base64 the letters at the edges mix with what stands beside; six of them are no secret any more.
    kept = written[4:-4] if "Bas" in form else written
    assert kept not in redacted or kept in f"{before}***{after}"
    assert "***" in redacted


@settings(max_examples=100, deadline=None)
@given(
    secret=SECRETS,
    cut=st.integers(4, 50),
    more=st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=20),
)
def test_secrets_within_and_across_each_other_leave_no_rest(secret: str, cut: int, more: str) -> None:
    other = secret[min(cut, len(secret) - 4) :] + more
    assert Redactor([secret, other, secret[:6]]).text(secret + more) in ("***", "***" + more)
    assert Redactor([secret, other]).text(f"{secret}{more}") == "***", "the second begins within the first"


def test_a_text_without_secrets_stays_as_it_is() -> None:
    assert Redactor(["s3cret-value"]).text("nothing here") == "nothing here"
    assert Redactor([]).text("nothing here") == "nothing here"
    assert Redactor(["ab"]).text("a cab") == "a cab", "two letters would blank half of every sentence"


def test_libraries_do_not_log_addresses() -> None:
    assert http.Client
    assert logging.getLogger("httpx").level == logging.WARNING, "its INFO lines hold whole URLs"
    assert logging.getLogger("httpcore").level == logging.WARNING


# -- The vendor gives the secret back at each place where it can.

Answer = Callable[[str], web.StreamResponse]


def _status(status: int, **headers: str) -> Answer:
    return lambda secret: web.Response(
        status=status, text=json.dumps({"error": secret, "message": f"bad {secret}"}), content_type="application/json",
        headers={name.replace("_", "-"): value.replace("SECRET", secret) for name, value in headers.items()},
    )  # fmt: skip


def _body(make: Callable[[str], str], kind: str = "application/json") -> Answer:
    return lambda secret: web.Response(text=make(secret), content_type=kind)


ANSWERS: dict[str, Answer] = {
    **{f"status {status}": _status(status) for status in (400, 401, 403, 404, 409, 410, 418, 422, 429, 500, 502, 503)},
    "a wait that is none": _status(429, Retry_After="x-SECRET"),
    "a redirect elsewhere": _status(302, Location="https://SECRET.example.com/SECRET"),
    "a redirect in a circle": _status(302, Location="/users?again=SECRET"),
    "another encoding": _status(200, Content_Encoding="SECRET"),
    "a page": _body(lambda secret: f"<html>{secret}</html>", "text/html"),
    "no JSON": _body(lambda secret: secret),
    "half JSON": _body(lambda secret: '{"items": [' + json.dumps(secret)),
    "another document": _body(lambda secret: json.dumps({secret: secret})),
    "records of another kind": _body(lambda secret: json.dumps({"items": secret})),
    "a next page elsewhere": _body(lambda secret: json.dumps({"items": [], "next": f"https://{secret}.example.com/"})),
    "a next page that is none": _body(lambda secret: json.dumps({"items": [], "next": f"http://[{secret}"})),
    "records that do not fit": _body(lambda _secret: json.dumps({"items": [{"id": None}, [], 5]})),
}
HEADER_SAFE = st.text(
    st.characters(min_codepoint=48, max_codepoint=122, exclude_characters="\\^`<>"), min_size=10, max_size=40
)


@pytest.mark.parametrize("answer", ANSWERS)
@settings(max_examples=2, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(secret=HEADER_SAFE)
def test_a_secret_that_comes_back_stands_nowhere(vendor: Vendor, answer: str, secret: str) -> None:
    @vendor.on("GET", "/users")
    async def handler(_request: web.Request) -> web.StreamResponse:
        return ANSWERS[answer](secret)

    lines: list[str] = []
    handler_ = logging.Handler()
    handler_.emit = lambda record: lines.append(JsonLines(Redactor([secret])).format(record))  # type: ignore[method-assign]
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler_)
    root.setLevel(logging.DEBUG)
    try:
        with tempfile.TemporaryDirectory() as folder:
            database = Path(folder) / "towline.db"
            stream = users(paginate={"kind": "NextURL", "from": "=next"})
            secrets = {"token": secret, "client_id": "cid", "client_secret": secret[::-1], "user": "u"}
            result = sync(plan(spec(vendor.url, [stream])), database, secrets=secrets)
            with sqlite3.connect(database) as db:
                tables = [name for (name,) in db.execute("select name from sqlite_master where type = 'table'")]
                rows = repr([db.execute(f'select * from "{name}"').fetchall() for name in tables])
    finally:
        root.removeHandler(handler_)
        root.setLevel(level)
    for place, text in {"result": result.model_dump_json(), "log": "\n".join(lines), "tables": rows}.items():
        assert secret not in text, place
        assert secret.encode().hex() not in text, place
