"""What all tests share: the fixtures of the real clusters, and which tests of a run side by side stay together."""

import os
from typing import Any

import pytest

pytest_plugins = ["tests.cluster.fixtures"]
# Modules and folders whose tests share one cluster: with `pytest -n` one process takes all of a group. What needs a
# node lasts longest by far and waits for much of it, so it gets two nodes, in halves of about the same length.
_GROUPS = {
    "node/test_bad_input.py": "second node",
    "node/test_cluster.py": "second node",
    "node/test_first_sync.py": "second node",
    "node/test_release.py": "second node",
    "node/test_rolling.py": "second node",
    "node": "node",
    "api": "api",
    "chaos": "api",
    "chart": "api",
}
# What begins first: what lasts longest, or the other processes would wait for it at the end.
_ORDER = ["node", "second node", "api", "unit/kit/test_kit_conformance.py"]
# A cluster that somebody names or keeps is one.
_ONE_CLUSTER = bool(os.environ.get("TOWLINE_KUBECONFIG")) or os.environ.get("TOWLINE_KEEP_CLUSTER", "") not in {"", "0"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put in the order of `_ORDER`; everything else comes behind, as it was."""
    items.sort(key=lambda item: _ORDER.index(group) if (group := _group(item.nodeid)) in _ORDER else len(_ORDER))


@pytest.hookimpl(optionalhook=True)
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
    folder = file.partition("/")[0]
    return _GROUPS.get(folder if _ONE_CLUSTER else file) or _GROUPS.get(folder, file)
