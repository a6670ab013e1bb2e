"""What Towline itself asked and was answered, recorded and replayed strictly: the same entities, nothing unanswered."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.typedefs import Handler
from tests.connectors.harness import Integration, connector, served

from towline.api.conditions import Reason
from towline.contract import RunResult
from towline_connectors.kit.replay import Recording
from towline_connectors.kit.replayer import prepared, replay

TENANT = "00000000-0000-4000-8000-000000000000"
KEYS = {"access_key_id": "simulator", "secret_access_key": "simulator"}
CLIENT = {"client_id": "simulator", "client_secret": "simulator"}
Settings = Callable[[str], dict[str, Any]]


def at(url: str) -> dict[str, Any]:
    return {"base_url": url}


def in_a_region(url: str) -> dict[str, Any]:
    return {"region": "eu-central-1", "base_url": url}


def on(url: str) -> dict[str, Any]:
    return {"host": url.removeprefix("http://"), "scheme": "http"}


def logged_in(url: str) -> dict[str, Any]:
    return {"base_url": url, "login_url": url}


def of_a_tenant(url: str) -> dict[str, Any]:
    return {"tenant_id": TENANT, **logged_in(url)}


@pytest.mark.parametrize(
    ("module", "name", "settings", "secrets"),
    [
        ("cloud.aws_security_hub", "aws-security-hub", in_a_region, KEYS),
        ("cloud.wiz", "wiz", logged_in, CLIENT),
        ("cmdb.servicenow", "servicenow", on, {"username": "simulator", "password": "simulator"}),
        ("edr.cortex_xdr", "cortex-xdr", on, {"api_key_id": "simulator", "api_key": "simulator"}),
        ("edr.crowdstrike_falcon", "crowdstrike-falcon", at, CLIENT),
        ("edr.microsoft_defender_endpoint", "microsoft-defender-endpoint", of_a_tenant, CLIENT),
        ("iam.microsoft_entra_id", "microsoft-entra-id", of_a_tenant, CLIENT),
        ("iam.okta", "okta", at, {"api_token": "simulator"}),
        ("siem.splunk", "splunk", lambda url: {**on(url), "search": "index=proxy"}, {"token": "simulator"}),
        ("threat_intel.misp", "misp", on, {"auth_key": "simulator"}),
        ("ticketing.jira", "jira", on, {"email": "simulator", "api_token": "simulator"}),
        ("vulnerability.qualys_vmdr", "qualys-vmdr", at, {"username": "simulator", "password": "simulator"}),
        ("vulnerability.tenable_io", "tenable-io", at, {"access_key": "simulator", "secret_key": "simulator"}),
    ],
    ids=lambda value: value if isinstance(value, str) and "." not in value else "",
)  # fmt: skip
def test_a_recording_of_towline_itself_replays_strictly(
    tmp_path: Path, module: str, name: str, settings: Settings, secrets: dict[str, str]
) -> None:
    simulator = importlib.import_module(f"towline_connectors.catalogue.{module}.simulator")
    app = simulator.application(simulator.Options(**simulator.SMALL))
    exchanges: list[dict[str, Any]] = []
    app.middlewares.append(recorder(exchanges))
    with served(app) as url:
        synced = Integration(name, settings(url), secrets, tmp_path / "data.db").sync()
    assert synced.reason is Reason.COMPLETED, synced.message

    file = tmp_path / "own.har"
    file.write_text(json.dumps({"log": {"version": "1.2", "entries": exchanges}}))
    spec, recording = connector(name).spec, Recording.load(file)
    given = {"search": "index=proxy"} if name == "splunk" else {}
    config = prepared(spec, recording, given)
    streams = [stream.name for stream in spec.streams or [] if stream.emit]
    outcomes = list(replay(name, spec, recording, config=config, streams=streams, lenient=False))
    assert [f"{each.name}: {each.problem}" for each in outcomes if not each.good] == []
    assert sum(read(each.result) for each in outcomes) == read(synced) > 0


def read(result: RunResult) -> int:
    return sum(stream.read for stream in result.streams)


def recorder(exchanges: list[dict[str, Any]]) -> Any:
    """A middleware that keeps each exchange as HAR has it."""

    @web.middleware
    async def keep(request: web.Request, handler: Handler) -> web.StreamResponse:
        sent = await request.text()
        response = await handler(request)
        assert isinstance(response, web.Response)
        asked: dict[str, Any] = {"method": request.method, "url": str(request.url)}
        if sent:
            asked["postData"] = {"mimeType": request.headers.get("Content-Type", ""), "text": sent}
        headers = [{"name": header, "value": value} for header, value in response.headers.items()]
        content = {"mimeType": response.content_type, "text": response.text or ""}
        answered = {"status": response.status, "headers": headers, "content": content}
        begun = datetime.now(UTC).isoformat()
        exchanges.append({"startedDateTime": begun, "request": asked, "response": answered})
        return response

    return keep
