"""`towline connector replay`: a connector against a recording, as its author runs it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from tests.cli.conftest import Towline

ROOT = Path(os.environ.get("TOWLINE_RECORDINGS") or Path(__file__).parents[3] / "shared" / "recordings")
recorded = pytest.mark.skipif(not ROOT.is_dir(), reason="no recorded traffic: set TOWLINE_RECORDINGS")

MANIFEST = """\
apiVersion: towline.dev/v1alpha1
kind: Connector
metadata: {name: acme}
spec:
  title: Acme
  version: 1.0.0
  category: Other
  capabilities: [Pull]
  credentials: [{key: client_id}, {key: client_secret}]
  configSchema:
    type: object
    required: [host, tenant]
    properties: {host: {type: string}, tenant: {type: string, pattern: "^[0-9a-f]{8}$"}, kind: {type: string}}
  egress: ["${config.host}", login.acme.example]
  http:
    baseURL: https://${config.host}/api
    auth: {kind: OAuth2ClientCredentials, tokenURL: "https://login.acme.example/${config.tenant}/oauth2/token"}
  streams:
  - name: users
    request: {path: "/${config.tenant}/users"}
    records: "=items"
    paginate: {kind: NextURL, from: "=next"}
    sync: {mode: Full}
    emit: [{entity: user, key: "=id", fields: {name: "=name", email_addr: "=mail"}}]
  - name: groups
    request: {path: "/${config.tenant}/groups", query: {kind: "=config.kind"}}
    records: "=items"
    paginate: {kind: Offset, offset: at, limit: size, size: 1000}
    sync: {mode: Full}
    emit: [{entity: group, key: "=id", fields: {name: "=name"}}]
