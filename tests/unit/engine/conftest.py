from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.unit.engine.exporting import Exports
from tests.unit.engine.test_engine_run import people
from tests.unit.engine.vendor import Vendor, serving


@pytest.fixture
def vendor() -> Iterator[Vendor]:
    with serving(Vendor()) as found:
        yield found


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "towline.db"


@pytest.fixture
def exports() -> Iterator[tuple[Exports, dict[str, Any]]]:
    """A vendor with 30 users in an export of three parts, and its manifest."""
    crowd = people(30)
    found = Exports(Vendor(), {1: crowd[:10], 2: crowd[10:20], 3: crowd[20:]})
    found.statuses = [("QUEUED", []), ("RUN", [1]), ("RUN", [1, 2]), ("DONE", [1, 2, 3])]
    manifest = found.serve()
    with serving(found.vendor) as vendor:
        manifest["http"]["baseURL"] = vendor.url
        yield found, manifest
