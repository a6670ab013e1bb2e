"""The bundled connectors: a folder each, `<category>/<system>/`, with connector.yaml, README.md and, for most, a
simulator. Listing them imports neither the engine nor a simulator.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType

_HERE = Path(__file__).parent


def manifests() -> dict[str, Path]:
    """Name of each bundled Connector -> its manifest, ordered by name."""
    return dict(sorted((_name(path), path) for path in _HERE.glob("*/*/connector.yaml")))


def simulated() -> list[str]:
    """Names of the Connectors that have a simulator."""
    return sorted(_name(path) for path in _HERE.glob("*/*/simulator.py"))


def simulators() -> dict[str, ModuleType]:
    """Name of each Connector that can be simulated -> module with `Options` and `application(options)`."""
    found = {}
    for path in _HERE.glob("*/*/simulator.py"):
        parts = path.relative_to(_HERE).with_suffix("").parts
        found[_name(path)] = importlib.import_module(".".join([__name__, *parts]))
    return dict(sorted(found.items()))


def serve(
    name: str, host: str, port: int, options: Mapping[str, str], ready: Callable[[str], None] = lambda _url: None
) -> None:
    """Serve a simulator until interrupted; `ready` gets its URL. ValueError: no such simulator or option; OSError:
    the port is taken."""
    from towline_connectors.catalogue import simulating

    module = simulators().get(name)
    if module is None:
        raise ValueError(f"there is no simulator {name}; there are {', '.join(simulated())}")
    simulating.serve(module.application(simulating.parse(module.Options, options)), host, port, ready)


def _name(path: Path) -> str:
    return path.parent.name.replace("_", "-")
