"""How long certificates and tokens live, as a real TLS server shows them and as Secrets hold them."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime

import pytest
from tests.unit.engine.test_engine_tls import CA, CLIENT, GOOD, SERVER, client, server, who, written

from towline_connectors.engine.certificates import of_text

__all__ = ["server"]  # a fixture


def token(claims: object) -> str:
    parts = (json.dumps(part).encode() for part in ({"alg": "none"}, claims))
    return ".".join([*(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts), "signature"])


async def test_the_certificate_that_a_server_shows_is_seen_in_passing(server: str) -> None:
    found = client(GOOD)
    assert await who(found, server) == "client"
    shown = of_text(SERVER.certificate)
    assert shown is not None
    assert found.certificate == shown
    assert shown.begins is not None
    assert shown.begins < datetime.now(UTC) < shown.ends


def test_of_several_certificates_the_first_to_end_counts() -> None:
    assert of_text(CLIENT.certificate + written(CA).certificate + CLIENT.key) is not None


def test_a_token_tells_when_it_ends() -> None:
    found = of_text(token({"iat": 1_700_000_000, "exp": 1_800_000_000}))
    assert found is not None
    assert found.ends == datetime.fromtimestamp(1_800_000_000, UTC)
    assert found.begins == datetime.fromtimestamp(1_700_000_000, UTC)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "a-plain-password",
        "eyJ.not.base64!",
        token({"sub": "no end"}),
        token({"exp": True}),
        token({"exp": 1e300}),
        token({"exp": 253402300799}),
        token(["no", "claims"]),
        "-----BEGIN CERTIFICATE-----",
        "-----BEGIN CERTIFICATE-----\nbm8gY2VydGlmaWNhdGU=\n-----END CERTIFICATE-----",
        "-----BEGIN CERTIFICATE-----\n%%%\n-----END CERTIFICATE-----",
    ],
)
def test_what_says_nothing_of_an_end_is_taken_for_what_it_is(value: str) -> None:
    assert of_text(value) is None
