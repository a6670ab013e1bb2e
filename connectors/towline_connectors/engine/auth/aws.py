"""AWS Signature Version 4, and temporary keys by STS AssumeRole.

Written here and not taken from botocore, whose import costs more time and memory than a whole small run; the tests
compare both.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote, unquote, urlsplit

from towline.api.auth import AWS, AssumeRole, Auth
from towline_connectors.engine import clock
from towline_connectors.engine.auth.base import Cached, Context, Grant, put
from towline_connectors.engine.errors import CredentialsRejected, InvalidManifest, SchemaMismatch, Unreachable
from towline_connectors.engine.http import HttpRequest

_ALGORITHM = "AWS4-HMAC-SHA256"
_ROLE_SECONDS = 3600
_TAGS = ("AccessKeyId", "SecretAccessKey", "SessionToken")


@dataclass(frozen=True, slots=True)
class Keys:
    access_key: str
    secret_key: str
    token: str = ""


def sign(request: HttpRequest, keys: Keys, region: str, service: str, now: float) -> dict[str, str]:
    """The headers that sign a request (all its other headers have to be set before). `now` is epoch seconds."""
    url = urlsplit(request.url)
    stamp = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")
    body_hash = hashlib.sha256(request.body or b"").hexdigest()
    added = {"x-amz-date": stamp}
    if keys.token:
        added["x-amz-security-token"] = keys.token
    if service == "s3":
        added["x-amz-content-sha256"] = body_hash
    kept = {name.lower(): value for name, value in request.headers.items()}
    signed = {
        "host": _host(url.scheme, url.netloc),
        **{name: value for name, value in kept.items() if name == "content-type" or name.startswith("x-amz-")},
        **added,
    }
    names = sorted(signed)
    canonical = "\n".join([
        request.method,
        _path(url.path, service),
        _query(url.query),
        *(f"{name}:{' '.join(signed[name].split())}" for name in names),
        "",
        ";".join(names),
        body_hash,
    ])  # fmt: skip
    scope = f"{stamp[:8]}/{region}/{service}/aws4_request"
    text = "\n".join([_ALGORITHM, stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = f"AWS4{keys.secret_key}".encode()
    for part in (stamp[:8], region, service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    added["authorization"] = (
        f"{_ALGORITHM} Credential={keys.access_key}/{scope}, SignedHeaders={';'.join(names)}, Signature={signature}"
    )
    return added


def _host(scheme: str, netloc: str) -> str:
    return netloc.removesuffix(":443" if scheme == "https" else ":80").lower()


def _path(path: str, service: str) -> str:
    """Encoded twice for every service but S3, as the specification wants."""
    once = path or "/"
    return once if service == "s3" else quote(once, safe="/-_.~")


def _query(query: str) -> str:
    pairs = [pair.partition("=") for pair in query.split("&") if pair]
    encoded = [(quote(unquote(name), safe="-_.~"), quote(unquote(value), safe="-_.~")) for name, _, value in pairs]
    return "&".join(f"{name}={value}" for name, value in sorted(encoded))


class SigV4(Cached):
    """The keys of the Secret, or those of a role that they may take on."""

    signs = True

    def __init__(self, auth: Auth, context: Context) -> None:
        super().__init__(skew=300.0)
        if auth.aws is None:
            raise InvalidManifest("http.auth: kind AWSSigV4 needs aws.")
        self._aws: AWS = auth.aws
        self._context = context
        self._region = context.maybe(auth.aws.region) or region_of(context.url("/"))
        self._service = context.text(auth.aws.service)
        self._own = Keys(
            context.text(auth.aws.access_key_id or "${secret.access_key_id}").strip(),
            context.text(auth.aws.secret_access_key or "${secret.secret_access_key}").strip(),
            context.maybe(auth.aws.session_token).strip(),
        )
        role = auth.aws.assume_role
        self._role = context.maybe(role.role_arn) if role else ""

    async def fetch(self) -> Grant:
        role = self._aws.assume_role
        if role is None or not self._role:
            own = self._own
            return Grant(dict(zip(_TAGS, (own.access_key, own.secret_key, own.token), strict=True)), None)
        return await self._assume(role)

    async def apply(self, request: HttpRequest) -> None:
        keys = Keys(*(self.session().get(tag, "") for tag in _TAGS))
        put(request, sign(request, keys, self._region, self._service, clock.wall()))

    def renew(self, used: int) -> bool:
        return super().renew(used) if self._role else False

    async def _assume(self, role: AssumeRole) -> Grant:
        host = f"sts.{self._region}.amazonaws.com"
        fields = {
            "Action": "AssumeRole",
            "Version": "2011-06-15",
            "RoleArn": self._role,
            "RoleSessionName": self._context.maybe(role.session_name) or "towline",
            "DurationSeconds": str(_ROLE_SECONDS),
            "ExternalId": self._context.maybe(role.external_id),
        }
        body = "&".join(f"{name}={quote(value, safe='')}" for name, value in fields.items() if value).encode()
        headers = {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}
        request = HttpRequest("POST", f"https://{host}/", headers, body, shown="AssumeRole")
        put(request, sign(request, self._own, self._region, "sts", clock.wall()))
        answer = await self._context.send(request)
        if answer.status >= 500 or answer.status == 429:
            raise Unreachable(f"{host} answered AssumeRole with {answer.status}.", status=answer.status)
        if answer.status != 200:
            raise CredentialsRejected(
                f"{host} does not let these keys take on the role ({answer.status}); check the role's ARN, its trust"
                " policy and the external id.",
                status=answer.status,
            )
        text = answer.body.decode("utf-8", "replace")
        found = {tag: _element(text, tag) for tag in _TAGS}
        if not all(found.values()):
            raise SchemaMismatch(f"{host} answered AssumeRole without keys.")
        return Grant(found, float(_ROLE_SECONDS))


def region_of(url: str) -> str:
    """The region that an AWS host names, as in securityhub.eu-west-1.amazonaws.com; us-east-1 where it names none."""
    host = urlsplit(url).hostname or ""
    match = re.search(r"[.]([a-z]{2}(?:-[a-z]+)+-[0-9]+)[.](?:vpce[.])?(?:amazonaws[.]com(?:[.]cn)?|api[.]aws)$", host)
    return match[1] if match else "us-east-1"


def _element(text: str, tag: str) -> str:
    """The content of an element that stands once in the answer and holds no others (keys are plain letters)."""
    match = re.search(rf"<{tag}>([A-Za-z0-9+/=._-]+)</{tag}>|\"{tag}\":\s*\"([A-Za-z0-9+/=._-]+)\"", text)
    return (match[1] or match[2]) if match else ""
