"""A real LDAP server for tests, as `towline_connectors.kit.slapd` runs it; `tests/connectors/conftest.py` offers it as
fixtures.
"""

from __future__ import annotations

from collections.abc import Callable

from tests.cluster.apt import apt_get, is_usable

from towline_connectors.kit.slapd import Slapd, certificates, installed, running

__all__ = ["MakeDirectory", "Slapd", "available", "certificates", "running"]
MakeDirectory = Callable[..., Slapd]


def available() -> bool:
    """Whether slapd is there or could be installed."""
    if installed():
        return True
    if not is_usable():
        return False
    apt_get("update", "-qq")
    apt_get("install", "-y", "-qq", "--no-install-recommends", "slapd")
    return installed()
