"""What of the chart is generated: `python -m hack.chart [--check]`.

Copies of crds/, since Helm reads nothing outside a chart's folder; the table of values in the chart's README, from the
comments in values.yaml (`# -- ` begins the text about the key below it); and files/defaults.yaml, by which a template
knows the default of a value that an older release did not have.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

CHECKOUT = Path(__file__).resolve().parents[1]
CHART = CHECKOUT / "charts" / "towline"
_SOURCE = CHECKOUT / "crds"
_COPIES = CHART / "files" / "crds"


_DEFAULTS = CHART / "files" / "defaults.yaml"
_README = CHART / "README.md"
_BEGIN, _END = "<!-- values: generated, see hack/chart.py -->\n", "<!-- end of values -->\n"


def readme() -> str:
    """The chart's README with the table of the values as they are."""
    before, rest = _README.read_text().split(_BEGIN)
    after = rest.split(_END)[1]
    rows = [f"| `{key}` | `{_json(value)}` | {about} |" for key, value, about in values()]
    table = "\n".join(["| Value | Default | |", "|---|---|---|", *rows])
    return f"{before}{_BEGIN}{table}\n{_END}{after}"


def defaults() -> str:
    """Defaults by path. A whole object or list at the top is left out: without it a template is as good, and who sets
    it to null wants it away."""
    found = [(key, value) for key, value, _ in values() if "." in key or not isinstance(value, dict | list)]
    head = "# Written by hack/chart.py from values.yaml, for `helm upgrade --reuse-values` from an older release.\n"
    return head + "".join(f"{key}: {_json(value)}\n" for key, value in found)


def values() -> list[tuple[str, Any, str]]:
    """Path, default and text of every value that can be set, in the order of values.yaml."""
    text = (CHART / "values.yaml").read_text()
    root = yaml.compose(text)
    assert isinstance(root, yaml.MappingNode)
    return list(_values(root, text.splitlines()))


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _values(node: yaml.MappingNode, lines: list[str], prefix: str = "") -> Iterator[tuple[str, Any, str]]:
    """A mapping without a text is a group."""
    for key, value in node.value:
        name, about = prefix + key.value, _comment(lines, key.start_mark.line)
        if isinstance(value, yaml.MappingNode) and value.value and not (value.flow_style or about):
            yield from _values(value, lines, name + ".")
        else:
            yield name, yaml.SafeLoader("").construct_object(value, deep=True), about


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
    """The copies that are missing, differ from crds/, or have no source any more; README and defaults when old."""
    wanted = {path.name: path.read_bytes() for path in _SOURCE.glob("*.yaml")}
    present = {path.name: path.read_bytes() for path in _COPIES.glob("*.yaml")}
    stale = [_COPIES / name for name in sorted(wanted | present) if wanted.get(name) != present.get(name)]
    made = {_README: readme(), _DEFAULTS: defaults()}
    return stale + [path for path, text in made.items() if not path.exists() or path.read_text() != text]


def synchronise() -> list[Path]:
    """Make the copies equal to crds/, and README and defaults to values.yaml; what changed."""
    changed = stale_files()
    _COPIES.mkdir(parents=True, exist_ok=True)
    for path in changed:
        source = _SOURCE / path.name
        if path in (_README, _DEFAULTS):
            path.write_text(readme() if path == _README else defaults())
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
