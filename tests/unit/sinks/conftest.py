from __future__ import annotations

from pathlib import Path

import pytest
from tests.postgres import Postgresql, postgresql  # noqa: F401


@pytest.fixture(params=["sqlite", "postgresql"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty destination of each kind."""
    if request.param == "sqlite":
        return str(tmp_path / "towline.db")
    server: Postgresql = request.getfixturevalue("postgresql")
    return server.new_database()
