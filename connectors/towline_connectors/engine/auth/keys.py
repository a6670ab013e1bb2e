"""Private keys in PEM form, and what they sign. `cryptography` is imported when the first key is read."""

from __future__ import annotations

from typing import Any

from towline_connectors.engine.errors import CredentialsRejected

_HASHES = {"256": "SHA256", "384": "SHA384", "512": "SHA512"}
_LABELS = ("PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY")


def load_key(text: str) -> Any:
    """A private key of RSA, EC or Ed25519. Raises CredentialsRejected; the words never hold the text.

    A key whose line ends were lost on the way into the Secret (written as \\n, or as blanks) is read too, and one
    whose label names another format than it has, as Apple's downloads do."""
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    for candidate in _candidates(text):
        try:
            return load_pem_private_key(candidate.encode(), None)
        except TypeError:
            raise CredentialsRejected(
                "The private key in the Secret is encrypted; store it without a password."
            ) from None
        except Exception:  # noqa: S112 - each form is tried; none of the errors helps a person
            continue
    raise CredentialsRejected(
        "The private key in the Secret cannot be read; store it in PEM form, from -----BEGIN PRIVATE KEY----- to the"
        " end."
    )


def _candidates(text: str) -> list[str]:
    text = text.strip().replace("\\n", "\n").replace("\r\n", "\n")
    found = [text]
    begin, _, rest = text.partition("-----BEGIN ")
    label, _, rest = rest.partition("-----")
    inner, found_end, _ = rest.partition("-----END")
    if begin.strip() == "" and found_end:
        body = "".join(inner.split())
        lines = "\n".join(body[at : at + 64] for at in range(0, len(body), 64))
        names = dict.fromkeys((label, *_LABELS))
        found += [f"-----BEGIN {name}-----\n{lines}\n-----END {name}-----\n" for name in names]
    return found


def sign_bytes(key: Any, algorithm: str, message: bytes) -> bytes:
    """The signature by RS…, PS…, ES… or EdDSA; ES in DER form. Raises CredentialsRejected when the key is of another
    kind than the algorithm."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

    kind = algorithm[:2]
    wanted: dict[str, type[Any]] = {
        "RS": rsa.RSAPrivateKey,
        "PS": rsa.RSAPrivateKey,
        "ES": ec.EllipticCurvePrivateKey,
        "Ed": ed25519.Ed25519PrivateKey,
    }
    if not isinstance(key, wanted[kind]):
        raise CredentialsRejected(
            f"The private key in the Secret is of another kind than {algorithm} needs; check which key was stored."
        )
    if kind == "Ed":
        return bytes(key.sign(message))
    digest = getattr(hashes, _HASHES[algorithm[-3:]])()
    if kind == "ES":
        return bytes(key.sign(message, ec.ECDSA(digest)))
    if kind == "PS":
        return bytes(key.sign(message, padding.PSS(padding.MGF1(digest), digest.digest_size), digest))
    return bytes(key.sign(message, padding.PKCS1v15(), digest))
