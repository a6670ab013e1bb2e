"""What the operator probes systems with: the engine's health call. Imported by `towline operator` alone."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

from towline.api.conditions import Reason
from towline.controller.probes import Found, Target
from towline.core.expiry import Expiry, What
from towline_connectors.engine import certificates
from towline_connectors.engine.accounts import Accounts
from towline_connectors.engine.certificates import Lifetime
from towline_connectors.engine.probe import probe


class SystemProber:
    """Tokens and budgets outlive a probe: Integrations of one credential ask for a token once, not each time."""

    def __init__(self) -> None:
        self._accounts = Accounts()

    async def __call__(self, target: Target, seconds: float) -> Found:
        """Make the health call of a manifest once. Raises only what nobody foresaw."""
        answer = await probe(
            target.plan,
            target.secrets,
            seconds,
            ca_bundle=_as_file(target.ca_bundle) if target.ca_bundle else None,
            proxy=target.proxy or None,
            accounts=self._accounts,
            spec=target.spec,
        )
        expiries = _expiries(target, answer.certificate)
        if answer.failure is None:
            return Found(Reason.REACHABLE, "", answer.seconds, expiries)
        return Found(answer.failure.reason, answer.failure.message, answer.seconds, expiries)


def _expiries(target: Target, shown: Lifetime | None) -> tuple[Expiry, ...]:
    """What the system showed and what the Secret holds, as far as it says when it ends."""
    found = []
    if shown is not None:
        host = next(iter(target.plan.allowed_hosts), "the system")
        cure = "It is renewed at the system; from then on syncs fail if it is not"
        found.append(Expiry(What.CERTIFICATE, shown.ends, f"The certificate of {host}", shown.begins, cure))
    for key, value in sorted(target.secrets.items()):
        if life := certificates.of_text(value):
            cure = "Put a new one into the Secret"
            found.append(Expiry(What.CREDENTIALS, life.ends, f'The credential "{key}"', life.begins, cure))
    return tuple(found)


def _as_file(pem: str) -> str:
    """Certificates, which are no secret, as a file: TLS takes them in no other way from more than one authority."""
    name = f"towline-ca-{hashlib.sha256(pem.encode()).hexdigest()[:32]}.crt"
    path = Path(tempfile.gettempdir()) / name
    if not path.exists():
        path.write_text(pem)
    return str(path)
