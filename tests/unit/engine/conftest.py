from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.engine.vendor import Vendor, serving


@pytest.fixture
def vendor() -> Iterator[Vendor]:
    with serving(Vendor()) as found:
        yield found


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "towline.db"
