"""One sync in a process of its own, as a pod makes it: standard input has the plan and the secrets."""

from __future__ import annotations

import json
import sys

from towline.contract import Plan
from towline_connectors.engine.run import run
from towline_connectors.sinks import open_sink


def main() -> None:
    given = json.load(sys.stdin)
    plan, apart = Plan.model_validate(given["plan"]), sys.platform == "linux"
    result = run(plan, given["secrets"], open_sink(given["database"]), apart=apart)
    print(json.dumps({"reason": result.reason, "read": sum(s.read for s in result.streams)}))


if __name__ == "__main__":
    main()
