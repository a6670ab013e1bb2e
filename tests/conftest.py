"""What all tests share: the fixtures of the real clusters, and which tests of a run side by side stay together."""

from typing import Any

import pytest

pytest_plugins = ["tests.cluster.fixtures"]
# Folders whose tests share one cluster, the longest first: with `pytest -n` one process takes all of a group.
_GROUPS = {"node": "node", "api": "api", "chaos": "api", "chart": "api"}
_ORDER = [*dict.fromkeys(_GROUPS.values())]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what waits most and computes least."""
    items.sort(key=lambda item: _ORDER.index(group) if (group := _group(item.nodeid)) in _ORDER else len(_ORDER))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keep together what shares a cluster, and every other module. Marks of pytest-xdist do not: its 3.8 writes them
    into a node id that pytest 9.2 no longer reads."""
    from xdist.scheduler import LoadScopeScheduling

    class ByCluster(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            return _group(nodeid)

    return ByCluster(config, log)


def pytest_make_parametrize_id(val: object) -> str | None:
    """Bytes by their length: a packed body holds the time of packing, and processes side by side have to agree."""
    return f"{len(val)} bytes" if isinstance(val, bytes) else None


def _group(nodeid: str) -> str:
    file = nodeid.partition("::")[0].removeprefix("tests/")
    return _GROUPS.get(file.partition("/")[0], file)
