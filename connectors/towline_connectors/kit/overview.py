"""docs/connectors.md: all bundled connectors and which conformance cases each of them has to pass.

`python -m towline_connectors.kit.overview [--check] FILE` writes it. The verdicts are those that the tests demand:
a case passes, or does not apply for a reason that the manifest or the simulator gives.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

import yaml

from towline.api.connector import Connector
from towline_connectors.catalogue import manifests
from towline_connectors.kit.page import table

RESULTS = Path(__file__).with_name("conformance") / "results.json"
_CELLS = {"pass": "✔", "not applicable": "–", "fail": "✗"}

HEAD = """\
# Connectors

Made by `make conformance`. A connector's own page is `README.md` in its folder; `towline explain NAME` and \
`towline connector docs NAME` tell what it reads and needs.
"""
SUITE = """\
## Conformance

Each connector runs against its simulator, directories against a real slapd, with faults in front of it \
(`towline connector test NAME`). ✔ passes, – does \
not apply. `make conformance` runs the suite for all and writes this table; `make test` runs it too and fails where \
the outcome is another one.
"""


def results() -> dict[str, dict[str, str]]:
    """Verdicts by connector and case, as last written by `make conformance`."""
    found: dict[str, dict[str, str]] = json.loads(RESULTS.read_text("utf-8")) if RESULTS.is_file() else {}
    return found


def render(verdicts: Mapping[str, Mapping[str, str]]) -> str:
    """The page."""
    connectors = {
        name: Connector.model_validate(yaml.safe_load(path.read_text("utf-8"))).spec
        for name, path in manifests().items()
    }
    paths = {name: path.parent.relative_to(path.parents[5]).as_posix() for name, path in manifests().items()}
    rows = [
        [
            f"[{name}](../{paths[name]}/README.md)",
            spec.title,
            spec.category,
            spec.stage,
            ", ".join(stream.name for stream in spec.streams or [] if stream.emit),
        ]
        for name, spec in connectors.items()
    ]
    cases = list(dict.fromkeys(case for each in verdicts.values() for case in each))
    marks = [
        [name, *(_CELLS.get(verdicts[name].get(case, ""), "") for case in cases)]
        for name in connectors
        if name in verdicts
    ]
    parts = [HEAD, table(["connector", "product", "category", "stage", "streams"], rows), "", SUITE]
    parts.append(table(["connector", *map(str, range(1, len(cases) + 1))], marks))
    parts += ["", "\n".join(f"{number}. {case}" for number, case in enumerate(cases, 1))]
    return "\n".join(parts) + "\n"


def main(arguments: list[str]) -> int:
    check = "--check" in arguments
    file = Path(next(argument for argument in arguments if argument != "--check"))
    text = render(results())
    if check and (not file.is_file() or file.read_text("utf-8") != text):
        print(f"{file} is not what the manifests say: run make generate", file=sys.stderr)
        return 1
    if not check:
        file.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
