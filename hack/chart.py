"""Copies crds/ into the chart, since Helm reads nothing outside a chart's folder: `python -m hack.chart [--check]`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
CHART = CHECKOUT / "charts" / "towline"
_SOURCE = CHECKOUT / "crds"
_COPIES = CHART / "files" / "crds"


def stale_files() -> list[Path]:
    """The copies that are missing, differ from crds/, or have no source any more."""
    wanted = {path.name: path.read_bytes() for path in _SOURCE.glob("*.yaml")}
    present = {path.name: path.read_bytes() for path in _COPIES.glob("*.yaml")}
    return [_COPIES / name for name in sorted(wanted | present) if wanted.get(name) != present.get(name)]


def synchronise() -> list[Path]:
    """Make the copies equal to crds/; what changed."""
    changed = stale_files()
    _COPIES.mkdir(parents=True, exist_ok=True)
    for path in changed:
        source = _SOURCE / path.name
        if source.is_file():
            path.write_bytes(source.read_bytes())
        else:
            path.unlink()
    return changed


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m hack.chart", description="Copy crds/ into charts/towline.")
    parser.add_argument("--check", action="store_true", help="change nothing, fail when something would change")
    if not parser.parse_args().check:
        for path in synchronise():
            print(f"wrote {path.relative_to(CHECKOUT)}")
        return 0
    stale = stale_files()
    for path in stale:
        print(f"{path.relative_to(CHECKOUT)} differs from crds/: run `make generate`", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
