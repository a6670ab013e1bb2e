"""A check that names streams: each is asked for one page, nothing is stored, what fails is told stream by stream."""

from __future__ import annotations

from typing import Any

from aiohttp import web
from tests.unit.engine.plans import SECRETS, plan, spec, users
from tests.unit.engine.vendor import Vendor

from towline.api.conditions import Reason
from towline.contract import StreamPlan
from towline_connectors.engine.run import run

PAGE = {"items": [{"id": f"u{number}", "name": "A", "mail": "a@b"} for number in range(10)]}


def check(vendor: Vendor, streams: list[dict[str, Any]], *named: str) -> Any:
    vendor.json("/ok", {})
    found = plan(spec(vendor.url, streams), mode="Check", streams=[StreamPlan(name=name) for name in named])
    return run(found, SECRETS, None, pod_uid="pod-1")


def test_a_named_stream_is_asked_for_one_page(vendor: Vendor) -> None:
    vendor.json("/users", PAGE)
    result = check(vendor, [users()], "users")
    assert (result.reason, vendor.paths()) == (Reason.COMPLETED, ["/ok", "/users"])
    assert [(each.name, each.read, each.upserted, each.skipped) for each in result.streams] == [("users", 10, 0, None)]


def test_a_check_without_names_asks_no_stream(vendor: Vendor) -> None:
    result = check(vendor, [users()])
    assert (result.reason, vendor.paths(), result.streams) == (Reason.COMPLETED, ["/ok"], [])


def test_a_stream_without_its_right_is_named_and_the_others_are_asked(vendor: Vendor) -> None:
    @vendor.on("GET", "/secret")
    async def refuse(_request: web.Request) -> web.Response:
        return web.json_response({}, status=403)

    vendor.json("/users", PAGE)
    closed = users(name="admins", request={"path": "/secret"}, permission="admin.read")
    result = check(vendor, [closed, users()], "admins", "users")
    assert result.reason is Reason.PARTIALLY_COMPLETED
    admins, others = result.streams
    assert admins.skipped.startswith("PermissionDenied: ")
    assert "admin.read" in admins.skipped
    assert "admins: PermissionDenied" in result.message
    assert (others.read, others.skipped) == (10, None)


def test_records_that_do_not_fit_are_counted_and_not_quoted(vendor: Vendor) -> None:
    vendor.json("/users", {"items": [{"id": "u1", "name": "A", "mail": "a@b"}, {"name": "no key", "mail": "c@d"}]})
    (stream,) = check(vendor, [users()], "users").streams
    assert (stream.read, stream.rejected) == (2, 1)
    assert stream.skipped == "SchemaMismatch: 1 of 2 records of the first page do not fit"


def test_rejected_credentials_end_it_before_any_stream(vendor: Vendor) -> None:
    vendor.json("/users", PAGE)
    vendor.json("/ok", {}, status=401)
    found = plan(spec(vendor.url, [users()]), mode="Check", streams=[StreamPlan(name="users")])
    result = run(found, SECRETS, None, pod_uid="pod-1")
    assert (result.reason, result.streams) == (Reason.CREDENTIALS_REJECTED, [])
