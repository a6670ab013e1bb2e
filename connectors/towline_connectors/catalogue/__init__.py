"""The bundled connectors: a folder each, `<category>/<system>/`, with connector.yaml, README.md and, for most, a
simulator. Listing them imports neither the engine nor a simulator.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

_HERE = Path(__file__).parent


def manifests() -> dict[str, Path]:
    """Name of each bundled Connector -> its manifest, ordered by name."""
    return dict(sorted((_name(path), path) for path in _HERE.glob("*/*/connector.yaml")))


def simulators() -> dict[str, ModuleType]:
    """Name of each Connector that can be simulated -> module with `Options` and `application(options)`."""
    found = {}
    for path in sorted(_HERE.glob("*/*/simulator.py")):
        parts = path.relative_to(_HERE).with_suffix("").parts
        found[_name(path)] = importlib.import_module(".".join([__name__, *parts]))
    return found


def _name(path: Path) -> str:
    return path.parent.name.replace("_", "-")
