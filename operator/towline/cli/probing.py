"""What the operator probes systems with: the engine's health call. Imported by `towline operator` alone."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

from towline.api.conditions import Reason
from towline.controller.probes import Target
from towline_connectors.engine.accounts import Accounts
from towline_connectors.engine.probe import lean, probe


class SystemProber:
    """Tokens and budgets outlive a probe: Integrations of one credential ask for a token once, not each time."""

    def __init__(self) -> None:
        self._accounts = Accounts()

    async def __call__(self, target: Target, seconds: float) -> tuple[Reason, str, float]:
        """Make the health call of a manifest once. Raises only what nobody foresaw."""
        plan = target.plan.model_copy(update={"manifest": lean(target.plan.manifest)})
        failure, took = await probe(
            plan,
            target.secrets,
            seconds,
            ca_bundle=_as_file(target.ca_bundle) if target.ca_bundle else None,
            proxy=target.proxy or None,
            accounts=self._accounts,
        )
        if failure is None:
            return Reason.REACHABLE, "", took
        return failure.reason, failure.message, took


def _as_file(pem: str) -> str:
    """Certificates, which are no secret, as a file: TLS takes them in no other way from more than one authority."""
    name = f"towline-ca-{hashlib.sha256(pem.encode()).hexdigest()[:32]}.crt"
    path = Path(tempfile.gettempdir()) / name
    if not path.exists():
        path.write_text(pem)
    return str(path)
