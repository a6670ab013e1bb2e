"""AWS Signature Version 4: the published example, and what botocore makes of the same requests."""

from __future__ import annotations

import json
import subprocess
from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp import web
from tests.moto import environment
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
def test_botocore_signs_alike(method: str, path: str, body: bytes, token: str) -> None:
    folder = environment()
    if folder is None:
        pytest.skip("botocore, which comes with moto's environment, cannot be installed")
    url = f"https://securityhub.eu-west-1.amazonaws.com{path}"
    headers = {"content-type": "application/json"} if body else {}
    given = [method, url, body.decode(), headers, KEYS.access_key, KEYS.secret_key, token or None, NOW]
    command = [str(folder / "bin" / "python"), "-c", BOTOCORE, json.dumps(given)]
    theirs = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    keys = Keys(KEYS.access_key, KEYS.secret_key, token)
    ours = sign(HttpRequest(method, url, dict(headers), body), keys, "eu-west-1", "securityhub", NOW)
    assert ours["authorization"] == theirs


# Signs as AWS' own client does, at a given moment.
BOTOCORE = """
import json, sys
from datetime import UTC, datetime
from botocore import auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

method, url, body, headers, access, secret, token, now = json.loads(sys.argv[1])
moment = datetime.fromtimestamp(now, UTC)

class Clock:
    def __getattr__(self, name):
        return (lambda *_: moment) if name in ("now", "utcnow") else getattr(datetime, name)

if hasattr(auth, "get_current_datetime"):
    auth.get_current_datetime = lambda **_: moment
else:
    auth.datetime = Clock()
request = AWSRequest(method=method, url=url, data=body.encode(), headers=headers)
auth.SigV4Auth(Credentials(access, secret, token), "securityhub", "eu-west-1").add_auth(request)
print(request.headers["Authorization"])
"""


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
