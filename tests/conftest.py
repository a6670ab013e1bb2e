"""What all tests share: the fixtures of the real clusters, and which tests of a run side by side stay together."""

from pathlib import Path

import pytest

pytest_plugins = ["tests.cluster.fixtures"]
_ROOT = Path(__file__).parent
# Folders whose tests share one cluster, the longest first: with `pytest -n` one process takes all of a group.
_GROUPS = {"node": "node", "api": "api", "chaos": "api", "chart": "api"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep together what shares a cluster, and every other module; begin with what waits most and computes least."""
    for item in items:
        item.add_marker(pytest.mark.xdist_group(_group(item)))
    order = list(dict.fromkeys(_GROUPS.values()))
    items.sort(key=lambda item: order.index(group) if (group := _group(item)) in order else len(order))


def pytest_make_parametrize_id(val: object) -> str | None:
    """Bytes by their length: a packed body holds the time of packing, and processes side by side have to agree."""
    return f"{len(val)} bytes" if isinstance(val, bytes) else None


def _group(item: pytest.Item) -> str:
    place = item.path.relative_to(_ROOT)
    return _GROUPS.get(place.parts[0], str(place))
