"""Every kind of credentials against a real server that checks them as the vendors do."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from aiohttp import web
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils
from tests.unit.engine.plans import SECRETS, plan, rows, spec, sync, users
from tests.unit.engine.vendor import Vendor

from towline.api.conditions import Reason
from towline.contract import RunResult

ONE = {"items": [{"id": "u1", "name": "A", "mail": "a@b"}]}
TOKEN = {"access_token": "t1", "expires_in": "3599", "token_type": "Bearer"}
RSA_KEY = rsa.generate_private_key(65537, 2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())


def pem(key: Any, form: Any = serialization.PrivateFormat.PKCS8) -> str:
    found: bytes = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    return found.decode()


def read(
    vendor: Vendor,
    database: Path,
    stream: dict[str, Any] | None = None,
    secrets: dict[str, str] | None = None,
    **http: Any,
) -> RunResult:
    known = {**SECRETS, **(secrets or {})}
    manifest = {**spec(vendor.url, [stream or users()], **http), "credentials": [{"key": key} for key in known]}
    return sync(plan(manifest), database, secrets=known)


def serve_token(vendor: Vendor, answer: dict[str, Any] = TOKEN, status: int = 200) -> list[dict[str, str]]:
    """The forms (or JSON documents) that asked for a token."""
    forms: list[dict[str, str]] = []

    @vendor.on("POST", "/token")
    async def token(request: web.Request) -> web.Response:
        is_json = request.content_type == "application/json"
        forms.append(await request.json() if is_json else {k: str(v) for k, v in (await request.post()).items()})
        return web.json_response(answer, status=status)

    return forms


def guarded(vendor: Vendor, header: str, value: str) -> None:
    """Records for who sends this header."""

    @vendor.on("GET", "/users")
    async def handler(request: web.Request) -> web.Response:
        return web.json_response(ONE if request.headers.get(header) == value else {}, status=200)


# -- OAuth 2


@pytest.mark.parametrize(
    ("auth", "sent"),
    [
        ({"audience": "wiz-api", "parameters": {"member_cid": "${config.tenant}"}},
         {"grant_type": "client_credentials", "client_id": "cid", "client_secret": "csecret-456",
          "audience": "wiz-api"}),
        ({"encoding": "JSON", "scope": "a b"},
         {"grant_type": "client_credentials", "client_id": "cid", "client_secret": "csecret-456", "scope": "a b"}),
        ({"kind": "OAuth2Password", "username": "${secret.user}", "password": "${secret.token}", "clientAuth": "None"},
         {"grant_type": "password", "username": "u", "password": "tok-123", "client_id": "cid"}),
        ({"kind": "OAuth2RefreshToken", "refreshToken": "${secret.token}"},
         {"grant_type": "refresh_token", "refresh_token": "tok-123", "client_id": "cid",
          "client_secret": "csecret-456"}),
    ],
)  # fmt: skip
def test_a_token_is_asked_for_as_the_manifest_says(
    vendor: Vendor, database: Path, auth: dict[str, Any], sent: dict[str, str]
) -> None:
    forms = serve_token(vendor, status=201)
    guarded(vendor, "authorization", "Bearer t1")
    result = read(vendor, database, auth={"kind": "OAuth2ClientCredentials", "tokenURL": f"{vendor.url}/token", **auth})
    assert result.reason is Reason.COMPLETED, result.message
    assert forms == [sent], "what is empty is left out"


def test_a_client_can_prove_itself_by_basic_with_both_parts_encoded(vendor: Vendor, database: Path) -> None:
    forms = serve_token(vendor)
    vendor.json("/users", ONE)
    auth = {
        "kind": "OAuth2ClientCredentials", "tokenURL": f"{vendor.url}/token", "clientAuth": "Basic",
        "tokenHeaders": {"x-api-version": "1"},
    }  # fmt: skip
    assert read(vendor, database, secrets={"client_secret": "a:b/ü"}, auth=auth).reason is Reason.COMPLETED
    assert forms == [{"grant_type": "client_credentials"}]
    user, _, password = base64.b64decode(vendor.headers[0]["authorization"].split()[1]).decode().partition(":")
    assert (user, unquote(password)) == ("cid", "a:b/ü")
    assert vendor.headers[0]["x-api-version"] == "1"


def parts(token: str) -> tuple[dict[str, Any], dict[str, Any], bytes, bytes]:
    header, claims, signature = token.split(".")
    raw = [base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)) for part in (header, claims, signature)]
    return json.loads(raw[0]), json.loads(raw[1]), raw[2], f"{header}.{claims}".encode()


def verified(algorithm: str, message: bytes, signature: bytes) -> bool:
    try:
        if algorithm == "ES256":
            half = len(signature) // 2
            numbers = (int.from_bytes(signature[:half], "big"), int.from_bytes(signature[half:], "big"))
            EC_KEY.public_key().verify(utils.encode_dss_signature(*numbers), message, ec.ECDSA(hashes.SHA256()))
        elif algorithm == "PS256":
            scheme = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
            RSA_KEY.public_key().verify(signature, message, scheme, hashes.SHA256())
        else:
            RSA_KEY.public_key().verify(signature, message, padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature:
        return False
    return True


@pytest.mark.parametrize(
    ("algorithm", "key"),
    [
        ("RS256", pem(RSA_KEY)),
        ("RS256", pem(RSA_KEY, serialization.PrivateFormat.TraditionalOpenSSL).replace("\n", "\\n")),
        ("PS256", " ".join(pem(RSA_KEY).split("\n"))),
        ("ES256", pem(EC_KEY)),
        ("ES256", pem(EC_KEY).replace("PRIVATE KEY", "EC PRIVATE KEY")),  # as Apple labels its downloads
    ],
)
def test_a_client_can_prove_itself_by_a_signed_assertion(
    vendor: Vendor, database: Path, algorithm: str, key: str
) -> None:
    forms = serve_token(vendor)
    guarded(vendor, "authorization", "Bearer t1")
    auth = {
        "kind": "OAuth2ClientCredentials", "tokenURL": f"{vendor.url}/token", "clientAuth": "Assertion",
        "assertion": {"algorithm": algorithm, "key": "${secret.token}", "keyID": "k1", "lifetime": "10m"},
    }  # fmt: skip
    result = read(vendor, database, secrets={"token": key}, auth=auth)
    assert result.reason is Reason.COMPLETED, result.message
    assert forms[0]["client_assertion_type"] == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    header, claims, signature, message = parts(forms[0]["client_assertion"])
    assert header == {"alg": algorithm, "typ": "JWT", "kid": "k1"}
    assert (claims["iss"], claims["sub"], claims["aud"]) == ("cid", "cid", f"{vendor.url}/token")
    assert claims["exp"] - claims["iat"] == 600
    assert verified(algorithm, message, signature)


def test_a_service_account_file_in_one_key_makes_a_jwt_bearer_grant(vendor: Vendor, database: Path) -> None:
    forms = serve_token(vendor)
    guarded(vendor, "authorization", "Bearer t1")
    account = {"client_email": "x@example.com", "private_key": pem(RSA_KEY), "token_uri": f"{vendor.url}/token"}
    auth = {
        "kind": "OAuth2JWTBearer", "tokenURL": "${secret.account.token_uri}",
        "assertion": {
            "key": "${secret.account.private_key}", "issuer": "${secret.account.client_email}",
            "claims": {"scope": "cloud"},
        },
    }  # fmt: skip
    secrets = {"account": json.dumps(account), "client_id": "", "client_secret": ""}
    assert read(vendor, database, secrets=secrets, auth=auth).reason is Reason.COMPLETED
    assert set(forms[0]) == {"grant_type", "assertion"}
    claims = parts(forms[0]["assertion"])[1]
    assert claims["iss"] == "x@example.com"
    assert claims["scope"] == "cloud"
    assert "sub" not in claims

    result = read(vendor, database, secrets={**secrets, "account": "not json"}, auth=auth)
    assert result.reason is Reason.KEY_MISSING
    assert 'Key "account" of the Secret has to hold a JSON document' in result.message


def test_a_token_of_ones_own_names_the_key_by_its_fingerprint(vendor: Vendor, database: Path) -> None:
    vendor.json("/users", ONE)
    auth = {
        "kind": "JWT",
        "assertion": {"key": "${secret.token}", "issuer": "ACME.BOT.SHA256:${key.fingerprint}", "subject": "ACME.BOT"},
    }
    assert read(vendor, database, secrets={"token": pem(RSA_KEY)}, auth=auth).reason is Reason.COMPLETED
    claims = parts(vendor.headers[0]["authorization"].removeprefix("Bearer "))[1]
    public = RSA_KEY.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    assert claims["iss"] == f"ACME.BOT.SHA256:{base64.b64encode(hashlib.sha256(public).digest()).decode()}"


@pytest.mark.parametrize(
    ("key", "algorithm", "words"),
    [
        ("nonsense", "RS256", "cannot be read; store it in PEM form"),
        (pem(EC_KEY), "RS256", "of another kind than RS256 needs"),
        (RSA_KEY.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                               serialization.BestAvailableEncryption(b"x")).decode(), "RS256", "is encrypted"),
    ],
)  # fmt: skip
def test_a_key_that_cannot_sign_is_told_without_showing_it(
    vendor: Vendor, database: Path, key: str, algorithm: str, words: str
) -> None:
    auth = {
        "kind": "OAuth2ClientCredentials", "tokenURL": f"{vendor.url}/token", "clientAuth": "Assertion",
        "assertion": {"algorithm": algorithm, "key": "${secret.token}"},
    }  # fmt: skip
    result = read(vendor, database, secrets={"token": key}, auth=auth)
    assert result.reason is Reason.CREDENTIALS_REJECTED
    assert words in result.message
    assert key[30:60] not in result.message or key == "nonsense"


def test_a_token_is_fetched_anew_before_it_expires_and_by_its_refresh_token(vendor: Vendor, database: Path) -> None:
    forms: list[dict[str, str]] = []

    @vendor.on("POST", "/token")
    async def token(request: web.Request) -> web.Response:
        forms.append({key: str(value) for key, value in (await request.post()).items()})
        lives = 1 if len(forms) == 1 else 3600  # the second must not expire as well, however slow the machine is
        return web.json_response({**TOKEN, "expires_in": lives, "refresh_token": "r1"})

    @vendor.on("GET", "/users")
    async def handler(request: web.Request) -> web.Response:
        await asyncio.sleep(1.1 if request.query["offset"] == "0" else 0)
        at = int(request.query["offset"])
        return web.json_response({"items": [{"id": f"u{n}", "name": "A"} for n in range(at, min(at + 10, 15))]})

    auth = {"kind": "OAuth2ClientCredentials", "tokenURL": f"{vendor.url}/token"}
    assert read(vendor, database, auth=auth).reason is Reason.COMPLETED
    assert [form["grant_type"] for form in forms] == ["client_credentials", "refresh_token"]
    assert forms[1]["refresh_token"] == "r1"


def test_rules_of_phase_token_say_what_a_refusal_means_and_no_others_do(vendor: Vendor, database: Path) -> None:
    serve_token(vendor, {"error": "wrong_region"}, 403)
    auth = {"kind": "OAuth2ClientCredentials", "tokenURL": f"{vendor.url}/token"}
    errors: list[dict[str, Any]] = [
        {"when": {"status": [403]}, "class": "SkipStream"},
        {
            "when": {"phase": ["Token"], "body": {"path": "error", "equals": "wrong_region"}},
            "class": "Auth",
            "hint": "set region to us-2",
        },
    ]
    result = read(vendor, database, auth=auth, errors=errors)
    assert result.reason is Reason.CREDENTIALS_REJECTED
    assert "; set region to us-2." in result.message
    assert "gives no token" in read(vendor, database, auth=auth, errors=errors[:1]).message


# -- sessions


def serve_session(vendor: Vendor) -> dict[str, int]:
    """A log-in in two steps whose key is good for one log-in; the first key dies after one request."""
    count = {"logins": 0, "logouts": 0, "requests": 0}

    @vendor.on("POST", "/login")
    async def login(request: web.Request) -> web.Response:
        form = await request.post()
        if form.get("password") != "tok-123":
            return web.json_response({"error": "no"}, status=200)
        answer = web.json_response({"data": {"ticket": "a&b"}})
        answer.set_cookie("JSESSIONID", "sid")
        return answer

    @vendor.on("GET", "/session/a&b")
    async def session(request: web.Request) -> web.Response:
        count["logins"] += 1
        assert request.cookies["JSESSIONID"] == "sid"
        return web.json_response({}, headers={"X-Token": f"key{count['logins']}"})

    @vendor.on("POST", "/rpc")
    async def rpc(request: web.Request) -> web.Response:
        count["requests"] += 1
        body = await request.json()
        good = body["session"] == request.headers["x-key"] == f"key{count['logins']}" and request.query["s"] == "sid"
        if not good or (count["requests"] > 1 and count["logins"] == 1):
            return web.json_response({}, status=401)
        at = body["offset"]
        return web.json_response({"items": [{"id": f"u{n}", "name": "A"} for n in range(at, min(at + 10, 15))]})

    @vendor.on("DELETE", "/session/sid")
    async def logout(request: web.Request) -> web.Response:
        count["logouts"] += 1
        return web.json_response({"key": request.headers["x-key"]})

    return count


SESSION: dict[str, Any] = {
    "login": [
        {
            "path": "/login", "form": {"username": "${secret.user}", "password": "${secret.token}"},
            "take": {"ticket": "=data.ticket", "sid": "cookie:JSESSIONID"},
        },
        {
            "method": "GET", "path": "/session/${session.ticket}", "headers": {"Cookie": "JSESSIONID=${session.sid}"},
            "take": {"key": "header:X-Token"},
        },
    ],
    "headers": {"X-Key": "${session.key}"},
    "query": {"s": "${session.sid}"},
    "logout": {"method": "DELETE", "path": "/session/${session.sid}"},
}  # fmt: skip
RPC = users(
    request={"method": "POST", "path": "/rpc", "json": {"session": "${session.key}", "offset": 0}},
    paginate={"kind": "Offset", "offset": "offset", "place": "Body", "size": 10},
)


def test_a_session_is_begun_in_steps_renewed_after_a_401_used_in_bodies_and_ended(
    vendor: Vendor, database: Path
) -> None:
    count = serve_session(vendor)
    result = read(vendor, database, RPC, auth={"kind": "Session", "session": SESSION})
    assert result.reason is Reason.COMPLETED, result.message
    assert rows(database, "select count(*) from users") == [(15,)]
    assert count == {"logins": 2, "logouts": 1, "requests": 3}


def test_a_log_in_that_answers_200_and_gives_nothing_is_rejected_credentials(vendor: Vendor, database: Path) -> None:
    count = serve_session(vendor)
    result = read(vendor, database, RPC, {"token": "wrong-password"}, auth={"kind": "Session", "session": SESSION})
    assert result.reason is Reason.CREDENTIALS_REJECTED
    assert "answered the log-in without ticket" in result.message
    assert count["logouts"] == 0


@pytest.mark.parametrize(("status", "reason"), [(403, Reason.CREDENTIALS_REJECTED), (503, Reason.UNREACHABLE)])
def test_a_log_in_that_fails_has_its_reason(vendor: Vendor, database: Path, status: int, reason: Reason) -> None:
    vendor.json("/login", {}, "POST", status)
    assert read(vendor, database, RPC, auth={"kind": "Session", "session": SESSION}).reason is reason


def test_a_log_in_by_basic_whose_whole_answer_is_the_token(vendor: Vendor, database: Path) -> None:
    @vendor.on("POST", "/logon")
    async def logon(request: web.Request) -> web.Response:
        assert request.headers["authorization"] == "Basic dTp0b2stMTIz"
        assert (await request.json())["name"] == "dQ=="
        return web.json_response("the-token")

    guarded(vendor, "authorization", "the-token")
    session = {
        "login": [
            {
                "path": "/logon", "basic": {"username": "${secret.user}", "password": "${secret.token}"},
                "json": {"name": "${secret.user | base64}"}, "take": {"t": "body"},
            }
        ],
        "headers": {"Authorization": "${session.t}"},
    }  # fmt: skip
    assert read(vendor, database, auth={"kind": "Session", "session": session}).reason is Reason.COMPLETED


# -- signatures


def signed(vendor: Vendor, database: Path, signature: dict[str, Any], secrets: dict[str, str]) -> dict[str, str]:
    vendor.json("/users", ONE)
    result = read(vendor, database, secrets=secrets, auth={"kind": "Signature", "signature": signature})
    assert result.reason is Reason.COMPLETED, result.message
    return vendor.headers[0]


TARGET = "/users?offset=0&limit=10"


def test_a_hash_over_key_nonce_and_time_signs_as_cortex_wants(vendor: Vendor, database: Path) -> None:
    sent = signed(
        vendor, database,
        {
            "algorithm": "SHA256", "message": "${secret.token}${sign.nonce}${sign.timestamp}",
            "timestamp": "EpochMilliseconds", "nonce": {"length": 64},
            "headers": {
                "Authorization": "${sign.signature}", "x-nonce": "${sign.nonce}", "x-time": "${sign.timestamp}",
            },
        },
        {},
    )  # fmt: skip
    assert len(sent["x-nonce"]) == 64
    assert len(sent["x-time"]) == 13
    assert sent["authorization"] == hashlib.sha256(f"tok-123{sent['x-nonce']}{sent['x-time']}".encode()).hexdigest()


def test_an_hmac_over_target_method_and_time_signs_as_threatconnect_wants(vendor: Vendor, database: Path) -> None:
    sent = signed(
        vendor, database,
        {
            "algorithm": "HMACSHA256", "key": "${secret.token}", "encoding": "Base64",
            "message": "${request.target}:${request.method}:${sign.timestamp}",
            "headers": {"Authorization": "TC ${secret.user}:${sign.signature}", "Timestamp": "${sign.timestamp}"},
        },
        {},
    )  # fmt: skip
    wanted = hmac.digest(b"tok-123", f"{TARGET}:GET:{sent['timestamp']}".encode(), "sha256")
    assert sent["authorization"] == f"TC u:{base64.b64encode(wanted).decode()}"


def test_a_chain_of_keys_signs_as_veracode_wants(vendor: Vendor, database: Path) -> None:
    sent = signed(
        vendor, database,
        {
            "algorithm": "HMACSHA256", "key": "${secret.token}", "keyEncoding": "Hex", "timestamp": "EpochMilliseconds",
            "nonce": {"alphabet": "Hex"},
            "derive": [
                {"message": "${sign.nonce}", "encoding": "Hex"}, {"message": "${sign.timestamp}"},
                {"message": "vcode_request_version_1"},
            ],
            "message": "id=${secret.user}&host=${request.host}&url=${request.target}&method=${request.method}",
            "headers": {"Authorization": "${sign.timestamp},${sign.nonce},${sign.signature}"},
        },
        {"token": "00ff" * 16},
    )  # fmt: skip
    time, nonce, signature = sent["authorization"].split(",")
    key = hmac.digest(bytes.fromhex("00ff" * 16), bytes.fromhex(nonce), "sha256")
    for message in (time, "vcode_request_version_1"):
        key = hmac.digest(key, message.encode(), "sha256")
    host = vendor.url.removeprefix("http://")
    assert signature == hmac.digest(key, f"id=u&host={host}&url={TARGET}&method=GET".encode(), "sha256").hex()


def test_an_rsa_signature_in_parts_signs_as_chef_wants(vendor: Vendor, database: Path) -> None:
    sent = signed(
        vendor, database,
        {
            "algorithm": "RSASHA256", "key": "${secret.token}", "encoding": "Base64", "timestamp": "ISO8601",
            "bodyHash": "SHA256Base64",
            "message": "Method:${request.method}\nPath:${request.path}\nX-Ops-Content-Hash:${request.bodyHash}\n"
            "X-Ops-Timestamp:${sign.timestamp}",
            "headers": {"X-Ops-Timestamp": "${sign.timestamp}", "X-Ops-Content-Hash": "${request.bodyHash}"},
            "split": {"header": "X-Ops-Authorization-", "every": 60},
        },
        {"token": pem(RSA_KEY)},
    )  # fmt: skip
    assert sent["x-ops-content-hash"] == base64.b64encode(hashlib.sha256(b"").digest()).decode()
    whole = "".join(sent[f"x-ops-authorization-{n}"] for n in range(1, 7))
    message = (
        f"Method:GET\nPath:/users\nX-Ops-Content-Hash:{sent['x-ops-content-hash']}\n"
        f"X-Ops-Timestamp:{sent['x-ops-timestamp']}"
    )
    assert verified("RS256", message.encode(), base64.b64decode(whole))


def test_each_request_is_signed_anew(vendor: Vendor, database: Path) -> None:
    vendor.json("/users", {"items": [{"id": f"u{n}", "name": "A"} for n in range(10)], "total": 20})
    signature = {"algorithm": "SHA256", "message": "${sign.nonce}", "headers": {"x-n": "${sign.nonce}"}}
    stream = users(paginate={"kind": "Page", "param": "page", "size": 10, "total": "=total"})
    read(vendor, database, stream, auth={"kind": "Signature", "signature": signature})
    nonces = [headers["x-n"] for headers in vendor.headers]
    assert len(nonces) == len(set(nonces)) > 1


def test_a_redirect_is_not_followed_with_a_signature_made_for_another_path(vendor: Vendor, database: Path) -> None:
    vendor.json("/elsewhere", ONE)
    vendor.json("/users", {}, status=302, Location="/elsewhere")
    signature = {"algorithm": "SHA256", "message": "${request.path}", "headers": {"x-s": "${sign.signature}"}}
    result = read(vendor, database, auth={"kind": "Signature", "signature": signature})
    assert result.reason is Reason.CONFIG_INVALID
    assert vendor.paths() == ["/users"]


# -- choices


@pytest.mark.parametrize(("secrets", "sent"), [({"token": "tok-123"}, "SSWS tok-123"), ({"token": ""}, "Bearer t1")])
def test_what_the_secret_holds_chooses_how_to_ask(
    vendor: Vendor, database: Path, secrets: dict[str, str], sent: str
) -> None:
    serve_token(vendor)
    guarded(vendor, "authorization", sent)
    result = read(
        vendor, database, secrets=secrets,
        auth={"kind": "OAuth2ClientCredentials", "tokenURL": f"{vendor.url}/token"},
        auths=[
            {"name": "token", "when": "=contains(secrets, 'token')",
             "auth": {"kind": "Header", "name": "Authorization", "value": "SSWS ${secret.token}"}},
        ],
    )  # fmt: skip
    assert result.reason is Reason.COMPLETED, result.message


def test_a_request_can_ask_for_other_credentials(vendor: Vendor, database: Path) -> None:
    vendor.json("/users", ONE)
    auths = [{"name": "gate", "auth": {"kind": "Bearer", "value": "${secret.user}"}}]
    read(vendor, database, users(request={"path": "/users", "auth": "gate"}), auths=auths)
    assert vendor.headers[0]["authorization"] == "Bearer u"


@pytest.mark.parametrize(
    ("value", "words"), [("a\nb", "holds a line break"), ("schlüssel", "letters that no header takes")]
)
def test_a_credential_that_no_header_takes_is_told_before_it_is_sent(
    vendor: Vendor, database: Path, value: str, words: str
) -> None:
    result = read(vendor, database, secrets={"token": value})
    assert result.reason is Reason.CREDENTIALS_REJECTED
    assert words in result.message
    assert value not in result.message
    assert vendor.seen == []


# -- nothing leaks

CANARY = "canary-0123456789"
LEAKY: list[dict[str, Any]] = [
    {"kind": "Basic", "username": "u", "password": "${secret.token}"},
    {"kind": "Query", "name": "key", "value": "${secret.token}"},
    {"kind": "OAuth2Password", "tokenURL": "TOKEN", "username": "u", "password": "${secret.token}"},
    {
        "kind": "Session",
        "session": {
            "login": [{"path": "/token", "query": {"p": "${secret.token}"}, "take": {"t": "=access_token"}}],
            "query": {"t": "${session.t}"},
        },
    },
    {
        "kind": "Signature",
        "signature": {"algorithm": "SHA256", "message": "${secret.token}", "headers": {"x": "${secret.token}"}},
    },
]


@pytest.mark.parametrize("status", [302, 401, 500])
@pytest.mark.parametrize("auth", LEAKY, ids=lambda auth: str(auth["kind"]))
def test_no_failure_shows_a_secret_or_a_token(
    vendor: Vendor, database: Path, auth: dict[str, Any], status: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    serve_token(vendor, {"access_token": f"fetched-{CANARY}"})
    vendor.json("/users", {"you sent": CANARY}, status=status, Location=f"https://evil.example/?{CANARY}")
    known = json.loads(json.dumps(auth).replace("TOKEN", f"{vendor.url}/token"))
    said: list[str] = []
    manifest = {**spec(vendor.url, [users()], auth=known), "credentials": [{"key": "token"}, {"key": "client_id"}]}
    secrets = {"token": CANARY, "client_id": "cid"}
    result = sync(plan(manifest), database, secrets=secrets, progress=lambda at: said.append(at.note or ""))
    assert result.reason is not Reason.COMPLETED
    assert result.message
    logged = [record.getMessage() for record in caplog.records if record.name != "aiohttp.access"]  # the vendor's own
    for text in (result.model_dump_json(), *said, *logged):
        assert CANARY not in text
