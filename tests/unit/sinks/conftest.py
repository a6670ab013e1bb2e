from __future__ import annotations

from pathlib import Path

import pytest
from tests.postgres import Postgresql, postgresql  # noqa: F401


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "target" in metafunc.fixturenames:
        metafunc.parametrize("target", getattr(metafunc.module, "KINDS", ("sqlite", "postgresql")), indirect=True)


@pytest.fixture
def target(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty destination of each kind; a module's KINDS tells which."""
    if request.param == "sqlite":
        return str(tmp_path / "towline.db")
    if request.param == "parquet":
        monkeypatch.setattr("towline_connectors.sinks.parquet.session.PUBLISH_SECONDS", 0)
        return f"parquet:///{tmp_path / 'lake'}"
    server: Postgresql = request.getfixturevalue("postgresql")
    return server.new_database()
