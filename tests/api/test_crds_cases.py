"""Every object that the API server must take and every one that it must refuse, with the words that the user reads."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.api.client import Api, RefusedError
from tests.api.tables import load_cases

pytestmark = pytest.mark.api

ROOT = Path(__file__).parents[2]
CATALOGUE = ROOT / "connectors" / "towline_connectors" / "catalogue"


@pytest.mark.parametrize(("body", "refused"), load_cases())
def test_api_server_takes_or_refuses(api: Api, body: dict[str, Any], refused: list[str]) -> None:
    if not refused:
        api.create(body, "default", dry_run=True)
        return
    with pytest.raises(RefusedError) as error:
        api.create(body, "default", dry_run=True)
    for words in refused:
        assert words in str(error.value)


@pytest.mark.parametrize("path", sorted(CATALOGUE.rglob("connector.yaml")), ids=lambda path: path.parent.name)
def test_bundled_connector_is_accepted(api: Api, path: Path) -> None:
    api.create(yaml.safe_load(path.read_text(encoding="utf-8")), "", dry_run=True)
