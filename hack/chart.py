"""What of the chart is generated: `python -m hack.chart [--check]`.

Copies of crds/, since Helm reads nothing outside a chart's folder, and the table of values in the chart's README,
from the comments in values.yaml (`# -- ` begins the text about the key below it).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import yaml

CHECKOUT = Path(__file__).resolve().parents[1]
CHART = CHECKOUT / "charts" / "towline"
_SOURCE = CHECKOUT / "crds"
_COPIES = CHART / "files" / "crds"


_README = CHART / "README.md"
_BEGIN, _END = "<!-- values: generated, see hack/chart.py -->\n", "<!-- end of values -->\n"


def readme() -> str:
    """The chart's README with the table of the values as they are."""
    before, rest = _README.read_text().split(_BEGIN)
    after = rest.split(_END)[1]
    text = (CHART / "values.yaml").read_text()
    root = yaml.compose(text)
    assert isinstance(root, yaml.MappingNode)
    rows = [f"| `{key}` | `{value}` | {about} |" for key, value, about in _values(root, text.splitlines())]
    table = "\n".join(["| Value | Default | |", "|---|---|---|", *rows])
    return f"{before}{_BEGIN}{table}\n{_END}{after}"


def _values(node: yaml.MappingNode, lines: list[str], prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """Key, default and text of every value that can be set. A mapping without a text is a group."""
    for key, value in node.value:
        name, about = prefix + key.value, _comment(lines, key.start_mark.line)
        if isinstance(value, yaml.MappingNode) and value.value and not (value.flow_style or about):
            yield from _values(value, lines, name + ".")
        else:
            default = yaml.SafeLoader("").construct_object(value, deep=True)
            yield name, json.dumps(default, ensure_ascii=False), about


def _comment(lines: list[str], number: int) -> str:
    said: list[str] = []
    for line in reversed(lines[:number]):
        text = line.strip()
        if not text.startswith("#"):
            return ""
        said.insert(0, text.removeprefix("#").strip())
        if said[0].startswith("-- "):
            return " ".join(said).removeprefix("-- ").replace("|", "\\|")
    return ""


def stale_files() -> list[Path]:
    """The copies that are missing, differ from crds/, or have no source any more; the README when its table is old."""
    wanted = {path.name: path.read_bytes() for path in _SOURCE.glob("*.yaml")}
    present = {path.name: path.read_bytes() for path in _COPIES.glob("*.yaml")}
    stale = [_COPIES / name for name in sorted(wanted | present) if wanted.get(name) != present.get(name)]
    return stale if readme() == _README.read_text() else [*stale, _README]


def synchronise() -> list[Path]:
    """Make the copies equal to crds/ and the README's table to values.yaml; what changed."""
    changed = stale_files()
    _COPIES.mkdir(parents=True, exist_ok=True)
    for path in changed:
        source = _SOURCE / path.name
        if path == _README:
            path.write_text(readme())
        elif source.is_file():
            path.write_bytes(source.read_bytes())
        else:
            path.unlink()
    return changed


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m hack.chart", description="Write what of charts/towline is generated."
    )
    parser.add_argument("--check", action="store_true", help="change nothing, fail when something would change")
    if not parser.parse_args().check:
        for path in synchronise():
            print(f"wrote {path.relative_to(CHECKOUT)}")
        return 0
    stale = stale_files()
    for path in stale:
        print(f"{path.relative_to(CHECKOUT)} is not what its source says: run `make generate`", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
