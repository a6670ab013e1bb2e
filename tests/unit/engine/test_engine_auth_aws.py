"""AWS Signature Version 4: the published example, and botocore's own answer where it is installed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp import web
from tests.unit.engine.vendor import Vendor

from towline.api.auth import Auth
from towline_connectors.engine.auth.aws import Keys, SigV4, sign
from towline_connectors.engine.auth.base import Context
from towline_connectors.engine.errors import CredentialsRejected
from towline_connectors.engine.http import Client, HttpAnswer, HttpRequest
from towline_connectors.engine.interpolate import Secrets

KEYS = Keys("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
NOW = datetime(2015, 8, 30, 12, 36, tzinfo=UTC).timestamp()


def test_the_example_of_the_specification_has_its_signature() -> None:
    request = HttpRequest(
        "GET",
        "https://iam.amazonaws.com/?Action=ListUsers&Version=2010-05-08",
        {"content-type": "application/x-www-form-urlencoded; charset=utf-8"},
    )
    added = sign(request, KEYS, "us-east-1", "iam", NOW)
    assert added["x-amz-date"] == "20150830T123600Z"
    assert added["authorization"] == (
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request,"
        " SignedHeaders=content-type;host;x-amz-date,"
        " Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
    )


@pytest.mark.parametrize("token", ["", "session/token+1="])
@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/", b""),
        ("GET", "/a/b%20c/arn%3Aaws%3Ax?z=1&a=b%20c&a=a&empty=", b""),
        ("POST", "/findings", b'{"Filters": {}}'),
        ("GET", "/~user/-_.?x=%2B%3D~", b""),
    ],
)
def test_botocore_signs_alike(method: str, path: str, body: bytes, token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    auth = pytest.importorskip("botocore.auth")
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    url = f"https://securityhub.eu-west-1.amazonaws.com{path}"
    headers = {"content-type": "application/json"} if body else {}
    theirs = AWSRequest(method=method, url=url, data=body, headers=dict(headers))
    moment = datetime.fromtimestamp(NOW, UTC)
    for name in ("get_current_datetime", "datetime"):
        if hasattr(auth, name):
            monkeypatch.setattr(auth, name, _Clock(moment) if name == "datetime" else lambda **_: moment)
    auth.SigV4Auth(Credentials(KEYS.access_key, KEYS.secret_key, token or None), "securityhub", "eu-west-1").add_auth(
        theirs
    )
    keys = Keys(KEYS.access_key, KEYS.secret_key, token)
    ours = sign(HttpRequest(method, url, dict(headers), body), keys, "eu-west-1", "securityhub", NOW)
    assert ours["authorization"] == theirs.headers["Authorization"]


class _Clock:
    """Stands for the module's datetime class where botocore asks it for the time."""

    def __init__(self, moment: datetime) -> None:
        self._moment = moment

    def __getattr__(self, name: str) -> Any:
        return (lambda *_: self._moment) if name in ("now", "utcnow") else getattr(datetime, name)


STS = """<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>ASIA1</AccessKeyId>
<SecretAccessKey>s3cr/et+x</SecretAccessKey><SessionToken>tok//en==</SessionToken></Credentials></AssumeRoleResult>
</AssumeRoleResponse>"""


async def test_a_role_is_taken_on_and_its_keys_sign(vendor: Vendor) -> None:
    forms: list[dict[str, Any]] = []

    @vendor.on("POST", "/")
    async def sts(request: web.Request) -> web.Response:
        forms.append(dict(await request.post()))
        good = "Credential=AKID/" in request.headers["authorization"]
        return web.Response(text=STS if good else "", status=200 if good else 403, content_type="text/xml")

    client = Client(("sts.eu-west-1.amazonaws.com",), reroute=vendor.url)
    scope = {
        "config": {"role": "arn:aws:iam::1:role/r"},
        "secret": Secrets({"access_key_id": "AKID", "secret_access_key": "x"}),
    }

    async def send(request: HttpRequest) -> HttpAnswer:
        return await client.send(request)

    def signer(key: str) -> SigV4:
        aws = {
            "region": "eu-west-1", "service": "securityhub", "accessKeyID": key, "sessionToken": "${secret.none}",
            "assumeRole": {"roleARN": "${config.role}", "externalID": "${config.none}"},
        }  # fmt: skip
        auth = Auth.model_validate({"kind": "AWSSigV4", "aws": aws})
        return SigV4(auth, Context(scope, send, lambda path: path))

    found = signer("${secret.access_key_id}")
    await found.prepare()
    request = HttpRequest("GET", "https://securityhub.eu-west-1.amazonaws.com/accounts")
    await found.apply(request)
    assert "Credential=ASIA1/" in request.headers["authorization"]
    assert request.headers["x-amz-security-token"] == "tok//en=="
    assert forms[0]["RoleArn"] == "arn:aws:iam::1:role/r"
    assert "ExternalId" not in forms[0]
    await found.prepare()
    assert len(forms) == 1, "the keys are kept until they expire"

    with pytest.raises(CredentialsRejected, match="trust policy and the external id"):
        await signer("other").prepare()
    await client.close()
