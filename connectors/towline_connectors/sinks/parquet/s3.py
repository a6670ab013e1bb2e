"""A small client of S3-compatible stores: objects read, made once, overwritten, listed and deleted.

Signature Version 4 and path-style addresses, which AWS, MinIO, Ceph and Garage all take. It has what pyarrow's client
lacks: a PUT that fails when the object exists (`If-None-Match: *`), on which the exactly-once commit rests.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import os
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Final
from urllib.parse import parse_qsl, quote, unquote, urlsplit
from xml.etree import ElementTree

from towline_connectors.sinks import reach
from towline_connectors.sinks.base import SinkError
from towline_connectors.sinks.reach import Judge

TRIES: Final = 6  # the pauses between them grow to 8 s
SECONDS: Final = 60  # without a byte
_EMPTY: Final = hashlib.sha256(b"").hexdigest()


@dataclass(frozen=True, slots=True)
class Bucket:
    """`s3://[KEY:SECRET@]BUCKET/PREFIX?region=REGION&endpoint=URL`; without a key the AWS_… variables count."""

    name: str
    prefix: str
    region: str
    endpoint: str
    key: str
    secret: str
    token: str = ""


def parse(target: str, environment: Mapping[str, str] = os.environ) -> Bucket:
    """Raises SinkError."""
    try:
        url = urlsplit(target)
        name, options = url.hostname or "", dict(parse_qsl(url.query, strict_parsing=bool(url.query)))
        key, secret = unquote(url.username or ""), unquote(url.password or "")
    except ValueError:
        raise _malformed("the URL cannot be read") from None
    unknown = options.keys() - {"region", "endpoint"}
    if unknown or not name:
        raise _malformed(f"{min(unknown)} is no option" if unknown else "the bucket is missing")
    token = ""
    if not key:
        key, secret = environment.get("AWS_ACCESS_KEY_ID", ""), environment.get("AWS_SECRET_ACCESS_KEY", "")
        token = environment.get("AWS_SESSION_TOKEN", "")
    if not key or not secret:
        raise _malformed("there is no access key, neither in the URL nor in AWS_ACCESS_KEY_ID")
    region = options.get("region") or environment.get("AWS_REGION") or "us-east-1"
    endpoint = options.get("endpoint") or f"https://s3.{region}.amazonaws.com"
    if urlsplit(endpoint).scheme not in ("http", "https") or not urlsplit(endpoint).hostname:
        raise _malformed("endpoint is no http:// or https:// URL")
    prefix = url.path.strip("/")
    return Bucket(name, f"{prefix}/" if prefix else "", region, endpoint, key, secret, token)


def _malformed(why: str) -> SinkError:
    return SinkError(
        f"The destination is no usable S3 address: {why}. It looks like s3://KEY:SECRET@BUCKET/PREFIX?region=REGION,"
        " with &endpoint=https://HOST for stores other than AWS, and special characters percent-encoded.",
        transient=False,
    )


class S3:
    """See objects.Objects."""

    def __init__(self, bucket: Bucket, judge: Judge | None = None) -> None:
        self._bucket = bucket
        self._judge = judge
        self._url = urlsplit(bucket.endpoint)
        self._connection: http.client.HTTPConnection | None = None

    def read(self, path: str) -> bytes | None:
        status, body = self._call("GET", path, accept=(200, 404))
        return body if status == 200 else None

    def create(self, path: str, body: bytes) -> bool:
        status, _ = self._call("PUT", path, body=body, headers={"if-none-match": "*"}, accept=(200, 412))
        return status == 200

    def upload(self, path: str, file: Path) -> None:
        self._call("PUT", path, file=file)

    def download(self, path: str, file: Path) -> None:
        self._call("GET", path, into=file)

    def list(self, prefix: str, after: str = "") -> Iterator[str]:
        own, token = self._bucket.prefix, ""
        while True:
            query = {"list-type": "2", "prefix": own + prefix}
            query |= {"continuation-token": token} if token else {"start-after": own + after} if after else {}
            _, body = self._call("GET", None, query=query)
            tree = ElementTree.fromstring(body)  # noqa: S314 - of the store that the user chose
            for item in tree.iterfind("{*}Contents/{*}Key"):
                yield (item.text or "").removeprefix(own)
            token = tree.findtext("{*}NextContinuationToken") or ""
            if not token:
                return

    def delete(self, path: str) -> None:
        self._call("DELETE", path, accept=(200, 204, 404))

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _call(
        self,
        method: str,
        path: str | None,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        file: Path | None = None,
        into: Path | None = None,
        accept: tuple[int, ...] = (200,),
    ) -> tuple[int, bytes]:
        """One request, repeated while the store is busy or away."""
        key = "" if path is None else f"/{self._bucket.prefix}{path}"
        address = quote(f"{self._url.path.rstrip('/')}/{self._bucket.name}{key}", safe="/-_.~")
        asked = "&".join(f"{quote(k, safe='-_.~')}={quote(v, safe='-_.~')}" for k, v in sorted((query or {}).items()))
        digest = _digest(file) if file is not None else hashlib.sha256(body).hexdigest() if body else _EMPTY
        trouble = "it does not answer"
        for turn in range(TRIES):
            if turn:
                time.sleep(min(8.0, 0.25 * 2**turn))
            signed = self._signed(method, address, asked, digest, dict(headers or {}))
            try:
                status, answer = self._exchange(method, address, asked, signed, body, file, into)
            except (OSError, http.client.HTTPException) as error:
                self.close()
                trouble = f"it does not answer ({type(error).__name__})"
                continue
            if status in accept:
                return status, answer
            if status not in (409, 429) and status < 500:
                raise self._refusal(status, answer)
            trouble = f"it answers {status}"
        raise SinkError(f"The object store at {self._bucket.endpoint} cannot be used: {trouble}. Try again later.")

    def _exchange(
        self,
        method: str,
        address: str,
        asked: str,
        headers: dict[str, str],
        body: bytes,
        file: Path | None,
        into: Path | None,
    ) -> tuple[int, bytes]:
        connection = self._connected()
        url = f"{address}?{asked}" if asked else address
        if file is not None:
            with file.open("rb") as content:
                connection.request(method, url, content, {**headers, "content-length": str(file.stat().st_size)})
        else:
            connection.request(method, url, body or None, {**headers, "content-length": str(len(body))})
        with connection.getresponse() as answer:
            if into is None or answer.status != 200:
                return answer.status, answer.read()
            with into.open("wb") as target:
                _pour(answer, target)
            return 200, b""

    def _connected(self) -> http.client.HTTPConnection:
        if self._connection is None or self._connection.sock is None:
            host, tls = self._url.hostname or "", self._url.scheme == "https"
            port = self._url.port or (443 if tls else 80)
            opened = reach.connect(host, port, SECONDS, self._judge)
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._connection = http.client.HTTPConnection(host, port, timeout=SECONDS)
            self._connection.auto_open = 0  # it would look the name up again
            self._connection.sock = (
                ssl.create_default_context().wrap_socket(opened, server_hostname=host) if tls else opened
            )
        return self._connection

    def _signed(self, method: str, address: str, asked: str, digest: str, headers: dict[str, str]) -> dict[str, str]:
        """The headers with AWS' Signature Version 4."""
        bucket, now = self._bucket, datetime.now(UTC)
        moment, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
        headers |= {"host": self._url.netloc, "x-amz-content-sha256": digest, "x-amz-date": moment}
        if bucket.token:
            headers["x-amz-security-token"] = bucket.token
        names = ";".join(sorted(headers))
        lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
        canonical = "\n".join((method, address, asked, lines, names, digest))
        scope = f"{day}/{bucket.region}/s3/aws4_request"
        text = "\n".join(("AWS4-HMAC-SHA256", moment, scope, hashlib.sha256(canonical.encode()).hexdigest()))
        key = f"AWS4{bucket.secret}".encode()
        for part in scope.split("/"):
            key = hmac.digest(key, part.encode(), "sha256")
        signature = hmac.digest(key, text.encode(), "sha256").hex()
        return headers | {
            "authorization": f"AWS4-HMAC-SHA256 Credential={bucket.key}/{scope}, SignedHeaders={names},"
            f" Signature={signature}"
        }

    def _refusal(self, status: int, answer: bytes) -> SinkError:
        code = ""
        with suppress(ElementTree.ParseError):
            code = ElementTree.fromstring(answer).findtext("Code") or ""  # noqa: S314
        where = f"bucket {self._bucket.name} at {self._bucket.endpoint}"
        if code == "NoSuchBucket":
            return SinkError(f"There is no {where}; make it, or name another one.", transient=False)
        if status in (401, 403):
            return SinkError(
                f"The key may not use {where} (status {status}); it needs s3:ListBucket, s3:GetObject, s3:PutObject and"
                " s3:DeleteObject there, and region has to be the bucket's."
            )
        return SinkError(f"The store refused a request about {where} with status {status}.")


def _digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _pour(answer: http.client.HTTPResponse, target: IO[bytes]) -> None:
    expected = answer.length
    got = 0
    while part := answer.read(1 << 20):
        target.write(part)
        got += len(part)
    if expected is not None and got != expected:
        raise http.client.IncompleteRead(b"", expected - got)
