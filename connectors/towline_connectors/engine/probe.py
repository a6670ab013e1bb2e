"""A manifest's health call, made once in a running event loop: how the operator asks many systems side by side."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from towline.api.connector import ConnectorSpec
from towline.contract import Plan
from towline_connectors.engine.certificates import Lifetime
from towline_connectors.engine.errors import EngineError, Unreachable
from towline_connectors.engine.run import check

if TYPE_CHECKING:
    from towline_connectors.engine.accounts import Accounts


@dataclass(frozen=True, slots=True)
class Answer:
    """What went wrong, if anything, how many seconds it took, and how long the system's certificates are valid."""

    failure: EngineError | None
    seconds: float
    certificate: Lifetime | None = None


async def probe(
    plan: Plan,
    secrets: Mapping[str, str],
    seconds: float,
    *,
    ca_bundle: str | None = None,
    proxy: str | None = None,
    accounts: Accounts | None = None,
    spec: ConnectorSpec | None = None,
) -> Answer:
    """Asks once. Sends nothing twice; raises nothing expected.

    `spec` is the manifest where it was parsed and found good before; the plan's is not looked at then.
    `accounts` keeps tokens and budgets from one probe to the next, for all integrations that share a credential."""
    began = time.monotonic()
    failure: EngineError | None = None
    certificate: Lifetime | None = None
    try:
        async with asyncio.timeout(seconds):
            certificate = await check(
                plan, secrets, deadline=began + 1.0, ca_bundle=ca_bundle, proxy=proxy, accounts=accounts, spec=spec
            )
    except EngineError as error:
        failure = error
    except TimeoutError:
        host = plan.allowed_hosts[0] if plan.allowed_hosts else "the system"
        failure = Unreachable(f"{host} does not answer in time.")
    return Answer(failure, time.monotonic() - began, certificate)
