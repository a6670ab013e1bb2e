"""The manifest language, how a request proves who asks: keys, OAuth 2, sessions, signatures, certificates.

Strings take `${config.…}` and `${secret.…}`; `${secret.KEY.MEMBER}` reads a member of a value that is a JSON document,
and `${… | base64}` converts it (see `engine.interpolate`).
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from towline.api.base import OPAQUE, Duration, Expression, FreeForm, IntOrString, Model, Name63, Rule

Kind = Literal[
    "None", "Basic", "Bearer", "Header", "Query", "OAuth2ClientCredentials", "OAuth2Password", "OAuth2RefreshToken",
    "OAuth2JWTBearer", "JWT", "Session", "AWSSigV4", "Signature",
]  # fmt: skip
Template = Annotated[str, Field(min_length=1, max_length=1024)]
Headers = dict[str, Annotated[str, Field(max_length=1024)]]


class Assertion(Model):
    """A JSON Web Token that we sign: the proof of an OAuth 2 client, or the credential itself (kind JWT)."""

    algorithm: Literal["RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA", "HS256"] | None = Field(
        default=None, description="RS256 if left out."
    )
    key: Template = Field(
        description="The private key in PEM form, for example ${secret.private_key}; with HS256 text."
    )
    key_id: Template | None = Field(default=None, alias="keyID", description="Header kid.")
    certificate: Template | None = Field(
        default=None, description="The key's certificate in PEM form: its thumbprints become headers x5t and x5t#S256."
    )
    issuer: Template | None = Field(default=None, description="Claim iss. ${client.id} if left out.")
    subject: Template | None = Field(
        default=None, description="Claim sub. With clientAuth Assertion the client's id if left out."
    )
    audience: Template | None = Field(default=None, description="Claim aud. tokenURL if left out.")
    lifetime: Duration | None = Field(default=None, description="From iat to exp. 5m if left out.")
    claims: dict[str, FreeForm] | None = Field(
        default=None,
        max_length=16,
        description="More claims; ${key.fingerprint} is the public key's SHA-256 in Base64.",
    )


class LoginBasic(Model):
    username: Template = Field(description="User name.")
    password: Template = Field(description="Password.")


class LoginStep(Model):
    """One request of a log-in or log-out; later ones see what earlier ones took as ${session.NAME}."""

    method: Literal["GET", "POST", "PUT", "DELETE"] | None = Field(default=None, description="POST if left out.")
    path: Template = Field(description="Path below baseURL, or a URL.")
    query: dict[str, IntOrString] | None = Field(default=None, max_length=16, description="Query parameters.")
    headers: Headers | None = Field(default=None, max_length=16, description="Headers.")
    basic: LoginBasic | None = Field(default=None, description="HTTP Basic, for this request alone.")
    body: FreeForm | None = Field(default=None, alias="json", description="Body, sent as JSON.")
    form: dict[str, IntOrString] | None = Field(default=None, max_length=32, description="Body, sent as a form.")
    text: str | None = Field(default=None, max_length=4096, description="Body, sent as it stands.")
    take: dict[str, Template] | None = Field(
        default=None,
        max_length=8,
        description="What is kept as ${session.NAME}: an expression over the answer, header:NAME, cookie:NAME, or body"
        " for the whole text. Left out by the answer, the credentials count as rejected.",
    )


class Session(Model):
    """A log-in whose answer is sent with every request, and a log-out at the end of the run."""

    login: list[LoginStep] = Field(min_length=1, max_length=6, description="Requests, in this order.")
    logout: LoginStep | None = Field(default=None, description="The request that ends the session.")
    headers: Headers | None = Field(
        default=None, max_length=8, description="Headers of every request, for example X-Auth: ${session.token}."
    )
    query: dict[str, Template] | None = Field(
        default=None, max_length=8, description="Query parameters of every request."
    )
    cookies: bool | None = Field(default=None, description="Send every cookie that the log-in was given.")
    lifetime: Duration | None = Field(
        default=None, description="After this it logs in anew. Left out, when a request is answered with 401."
    )


class AssumeRole(Model):
    role_arn: Template = Field(alias="roleARN", description="Role to take on by STS, for example ${config.role_arn}.")
    external_id: Template | None = Field(default=None, alias="externalID", description="External id of the role.")
    session_name: Template | None = Field(default=None, description="towline if left out.")


class AWS(Model):
    """AWS Signature Version 4."""

    region: Template = Field(
        description="Region, for example ${config.region}. Where that is empty, the one that the host of baseURL names."
    )
    service: Template = Field(description="Service that signs, for example securityhub.")
    access_key_id: Template | None = Field(
        default=None, alias="accessKeyID", description="${secret.access_key_id} if left out."
    )
    secret_access_key: Template | None = Field(default=None, description="${secret.secret_access_key} if left out.")
    session_token: Template | None = Field(
        default=None, description="Of temporary keys, for example ${secret.session_token}; sent if it is not empty."
    )
    assume_role: AssumeRole | None = Field(
        default=None, description="Take on a role first; skipped while roleARN is empty."
    )


class Derive(Model):
    """One link of a chain of keys: HMAC with the key so far over this message gives the next key."""

    message: Template = Field(description="Text.")
    encoding: Literal["Text", "Hex", "Base64"] | None = Field(default=None, description="Text if left out.")


class Nonce(Model):
    length: int | None = Field(default=None, ge=8, le=128, description="Characters. 32 if left out.")
    alphabet: Literal["Alphanumeric", "Hex", "UUID"] | None = Field(
        default=None, description="Alphanumeric if left out."
    )


class Split(Model):
    header: Annotated[str, Field(min_length=1, max_length=64)] = Field(
        description="Beginning of the headers' names; 1, 2, 3 … follow."
    )
    every: int = Field(ge=16, le=4096, description="Characters in each.")


class Signature(Model):
    """A signature over parts of the request. The texts know ${request.method}, .host, .path, .query, .target (path and
    query), .body and .bodyHash, ${sign.timestamp} and ${sign.nonce}, headers also ${sign.signature}."""

    algorithm: Literal[
        "SHA256", "SHA512", "HMACSHA1", "HMACSHA256", "HMACSHA512", "RSASHA256", "RSASHA512", "ECDSASHA256", "Ed25519"
    ] = Field(description="SHA256 and SHA512 are plain hashes: the key stands in the message.")
    key: Template | None = Field(
        default=None, description="Key, for example ${secret.key}; PEM with RSA, ECDSA, Ed25519."
    )
    key_encoding: Literal["Text", "Hex", "Base64"] | None = Field(
        default=None, description="How the key is written. Text if left out."
    )
    derive: list[Derive] | None = Field(default=None, max_length=8, description="Chain of HMAC keys.")
    message: str = Field(min_length=1, max_length=2048, description="What is signed.")
    encoding: Literal["Hex", "Base64", "Base64URL"] | None = Field(
        default=None, description="How the signature is written. Hex if left out."
    )
    headers: Headers | None = Field(default=None, max_length=16, description="Headers that every request is given.")
    split: Split | None = Field(default=None, description="Headers that hold the signature in parts.")
    timestamp: Literal["EpochSeconds", "EpochMilliseconds", "ISO8601", "HTTPDate"] | None = Field(
        default=None, description="Form of ${sign.timestamp}. EpochSeconds if left out."
    )
    nonce: Nonce | None = Field(default=None, description="Form of ${sign.nonce}, drawn anew for each request.")
    body_hash: Literal["SHA256Hex", "SHA256Base64", "SHA512Hex", "MD5Hex", "MD5Base64"] | None = Field(
        default=None, description="Form of ${request.bodyHash}. SHA256Hex if left out."
    )


def _needs(kind: str, field: str) -> Rule:
    return Rule(
        f"self.kind != '{kind}' || has(self.{field})",
        f"kind {kind} needs {field}",
        field_path=f".{field}",
        reason="FieldValueRequired",
    )


class Auth(Model):
    rules: ClassVar = (
        Rule("self.kind != 'Header' || (has(self.name) && has(self.value))", "kind Header needs name and value"),
        Rule("self.kind != 'Query' || (has(self.name) && has(self.value))", "kind Query needs name and value"),
        Rule(
            "(self.kind != 'Basic' && self.kind != 'OAuth2Password') || (has(self.username) && has(self.password))",
            message_expression="'kind ' + self.kind + ' needs username and password'",
        ),
        Rule("self.kind != 'Bearer' || has(self.value)", "kind Bearer needs value"),
        Rule(
            "!self.kind.startsWith('OAuth2') || has(self.tokenURL)",
            message_expression="'kind ' + self.kind + ' needs tokenURL'",
            field_path=".tokenURL",
            reason="FieldValueRequired",
        ),
        Rule(
            "!(self.kind == 'OAuth2JWTBearer' || self.kind == 'JWT'"
            " || (has(self.clientAuth) && self.clientAuth == 'Assertion')) || has(self.assertion)",
            "kinds OAuth2JWTBearer and JWT, and clientAuth Assertion, need assertion",
            field_path=".assertion",
            reason="FieldValueRequired",
        ),
        _needs("Session", "session"),
        _needs("AWSSigV4", "aws"),
        _needs("Signature", "signature"),
    )

    kind: Kind = Field(description="How the credentials are sent.")
    name: str | None = Field(
        default=None, max_length=128, description="Header or query parameter. With OAuth2 and JWT, Authorization."
    )
    value: str | None = Field(
        default=None,
        max_length=512,
        description="What is sent, for example ${secret.token}; with Bearer the token alone; with OAuth2 and JWT"
        " Bearer ${session.access_token} if left out.",
    )
    username: str | None = Field(default=None, max_length=512, description="For example ${secret.username}.")
    password: str | None = Field(default=None, max_length=512, description="For example ${secret.password}.")
    token_url: str | None = Field(
        default=None, alias="tokenURL", max_length=512, description="Where tokens are fetched."
    )
    client_id: str | None = Field(
        default=None, alias="clientID", max_length=512, description="${secret.client_id} if left out."
    )
    client_secret: str | None = Field(default=None, max_length=512, description="${secret.client_secret} if left out.")
    client_auth: Literal["Body", "Basic", "Assertion", "None"] | None = Field(
        default=None, description="How the OAuth 2 client proves itself. Body if left out; None sends the id alone."
    )
    encoding: Literal["Form", "JSON"] | None = Field(
        default=None, description="Body of the request for a token. Form if left out."
    )
    scope: str | None = Field(default=None, max_length=1024, description="Scopes of the token, separated by blanks.")
    audience: str | None = Field(default=None, max_length=512, description="Parameter audience of the request.")
    parameters: dict[str, Template] | None = Field(
        default=None, max_length=16, description="More parameters of the request for a token."
    )
    token_headers: Headers | None = Field(default=None, max_length=8, description="Headers of the request for a token.")
    refresh_token: str | None = Field(
        default=None, max_length=512, description="With OAuth2RefreshToken. ${secret.refresh_token} if left out."
    )
    refresh_skew: Duration | None = Field(
        default=None, description="How long before it expires a token is fetched anew. 1m if left out."
    )
    assertion: Assertion | None = Field(default=None, json_schema_extra={OPAQUE: True})
    session: Session | None = Field(default=None, json_schema_extra={OPAQUE: True})
    aws: AWS | None = Field(default=None, json_schema_extra={OPAQUE: True})
    signature: Signature | None = Field(default=None, json_schema_extra={OPAQUE: True})


class AuthChoice(Model):
    """Another way to prove who asks."""

    name: Name63 = Field(description="Name; a request may ask for it in auth.")
    when: Expression | None = Field(
        default=None,
        description="Expression over config and secrets (the keys that the Secret holds). The first that is true takes"
        " the place of http.auth; left out, only requests that name it use it.",
    )
    auth: Auth = Field(description="How.")


class Tls(Model):
    """TLS with a certificate or CA that stands in the Secret, in PEM form."""

    certificate: Template | None = Field(
        default=None, description="Client certificate with its chain; not sent while empty. May hold the key too."
    )
    key: Template | None = Field(default=None, description="Its private key.")
    key_password: Template | None = Field(default=None, description="The key's password.")
    ca: Template | None = Field(default=None, description="CAs to trust, besides the well-known ones.")
