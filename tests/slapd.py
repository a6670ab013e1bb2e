"""A real LDAP server for tests, as `towline_connectors.kit.slapd` runs it; `tests/connectors/conftest.py` offers it as
fixtures.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable

from towline_connectors.kit.slapd import Slapd, certificates, installed, running

__all__ = ["MakeDirectory", "Slapd", "available", "certificates", "running"]
MakeDirectory = Callable[..., Slapd]


def available() -> bool:
    """Whether slapd is there or could be installed."""
    if installed():
        return True
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        return False
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    install = ["install", "-y", "-qq", "--no-install-recommends", "slapd"]
    for arguments in (["update", "-qq"], install):
        subprocess.run(["apt-get", *arguments], env=environment, check=False, capture_output=True, timeout=600)
    return installed()