"""
BASE = "https://eu7.acme.example/api/12ab34cd"


def exchange(url: str, answer: Any, method: str = "GET", status: int = 200, **headers: str) -> dict[str, Any]:
    return {
        "startedDateTime": "2026-01-01T00:00:00Z",
        "request": {"method": method, "url": url, "headers": []},
        "response": {
            "status": status,
            "headers": [{"name": name.replace("_", "-"), "value": value} for name, value in headers.items()],
            "content": {"mimeType": "application/json", "text": json.dumps(answer)},
        },
    }


USERS = [
    exchange(f"{BASE}/users", {"items": [], "error": "slow down"}, status=429, retry_after="3600"),
    exchange(f"{BASE}/users", {"items": [{"id": "1", "name": "ann"}], "next": f"{BASE}/users?cursor=b"}),
    exchange(f"{BASE}/users?cursor=b", {"items": [{"id": "2", "name": "bob", "mail": "b@acme.example"}]}),
]
GROUPS = [
    exchange(f"{BASE}/groups?at={at}&size=2", {"items": [{"id": str(n), "name": f"g{n}"} for n in found]})
    for at, found in ((0, [1, 2]), (2, [3]))
]


@pytest.fixture
def acme(tmp_path: Path) -> Path:
    (tmp_path / "acme.yaml").write_text(MANIFEST)
    return tmp_path


def har(folder: Path, *exchanges: dict[str, Any]) -> str:
    (folder / "acme.har").write_text(json.dumps({"log": {"entries": list(exchanges)}}))
    return "acme.har"


def lines(stdout: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stdout.splitlines()]


def test_a_manifest_and_a_recording_are_all_it_takes(towline: Towline, acme: Path) -> None:
    done = towline("connector", "replay", "acme.yaml", "--har", har(acme, *USERS, *GROUPS), "--lenient")
    assert done.returncode == 0, done.stderr
    found = lines(done.stdout)
    assert found[:2] == [
        {"entity": "user", "stream": "users", "source_key": "1", "name": "ann", "email_addr": None},
        {"entity": "user", "stream": "users", "source_key": "2", "name": "bob", "email_addr": "b@acme.example"},
    ]
    assert [(each["stream"], each["source_key"]) for each in found[2:]] == [("groups", key) for key in "123"]
    assert "5 entities from 2 streams" in done.stderr


def test_the_host_may_be_another_one_than_the_recorded(towline: Towline, acme: Path) -> None:
    chosen = MANIFEST.replace("https://${config.host}/api", "${config.host}/api")
    (acme / "acme.yaml").write_text(chosen.replace("https://login.acme.example/${", "${config.host}/${"))
    granted = exchange("https://eu7.acme.example/9999/oauth2/token", {"access_token": "t"}, "POST")
    arguments = ("acme.yaml", "--har", har(acme, granted, *USERS), "--stream", "users")
    given = ("--config", "host=https://us1.acme.example", "--config", "tenant=12ab34cd")
    done = towline("connector", "replay", *arguments, *given)
    assert done.returncode == 0, done.stderr
    assert len(lines(done.stdout)) == 2


def test_strictly_another_page_size_is_another_request(towline: Towline, acme: Path) -> None:
    done = towline("connector", "replay", "acme.yaml", "--har", har(acme, *USERS, *GROUPS))
    assert done.returncode == 1
    assert len(lines(done.stdout)) == 2
    assert "groups  the recording has no answer to GET /api/12ab34cd/groups?" in done.stderr
    assert "--lenient" in done.stderr


def test_a_stream_that_the_recording_lacks_fails_unless_it_may_be_left_out(towline: Towline, acme: Path) -> None:
    file = har(acme, *USERS)
    strict = towline("connector", "replay", "acme.yaml", "--har", file)
    assert strict.returncode == 1
    assert "replay … --stream users" in strict.stderr
    assert towline("connector", "replay", "acme.yaml", "--har", file, "--stream", "users").returncode == 0
    lenient = towline("connector", "replay", "acme.yaml", "--har", file, "--lenient")
    assert lenient.returncode == 0
    assert "groups  not in the recording" in lenient.stderr
    assert "2 entities from 1 stream: 2 user" in lenient.stderr
    named = towline("connector", "replay", "acme.yaml", "--har", file, "--lenient", "--stream", "groups")
    assert named.returncode == 1


def test_a_recording_of_nothing_that_is_asked_fails(towline: Towline, acme: Path) -> None:
    file = har(acme, exchange("https://eu7.acme.example/api/12ab34cd/printers", {"items": []}))
    done = towline("connector", "replay", "acme.yaml", "--har", file, "--lenient")
    assert done.returncode == 1
    assert "The recording has nothing of what was asked for." in done.stderr
    assert "It has GET /api/12ab34cd/printers." in done.stderr


def test_a_page_that_is_missing_in_the_middle_fails(towline: Towline, acme: Path) -> None:
    done = towline("connector", "replay", "acme.yaml", "--har", har(acme, *USERS[:2]), "--lenient")
    assert done.returncode == 1
    assert "no answer to GET /api/12ab34cd/users?cursor=b" in done.stderr
    assert len(lines(done.stdout)) == 1


def test_a_refused_token_fails_as_it_did_when_it_was_recorded(towline: Towline, acme: Path) -> None:
    refused = exchange("https://login.acme.example/9999/oauth2/token", {"error": "invalid_client"}, "POST", 401)
    done = towline("connector", "replay", "acme.yaml", "--har", har(acme, refused, *USERS), "--stream", "users")
    assert done.returncode == 1
    assert "CredentialsRejected" in done.stderr
    assert done.stdout == ""


def test_what_fails_for_one_reason_is_told_once(towline: Towline, acme: Path) -> None:
    refused = exchange("https://login.acme.example/9999/oauth2/token", {"error": "invalid_client"}, "POST", 401)
    done = towline("connector", "replay", "acme.yaml", "--har", har(acme, refused, *USERS, *GROUPS), "--lenient")
    assert done.returncode == 1
    assert done.stderr.count("CredentialsRejected") == 1
    assert "2 of 2 streams failed" in done.stderr


DETAILS = """\
  - name: hosts
    request: {path: /ids}
    records: "=ids"
    details: {request: {path: /hosts, query: {id: "=ids"}}, records: "=items"}
    sync: {mode: Full}
    emit: [{entity: asset, key: "=id", fields: {hostname: "=name"}}]
  - name: scores
    request: {path: /ids}
    records: "=ids"
    details: {request: {path: /scores, query: {id: "=ids"}}, records: "=items"}
    sync: {mode: Full}
    emit: [{entity: score, key: "=id", fields: {value: "=score"}}]
"""


PIECES = """\
  - name: teams
    request: {path: /teams}
    records: "=items"
    sync: {mode: Full}
    emit: [{entity: group, key: "=id", fields: {name: "=name"}}]
  - name: members
    partitions: [{name: team, kind: Parent, stream: teams, key: "=id"}]
    request: {path: "/teams/${partition.team}/members"}
    records: "=items"
    sync: {mode: Full}
    emit:
    - entity: membership
      key: "=join('/', [partition.team, id])"
      fields: {group: {ref: group, key: "=partition.team"}}
