"""One sync in a process of its own, to see how much memory it takes: standard input has the plan and the secrets."""

from __future__ import annotations

import json
import resource
import sys

from towline.contract import Plan
from towline_connectors.engine.run import run
from towline_connectors.sinks import open_sink


def main() -> None:
    given = json.load(sys.stdin)
    result = run(Plan.model_validate(given["plan"]), given["secrets"], open_sink(given["database"]))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # KiB on Linux
    print(json.dumps({"reason": result.reason, "peak_mib": peak / 1024, "read": sum(s.read for s in result.streams)}))


if __name__ == "__main__":
    main()
