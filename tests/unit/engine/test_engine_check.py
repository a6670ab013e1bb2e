"""Mistakes in a manifest's texts: each is found without a request, with its place and its cure."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.engine.plans import spec, users

from towline_connectors.engine.compile import load_spec, manifest_problems


def problems(stream: dict[str, Any] | None = None, **http: Any) -> list[str]:
    return manifest_problems(load_spec(spec("https://api.example.com", [stream or users()], **http)))


def asking(request: dict[str, Any]) -> dict[str, Any]:
    return users(request={"path": "/u", **request})


def emitting(**emit: Any) -> dict[str, Any]:
    return users(emit=[{"entity": "user", "key": "=id", **emit}])


@pytest.mark.parametrize(
    ("stream", "words"),
    [
        (emitting(fields={"name": "not( an expression"}), "emit[user].fields.name: `not( an expression`"),
        (emitting(fields={"name": "name"}), "write =name to read it from the record, or {value: name} for the text"),
        (emitting(fields={"name": "${config.tenant"}), "streams[users].emit[user].fields.name: "),
        (emitting(fields={"name": "=not( an"}), "streams[users].emit[user].fields.name: `not( an` is not JMESPath"),
        (emitting(when="!a.b"), "streams[users].emit[user].when: `!` takes the name after it alone"),
        (emitting(when="a ="), "streams[users].emit[user].when: "),
        (emitting(key="=a["), "streams[users].emit[user].key: "),
        (emitting(forEach="lowr(a)"), "forEach: there is no function lowr(); is lower() meant?"),
        (users(records="=items["), "streams[users].records: "),
        (users(request={"path": "/${config.tenant"}), "request.path: `${config.tenant` begins a reference"),
        (asking({"query": {"a": "${foo.bar}"}}), "streams[users].request.query.a: ${foo.bar} is not"),
        (asking({"query": {"a": "${config.nope}"}}), "${config.nope} is no property in configSchema"),
        (asking({"headers": {"A": "${secret.nope}"}}), "${secret.nope} is no key in credentials"),
        (asking({"json": {"a": [{"b": "=max("}]}}), "streams[users].request.json.a[0].b: "),
        (asking({"query": {"a": "${secret.user | rot13}"}}), "there is no converter rot13; there are"),
        (asking({"query": {"a": "${sign.nonce}"}}), "${sign.nonce} is not known here"),
        (asking({"query": {"a": "${window.begin}"}}), "window has start, end, full, now, token"),
        (asking({"auth": "gate"}), "streams[users].request.auth: http.auths has no entry gate"),
        (asking({"json": {}, "form": {"a": 1}}), "give one of json, form, text, graphql and jsonRPC"),
        (users(budget="none"), "streams[users].budget: http.budgets has no entry none; add it"),
        (users(paginate={"kind": "Cursor", "param": "c", "from": "=next["}), "streams[users].paginate.from: "),
    ],
)  # fmt: skip
def test_a_mistake_in_a_stream_is_named_with_its_place_and_cure(stream: dict[str, Any], words: str) -> None:
    found = problems(stream)
    assert len(found) == 1
    assert words in found[0]
    assert "Traceback" not in found[0]


LOGIN = {"path": "/login", "form": {"u": "${secret.user}"}, "take": {"key": "=sessionKey"}}


@pytest.mark.parametrize(
    ("http", "words"),
    [
        ({"auth": {"kind": "Bearer", "value": "${secret.token"}}, "http.auth.value: `${secret.token` begins"),
        ({"auth": {"kind": "Bearer", "value": "${window.start}"}}, "http.auth.value: ${window.start} is not"),
        ({"headers": {"A": "${config.x}"}}, "http.headers.A: ${config.x} is no property in configSchema"),
        ({"errors": [{"when": {"status": [400], "body": {"path": "a["}}, "class": "Auth"}]},
         "http.errors[0].when.body.path: "),
        ({"errors": [{"when": {"status": [429]}, "class": "Transient", "wait": ["body:a["]}]}, "errors[0].wait[0]: "),
        ({"auths": [{"name": "b", "when": "=config.x ==", "auth": {"kind": "None"}}]}, "http.auths[b].when: "),
        ({"auth": {"kind": "Signature", "signature": {"algorithm": "HMACSHA256", "message": "m"}}},
         "http.auth.signature.key: algorithm HMACSHA256 needs a key"),
        ({"auth": {"kind": "Signature", "signature": {"algorithm": "SHA256", "message": "${request.sum}"}}},
         "${request.sum} is not known; request has method, host"),
        ({"auth": {"kind": "Session", "session": {"login": [LOGIN], "headers": {"A": "${session.kee}"}}}},
         "http.auth.session.headers.A: ${session.kee} is taken by no step of the log-in; there are key"),
        ({"auth": {"kind": "Session", "session": {"login": [{**LOGIN, "take": {"key": "=a["}}]}}},
         "http.auth.session.login[0].take.key: "),
    ],
)  # fmt: skip
def test_a_mistake_in_http_is_named_with_its_place_and_cure(http: dict[str, Any], words: str) -> None:
    found = problems(**http)
    assert len(found) == 1
    assert words in found[0]


def test_all_mistakes_are_told_at_once_and_a_good_manifest_has_none() -> None:
    stream = users(records="=a[", emit=[{"entity": "user", "key": "=b[", "fields": {"name": "=c"}}])
    assert len(problems(stream, headers={"A": "${foo.a}"})) == 3
    good = users(
        request={"path": "/${partition.id}/x", "query": {"a": "${secret.user | base64}", "b": "=window.start"}},
        partitions=[{"name": "id", "kind": "List", "values": ["a"]}],
    )
    signature = {
        "algorithm": "SHA256",
        "message": "${secret.token}${sign.nonce}",
        "headers": {"A": "${sign.signature}"},
    }
    auths = [{"name": "b", "when": "=contains(secrets, 'user')", "auth": {"kind": "Signature", "signature": signature}}]
    session = {"login": [{**LOGIN, "take": {"key": "header:X-Key", "all": "body"}}], "headers": {"A": "${session.all}"}}
    assert problems(good, auth={"kind": "Session", "session": session}, auths=auths) == []


def test_actions_and_webhooks_are_checked_too() -> None:
    manifest = {
        **spec("https://api.example.com", [users()]),
        "capabilities": ["Pull", "Push", "Webhook"],
        "actions": [
            {
                "name": "close",
                "request": {"path": "/a/${input.key}", "json": {"a": "=input.title", "b": "${part"}},
                "idempotency": {"lookup": {"path": "/a", "records": "=result["}},
                "await": {"stream": "nothing", "field": "status", "done": ["x"]},
            }
        ],
        "webhooks": [
            {
                "name": "changed",
                "verify": {"kind": "HMACSHA256", "header": "X-Sig", "signed": "${timestamp}.${config.tenant}"},
                "dedupe": "=id[",
                "refetch": {"stream": "table", "key": "=sys_id"},
            }
        ],
    }
    found = manifest_problems(load_spec(manifest))
    for place in (
        "actions[close].request.json.b: `${part` begins a reference",
        "actions[close].idempotency.lookup.records: ",
        "actions[close].await.stream: there is no stream nothing",
        "verify.signed: ${config.tenant} is not known here; there are ${body}, ${timestamp} and ${id}",
        "webhooks[changed].dedupe: ",
        "webhooks[changed].refetch.stream: there is no stream table; an expression begins with =",
    ):
        assert any(place in problem for problem in found), (place, found)
    assert len(found) == 6