"""


def test_pieces_are_read_also_where_nobody_recorded_what_they_are_pieces_of(towline: Towline, acme: Path) -> None:
    (acme / "acme.yaml").write_text(MANIFEST.partition("  - name: users")[0] + PIECES)
    base = "https://eu7.acme.example/api/teams"
    recording = har(
        acme,
        exchange(f"{base}/t1/members", {"items": [{"id": "ann"}, {"id": "bob"}]}),
        exchange(f"{base}/t%202/members", {"items": [{"id": "cid"}]}),
    )
    arguments = ("connector", "replay", "acme.yaml", "--har", recording, "--config", "tenant=12ab34cd")
    done = towline(*arguments, "--lenient")
    assert done.returncode == 0, done.stderr
    assert [each["source_key"] for each in lines(done.stdout)] == ["t1/ann", "t1/bob", "t 2/cid"]
    assert "teams    not in the recording" in done.stderr
    assert towline(*arguments).returncode == 1


ANCHORED = """\
  - name: changes
    request: {path: /changes, query: {since: "${window.start}"}}
    records: "=items"
    paginate: {kind: Offset, offset: at, limit: size, size: 500, total: "header:X-Total", reanchor: true}
    sync: {mode: Incremental, cursor: "=ts(time)", order: Ascending}
    emit: [{entity: user, key: "=id", fields: {name: "=id"}}]
"""


def test_pages_that_were_counted_through_are_counted_through(towline: Towline, acme: Path) -> None:
    """Else each page would begin anew at its last row, and the total of all pages never be reached."""
    (acme / "acme.yaml").write_text(MANIFEST.partition("  - name: users")[0] + ANCHORED)
    pages = [[(0, "b"), (1, "c")], [(2, "c"), (3, "d")], [(4, "e")]]
    exchanges = [
        exchange(
            f"https://eu7.acme.example/api/changes?size=2&at={2 * number}",
            {"items": [{"id": str(key), "time": f"2026-01-01T0{ord(at) - 97}:00:00Z"} for key, at in page]},
            X_Total="5",
        )
        for number, page in enumerate(pages)
    ]
    arguments = ("connector", "replay", "acme.yaml", "--har", har(acme, *exchanges), "--config", "tenant=12ab34cd")
    done = towline(*arguments, "--lenient")
    assert done.returncode == 0, done.stderr
    assert [each["source_key"] for each in lines(done.stdout)] == list("01234")


def test_ids_alone_are_nothing_of_a_stream_that_asks_for_what_is_behind_them(towline: Towline, acme: Path) -> None:
    (acme / "acme.yaml").write_text(MANIFEST.partition("  - name: users")[0] + DETAILS)
    base = "https://eu7.acme.example/api"
    recording = har(
        acme,
        exchange(f"{base}/ids", {"ids": ["h1"]}),
        exchange(f"{base}/hosts?id=h1", {"items": [{"id": "h1", "name": "web"}]}),
    )
    done = towline("connector", "replay", "acme.yaml", "--har", recording, "--lenient", "--config", "tenant=12ab34cd")
    assert done.returncode == 0, done.stderr
    assert [each["entity"] for each in lines(done.stdout)] == ["asset"]
    assert "scores  not in the recording" in done.stderr
    none = har(acme, exchange(f"{base}/ids", {"ids": []}))
    done = towline("connector", "replay", "acme.yaml", "--har", none, "--lenient", "--config", "tenant=12ab34cd")
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["acme.yaml", "--har", "none.har"], "none.har cannot be read: No such file or directory"),
        (["acme.yaml", "--har", "acme.yaml"], "acme.yaml is no HAR file: no JSON"),
        (["acme.yaml", "--har", "a.har", "--stream", "x"], 'there is no stream "x"; there are users, groups'),
        (["acme.yaml", "--har", "a.har", "--config", "x=1"], 'there is no setting "x"; there are host, tenant, kind'),
        (["nobody", "--har", "a.har"], 'There is no connector "nobody"'),
        (["openldap", "--har", "a.har"], "is not read over HTTP"),
    ],
)
def test_a_mistake_is_told_in_a_sentence(towline: Towline, acme: Path, arguments: list[str], message: str) -> None:
    done = towline("connector", "replay", *arguments)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@recorded
@pytest.mark.parametrize(
    ("name", "file", "streams", "counts"),
    [
        ("tenable-io", "assets-export", ["assets"], {"asset": 4}),
        (
            "tenable-io",
            "vulnerabilities-export",
            ["vulnerabilities"],
            {"vulnerability": 58, "asset_vulnerability": 103},
        ),
        ("servicenow", "incidents", ["users", "incidents"], {"user": 626, "incident": 67}),
    ],
)
def test_recorded_tenants_give_their_entities(
    towline: Towline, name: str, file: str, streams: list[str], counts: dict[str, int]
) -> None:
    chosen = [part for stream in streams for part in ("--stream", stream)]
    done = towline("connector", "replay", name, "--har", str(ROOT / name / f"{file}.har"), "--lenient", *chosen)
    assert done.returncode == 0, done.stderr
    found = [each["entity"] for each in lines(done.stdout)]
    assert {entity: found.count(entity) for entity in dict.fromkeys(found)} == counts
